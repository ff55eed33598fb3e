//! Machines that join: new ones, and one that lost its state and comes back under its name with a new number.

use regent_api::Request;
use regent_model::NodeName;
use regent_model::config::parse;
use regent_model::ids::NodeId;
use regent_model::state::{State, Tenure};
use std::collections::BTreeMap;

use crate::event::Event;
use crate::machine::Machine;
use crate::sim::Sim;
use crate::time::{Clock, MS, Ns, S};

impl Sim {
    /// Names of the configuration that no machine bears: of those that have not joined yet, or are lost.
    pub(crate) fn strangers(&self) -> Vec<NodeName> {
        let names = self.config.nodes.iter().chain(&self.config.witnesses).map(|n| n.name.clone());
        names.filter(|name| self.id(name.as_str()).is_none()).collect()
    }

    /// Asks a daemon to let a machine of this name join, and asks again until it has.
    pub(crate) fn joins(&mut self, name: &NodeName) {
        if self.id(name.as_str()).is_some() {
            return;
        }
        self.after(S, Event::Joins(name.clone()));
        if self.asked.values().any(|asked| asked.joins.as_ref() == Some(name)) {
            return;
        }
        let asks = self.machines.values().find(|m| m.daemon.as_ref().is_some_and(|d| d.frozen.is_none()));
        let asks = asks.map(|m| m.id);
        let (Some(asks), Some(known)) = (asks, self.config.member(name)) else { return };
        let request = Request::Join {
            name: name.to_string(),
            addresses: known.addresses.clone(),
            witness: self.config.is_witness(name),
            showing: None,
        };
        self.ask(asks, request);
    }

    /// The log knows the new member: its machine begins, with nothing but the configuration.
    pub(crate) fn joined(&mut self, id: NodeId, name: &NodeName, text: &str) {
        let Some(config) = parse(text).config else {
            let what = format!("{name} was told a configuration that is none");
            self.judge.violated(self.now, &mut self.trace, what);
            return;
        };
        if self.id(name.as_str()).is_some() || self.machines.contains_key(&id) {
            return;
        }
        self.marks.hit("a machine joined");
        let mut machine = Machine::new(id, name.clone(), Clock::new(self.now, 0, 0));
        machine.newcomer = Some(Box::new(State::founded(config, text.to_owned(), BTreeMap::new())));
        self.machines.insert(id, machine);
        let at = (self.now + self.rng.skewed(1, 1_000) * MS).max(self.newcomers_begin);
        let at = if self.newcomers_begin > self.now { self.newcomers_begin } else { at };
        self.queue.put(at, Event::PowerOn(id));
    }

    /// Whether a machine may lose its state: no member is missing, and it is the first.
    pub(crate) fn may_wipe(&self) -> bool {
        let Some((_, truth)) = &self.judge.truth else { return false };
        !self.wiped
            && truth.members.keys().eq(self.machines.keys())
            && self.machines.values().all(|m| m.power && m.daemon.is_some() && m.newcomer.is_none())
            && self.machines.len() == 3
    }

    /// A machine is lost with its state; another one is to take its place.
    pub(crate) fn wipe(&mut self, node: NodeId, back_after: Ns) {
        if !self.may_wipe() {
            return;
        }
        self.wiped = true;
        self.marks.hit("a machine lost its state");
        self.power_off(node);
        let Some(machine) = self.machines.remove(&node) else { return };
        self.after(back_after, Event::Joins(machine.name));
    }

    /// After the last fault: whoever is lost and was a member is confirmed to be dead, so that it can join again.
    pub(crate) fn restore_members(&mut self, asks: NodeId, truth: &State) {
        for name in self.strangers() {
            let Some(old) = truth.id_of(&name) else { continue };
            let owns =
                truth.groups.values().any(|g| matches!(&g.tenure, Tenure::Owned(o) if o.owner.node == old));
            if truth.living(old).is_some() || owns {
                let (who, why) = ("operator".to_owned(), "its machine was taken away".to_owned());
                self.ask(asks, Request::ConfirmDead { node: name.to_string(), who, why, minutes: None });
            }
        }
    }
}
