//! Coverage marks: how often a rare branch was really reached. A mark that no run reaches is a hole in the faults.

use std::collections::BTreeMap;

use regent_model::journal::Entry;

/// Words of journal entries, and the marks that they stand for.
const TOLD: [(&str, &str, &str); 66] = [
    ("generation", "goes on alone", "a generation began"),
    ("arbiter", "turning it off by", "one of two turned the other one off to go on alone"),
    ("arbiter", "leaves in order", "one of two that stopped named the other one"),
    ("arbiter", "names this node", "the arbiter named the node that asked"),
    ("arbiter", "names lx", "the arbiter named the other node"),
    ("arbiter", "cannot be read", "the arbiter's disk could not be read"),
    ("arbiter", "did not confirm", "the arbiter's disk did not confirm a write"),
    ("arbiter", "looking whether generation", "a sole voter looked whether it still is"),
    ("arbiter", "knows of no later generation", "a sole voter that came up heard that nobody had gone on"),
    ("word", "going on alone", "a person said of one of two that it is off"),
    ("word", "on the word of", "one of two went on without the arbiter, on a word alone"),
    ("assigned", "proof: lease ended", "takeover by lease-ended"),
    ("assigned", "proof: fenced", "takeover by fenced"),
    ("assigned", "proof: its lease ended, and", "takeover by cut-off"),
    ("assigned", "proof: rebooted", "takeover by rebooted"),
    ("assigned", "proof: released", "takeover by released"),
    ("assigned", "proof: the word of", "takeover by an operator's word"),
    ("assigned", "proof: adopted", "a new life adopted a group"),
    ("adopt", "", "a resource that ran was adopted"),
    ("withdrawn", "", "a promise was withdrawn"),
    ("promised", "", "a promise matured"),
    ("group_failed", "", "a group could not run on a node and moved on"),
    ("acquire_failed", "trying again", "a failed acquire was tried again"),
    ("release_failed", "", "a resource could not be taken down"),
    ("probe", "", "a probe could not tell what runs"),
    ("monitor", "", "a monitor found something wrong"),
    ("exited", "", "an application died"),
    ("restart", "", "a failed resource was restarted in place"),
    ("gave_up", "", "restarts were used up"),
    ("stuck", "", "a group was stuck"),
    ("snapshot", "", "a node that was away took over the whole state"),
    ("letting_go", "letting go of everything: no majority", "an owner's lease lapsed"),
    ("letting_go", "owning nothing: no majority", "a lease lapsed that nothing was held by"),
    ("letting_go", "the daemon was not heard", "a guard let go because its daemon was away"),
    ("letting_go", "was not adopted while", "a guard let go of what was not adopted in time"),
    ("letting_go", "the log has ended", "a guard let go because the log had ended its life"),
    ("held_without_lease", "", "a node was stopped by force"),
    ("node_stop", "(graceful)", "a node was stopped gracefully"),
    ("node_stop", "(takeover)", "a node was stopped for a takeover"),
    ("node_mode", "standby", "a node went on standby"),
    ("release_begins", "a better node", "a group went home"),
    ("release_begins", "an operator moved it", "an operator moved a group"),
    ("release_begins", "asked for a restart", "an operator restarted a group"),
    ("release_begins", "was disabled", "an operator disabled a group"),
    ("blocked", "nothing brings it up by itself", "a held group stayed down"),
    ("blocked", "nothing is done about it", "the owner of a held group was silent"),
    ("failed_held", "", "a failure of a held group was only told"),
    ("resumed", "", "a held group was resumed"),
    ("release_begins", "taken out of the configuration", "a group that was taken out was taken down"),
    ("release_begins", "is on standby", "a group left a node on standby"),
    ("blocked", "nothing proves yet", "a group was blocked for want of proof"),
    ("blocked", "that is no proof for this group", "the end of a lease was no proof for a group"),
    ("blocked", "is cutting its power", "a group waited for a fence device"),
    ("failed", "", "a group had failed wherever it may run"),
    ("fence", "could not cut", "a fence device failed"),
    ("fence", "off from its disks: the device does not answer", "a device at the storage failed"),
    ("registered", "", "a node registered at its disks"),
    ("fence", "feed-a and feed-b confirm", "all devices of a level confirmed"),
    ("fence", "bmc confirms", "the second level confirmed when the first had failed"),
    ("member", "is no member any more", "a lost member was replaced"),
    ("network", "", "one network of several fell silent"),
    ("guard_lost", "", "a daemon lost its guard"),
    ("awaits_reboot", "", "a group was down and awaited a reboot"),
    ("reboot", "", "a machine rebooted as it was told"),
    ("release_begins", "is to be rebooted", "a group left a machine that was to be rebooted"),
    ("release_failed", "the reboot will end it", "what could not be taken down was left to the reboot"),
];

/// Why a guard may refuse an act, and the marks of it.
const REFUSALS: [(&str, &str); 4] = [
    ("the guard's incarnation is", "an act was refused: an earlier life asked for it"),
    ("is letting go", "an act was refused: letting go"),
    ("holds without lease", "an act was refused: held without lease"),
    ("the voters have changed", "an act was refused: the voters have changed"),
];

/// Marks that the simulator sets itself.
const SEEN: [&str; 48] = [
    "a machine that was removed was told so",
    "a member was removed",
    "a channel delivered what it had held back through a partition",
    "a configuration was put in force",
    "a fence device confirmed before the lease had ended",
    "a fence device confirmed after the lease had ended",
    "a device was not free yet: its mounting was under way",
    "a fence device said that it had done it, and had not",
    "a disk refused what a machine wrote that had stood still",
    "a fence was tried again",
    "an agent found its own machine registered no more",
    "an agent found registered still whom it had told to be cut off",
    "an agent that registers was ended by the next one",
    "registrations at the disks were lost",
    "a guard began with what the one before it left",
    "a guard let go of what it held",
    "a leader did not know yet that there was another one",
    "a leader was elected",
    "a machine joined",
    "a machine lost its state",
    "a disk was put back to an earlier copy",
    "a node whose disk was put back was found out",
    "a machine was reset because it could not let go in time",
    "a machine was cut from power while it let go",
    "a machine woke up as owner beside the next one, as guards allow",
    "a new life began in the same guard",
    "a newcomer votes",
    "a person's word let one of two go on alone",
    "a request was refused",
    "a request was given up for want of a majority",
    "a start came too late: its control group was gone",
    "a torn tail was recovered",
    "a trap struck",
    "a withdrawal reached its voter late",
    "a write to the arbiter's area came late",
    "a write to the arbiter's area was torn",
    "a write survived that was never acknowledged",
    "a write was lost that was never acknowledged",
    "an act came too late and was not begun",
    "an acquire was called off by a release",
    "an instance was started by hand",
    "an agent answered only because its time was over",
    "an election was won inside the lease wait",
    "what a definition in force holds was not given away",
    "what a forced stop left running was adopted",
    "what was acquired before a change of the file ran on",
    "nodes were parted",
    "of two nodes exactly one went on",
];

/// How often each mark was reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(BTreeMap<&'static str, u64>);

impl Marks {
    pub(crate) fn hit(&mut self, mark: &'static str) {
        debug_assert!(all().any(|known| known == mark), "the mark {mark:?} is not listed");
        *self.0.entry(mark).or_insert(0) += 1;
    }

    /// Takes note of what a journal entry stands for.
    pub(crate) fn told(&mut self, entry: &Entry) {
        for (kind, words, mark) in TOLD {
            if entry.kind == kind && entry.text.contains(words) {
                self.hit(mark);
            }
        }
    }

    /// Takes note of why a guard did not let something be done.
    pub(crate) fn refused(&mut self, why: &str) {
        for (words, mark) in REFUSALS {
            if why.contains(words) {
                self.hit(mark);
            }
        }
    }

    /// How often this one was reached.
    #[must_use]
    pub fn count(&self, mark: &str) -> u64 {
        self.0.get(mark).copied().unwrap_or(0)
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(mark).or_insert(0) += count;
        }
    }

    /// All marks, reached or not, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut names: Vec<_> = all().collect();
        names.sort_unstable();
        names.into_iter().map(|mark| (mark, self.count(mark)))
    }
}

/// Every mark there is.
fn all() -> impl Iterator<Item = &'static str> {
    let told = TOLD.into_iter().map(|(_, _, mark)| mark);
    told.chain(REFUSALS.into_iter().map(|(_, mark)| mark)).chain(SEEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mark_is_listed_twice() {
        let mut names: Vec<_> = all().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
