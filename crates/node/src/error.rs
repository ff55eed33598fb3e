//! What went wrong on a node, for the operator.

use std::fmt;

/// What happened, and what to type next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeError {
    /// What happened, and where.
    pub what: String,
    /// What to type next, if there is something.
    pub next: Option<String>,
}

/// A result with an error for the operator.
pub type Result<T> = std::result::Result<T, NodeError>;

impl NodeError {
    /// An error that says what happened.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None }
    }

    /// The same with what to type next.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.next.as_ref().map_or(Ok(()), |next| write!(f, "\nnext: {next}"))
    }
}

impl std::error::Error for NodeError {}

impl From<String> for NodeError {
    fn from(what: String) -> Self {
        Self::new(what)
    }
}

/// Says what was being done when an error came.
pub(crate) trait Doing<T> {
    /// "cannot `what`: error".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| NodeError::new(format!("cannot {}: {error}", what())))
    }
}
