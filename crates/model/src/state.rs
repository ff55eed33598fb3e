//! The replicated state.
