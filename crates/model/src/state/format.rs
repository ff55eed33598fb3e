//! Which format the cluster uses: the newest that every member reads.

use crate::format::Format;
use crate::ids::NodeId;
use crate::state::apply::{Changes, void};
use crate::state::{Change, State};

impl State {
    /// The same state of a cluster that was founded in this format: the release that reads of it later may be a newer
    /// one, and must begin with what the others began with.
    #[must_use]
    pub fn founded_in(mut self, format: Format) -> Self {
        self.format = format;
        self.speaks.values_mut().for_each(|newest| *newest = format);
        self
    }

    /// A daemon says which format it reads at most.
    pub(super) fn speaks(&mut self, node: NodeId, newest: Format) -> Changes {
        if newest < self.format {
            return void(format!("node {node} cannot read format {}, which is in force", self.format));
        }
        self.speaks.insert(node, newest);
        Vec::new()
    }

    /// Raises the format when the last member has said that it reads a newer one. A member that has not said anything
    /// holds it where it is.
    pub(super) fn raise_format(&mut self) -> Option<Change> {
        let all: Option<Vec<Format>> = self.members.keys().map(|id| self.speaks.get(id).copied()).collect();
        let common = all?.into_iter().min()?;
        if common <= self.format {
            return None;
        }
        self.format = common;
        Some(Change::FormatRaised(common))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::config;
    use crate::ids::NodeName;
    use crate::state::{Command, Member, Proposal, ProposalId};

    fn founded() -> State {
        let text = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n\
                    [[node]]\nname = \"b\"\naddresses = [\"10.0.0.2\"]\n";
        let member = |name: &str| Member { name: NodeName::new(name).unwrap(), witness: false, votes: true };
        let members = BTreeMap::from([(NodeId(1), member("a")), (NodeId(2), member("b"))]);
        let mut state = State::founded(config::parse(text).config.unwrap(), text.to_owned(), members);
        state.format = 1;
        state.speaks = BTreeMap::from([(NodeId(1), 1), (NodeId(2), 1)]);
        state
    }

    fn says(state: &mut State, node: u64, newest: Format) -> Vec<Change> {
        let number = u64::try_from(state.remembered.len()).unwrap();
        let id = ProposalId { node: NodeId(node), session: 1, number };
        let command = Command::Speaks { node: NodeId(node), newest };
        state.apply(&Proposal { id, command }, &BTreeSet::from([NodeId(1), NodeId(2)]))
    }

    #[test]
    fn the_format_is_raised_when_the_last_member_reads_the_newer_one() {
        let mut state = founded();
        assert_eq!(says(&mut state, 1, 2), []);
        assert_eq!(state.format, 1, "the other one cannot read 2 yet");
        assert_eq!(says(&mut state, 2, 3), [Change::FormatRaised(2)]);
        assert_eq!(state.format, 2);
    }

    #[test]
    fn a_member_may_go_back_until_the_format_was_raised_and_not_after_it() {
        let mut state = founded();
        says(&mut state, 1, 2);
        assert_eq!(says(&mut state, 1, 1), [], "nothing was written yet that it could not read");
        assert_eq!(says(&mut state, 2, 2), [], "one of them is back at 1");
        says(&mut state, 1, 2);
        assert_eq!(state.format, 2);
        assert!(matches!(says(&mut state, 2, 1)[..], [Change::Void(_)]));
        assert_eq!((state.format, state.speaks[&NodeId(2)]), (2, 2));
    }

    #[test]
    fn a_new_member_holds_the_format_until_it_has_said_what_it_reads() {
        let mut state = founded();
        let member = Member { name: NodeName::new("c").unwrap(), witness: true, votes: true };
        state.members.insert(NodeId(3), member);
        says(&mut state, 1, 2);
        says(&mut state, 2, 2);
        assert_eq!(state.format, 1);
        assert_eq!(says(&mut state, 3, 2), [Change::FormatRaised(2)]);
    }
}
