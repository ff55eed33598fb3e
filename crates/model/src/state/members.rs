//! Who belongs to the cluster: members that are added, that leave, and that are removed.
//!
//! A member leaves in steps, each with an entry of its own, so that nothing is lost where one of them does not come:
//!
//! 1. [`super::Command::Leave`]: it is to leave.
//! 2. The leader makes it a learner, once every owner's lease is confirmed under the voters before (L8).
//! 3. Once the leases are confirmed under the voters that are left, it is told to stop, if it runs: its groups go to others.
//! 4. [`super::Command::RemoveMember`]: its last life is over and it owns nothing, so it is no member any more, and the
//!    configuration does not name it from there on. Its number is never anybody's again.
//! 5. The leader takes the number out of the log's learners (L8 again).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, NodeId, NodeName};
use crate::mutants::{Condition, off};
use crate::state::apply::{Changes, void};
use crate::state::{Change, Fate, Member, NewConfig, State, Tenure, Ticket, TicketId, Word};

/// A member is to leave for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Leaving {
    /// Who wants it.
    pub who: String,
    /// Since when, in milliseconds since 1970, by the clock of the node that was asked.
    pub since_ms: u64,
}

/// A number that was a member's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Retired {
    /// The name of that member.
    pub name: NodeName,
    /// Its addresses, where the configuration does not name them any more: it is told there when it comes back.
    pub addresses: Vec<std::net::IpAddr>,
}

impl State {
    pub(super) fn add_member(&mut self, id: NodeId, member: &Member) -> Changes {
        if self.members.contains_key(&id) || self.retired.contains_key(&id) {
            return void(format!("number {id} is taken"));
        }
        let mut changes = Vec::new();
        // A member of the same name that lost its durable state comes back under a new number: the old one is gone.
        let old = self.id_of(&member.name);
        if let Some(old) = old {
            if self.living(old).is_some() || self.owns_anything(old) {
                return void(format!(
                    "{} is a member already, and nothing proves that it is gone",
                    member.name
                ));
            }
            self.retire(old, Vec::new());
            self.groups.values_mut().for_each(|group| group.renumber(old, id));
            changes.push(Change::MemberRemoved(old));
        }
        self.members.insert(id, member.clone());
        self.machine_has_joined(id, &member.name);
        changes.push(Change::MemberAdded(id));
        // With the new number among those that are waited for.
        changes.extend(old.map(|old| self.machine_has_left(old)).unwrap_or_default());
        changes
    }

    /// Whether a life of this node owns a group.
    #[must_use]
    pub fn owns_anything(&self, node: NodeId) -> bool {
        self.groups.values().any(|g| matches!(&g.tenure, Tenure::Owned(o) if o.owner.node == node))
    }

    /// Why this member cannot be told to leave, if it cannot: what is in the way, and what to type.
    #[must_use]
    pub fn must_stay(&self, node: NodeId) -> Option<(String, String)> {
        let name = self.name_of(node);
        let Some(member) = self.members.get(&node) else {
            return Some((format!("{name} is no member"), "regent status".to_owned()));
        };
        let stays = |(id, m): &(&NodeId, &Member)| **id != node && m.votes && !self.leaving.contains_key(id);
        let left: Vec<&Member> = self.members.iter().filter(stays).map(|(_, m)| m).collect();
        let nodes = left.iter().filter(|m| !m.witness).count();
        if nodes == 0 {
            let why = format!("{name} is the last node of the cluster: nobody would be left to own anything");
            return Some((
                why,
                "regent node stop ends it; another machine joins by: regent join TOKEN".to_owned(),
            ));
        }
        if left.len() == 2 && self.config.arbiter.is_none() {
            let kind = if member.witness { "the new one" } else { "a witness" };
            let names: Vec<&str> = left.iter().map(|m| m.name.as_str()).collect();
            let why = format!(
                "without {name}, {} would be two votes and nobody to decide between them: the loss of either would stop \
                 the other",
                names.join(" and ")
            );
            let advice = format!(
                "let {kind} join first: regent token --witness here, and on any third machine: regent witness TOKEN; or let a \
                 disk decide: regent arbiter init DISK; then remove {name}"
            );
            return Some((why, advice));
        }
        None
    }

    pub(super) fn leave(&mut self, node: NodeId, leaving: &Leaving) -> Changes {
        if let Some((why, _)) = self.must_stay(node) {
            return void(why);
        }
        if self.leaving.contains_key(&node) {
            return void(format!("{} is to leave already", self.name_of(node)));
        }
        self.leaving.insert(node, leaving.clone());
        vec![Change::Leaves(node)]
    }

    pub(super) fn stay(&mut self, node: NodeId) -> Changes {
        if self.leaving.remove(&node).is_none() {
            return void(format!("nobody wants {} to leave", self.name_of(node)));
        }
        vec![Change::Stays(node)]
    }

    /// What a member that is to leave still waits for; nothing if it could be removed where `voters` vote.
    #[must_use]
    pub fn removal_waits_for(&self, node: NodeId, voters: &BTreeSet<NodeId>) -> Option<String> {
        let name = self.name_of(node);
        if !self.members.contains_key(&node) {
            return Some(format!("{name} is no member"));
        }
        if !self.leaving.contains_key(&node) {
            return Some(format!("nobody wants {name} to leave"));
        }
        if voters.contains(&node) {
            return Some(format!("{name} still votes"));
        }
        if off(Condition::RemovedWhenOver) {
            return None;
        }
        if self.living(node).is_some() {
            return Some(format!("nothing proves yet that the last life of {name} is over"));
        }
        let owned = self.groups.iter().find_map(|(group, g)| match &g.tenure {
            Tenure::Owned(o) if o.owner.node == node => Some(group),
            _ => None,
        });
        owned.map(|group| {
            format!("{name} owns {group}, and nothing that {group} is content with proves that it is down")
        })
    }

    pub(super) fn remove_member(
        &mut self,
        node: NodeId,
        new: &NewConfig,
        voters: &BTreeSet<NodeId>,
    ) -> Changes {
        if let Some(why) = self.removal_waits_for(node, voters) {
            return void(why);
        }
        let name = self.name_of(node);
        let named = |m: &&Member| new.config.member(&m.name).is_some();
        let others = self.members.iter().filter(|(id, _)| **id != node).map(|(_, m)| m);
        if let Some(lost) = others.into_iter().find(|m| !named(m)) {
            return void(format!("the configuration does not name {}, which is a member", lost.name));
        }
        if self.members.get(&node).is_some_and(|m| named(&m)) {
            return void(format!("the configuration still names {name}"));
        }
        let addresses = self.members.get(&node).and_then(|m| self.config.member(&m.name));
        let addresses = addresses.map(|known| known.addresses.clone()).unwrap_or_default();
        // A word about its end will not be taken back: there is nobody whose the groups could be again.
        let of_it = |word: &mut Box<Word>| word.ended.owner.node == node;
        let words: Vec<(GroupName, Box<Word>)> = self
            .groups
            .iter_mut()
            .filter_map(|(name, group)| Some((name.clone(), group.word.take_if(of_it)?)))
            .collect();
        let mut changes = self.set_config(new);
        if matches!(changes.as_slice(), [Change::Void(_)]) {
            for (name, word) in words {
                self.groups.entry(name).and_modify(|group| group.word = Some(word));
            }
            return changes;
        }
        if let Some(gone) = self.members.get(&node) {
            tokens_end(&mut self.tickets, &gone.name);
        }
        self.retire(node, addresses);
        self.groups.values_mut().for_each(|group| group.forgets(node));
        changes.push(Change::MemberRemoved(node));
        changes.extend(self.machine_has_left(node));
        changes
    }

    /// A number is nobody's any more, for good. What is known of its end stays (L9).
    fn retire(&mut self, node: NodeId, addresses: Vec<std::net::IpAddr>) {
        let Some(member) = self.members.remove(&node) else { return };
        self.lives.remove(&node);
        self.leaving.remove(&node);
        self.speaks.remove(&node);
        self.fence_requests.retain(|about, _| about.node != node);
        self.retired.insert(node, Retired { name: member.name, addresses });
    }
}

/// The token with which the machine of that name joined lets it in no more.
fn tokens_end(tickets: &mut BTreeMap<TicketId, Ticket>, name: &NodeName) {
    for ticket in tickets.values_mut() {
        if matches!(&ticket.fate, Fate::Used { name: joined, .. } if joined == name) {
            ticket.fate = Fate::Revoked;
        }
    }
}
