//! The cluster's key: what this node does in a change of it, and what is said of one. The keys themselves are with the
//! daemon; here are only the marks by which they are told apart.

use std::collections::BTreeSet;

use regent_api::{Answer, KeyChangeStatus, KeyStatus, KeyVerb};
use regent_model::ids::{NodeId, NodeName};
use regent_model::journal::Level;
use regent_model::state::{Change, Command, KeyMark, KeyNews, KeyStage, KeyStep, KeysHeld, MachineKey};

use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

/// What is called a machine that is not the one that the log knows.
const MACHINE: &str = "machine_key";

/// What this node knows of its own keys.
#[derive(Debug, Default)]
pub(crate) struct KeyWork {
    held: Option<KeysHeld>,
    machine: Option<MachineKey>,
    ordered: Option<KeyStep>,
}

impl Engine {
    /// The daemon says which keys this node has by now, in its file, its guard and its channels.
    pub(crate) fn keys_held(&mut self, held: KeysHeld, machine: MachineKey) {
        self.keys.held = Some(held);
        self.keys.machine = Some(machine);
        // What was ordered is done, or is ordered again.
        self.keys.ordered = None;
    }

    /// Does what is this node's to do about the cluster's key.
    pub(crate) fn follow_keys(&mut self) {
        let (Some(held), Some(machine)) = (&self.keys.held, self.keys.machine) else { return };
        // What is applied may be old, and is not acted upon.
        if !self.current || !self.state.members.contains_key(&self.me.id) {
            return;
        }
        let node = self.me.id;
        let step = self.state.keys.step(node, held);
        match self.state.keys.machines.get(&node) {
            None => self.propose(Command::Machine { node, key: machine }),
            Some(known) if *known != machine => self.complain_of_machine(),
            Some(_) => {}
        }
        match step {
            Some(KeyStep::Say(_, stage)) => {
                if let Some(mark) = self.state.keys.change.as_ref().map(|change| change.mark) {
                    self.propose(Command::KeyThrough { node, mark, stage });
                }
            }
            Some(step) if self.keys.ordered != Some(step) => {
                self.keys.ordered = Some(step);
                self.out.keys = Some(step);
            }
            _ => {}
        }
    }

    fn complain_of_machine(&mut self) {
        let text = "this machine has another key pair (machine.key) than the one that the cluster knows it by: it is given no \
                    new key of the cluster";
        if self.troubles.insert(MACHINE.to_owned(), text.to_owned()).is_none() {
            self.write(Level::Warning, MACHINE, text.to_owned(), |e| {
                e.evidence = "put /var/lib/regent/machine.key back from before, or let this machine join again under its \
                              name, with a new token: docs/security.md"
                    .to_owned();
            });
        }
    }

    pub(crate) fn key_request(&mut self, id: RequestId, verb: KeyVerb) -> Option<Answer> {
        match verb {
            KeyVerb::Status => Some(Answer::Key(Box::new(self.key_status()))),
            KeyVerb::Rotate { without } => self.rotate_key(id, &without),
            KeyVerb::Begin { number, mark, without } => self.begin_key(id, number, mark, &without),
        }
    }

    /// The members that these names mean: none of them may be heard.
    fn not_waited_for(&self, names: &[String]) -> Result<BTreeSet<NodeId>, Box<Answer>> {
        let mut ids = BTreeSet::new();
        for name in names {
            let id = self.known_node(name).map_err(Box::new)?;
            if id == self.me.id || self.heard.contains_key(&id) {
                let reason = format!("{name} is heard: it takes the new key by itself, and is not left out");
                let advice =
                    format!("regent key rotate; or stop it first: regent node stop {name} --takeover");
                return Err(Box::new(Answer::refused(reason, advice)));
            }
            ids.insert(id);
        }
        Ok(ids)
    }

    /// Somebody wants another key: where nothing stands against it, the daemon is to make one.
    fn rotate_key(&mut self, id: RequestId, without: &[String]) -> Option<Answer> {
        let left_out = match self.not_waited_for(without) {
            Ok(ids) => ids,
            Err(refusal) => return Some(*refusal),
        };
        if self.state.keys.change.is_some() {
            return self.go_on_without(id, &left_out);
        }
        if let Some(refusal) = self.somebody_is_silent(&left_out) {
            return Some(refusal);
        }
        let others = self.state.keys.machines.len();
        if self
            .state
            .members
            .keys()
            .any(|m| !self.state.keys.machines.contains_key(m) && !left_out.contains(m))
        {
            let reason =
                format!("only {others} members have said yet by which key pair their machines are known");
            return Some(Answer::refused(
                reason,
                "try again in a moment; regent status shows who is not there",
            ));
        }
        Some(Answer::MakeKey { number: self.state.keys.number.wrapping_add(1) })
    }

    fn go_on_without(&mut self, id: RequestId, left_out: &BTreeSet<NodeId>) -> Option<Answer> {
        if left_out.is_empty() {
            return Some(match self.key_status().change {
                Some(change) => {
                    let next = change.next.clone().unwrap_or_else(|| "regent key status".to_owned());
                    Answer::refused(change.line(), next)
                }
                None => Answer::refused("the key was changed a moment ago", "regent key status"),
            });
        }
        let names = self.names(left_out.iter().copied());
        let words = format!("{} not waited for any more", and_are(&names));
        let nodes = left_out.clone();
        self.propose_for(Command::KeyWithout { nodes }, Waiting::Request(id, words));
        None
    }

    /// Members that are not heard and are not to be left out stand against a change: the old key would stay good.
    fn somebody_is_silent(&self, left_out: &BTreeSet<NodeId>) -> Option<Answer> {
        let silent = |id: &NodeId| *id != self.me.id && !self.heard.contains_key(id);
        let silent: BTreeSet<NodeId> = self.state.members.keys().copied().filter(silent).collect();
        let names = self.names(silent.difference(left_out).copied());
        if names.is_empty() {
            return None;
        }
        let reason = format!(
            "{} not heard: the old key would stay good until everybody is there and has the new one",
            and_are(&names)
        );
        // With those that were named: who types it is not sent round in a circle.
        let all = self.names(silent.union(left_out).copied());
        let advice = format!(
            "start {} first (there: regent node start), or leave out who stays away: regent key rotate{}; who is left out is given the \
             key by its machine's own key pair when it comes back",
            and(&names),
            without(&all)
        );
        Some(Answer::refused(reason, advice))
    }

    fn begin_key(&mut self, id: RequestId, number: u32, mark: KeyMark, without: &[String]) -> Option<Answer> {
        let without = match self.not_waited_for(without) {
            Ok(ids) => ids,
            Err(refusal) => return Some(*refusal),
        };
        let words = format!("the cluster's key is being changed to number {number} ({mark})");
        let (maker, at_ms) = (self.me.id, self.wall_ms);
        self.propose_for(
            Command::ChangeKey { number, mark, maker, without, at_ms },
            Waiting::Request(id, words),
        );
        None
    }

    fn names(&self, ids: impl IntoIterator<Item = NodeId>) -> Vec<NodeName> {
        ids.into_iter().filter_map(|id| Some(self.state.members.get(&id)?.name.clone())).collect()
    }

    /// What to type while these are waited for, if anything.
    fn next_in_change(&self, heard: &[NodeName], silent: &[NodeName]) -> Option<String> {
        if !silent.is_empty() {
            return Some(format!(
                "start {} (there: regent node start), and it goes on by itself; or leave out who stays away: regent \
                 key rotate{}",
                and(silent),
                without(silent)
            ));
        }
        // One that is there may still be given nothing: its machine is not the one that the log knows.
        let name = heard.first()?;
        Some(format!(
            "nothing, it goes on by itself; if it stays so: regent status (the troubles of {name}), and regent node stop {name} \
             --takeover, then on another member regent key rotate --without {name}"
        ))
    }

    pub(crate) fn key_status(&self) -> KeyStatus {
        let keys = &self.state.keys;
        let held = self.keys.held.as_ref().and_then(|held| held.marks.get(&keys.number));
        KeyStatus {
            node: self.me.name.clone(),
            number: keys.number,
            mark: keys.mark.as_ref().or(held).map(ToString::to_string),
            changed_ms: keys.changed_ms,
            change: keys.change.as_ref().map(|change| {
                let waits = keys.waits_for(self.state.members.keys().copied());
                let (heard, silent): (Vec<_>, Vec<_>) =
                    waits.into_iter().partition(|id| *id == self.me.id || self.heard.contains_key(id));
                let (heard, silent) = (self.names(heard), self.names(silent));
                let next = self.next_in_change(&heard, &silent);
                KeyChangeStatus {
                    mark: change.mark.to_string(),
                    by: self.names([change.maker]).pop().unwrap_or_else(|| self.me.name.clone()),
                    begun_ms: change.begun_ms,
                    stage: stage_word(change.stage).to_owned(),
                    words: change.stage.words().to_owned(),
                    through: self.names(change.through.iter().copied()),
                    waits_for: heard,
                    silent,
                    without: self.names(change.without.iter().copied()),
                    next,
                }
            }),
        }
    }

    /// How it goes with a change of the key.
    pub(crate) fn tell_key(&mut self, index: u64, news: KeyNews) {
        let keys = &self.state.keys;
        let text = match news {
            KeyNews::Begun => match &keys.change {
                Some(change) => {
                    let without = self.names(change.without.iter().copied());
                    let without: String = without.iter().map(|name| format!(", without {name}")).collect();
                    let by = self.state.name_of(change.maker);
                    format!(
                        "the cluster's key is being changed: {by} has made number {} ({}){without}",
                        keys.number + 1,
                        change.mark
                    )
                }
                None => return,
            },
            KeyNews::Stage(stage) => format!("change of the cluster's key: {}", stage.words()),
            KeyNews::Without(node) => {
                format!("change of the cluster's key: {} is not waited for", self.state.name_of(node))
            }
            KeyNews::Changed => format!(
                "the cluster's key was changed: number {} is in use, and the one before is good for nothing",
                keys.number
            ),
            KeyNews::GivenUp => {
                "the change of the cluster's key was given up, for whoever had the new one is lost or not waited for: the \
                 old key stays in use"
                    .to_owned()
            }
        };
        self.tell_indexed(index, Level::Notice, "key", text, None);
    }
}

/// What is said instead of what was asked for, where a change of the key was given up.
pub(crate) fn what_came_of_it(changes: &[Change]) -> Option<String> {
    changes.contains(&Change::Key(KeyNews::GivenUp)).then(|| {
        "the change of the cluster's key was given up, for nobody who is waited for has the new one: the old key stays in \
         use; to change it all the same: regent key rotate"
            .to_owned()
    })
}

fn and(names: &[NodeName]) -> String {
    let names: Vec<&str> = names.iter().map(NodeName::as_str).collect();
    names.join(" and ")
}

fn and_are(names: &[NodeName]) -> String {
    format!("{} {}", and(names), if names.len() == 1 { "is" } else { "are" })
}

/// The words that leave these out.
fn without(names: &[NodeName]) -> String {
    names.iter().map(|name| format!(" --without {name}")).collect()
}

fn stage_word(stage: KeyStage) -> &'static str {
    match stage {
        KeyStage::Spread => "spread",
        KeyStage::Switch => "switch",
        KeyStage::Retire => "retire",
    }
}

#[cfg(test)]
mod tests;
