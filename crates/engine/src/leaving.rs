//! Members that leave for good: what is asked, what the leader does about it step by step, and what the machine hears that
//! comes back all the same. The steps are those of `model/state/members.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use regent_api::{Answer, LeavingStatus, RemoveStep};
use regent_model::config;
use regent_model::ids::NodeId;
use regent_model::journal::Level;
use regent_model::state::{Change, Command, Leaving, NewConfig, NodeMode, StopMode, Tenure};

use crate::engine::{Engine, OnDurable};
use crate::io::{PeerMessage, RequestId};
use crate::proposals::Waiting;

/// So many machines that were removed last are told so when they come back.
const FORMER_MAX: usize = 8;
/// How often they are told, if they are there.
const TOLD_EVERY: Duration = Duration::from_secs(2);

impl Engine {
    /// A member is to leave, or to stay after all, or to be removed.
    pub(crate) fn remove_request(&mut self, id: RequestId, node: &str, step: RemoveStep) -> Option<Answer> {
        let node = match self.known_node(node) {
            Ok(node) => node,
            Err(answer) => return Some(answer),
        };
        let name = self.state.name_of(node);
        let leaves = self.state.leaving.contains_key(&node);
        match step {
            RemoveStep::Look { dead } => Some(match self.cannot_leave(node, dead) {
                Some((why, advice)) => Answer::refused(why, advice),
                None => Answer::Done(format!("{name} can be removed")),
            }),
            RemoveStep::Leave { .. } if leaves => Some(Answer::Done(format!("{name} is to leave already"))),
            RemoveStep::Leave { dead, who } => {
                if let Some((why, advice)) = self.cannot_leave(node, dead) {
                    return Some(Answer::refused(why, advice));
                }
                let words = format!("{name} is to leave: it loses its vote, lets go of its groups and stops");
                let leaving = Leaving { who, since_ms: self.wall_ms };
                self.propose_for(Command::Leave { node, leaving }, Waiting::Request(id, words));
                None
            }
            RemoveStep::Stay if !leaves => Some(Answer::Done(format!("nobody wants {name} to leave"))),
            RemoveStep::Stay => {
                let words = format!("{name} stays; if it has stopped, there: regent node start");
                self.propose_for(Command::Stay(node), Waiting::Request(id, words));
                None
            }
            RemoveStep::Finish { text, serial } => self.finish_removal(id, node, text, serial),
        }
    }

    /// Why a member cannot leave now, if it cannot: what is in the way, and what to type.
    fn cannot_leave(&self, node: NodeId, dead: bool) -> Option<(String, String)> {
        let name = self.state.name_of(node);
        if node == self.me.id {
            let why =
                format!("{name} would have to stop before it is removed, and could not say how that ended");
            return Some((why, format!("on another member: regent node remove {name}")));
        }
        if let Some(obstacle) = self.state.must_stay(node) {
            return Some(obstacle);
        }
        let left: BTreeSet<NodeId> = self.counted().into_iter().filter(|id| *id != node).collect();
        let there = |id: &NodeId| *id == self.me.id || self.heard.contains_key(id);
        let silent: Vec<String> =
            left.iter().filter(|id| !there(id)).map(|id| self.state.name_of(*id)).collect();
        if silent.len() * 2 >= left.len() && !left.is_empty() {
            let why = format!(
                "without {name}, {} would vote, and {} is not heard: there would be no majority",
                left.iter().map(|id| self.state.name_of(*id)).collect::<Vec<_>>().join(", "),
                silent.join(", ")
            );
            return Some((why, format!("bring {} back first: regent status", silent.join(", "))));
        }
        self.is_not_as_said(node, dead)
    }

    /// Whether a member runs, or is gone, otherwise than the one believes who wants it removed.
    fn is_not_as_said(&self, node: NodeId, dead: bool) -> Option<(String, String)> {
        let name = self.state.name_of(node);
        let heard = self.heard.contains_key(&node);
        let proven = self.state.living(node).is_none();
        match (dead, heard) {
            (true, true) => Some((
                format!("{name} is heard: it is not dead"),
                format!("regent node remove {name} lets it go in order"),
            )),
            (false, false) if !proven => Some((
                format!("{name} is not heard, and nothing proves that it is down"),
                format!("start it; or, if its machine never comes back: regent node remove {name} --dead"),
            )),
            (_, false) => self.unproven_end(node).map(|why| {
                let advice = format!(
                    "look at the machine; if it is off for good: regent node confirm-dead {name} --why '...', then again: \
                     regent node remove {name} --dead"
                );
                (why, advice)
            }),
            (false, true) => None,
        }
    }

    /// What nothing has ended yet of a member that is not heard.
    fn unproven_end(&self, node: NodeId) -> Option<String> {
        let name = self.state.name_of(node);
        if self.state.living(node).is_some() {
            return Some(format!("nothing proves yet that the last life of {name} is over"));
        }
        let owns = |tenure: &Tenure| matches!(tenure, Tenure::Owned(o) if o.owner.node == node);
        let group = self.state.groups.iter().find(|(_, group)| owns(&group.tenure))?.0;
        Some(format!("{name} owns {group}, and nothing that {group} is content with proves that it is down"))
    }

    /// It has left: it is removed with the configuration that does not name it.
    fn finish_removal(&mut self, id: RequestId, node: NodeId, text: String, serial: u64) -> Option<Answer> {
        let name = self.state.name_of(node);
        if serial != self.state.config_serial {
            let why = "another configuration was put in force meanwhile";
            return Some(Answer::refused(why, format!("again: regent node remove {name}")));
        }
        let parsed = config::parse(&text);
        let errors: Vec<&str> = parsed.errors().map(|f| f.message.as_str()).collect();
        let errors = errors.join("; ");
        let Some(config) = parsed.config else {
            let why = format!("the configuration without {name} is none: {errors}");
            return Some(Answer::refused(
                why,
                format!("take {name} out of what names it: regent apply FILE"),
            ));
        };
        let new = NewConfig::replacing(serial, text, config, self.state.past_dates.clone());
        let command = Command::RemoveMember { node, new: Box::new(new) };
        let (_, changes) = self.state.preview(&command, &self.consensus.voters());
        if let Some(Change::Void(why)) = changes.first() {
            return Some(Answer::refused(why.clone(), "regent status"));
        }
        let words = format!("{name} is no member any more");
        self.propose_for(command, Waiting::Request(id, words));
        None
    }

    /// Takes the vote from a member that is to leave. True if something is under way because of it.
    pub(crate) fn lead_leaving(&mut self, voters: &BTreeSet<NodeId>) -> bool {
        let leaves = self.state.leaving.keys().copied().find(|id| voters.contains(id));
        let Some(leaves) = leaves.filter(|id| self.can_spare(*id, voters)) else {
            self.stop_the_leaving(voters);
            return false;
        };
        if !self.owners_confirmed() {
            return true;
        }
        if leaves != self.me.id {
            self.consensus.change_member(leaves, false);
            return true;
        }
        // It cannot take the vote from itself: who leads next does.
        let next = voters.iter().copied().find(|id| {
            !self.state.leaving.contains_key(id)
                && self.heard.contains_key(id)
                && self.consensus.is_caught_up(*id)
        });
        if let Some(next) = next {
            self.consensus.transfer(next);
        }
        true
    }

    /// Whether the voters that are left would go on: a majority of them is there and has the log, and two of them have
    /// somebody to decide between them.
    fn can_spare(&self, leaves: NodeId, voters: &BTreeSet<NodeId>) -> bool {
        let left: Vec<NodeId> = voters.iter().copied().filter(|id| *id != leaves).collect();
        let there = |id: &&NodeId| {
            **id == self.me.id || self.heard.contains_key(id) && self.consensus.is_caught_up(**id)
        };
        let ready = left.iter().filter(there).count();
        match left.len() {
            0 => false,
            2 => ready == 2 && self.has_arbiter(),
            all => ready * 2 > all,
        }
    }

    /// Who has no vote any more, and every lease is confirmed without it, lets go of its groups and stops.
    fn stop_the_leaving(&mut self, voters: &BTreeSet<NodeId>) {
        let stops = |id: &NodeId| {
            let life = self.state.living(*id);
            let mode = self.state.lives.get(id).map(|life| life.mode);
            let there =
                *id == self.me.id || life.is_some_and(|life| self.heard.get(id) == Some(&life.incarnation));
            !voters.contains(id)
                && life.is_some()
                && there
                && !matches!(mode, Some(NodeMode::Stopping(_)) | None)
        };
        let next = self.state.leaving.keys().copied().find(stops);
        if let Some(node) = next.filter(|_| self.owners_confirmed()) {
            self.propose(Command::SetMode { node, mode: NodeMode::Stopping(StopMode::Takeover) });
        }
    }

    /// What `status` says of the members that are to leave.
    pub(crate) fn leaving_status(&self) -> Vec<LeavingStatus> {
        let voters = self.consensus.voters();
        let status = |(id, leaving): (&NodeId, &Leaving)| {
            let name = self.state.members.get(id)?.name.clone();
            let (waits, advice) = match self.state.removal_waits_for(*id, &voters) {
                None => (None, Some(format!("regent node remove {name}"))),
                Some(_) if voters.contains(id) => {
                    let why =
                        "it has a vote until every owner's lease is confirmed, and those that stay are there";
                    (Some(why.to_owned()), None)
                }
                Some(_) if self.heard.contains_key(id) || *id == self.me.id => {
                    (Some("it lets go of its groups and stops".to_owned()), None)
                }
                Some(why) => {
                    (Some(why), Some(format!("if it is off for good: regent node confirm-dead {name}")))
                }
            };
            let Leaving { who, since_ms } = leaving.clone();
            Some(LeavingStatus { node: name, who, since_ms, waits, advice })
        };
        self.state.leaving.iter().filter_map(status).collect()
    }

    /// Members that come, leave, stay and go, told by the leader.
    pub(crate) fn tell_membership(&mut self, index: u64, change: &Change) {
        let (node, words) = match change {
            Change::MemberAdded(node) => (*node, "is a member"),
            Change::MemberRemoved(node) => (*node, "is no member any more"),
            Change::Leaves(node) => (*node, "is to leave the cluster"),
            Change::Stays(node) => (*node, "stays in the cluster"),
            _ => return,
        };
        let by = match self.state.leaving.get(&node) {
            Some(leaving) if matches!(change, Change::Leaves(_)) => format!(", by order of {}", leaving.who),
            _ => String::new(),
        };
        let text = format!("{} {words}{by}", self.state.name_of(node));
        self.tell_indexed(index, Level::Notice, "member", text, None);
    }

    /// Machines that were removed, where they were: should one come back, it is told. Not where somebody else is by now.
    pub(crate) fn former(&self) -> BTreeMap<NodeId, Vec<IpAddr>> {
        let config = &self.state.config;
        let taken: BTreeSet<IpAddr> =
            config.nodes.iter().chain(&config.witnesses).flat_map(|n| n.addresses.iter().copied()).collect();
        let is_free = |addresses: &[IpAddr]| {
            !addresses.is_empty() && addresses.iter().all(|address| !taken.contains(address))
        };
        let known = self.state.retired.iter().rev().filter(|(_, retired)| is_free(&retired.addresses));
        known.take(FORMER_MAX).map(|(id, retired)| (*id, retired.addresses.clone())).collect()
    }

    /// Tells machines that were members that they are none any more: one that had joined and heard nothing yet does not know
    /// whom to ask.
    pub(crate) fn tell_the_former(&mut self) {
        if self.state.retired.is_empty() || self.now.since(self.former_told) < TOLD_EVERY {
            return;
        }
        self.former_told = self.now;
        let former = self.former();
        self.out.send.extend(former.into_keys().map(|id| (id, PeerMessage::Removed)));
    }

    /// Whether who says something is no member any more: it is told so, and nothing that it says counts.
    pub(crate) fn is_removed(&mut self, from: NodeId) -> bool {
        let removed = self.state.retired.contains_key(&from);
        if removed {
            self.out.send.push((from, PeerMessage::Removed));
        }
        removed
    }

    /// A member says that this machine is none any more. It does and decides nothing from now on; that is durable before
    /// the daemon ends.
    pub(crate) fn has_been_removed(&mut self, by: NodeId) {
        let stranger = !self.state.members.is_empty() && !self.state.members.contains_key(&by);
        if self.memory.forgotten().is_some() || stranger {
            return;
        }
        let (me, peer) = (&self.me.name, self.state.name_of(by));
        let why = format!(
            "{me} was removed from the cluster {}, as {peer} says: it is no member any more, owns nothing and takes part in \
             nothing",
            self.state.config.cluster
        );
        self.tell(Level::Error, "removed", why.clone());
        let records = self.memory.forget_removed(&why);
        self.persist(records, OnDurable::Forgotten);
    }
}
