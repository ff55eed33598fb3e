//! Entries, the state and messages, as bytes: the number of their format, and then what it says.
//!
//! Format 1 is what the types of this release are in `postcard`. `docs/upgrade.md` says what to do when one of them
//! changes, and `tests/format.rs` notices it.

mod ahead;

use std::fmt;

use regent_api::Answer;
use regent_model::format::{Format, Speaks};
use regent_model::journal::Level;
use regent_model::state::Command;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Engine;
use crate::proposals::Waiting;

/// Why something that was agreed on cannot be read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// It is in a format that this daemon does not read.
    Format {
        /// Its format.
        found: Format,
        /// Those that this daemon reads.
        speaks: Speaks,
    },
    /// It is not what its format says.
    Malformed(String),
}

impl Unreadable {
    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Format { found, speaks } if *found > speaks.newest => {
                "install the release that the other members run: once all of them run it, none can go back"
            }
            Self::Format { .. } => "install the release between the one that wrote it and this one first",
            Self::Malformed(_) => "install the release that the other members run",
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { found, speaks: Speaks { oldest, newest } } => {
                write!(f, "it is in format {found}, and this release of Regent reads {oldest} to {newest}")
            }
            Self::Malformed(why) => write!(f, "this release of Regent cannot read it: {why}"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// The bytes of an entry or of a state in the format that is in force.
///
/// # Panics
/// When the value has no such form, which is a fault of the program.
#[must_use]
pub fn write<T: Serialize>(format: Format, value: &T) -> Vec<u8> {
    let mut bytes =
        postcard::to_extend(value, vec![format]).unwrap_or_else(|e| panic!("a value cannot be written: {e}"));
    ahead::write_field(format, &mut bytes);
    bytes
}

/// The entry, the state or the message that these bytes are.
///
/// # Errors
/// When they are in another format, or damaged.
pub fn read<T: DeserializeOwned>(bytes: &[u8], speaks: Speaks) -> Result<T, Unreadable> {
    let Some(&found) = bytes.first() else {
        return Err(Unreadable::Malformed("it is empty".to_owned()));
    };
    if !speaks.has(found) {
        return Err(Unreadable::Format { found, speaks });
    }
    let rest = &ahead::without_field(found, bytes)?[1..];
    match postcard::take_from_bytes(rest) {
        Ok((value, [])) => Ok(value),
        Ok((_, more)) => Err(Unreadable::Malformed(format!("{} bytes follow it", more.len()))),
        Err(error) => Err(Unreadable::Malformed(error.to_string())),
    }
}

/// The first format that has this command. One that a later release brings, or gives another meaning, is named here
/// with its format; a configuration whose keys need a newer one, too.
fn since(command: &Command, speaks: Speaks) -> Format {
    ahead::since(command, speaks.newest).unwrap_or(1)
}

/// Why a command of that format cannot be proposed yet, if it cannot.
fn not_yet(since: Format, in_force: Format) -> Option<String> {
    let why = "not every member runs a release that knows this: install it on all of them first";
    (since > in_force).then(|| format!("{why} (it needs format {since}, and {in_force} is in force)"))
}

impl Engine {
    /// Why a command cannot be proposed yet, if it cannot: some member could not read it.
    pub(crate) fn cannot_propose(&self, command: &Command) -> Option<String> {
        not_yet(since(command, self.me.speaks), self.state.format)
    }

    /// Says which formats this daemon reads, when the log does not know it yet.
    pub(crate) fn follow_format(&mut self) {
        let (node, newest) = (self.me.id, self.me.speaks.newest);
        if self.state.speaks.get(&node) != Some(&newest) && newest >= self.state.format {
            self.propose(Command::Speaks { node, newest });
        }
    }

    /// Another format is in force.
    pub(crate) fn tell_format(&mut self, index: u64, format: Format) {
        let text = format!("every member reads format {format}: it is in force");
        self.tell_indexed(index, Level::Notice, "format", text, None);
    }

    /// A format is in force that this daemon does not write: nothing more of its own may come into log or storage.
    pub(crate) fn cannot_go_on(&mut self) {
        let why = Unreadable::Format { found: self.state.format, speaks: self.me.speaks };
        self.cannot_read("what is in force by the log", &why);
    }

    /// What somebody waits for cannot be proposed.
    pub(crate) fn answer_refused(&mut self, waiting: Waiting, why: &str) {
        let Some(id) = waiting.asked() else { return };
        let advice = "regent status --json shows which release each node runs";
        self.out.answer.push((id, Answer::refused(why, advice)));
    }

    /// What is agreed on cannot be read: whoever went on without it would have another state than the others.
    pub(crate) fn cannot_read(&mut self, what: &str, why: &Unreadable) {
        let words = format!("{what}: {why}; {}", why.advice());
        self.unreadable = Some(words.clone());
        self.out.unreadable = Some(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Speaks = Speaks { oldest: 1, newest: 1 };

    #[test]
    fn what_is_newer_or_older_than_this_release_is_refused_with_words() {
        let newer = read::<u64>(&write(2, &7_u64), OLD).unwrap_err();
        assert_eq!(newer.to_string(), "it is in format 2, and this release of Regent reads 1 to 1");
        assert!(newer.advice().contains("none can go back"));
        let older = read::<u64>(&write(1, &7_u64), Speaks { oldest: 2, newest: 3 }).unwrap_err();
        assert!(older.advice().contains("between"));
        assert_eq!(read::<u64>(&write(2, &7_u64), Speaks { oldest: 1, newest: 2 }), Ok(7));
    }

    #[test]
    fn what_some_member_cannot_read_is_not_proposed() {
        assert_eq!(not_yet(1, 1), None);
        assert_eq!(not_yet(2, 3), None);
        assert!(not_yet(2, 1).is_some_and(|why| why.contains("install it on all of them")));
    }

    #[cfg(debug_assertions)]
    #[test]
    fn what_the_next_release_writes_is_nonsense_to_this_one_also_where_its_number_is_changed() {
        let next = Speaks { oldest: 1, newest: 2 };
        let mut bytes = write(2, &7_u64);
        assert_eq!(read::<u64>(&bytes, next), Ok(7));
        assert_eq!(read::<u64>(&write(1, &7_u64), next), Ok(7), "it has the format of the release before");
        bytes[0] = 1;
        assert_eq!(read::<u64>(&bytes, OLD), Err(Unreadable::Malformed("4 bytes follow it".to_owned())));
        let mut bytes = write(1, &7_u64);
        bytes[0] = 2;
        assert!(matches!(read::<u64>(&bytes, next), Err(Unreadable::Malformed(_))));
        assert!(matches!(read::<u64>(&[2], next), Err(Unreadable::Malformed(_))));
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_no_value() {
        let mut bytes = write(1, &(7_u64, "text"));
        assert!(read::<(u64, String)>(&bytes[..bytes.len() - 1], OLD).is_err());
        bytes.push(0);
        assert_eq!(
            read::<(u64, String)>(&bytes, OLD),
            Err(Unreadable::Malformed("1 bytes follow it".to_owned()))
        );
        assert!(read::<u64>(&[], OLD).is_err());
    }
}
