//! What went wrong in the lab, told for the person at the keyboard.

use std::fmt;
use std::io;

/// What happened, where, and what to type next if that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabError {
    what: String,
    next: Option<String>,
}

/// The result of everything in the lab that can fail.
pub type Result<T> = std::result::Result<T, LabError>;

impl LabError {
    /// Something happened.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None }
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn hint(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LabError {}

/// Says what was being done when something failed.
pub(crate) trait Doing<T> {
    /// `what` reads after "cannot", as in "cannot open /dev/fuse: ...".
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| LabError::new(format!("cannot {}: {error}", what())))
    }
}

impl<T> Doing<T> for std::result::Result<T, rustix::io::Errno> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| LabError::new(format!("cannot {}: {}", what(), io::Error::from(error))))
    }
}

impl<T> Doing<T> for std::result::Result<T, serde_json::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| LabError::new(format!("cannot {}: {error}", what())))
    }
}
