//! What a run notes on the way: rare branches that the journal tells of, and gaps that a client would see.

use regent_model::GroupName;
use regent_model::journal::{Entry, Level};

use crate::sim::Sim;
use crate::time::MS;

/// Words of journal entries, and the marks that they stand for.
const MARKS: [(&str, &str, &str); 16] = [
    ("assigned", "proof: lease ended", "takeover by lease-ended"),
    ("assigned", "proof: fenced", "takeover by fenced"),
    ("assigned", "proof: rebooted", "takeover by rebooted"),
    ("assigned", "proof: released", "takeover by released"),
    ("assigned", "proof: the word of", "takeover by an operator's word"),
    ("assigned", "proof: adopted", "adopted"),
    ("adopt", "", "a resource that ran was adopted"),
    ("withdrawn", "", "a promise was withdrawn"),
    ("group_failed", "", "a group could not run on a node and moved on"),
    ("acquire_failed", "trying again", "a failed acquire was tried again"),
    ("restart", "", "a failed resource was restarted in place"),
    ("gave_up", "", "restarts were used up"),
    ("stuck", "", "a group was stuck"),
    ("snapshot", "", "a snapshot was installed"),
    ("letting_go", "", "a node let go of everything"),
    ("held_without_lease", "", "a node was stopped by force"),
];

impl Sim {
    pub(crate) fn mark_entry(&mut self, entry: &Entry) {
        for (kind, words, mark) in MARKS {
            if entry.kind == kind && entry.text.contains(words) {
                self.marks.hit(mark);
            }
        }
        if entry.kind == "leader" && self.now > 0 {
            self.marks.hit("a leader was elected");
        }
        if entry.kind == "fence_request" && !entry.text.contains("attempt 1)") {
            self.marks.hit("a fence was tried again");
        }
        if entry.level == Level::Error && entry.kind == "unknown_entry" {
            self.judge.violated(self.now, &mut self.trace, entry.text.clone());
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
