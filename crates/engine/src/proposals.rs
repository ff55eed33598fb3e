//! What this node wants in the log: said to the leader until it is seen applied.

use std::collections::BTreeMap;

use regent_model::state::{Command, Proposal, ProposalId};
use regent_model::{Moment, NodeId};

use crate::engine::Engine;
use crate::format;
use crate::io::{PeerMessage, RequestId};
use crate::joining::Newcomer;

/// What waits for a proposal to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Nobody.
    Nobody,
    /// The command line: answered with these words if it was done.
    Request(RequestId, String),
    /// A machine that joins: its token is good, now its configuration is to be put in force.
    Admitted(RequestId, Box<Newcomer>),
    /// A machine that joins: its configuration is in force, now it becomes a member.
    Joining(RequestId, Box<(NodeId, regent_model::state::Member)>),
    /// A machine that joins: it is a member.
    Joined(RequestId, NodeId),
}

impl Waiting {
    /// The request that is answered, if somebody asked.
    pub(crate) fn asked(&self) -> Option<RequestId> {
        match self {
            Self::Nobody => None,
            Self::Request(id, _) | Self::Admitted(id, _) | Self::Joining(id, _) | Self::Joined(id, _) => {
                Some(*id)
            }
        }
    }
}

/// A proposal that was not seen applied yet.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) command: Command,
    pub(crate) waiting: Waiting,
    since: Moment,
    said: Moment,
}

/// The open proposals of this node.
pub(crate) struct Proposals {
    node: NodeId,
    session: u64,
    number: u64,
    pub(crate) open: BTreeMap<ProposalId, Pending>,
}

impl Proposals {
    pub(crate) fn new(node: NodeId, session: u64) -> Self {
        Self { node, session, number: 0, open: BTreeMap::new() }
    }

    fn next_id(&mut self) -> ProposalId {
        self.number += 1;
        ProposalId { node: self.node, session: self.session, number: self.number }
    }

    /// Whether this very command is open already.
    pub(crate) fn contains(&self, command: &Command) -> bool {
        self.open.values().any(|p| &p.command == command)
    }
}

/// How long the command line waits for a commit before it is told that there is no majority.
const REQUEST_PATIENCE: std::time::Duration = std::time::Duration::from_secs(8);

impl Engine {
    /// Proposes a command, unless it is open already.
    pub(crate) fn propose(&mut self, command: Command) {
        if !self.proposals.contains(&command) {
            self.propose_for(command, Waiting::Nobody);
        }
    }

    /// Proposes a command that somebody waits for.
    pub(crate) fn propose_for(&mut self, command: Command, waiting: Waiting) {
        if let Some(why) = self.cannot_propose(&command) {
            self.answer_refused(waiting, &why);
            return;
        }
        let id = self.proposals.next_id();
        let pending = Pending { command, waiting, since: self.now, said: self.now };
        self.say(id, &pending.command);
        self.proposals.open.insert(id, pending);
    }

    /// Puts a proposal into the log of this leader, in the format that is in force.
    pub(crate) fn put_into_log(&mut self, proposal: &Proposal) {
        self.consensus.propose(format::write(self.state.format, proposal));
    }

    /// As leader: into the log at once; else to the leader, if one is known.
    fn say(&mut self, id: ProposalId, command: &Command) {
        let proposal = Proposal { id, command: command.clone() };
        if self.consensus.leads() {
            self.put_into_log(&proposal);
        } else if let Some(leader) = self.consensus.leader() {
            self.out.send.push((leader, PeerMessage::Propose(proposal)));
        }
    }

    /// Says again what was not answered; gives up what somebody waits for in vain.
    pub(crate) fn proposals_again(&mut self) {
        let patience = self.patience();
        let now = self.now;
        let hopeless: Vec<ProposalId> = self
            .proposals
            .open
            .iter()
            .filter(|(_, p)| p.waiting != Waiting::Nobody && now.since(p.since) > REQUEST_PATIENCE)
            .map(|(id, _)| *id)
            .collect();
        for id in hopeless {
            if let Some(pending) = self.proposals.open.remove(&id) {
                self.answer_no_majority(pending.waiting);
            }
        }
        self.say_again(|p| now.since(p.said) > patience);
    }

    /// There is another leader: it may not know of anything that this node wants.
    pub(crate) fn say_all_again(&mut self) {
        self.say_again(|_| true);
    }

    fn say_again(&mut self, which: impl Fn(&Pending) -> bool) {
        let now = self.now;
        let due = self.proposals.open.iter_mut().filter(|(_, p)| which(p)).map(|(id, p)| {
            p.said = now;
            (*id, p.command.clone())
        });
        let due: Vec<(ProposalId, Command)> = due.collect();
        for (id, command) in due {
            self.say(id, &command);
        }
    }
}
