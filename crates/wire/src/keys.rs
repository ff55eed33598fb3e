//! The keys that a machine has of its cluster: one, and two while the key is being changed.
//!
//! Keys are numbered in the order in which they were put in use, from 0. A ring only ever goes forward: it gets the
//! next key, then uses it, then forgets the one before.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::ClusterKey;
use crate::text::TextError;

/// The most keys that are good at the same time.
pub const KEYS_MAX: usize = 2;

/// The keys of a cluster on one machine.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    /// The oldest first; one or two, and their numbers follow on each other.
    keys: Vec<(u32, ClusterKey)>,
    /// The number of the one that is used for what is said; all are good for what is heard.
    using: u32,
}

impl KeyRing {
    /// The first key of a cluster.
    #[must_use]
    pub fn first(key: ClusterKey) -> Self {
        Self { keys: vec![(0, key)], using: 0 }
    }

    /// The number of the key that is used for what is said.
    #[must_use]
    pub const fn using(&self) -> u32 {
        self.using
    }

    /// The key that is used for what is said.
    #[must_use]
    pub fn current(&self) -> &ClusterKey {
        match self.keys.iter().find(|(number, _)| *number == self.using) {
            Some((_, key)) => key,
            None => unreachable!("a ring has the key that it uses"),
        }
    }

    /// All keys with their numbers, the oldest first.
    pub fn keys(&self) -> impl Iterator<Item = (u32, &ClusterKey)> {
        self.keys.iter().map(|(number, key)| (*number, key))
    }

    /// The number of the newest key.
    #[must_use]
    pub fn newest(&self) -> u32 {
        self.keys.last().map_or(self.using, |(number, _)| *number)
    }

    /// Whether what is said under the key of this number is heard.
    #[must_use]
    pub fn opens(&self, number: u32) -> bool {
        self.keys.iter().any(|(known, _)| *known == number)
    }

    /// The same ring with the next key, in the place of another one that was to be it. What is said is not changed.
    #[must_use]
    pub fn with_next(&self, key: ClusterKey) -> Self {
        let mut keys = vec![(self.using, self.current().clone())];
        keys.push((self.using.wrapping_add(1), key));
        Self { keys, using: self.using }
    }

    /// The same keys, the newest being used.
    #[must_use]
    pub fn using_newest(&self) -> Self {
        Self { keys: self.keys.clone(), using: self.newest() }
    }

    /// The key that is used alone: what is said under another one is not heard any more.
    #[must_use]
    pub fn current_alone(&self) -> Self {
        Self { keys: vec![(self.using, self.current().clone())], using: self.using }
    }

    /// Whether a machine with this ring does well to take the other one: it never goes back.
    #[must_use]
    pub fn is_behind(&self, other: &Self) -> bool {
        let oldest = |ring: &Self| ring.keys.first().map(|(number, _)| *number);
        other.using >= self.using
            && other.newest() >= self.newest()
            && oldest(other) >= oldest(self)
            && other != self
    }

    /// The ring as text for the key file and for machines that join: secret. The first key of a cluster alone is one
    /// line, without its number.
    #[must_use]
    pub fn to_text(&self) -> String {
        if let [(0, key)] = &self.keys[..] {
            return key.to_text();
        }
        let line = |(number, key): &(u32, ClusterKey)| {
            let word = if *number == self.using { "use" } else { "open" };
            format!("{number} {word} {}", key.to_text())
        };
        self.keys.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl FromStr for KeyRing {
    type Err = TextError;
    fn from_str(text: &str) -> Result<Self, TextError> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if let [line] = &lines[..]
            && !line.contains(' ')
        {
            return Ok(Self::first(line.parse()?));
        }
        let (mut keys, mut using) = (Vec::new(), None);
        for line in lines {
            let mut words = line.split_whitespace();
            let (Some(number), Some(word), Some(key), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(TextError::Length);
            };
            let number: u32 = number.parse().map_err(|_| TextError::Length)?;
            let follows =
                keys.last().is_none_or(|(last, _): &(u32, ClusterKey)| last.wrapping_add(1) == number);
            if !follows || !["use", "open"].contains(&word) || (word == "use" && using.is_some()) {
                return Err(TextError::Length);
            }
            if word == "use" {
                using = Some(number);
            }
            keys.push((number, key.parse()?));
        }
        match using {
            Some(using) if keys.len() <= KEYS_MAX => Ok(Self { keys, using }),
            _ => Err(TextError::Length),
        }
    }
}

impl From<ClusterKey> for KeyRing {
    fn from(key: ClusterKey) -> Self {
        Self::first(key)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> =
            self.keys.iter().map(|(number, key)| format!("{number}: {}...", key.fingerprint())).collect();
        write!(f, "KeyRing({}; uses {})", shown.join(", "), self.using)
    }
}

/// As its text: for the guard, over a socket that root alone can open, and into sealed boxes.
impl Serialize for KeyRing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for KeyRing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not the error itself: it must not repeat what it was given.
        String::deserialize(deserializer)?
            .parse()
            .map_err(|_| D::Error::custom("these are no keys of a cluster"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> ClusterKey {
        ClusterKey::from_bytes([byte; 32])
    }

    #[test]
    fn a_ring_goes_forward_and_is_read_as_it_was_written_at_every_step() {
        let first = KeyRing::first(key(1));
        assert_eq!(
            first.to_text(),
            key(1).to_text(),
            "the file of a cluster whose key was never changed is one line"
        );
        let both = first.with_next(key(2));
        let switched = both.using_newest();
        let after = switched.current_alone();
        let mut before: Option<KeyRing> = None;
        for ring in [first.clone(), both.clone(), switched, after.clone(), after.with_next(key(3))] {
            assert_eq!(ring.to_text().parse::<KeyRing>(), Ok(ring.clone()));
            assert_eq!(format!("{}\n", ring.to_text()).parse::<KeyRing>(), Ok(ring.clone()));
            if let Some(before) = before {
                assert!(before.is_behind(&ring) && !ring.is_behind(&before), "{before:?} {ring:?}");
            }
            assert!(!ring.is_behind(&ring));
            before = Some(ring);
        }
        assert_eq!((after.using(), after.newest(), after.opens(0)), (1, 1, false));
        assert!(both.opens(0) && both.opens(1) && both.using() == 0);
        // Another key that was to be the next one: there are never three.
        assert_eq!(both.with_next(key(9)).keys().count(), 2);
    }

    #[test]
    fn what_is_no_ring_is_refused_and_debug_shows_no_byte() {
        let line = key(1).to_text();
        for bad in [
            String::new(),
            "regent-key".to_owned(),
            format!("0 open {line}"),
            format!("0 use {line}\n2 open {line}"),
            format!("0 use {line}\n1 use {line}"),
            format!("0 use {line}\n1 open {line}\n2 open {line}"),
            format!("x use {line}"),
            format!("{line}\n{line}"),
        ] {
            assert!(bad.parse::<KeyRing>().is_err(), "{bad}");
        }
        let shown = format!("{:?}", KeyRing::first(key(0xab)).with_next(key(0xcd)));
        assert!(!shown.contains("abab") && !shown.contains("171") && !shown.contains("cdcd"), "{shown}");
    }
}
