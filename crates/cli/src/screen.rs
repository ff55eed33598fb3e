//! Where output goes, and in which manner.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use serde_json::Value;

use crate::paint::Paint;
use crate::trouble::{Exit, Result, Trouble};

/// Who reads what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// A person: text.
    Person,
    /// A program: JSON.
    Program,
    /// Nobody: nothing is written.
    Nobody,
}

/// Standard output and error of this command.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Who reads what is written.
    pub reader: Reader,
    /// Whether to colour.
    pub paint: Paint,
    /// Whether a person watches: standard output is a terminal.
    pub watched: bool,
}

impl Screen {
    /// The screen of this process.
    #[must_use]
    pub fn new(json: bool, choice: ColorChoice) -> Self {
        let watched = io::stdout().is_terminal();
        let colour = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => watched && colour_is_wanted(|name| std::env::var(name).ok()),
        };
        let reader = if json { Reader::Program } else { Reader::Person };
        Self { reader, paint: Paint(colour && !json), watched }
    }

    /// One on which nothing is written.
    #[must_use]
    pub fn silent() -> Self {
        Self { reader: Reader::Nobody, paint: Paint(false), watched: false }
    }

    /// Writes text for people; nothing when programs read.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn say(&self, text: &str) -> Result<()> {
        if self.reader == Reader::Person { self.write(text) } else { Ok(()) }
    }

    /// Writes one value, on one line, for programs; nothing when people read.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn value(&self, value: &Value) -> Result<()> {
        if self.reader == Reader::Program { self.write(&format!("{value}\n")) } else { Ok(()) }
    }

    /// Writes text, whoever reads.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn write(&self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                // The reader has enough, as `head` does: nothing is wrong and nobody is left to tell.
                return Trouble { exit: Exit::Done, what: String::new(), next: Vec::new() };
            }
            Trouble::refused(format!("cannot write to standard output: {error}"))
        })
    }

    /// Tells what went wrong: to standard error, and to the program that reads.
    pub fn tell(&self, trouble: &Trouble) {
        if trouble.what.is_empty() {
            return;
        }
        let _nobody_is_left_to_tell = self.value(&trouble.json());
        complain(&format!("regent: {trouble}\n"));
    }

    /// Shows for the moment that something is going on; the next call, or [`Screen::unspin`], replaces it.
    pub fn spin(&self, turn: usize, text: &str) {
        if self.spins() {
            let sign = ['|', '/', '-', '\\'][turn % 4];
            complain(&format!("\r\u{1b}[K{sign} {text}"));
        }
    }

    fn spins(&self) -> bool {
        self.watched && self.reader == Reader::Person && io::stderr().is_terminal()
    }

    /// Removes what [`Screen::spin`] showed.
    pub fn unspin(&self) {
        if self.spins() {
            complain("\r\u{1b}[K");
        }
    }
}

/// Writes to standard error; if even that fails there is nobody to tell.
pub fn complain(text: &str) {
    let mut out = io::stderr().lock();
    let _nobody_is_left_to_tell = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What the environment says of colour on a terminal.
fn colour_is_wanted(variable: impl Fn(&str) -> Option<String>) -> bool {
    let no_color = variable("NO_COLOR").is_some_and(|v| !v.is_empty());
    !no_color && variable("TERM").is_none_or(|t| t != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_and_a_dumb_terminal_are_honoured() {
        let with = |name: &'static str, value: &'static str| {
            colour_is_wanted(|n| (n == name).then(|| value.to_owned()))
        };
        assert!(with("TERM", "xterm"));
        assert!(!with("NO_COLOR", "1"));
        assert!(with("NO_COLOR", ""), "an empty NO_COLOR says nothing");
        assert!(!with("TERM", "dumb"));
    }
}
