//! What a run notes on the way: rare branches that the journal tells of, and gaps that a client would see.

use regent_model::GroupName;
use regent_model::ids::NodeId;
use regent_model::journal::{Entry, Level};

use crate::guardian::nanoseconds;
use crate::machine::Machine;
use crate::sim::Sim;
use crate::time::MS;

impl Sim {
    /// Notes what an entry of a node's journal tells.
    pub(crate) fn mark_entry(&mut self, node: NodeId, entry: &Entry) {
        self.marks.told(entry);
        match entry.kind.as_str() {
            "leader" if self.now > 0 => self.mark_leader(node),
            "assigned" => self.mark_takeover(node, entry),
            "fence_request" if !entry.text.contains("attempt 1)") => {
                self.marks.hit("a fence was tried again")
            }
            "config" => self.marks.hit("a configuration was put in force"),
            "withdrawn" => {
                let late = self.judge.truth.as_ref().map(|(index, _)| *index);
                if late.is_some_and(|newest| entry.index.is_some_and(|own| own + 3 < newest)) {
                    self.marks.hit("a withdrawal reached its voter late");
                }
            }
            "unknown_entry" if entry.level == Level::Error => {
                self.judge.violated(self.now, &mut self.trace, entry.text.clone());
            }
            _ => {}
        }
    }

    fn mark_leader(&mut self, node: NodeId) {
        self.marks.hit("a leader was elected");
        self.led_since = self.now;
        let believes = |m: &&Machine| m.daemon.as_ref().is_some_and(|d| d.engine.leads());
        if self.machines.values().filter(believes).any(|m| m.id != node) {
            self.marks.hit("a leader did not know yet that there was another one");
        }
    }

    fn mark_takeover(&mut self, node: NodeId, entry: &Entry) {
        let lease = nanoseconds(self.config.timers.lease);
        if entry.text.contains("proof: lease ended") && self.now < self.led_since + lease {
            self.marks.hit("an election was won inside the lease wait");
        }
        let state = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.engine.state());
        let left = state.zip(entry.group.as_ref()).and_then(|(state, group)| state.ownership(group));
        if left.is_some_and(|o| o.without_lease) && entry.text.contains("proof: adopted") {
            self.marks.hit("what a forced stop left running was adopted");
        }
    }

    /// Notes since when no machine answers a group's address, and who does again.
    pub(crate) fn watch_gaps(&mut self) {
        if self.trace.journal.is_none() && !self.trace.wants_words() {
            return;
        }
        let groups: Vec<(GroupName, std::net::IpAddr)> = self
            .config
            .groups
            .iter()
            .filter_map(|g| g.addresses.first().map(|a| (g.name.clone(), a.address)))
            .collect();
        for (name, address) in groups {
            let answers = self.machines.values().find(|m| {
                m.power
                    && m.frozen.is_none()
                    && m.body.addresses.contains(&address)
                    && self.net.is_plugged(m.id, 0)
            });
            let answers = answers.map(|m| m.name.to_string());
            match (answers, self.gaps.get(&name).copied()) {
                (Some(who), Some(since)) => {
                    self.gaps.remove(&name);
                    let gap = (self.now - since) as f64 / MS as f64;
                    let words = format!("{address} answers on {who}, after {gap:.1} ms");
                    self.trace.world(self.now, words);
                }
                (None, None) => {
                    self.gaps.insert(name, self.now);
                }
                _ => {}
            }
        }
    }
}
