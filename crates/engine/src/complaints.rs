//! What is not as it should be, said once: groups that ought to run and cannot, with what is missing (by the leader),
//! and trouble of the node itself (by the node).

use std::time::Duration;

use regent_model::action::Notice;
use regent_model::journal::{AUDIT, Level};
use regent_model::{GroupName, Moment};
use regent_planner::{Intent, place};

use crate::engine::Engine;

/// How long a group must be in trouble at the least before it is told: a takeover on its way is none.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// Trouble of a group.
pub(crate) struct Complaint {
    /// What is wrong, without numbers: another attempt is no other trouble.
    gist: String,
    since: Moment,
    told: bool,
}

impl Engine {
    /// Looks at every group; what has been wrong for a while is told.
    pub(crate) fn complain(&mut self) {
        if !self.consensus.leads_with_all_applied() {
            self.complaints.clear();
            return;
        }
        let view = self.view();
        let names: Vec<GroupName> = self.state.groups.keys().cloned().collect();
        for name in names {
            // What was left running on purpose is not in trouble.
            if self.state.ownership(&name).is_some_and(|o| o.without_lease) {
                self.complaints.remove(&name);
                continue;
            }
            match place(&self.state, &view, &name).intent {
                Intent::Blocked { reason, advice } => self.complain_of(name, "blocked", reason, advice),
                Intent::Failed { reason, advice } => self.complain_of(name, "failed", reason, advice),
                _ => {
                    self.complaints.remove(&name);
                }
            }
        }
    }

    /// An agent, or another part of the daemon, says something unasked.
    pub(crate) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Ordered { text, record } => {
                self.write(Level::Notice, AUDIT, text, |e| e.evidence = record);
            }
            Notice::Exited { group, epoch, resource, how } => {
                self.application_exited(&group, epoch, &resource, &how);
            }
            Notice::Told { group, epoch, resource, warning, text, evidence } => {
                let level = if warning { Level::Warning } else { Level::Step };
                self.write(level, "step", text, |e| {
                    e.group = Some(group);
                    e.resource = Some(resource);
                    e.epoch = Some(epoch);
                    e.evidence = evidence;
                });
            }
            Notice::Instance { group, epoch, resource, runs, version } => {
                self.instance_told(&group, epoch, &resource, runs, version);
            }
            Notice::Carried { group, resource, interface } => {
                self.carried_told(group, resource, interface);
            }
            Notice::Link { interface, fault } => self.link_told(interface, fault),
            Notice::Neighbours { network, answered } => self.neighbours_told(network, answered),
            Notice::Trouble { topic, text, advice } => {
                if self.troubles.insert(topic.clone(), text.clone()).as_ref() != Some(&text) {
                    self.write(Level::Warning, &topic, text, |e| e.evidence = advice);
                }
            }
            Notice::Connections { of, change } => self.connections_changed(of, change),
            Notice::Tickled(done) => self.tickled(done),
            Notice::Event(event) => self.raise(event),
            Notice::Well { topic, text } => {
                if self.troubles.remove(&topic).is_some() {
                    self.tell(Level::Notice, &topic, text);
                }
            }
        }
    }

    fn complain_of(&mut self, group: GroupName, kind: &str, reason: String, advice: String) {
        let now = self.now;
        let patience = PATIENCE_MIN.max(self.state.config.timers.lease * 2);
        let gist: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let fresh = || Complaint { gist: gist.clone(), since: now, told: false };
        let complaint = self.complaints.entry(group.clone()).or_insert_with(fresh);
        if complaint.gist != gist {
            *complaint = fresh();
        }
        if complaint.told || now.since(complaint.since) < patience {
            return;
        }
        complaint.told = true;
        let text = format!("{group} does not run: {reason}");
        self.write(Level::Error, kind, text, |e| {
            e.group = Some(group);
            e.evidence = advice;
        });
    }
}
