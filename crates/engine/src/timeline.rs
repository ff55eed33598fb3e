//! What the journal says of each change of the replicated state.

use regent_model::GroupName;
use regent_model::journal::Level;
use regent_model::proof::Proof;
use regent_model::state::{Change, NodeMode, Ownership, Phase};

use crate::engine::Engine;

impl Engine {
    /// Every member applies every change; to keep the merged journal readable, a change is told by the node it is
    /// about if that is this one, or else by the leader.
    pub(crate) fn tell_change(&mut self, index: u64, change: &Change) {
        match change {
            Change::Void(_) => {}
            Change::NodeDown(about, proof) if self.consensus.leads() => {
                let text = format!("{} is down: {}", self.state.name_of(about.node), self.proof_words(proof));
                self.tell_indexed(index, Level::Notice, "node_down", text, None);
            }
            Change::NodeUp(about) if about.node == self.me.id => {
                let text = format!("{} is up, incarnation {}", self.me.name, about.incarnation);
                self.tell_indexed(index, Level::Notice, "node_up", text, None);
            }
            Change::Assigned(group, ownership) if ownership.owner.node == self.me.id => {
                self.tell_assigned(index, group, ownership);
            }
            Change::PhaseChanged(group, ownership) if ownership.owner.node == self.me.id => {
                self.tell_phase(index, group, ownership);
            }
            Change::Vacated(group, proof) if self.consensus.leads() => {
                let text = format!("{group} has no owner: {}", self.proof_words(proof));
                self.tell_indexed(index, Level::Step, "vacated", text, Some((group, None)));
            }
            Change::FailedOn(group, node, why) if *node == self.me.id => {
                let text = format!("{group} cannot run on {}: {why}", self.me.name);
                self.tell_indexed(index, Level::Error, "group_failed", text, Some((group, None)));
            }
            Change::Mode(node, mode) if *node == self.me.id => {
                let text = format!("{} {}", self.me.name, mode_words(*mode));
                self.tell_indexed(index, Level::Notice, "node_mode", text, None);
            }
            Change::FenceRequested(_, request) if request.by == self.me.id => {
                self.tell_fencing(index, change)
            }
            Change::Registered(about, _) if about.node == self.me.id => self.tell_fencing(index, change),
            Change::HeldWithoutLease(about) if about.node == self.me.id => {
                let text = format!("what {} owns is held without lease from now on", self.me.name);
                self.tell_indexed(index, Level::Warning, "held_without_lease", text, None);
            }
            Change::Reboots(about) if about.node == self.me.id => {
                let text = format!("{} is to be rebooted, so that another node can take over", self.me.name);
                self.tell_indexed(index, Level::Notice, "reboot_ordered", text, None);
            }
            Change::Withdrawn(promise) if promise.voter == self.me.id => {
                let text =
                    format!("{} is heard again: promise withdrawn", self.state.name_of(promise.about.node));
                self.tell_indexed(index, Level::Step, "withdrawn", text, None);
            }
            Change::Held(..) | Change::Resumed(..) | Change::WordExpired(..) | Change::ConfigChanged
                if self.consensus.leads() =>
            {
                self.tell_wish(index, change);
            }
            Change::Invited(_) | Change::Admitted(..) | Change::Revoked(_) if self.consensus.leads() => {
                self.tell_ticket(index, change);
            }
            Change::Key(news) if self.consensus.leads() => self.tell_key(index, *news),
            Change::ConfigLocked(lock) if self.consensus.leads() => self.tell_lock(index, lock.as_ref()),
            Change::InstanceKnown(name) if self.consensus.leads() => self.tell_instance(index, name),
            Change::FormatRaised(format) if self.consensus.leads() => self.tell_format(index, *format),
            Change::MemberAdded(_) | Change::MemberRemoved(_) | Change::Leaves(_) | Change::Stays(_)
                if self.consensus.leads() =>
            {
                self.tell_membership(index, change);
            }
            _ => {}
        }
    }

    /// What operators want of the cluster, told by the leader alone.
    fn tell_wish(&mut self, index: u64, change: &Change) {
        match change {
            Change::Held(group, hold) => {
                let text = format!("{group} is {hold}: nothing is done with it by itself");
                self.tell_indexed(index, Level::Warning, "held", text, Some((group, None)));
            }
            Change::Resumed(group, hold) => {
                let text = format!("{group} is looked after again; it was {hold}");
                self.tell_indexed(index, Level::Notice, "resumed", text, Some((group, None)));
            }
            Change::WordExpired(group, ownership) => {
                let owner = self.state.name_of(ownership.owner.node);
                let text = format!(
                    "nobody has taken {group} over on the word that {owner} is dead: the word is good no more, and {group} \
                     waits for a proof again"
                );
                self.tell_indexed(index, Level::Warning, "word_expired", text, Some((group, None)));
            }
            _ => {
                let text = format!("configuration {} is in force", self.state.config_serial);
                self.tell_indexed(index, Level::Notice, "config", text, None);
                let names = self.state.groups.keys();
                let waits =
                    names.filter_map(|g| Some((g.clone(), self.state.waits_for_next_acquisition(g)?)));
                for (group, text) in waits.collect::<Vec<_>>() {
                    self.tell_indexed(index, Level::Notice, "config_later", text, Some((&group, None)));
                }
            }
        }
    }

    /// A proof in words, with names.
    pub(crate) fn proof_words(&self, proof: &Proof) -> String {
        let Proof::LeaseEnded { promises } = proof else { return proof.to_string() };
        let voters: Vec<String> = promises.iter().map(|p| self.state.name_of(p.voter)).collect();
        format!("lease ended, promised by {}", voters.join(" and "))
    }

    fn tell_assigned(&mut self, index: u64, group: &GroupName, ownership: &Ownership) {
        let from =
            ownership.previous.map_or_else(String::new, |n| format!(" after {}", self.state.name_of(n)));
        let text = format!(
            "{} owns {group} from now on, epoch {}{from}; proof: {}",
            self.me.name,
            ownership.epoch,
            self.proof_words(&ownership.proof)
        );
        let about = Some((group, Some(ownership)));
        self.tell_indexed(index, Level::Notice, "assigned", text, about);
    }

    fn tell_phase(&mut self, index: u64, group: &GroupName, ownership: &Ownership) {
        let about = Some((group, Some(ownership)));
        match &ownership.phase {
            Phase::Releasing(reason) => {
                let text = format!("{} takes {group} down: {reason}", self.me.name);
                self.tell_indexed(index, Level::Notice, "release_begins", text, about);
            }
            Phase::Stuck(why) => {
                let text = format!("{group} is stuck on {}: {why}", self.me.name);
                self.tell_indexed(index, Level::Error, "stuck", text, about);
            }
            Phase::AwaitsReboot => {
                let text = format!(
                    "{group} is down on {}, and released for good once that has been rebooted",
                    self.me.name
                );
                self.tell_indexed(index, Level::Notice, "awaits_reboot", text, about);
            }
            // The sequencer told it when it happened; the log only agrees.
            Phase::Acquiring | Phase::Online => {}
        }
    }

    pub(crate) fn tell_indexed(
        &mut self,
        index: u64,
        level: Level,
        kind: &str,
        text: String,
        about: Option<(&GroupName, Option<&Ownership>)>,
    ) {
        self.write(level, kind, text, |e| {
            e.index = Some(index);
            e.group = about.map(|(group, _)| group.clone());
            e.epoch = about.and_then(|(_, o)| o).map(|o| o.epoch);
        });
    }
}

fn mode_words(mode: NodeMode) -> String {
    match mode {
        NodeMode::Active => "may own groups".to_owned(),
        NodeMode::Standby => "is on standby".to_owned(),
        NodeMode::Stopping(how) => format!("is to stop ({})", how.word()),
    }
}
