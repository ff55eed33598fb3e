//! What happens to a site every day, and moves nothing.
