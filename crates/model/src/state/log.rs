//! For the tests of what entries do: a state to which entries are applied, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::parse;
use crate::ids::NodeId;
use crate::state::{Change, Command, Proposal, ProposalId, State};

pub(super) struct Log {
    pub(super) state: State,
    counter: u64,
}

impl Log {
    /// Of a cluster with this configuration and no members.
    pub(super) fn new(text: &str) -> Self {
        let config = parse(text).config.unwrap();
        Self { state: State::founded(config, text.into(), BTreeMap::new()), counter: 0 }
    }

    /// Applies an entry; why it changed nothing, if it did not.
    pub(super) fn commit(&mut self, command: Command) -> Result<(), String> {
        let changes = self.changes(command);
        let void = changes.into_iter().find_map(|c| if let Change::Void(why) = c { Some(why) } else { None });
        void.map_or(Ok(()), Err)
    }

    /// Applies it, and says what came of it.
    pub(super) fn changes(&mut self, command: Command) -> Vec<Change> {
        self.counter += 1;
        let id = ProposalId { node: NodeId(1), session: 1, number: self.counter };
        self.state.apply(&Proposal { id, command }, &BTreeSet::new())
    }
}
