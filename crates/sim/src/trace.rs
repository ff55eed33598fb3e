//! What a run leaves behind: a hash of everything that happened, and on request all of it in words.

use std::fmt;

use regent_model::journal::{Entry, Level};

use crate::time::{MS, Ns};

/// The trace of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    words: bool,
    pub(crate) lines: Vec<String>,
    /// For a run that ends badly: the last lines, even when words are not wanted.
    pub(crate) journal: Option<Vec<String>>,
}

impl Trace {
    pub(crate) fn new(words: bool, journal: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, words, lines: Vec::new(), journal: journal.then(Vec::new) }
    }

    pub(crate) fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01B3);
        self.hash ^= self.hash >> 29;
    }

    pub(crate) fn mix_text(&mut self, text: &str) {
        for chunk in text.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(bytes));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn wants_words(&self) -> bool {
        self.words
    }

    /// Something that happened, for the whole trace.
    pub(crate) fn say(&mut self, now: Ns, words: impl FnOnce() -> String) {
        if self.words {
            let line = format!("{:>10.3}  {}", ms(now), words());
            self.lines.push(line);
        }
    }

    /// Something that happened to the world, for the journal of a scenario too.
    pub(crate) fn world(&mut self, now: Ns, words: impl fmt::Display) {
        self.mix_text(&words.to_string());
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{:>8.1}  {:-<5} {words}", ms(now), ""));
        }
        self.say(now, || format!("----- {words}"));
    }

    /// An entry of a node's journal.
    pub(crate) fn entry(&mut self, now: Ns, entry: &Entry) {
        self.mix(entry.number);
        self.mix_text(&entry.text);
        if self.journal.is_none() && !self.words {
            return;
        }
        let mark = match entry.level {
            Level::Step => "   ",
            Level::Notice => " * ",
            Level::Warning => " ! ",
            Level::Error => "!! ",
        };
        let took = entry.took.map_or(String::new(), |t| format!(" ({:.1} ms)", t.as_secs_f64() * 1000.0));
        let line = format!("{:<5}{mark}{}{took}", entry.node, entry.text);
        if let Some(journal) = &mut self.journal {
            journal.push(format!("{:>8.1}  {line}", ms(now)));
        }
        self.say(now, || line);
    }
}

fn ms(now: Ns) -> f64 {
    now as f64 / MS as f64
}
