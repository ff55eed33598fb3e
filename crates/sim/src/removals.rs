//! Members that leave for good: the operator's walk from the wish to the configuration without them, through everything
//! that goes wrong meanwhile, and the machines that are told when they come back.

use regent_api::{RemoveStep, Request};
use regent_model::config::parse;
use regent_model::ids::{NodeId, NodeName};
use regent_model::state::State;

use crate::event::Event;
use crate::sim::Sim;
use crate::time::MS;

/// How many members are removed in a run: at most one of the nodes, so that a group has one left, and a witness.
const REMOVED_MAX: usize = 2;

/// The text without the `[[node]]` or `[[witness]]` of this name, and without the name in lists.
fn without(text: &str, name: &str) -> String {
    let own = |block: &str| {
        let member = block.starts_with("[[node]]\n") || block.starts_with("[[witness]]\n");
        member && block.contains(&format!("\nname = \"{name}\"\n"))
    };
    let blocks: Vec<&str> = text.split("\n\n").filter(|block| !own(block.trim_start())).collect();
    blocks.join("\n\n").replace(&format!("\"{name}\", "), "").replace(&format!(", \"{name}\""), "")
}

impl Sim {
    /// The operator wants somebody removed, now and then, where the variant has members to spare.
    pub(crate) fn wants_removal(&mut self) -> bool {
        let Some(removals) = self.removals.as_ref().filter(|all| all.len() < REMOVED_MAX) else {
            return false;
        };
        let Some((_, truth)) = self.judge.truth.as_ref().filter(|_| self.rng.chance(250)) else {
            return false;
        };
        let has_node = removals.iter().any(|name| !self.config.is_witness(name));
        let fits = |m: &&regent_model::state::Member| {
            self.config.member(&m.name).is_some() && !removals.contains(&m.name) && (m.witness || !has_node)
        };
        let names: Vec<NodeName> = truth.members.values().filter(fits).map(|m| m.name.clone()).collect();
        if truth.members.len() <= 3 || names.is_empty() {
            return false;
        }
        let name = self.rng.pick(&names).clone();
        self.removals.get_or_insert_default().push(name.clone());
        self.removes(&name);
        true
    }

    /// Asks for the next step of a removal, and again until it is through.
    pub(crate) fn removes(&mut self, name: &NodeName) {
        self.follow_removals();
        let Some((_, truth)) = self.judge.truth.clone() else { return };
        let Some(id) = truth.id_of(name) else { return };
        if self.peace {
            return;
        }
        let pause = self.rng.between(300, 2_500) * MS;
        self.after(pause, Event::Removes(name.clone()));
        self.next_step(&truth, id, name);
    }

    fn next_step(&mut self, truth: &State, id: NodeId, name: &NodeName) {
        let asks: Vec<NodeId> = self
            .machines
            .values()
            .filter(|m| m.id != id && m.daemon.as_ref().is_some_and(|d| d.frozen.is_none()))
            .map(|m| m.id)
            .collect();
        if asks.is_empty() {
            return;
        }
        let asked = *self.rng.pick(&asks);
        let dead = self.machines.get(&id).is_none_or(|m| m.daemon.is_none());
        let voters = self.machines[&asked].daemon.as_ref().map(|d| d.engine.voters()).unwrap_or_default();
        let step = if !truth.leaving.contains_key(&id) {
            RemoveStep::Leave { dead, who: "operator".into() }
        } else if !self.peace && self.rng.chance(30) {
            self.removals.get_or_insert_default().retain(|other| other != name);
            RemoveStep::Stay
        } else if truth.removal_waits_for(id, &voters).is_none() {
            RemoveStep::Finish {
                text: without(&truth.config_text, name.as_str()),
                serial: truth.config_serial,
            }
        } else if self.machines.get(&id).is_none_or(|m| !m.power) && truth.living(id).is_some() {
            let (who, why) = ("operator".to_owned(), "I pulled its plug".to_owned());
            self.ask(asked, Request::ConfirmDead { node: name.to_string(), who, why, minutes: None });
            return;
        } else {
            return;
        };
        if let RemoveStep::Finish { text, .. } = &step {
            self.knows(&text.clone());
        }
        self.ask(asked, Request::Remove { node: name.to_string(), step });
    }

    /// In the end: what was begun is brought to an end.
    pub(crate) fn restore_removals(&mut self) {
        self.follow_removals();
        let Some((_, truth)) = self.judge.truth.clone() else { return };
        let leaving: Vec<NodeId> = truth.leaving.keys().copied().collect();
        for id in leaving {
            let Some(name) = truth.members.get(&id).map(|m| m.name.clone()) else { continue };
            self.next_step(&truth, id, &name);
        }
    }

    /// Who was removed stands in no file of the operator's any more.
    pub(crate) fn follow_removals(&mut self) {
        let Some((_, truth)) = &self.judge.truth else { return };
        let gone: Vec<NodeName> = truth
            .retired
            .values()
            .map(|retired| retired.name.clone())
            .filter(|name| truth.config.member(name).is_none() && self.config.member(name).is_some())
            .collect();
        for name in gone {
            self.marks.hit("a member was removed");
            self.file = without(&self.file, name.as_str());
            let Some(config) = parse(&self.file).config else {
                let what = format!("the file without {name} is no configuration");
                self.judge.violated(self.now, &mut self.trace, what);
                return;
            };
            self.config = config;
            // Its machine is started again all the same, sooner or later.
            if let Some(node) = self.machines.values().find(|m| m.name == name).map(|m| m.id) {
                self.stopped_on_purpose(node);
            }
        }
    }

    /// Whether the log has no member of this number any more.
    pub(crate) fn is_retired(&self, node: NodeId) -> bool {
        self.judge.truth.as_ref().is_some_and(|(_, truth)| truth.retired.contains_key(&node))
    }

    /// Whether the log has a member of this number that is to leave: nobody starts it again.
    pub(crate) fn is_leaving(&self, node: NodeId) -> bool {
        self.judge.truth.as_ref().is_some_and(|(_, truth)| truth.leaving.contains_key(&node))
    }

    /// A machine was told that it is no member any more: it is taken away.
    pub(crate) fn was_told(&mut self, node: NodeId) {
        self.marks.hit("a machine that was removed was told so");
        let name = self.name(node);
        self.trace.world(self.now, format_args!("{name} is told that it was removed"));
        self.power_off(node);
        self.machines.remove(&node);
    }

    /// What is not as it should be with members that leave, if anything.
    pub(crate) fn removal_problem(&self) -> Option<String> {
        let (_, truth) = self.judge.truth.as_ref()?;
        if let Some(id) = truth.leaving.keys().next() {
            return Some(format!("{} is to leave, and has not", truth.name_of(*id)));
        }
        let untold = self.machines.values().find(|m| truth.retired.contains_key(&m.id))?;
        Some(format!("{} was removed, and has not been told", untold.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variant::Variant;

    #[test]
    fn the_file_without_a_member_is_one() {
        let text = Variant::Replacing.config();
        for name in ["lx4", "lx5", "lx6", "wit", "wi2"] {
            let shorter = without(&text, name);
            let config = parse(&shorter).config.unwrap_or_else(|| panic!("{shorter}"));
            assert!(config.nodes.iter().chain(&config.witnesses).all(|n| n.name.as_str() != name));
            assert!(config.groups.iter().all(|g| g.nodes.iter().all(|n| n.as_str() != name)));
            assert_eq!(config.nodes.len() + config.witnesses.len(), 4);
        }
    }
}
