//! What went wrong, for the person at the keyboard, and the exit code that says so to scripts.

use std::fmt;

use serde_json::{Value, json};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done = 0,
    /// It was refused, or it failed.
    Refused = 1,
    /// The command line or the configuration is wrong; nothing was tried.
    Usage = 2,
    /// The node's daemon cannot be reached.
    Unreachable = 3,
    /// It was done, but the cluster did not settle within the time.
    Unsettled = 4,
}

/// The same, for people: the end of the long help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused, or failed
  2  wrong usage, or a configuration that is not valid: nothing was tried
  3  the node's daemon cannot be reached
  4  done, but the cluster did not settle within the time";

/// What happened, what to type next, and how the command ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How the command ends.
    pub exit: Exit,
    /// What happened, and where.
    pub what: String,
    /// What to type or do next, one line each.
    pub next: Vec<String>,
}

impl Trouble {
    /// Something was refused or failed.
    pub fn refused(what: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, what: what.into(), next: Vec::new() }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into(), next: Vec::new() }
    }

    /// The daemon cannot be reached.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, what: what.into(), next: Vec::new() }
    }

    /// It was done, but did not settle within the time.
    pub fn unsettled(what: impl Into<String>) -> Self {
        Self { exit: Exit::Unsettled, what: what.into(), next: Vec::new() }
    }

    /// With one more line of what to do about it; an empty one is left out.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        if !advice.is_empty() {
            self.next.push(advice);
        }
        self
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "error": self.what, "next": self.next, "exit": self.exit as u8 })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for line in &self.next {
            write!(f, "\n  next: {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Trouble {}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Trouble>;

impl From<regent_lab::LabError> for Trouble {
    fn from(error: regent_lab::LabError) -> Self {
        Self::refused(error.to_string())
    }
}
