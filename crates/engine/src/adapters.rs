//! The interfaces of this node and its networks: a service address moves to a standby interface before anything moves
//! to another node; networks that are lost are told, by whom.
//!
//! Nothing of it is done where no networks are configured.

mod choice;
mod telling;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{NeighbourProbe, Outcome, Resource, Run, RunId, Upkeep};
use regent_model::config::{AdapterConfig, AdapterRole, NodeConfig};
use regent_model::event::{Event, EventName};
use regent_model::ids::{GroupName, NodeId, ResourceName};
use regent_model::journal::Level;

use crate::engine::Engine;
use choice::Carried;
use verdict::{Settled, is_unheard, judge};

pub use telling::AdapterFact;
pub use verdict::{Hearing, NetworkWord};

/// How long a verdict on a network must stand before it counts, at the least: the guards themselves wait so long
/// before they say that a network fell silent.
const SETTLE_MIN: Duration = Duration::from_secs(1);
/// While a network is silent, or an interface was found deaf, the neighbours are asked so often.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// A swap that failed is tried again after this.
const SWAP_AGAIN: Duration = Duration::from_secs(5);

/// What this node knows of its interfaces and networks.
#[derive(Default)]
pub(crate) struct Adapters {
    /// What the kernel says is wrong with each interface.
    faults: BTreeMap<String, Option<String>>,
    /// Interfaces that carry and hear nobody, while another one of the same network hears.
    deaf: BTreeSet<String>,
    carried: Carried,
    /// Failed interfaces that were told of.
    failed: BTreeSet<String>,
    /// Who answered on which network, when it was asked last.
    reached: BTreeSet<usize>,
    ask_at: BTreeMap<usize, Moment>,
    words: Vec<Settled>,
    swaps: BTreeMap<RunId, Swap>,
    swap_at: BTreeMap<(GroupName, ResourceName), Moment>,
    upkeep: Upkeep,
}

/// A swap under way.
struct Swap {
    group: GroupName,
    resource: ResourceName,
    network: usize,
    from: String,
    to: String,
    began: Moment,
}

impl Adapters {
    fn fault(&self, interface: &str) -> Option<String> {
        let deaf = || "it carries, but hears nobody, while another interface of its network does".to_owned();
        let told = self.faults.get(interface).cloned().flatten();
        told.or_else(|| self.deaf.contains(interface).then(deaf))
    }

    fn is_well(&self, interface: &str) -> bool {
        self.fault(interface).is_none()
    }

    fn carries(&self, interface: &str) -> bool {
        self.carried.values().any(|i| i == interface)
    }
}

impl Engine {
    fn my_config(&self) -> Option<NodeConfig> {
        self.state.config.member(&self.me.name).cloned()
    }

    /// An interface changed, as the kernel says.
    pub(crate) fn link_told(&mut self, interface: String, fault: Option<String>) {
        if fault.is_some() {
            // Why it is silent is known better now.
            self.adapters.deaf.remove(&interface);
        }
        self.adapters.faults.insert(interface, fault);
        self.adapters_changed();
    }

    /// An agent found a service address on an interface, or on none.
    pub(crate) fn carried_told(
        &mut self,
        group: GroupName,
        resource: ResourceName,
        interface: Option<String>,
    ) {
        match interface {
            Some(interface) => self.adapters.carried.insert((group, resource), interface),
            None => self.adapters.carried.remove(&(group, resource)),
        };
        self.adapters_changed();
    }

    /// Neighbours were asked on each interface of a network.
    pub(crate) fn neighbours_told(&mut self, network: usize, answered: Vec<(String, bool)>) {
        if answered.iter().any(|(_, answered)| *answered) {
            self.adapters.reached.insert(network);
            for (interface, answered) in answered {
                let carries = self.adapters.faults.get(&interface).is_none_or(Option::is_none);
                if answered || !carries {
                    self.adapters.deaf.remove(&interface);
                } else {
                    self.adapters.deaf.insert(interface);
                }
            }
        } else {
            // Nobody anywhere: that is the network, and says nothing of an interface.
            self.adapters.reached.remove(&network);
        }
        self.adapters_changed();
    }

    /// Tells what is new of the interfaces, and moves what is on one that failed.
    fn adapters_changed(&mut self) {
        let Some(node) = self.my_config().filter(|n| !n.adapters.is_empty()) else { return };
        for adapter in &node.adapters {
            let fault = self.adapters.fault(&adapter.interface);
            match (fault, self.adapters.failed.contains(&adapter.interface)) {
                (Some(why), false) => {
                    self.adapters.failed.insert(adapter.interface.clone());
                    self.adapter_failed(&node, adapter, &why);
                }
                (None, true) => {
                    self.adapters.failed.remove(&adapter.interface);
                    self.adapter_returned(&node, adapter);
                }
                _ => {}
            }
        }
        self.swap_what_must(&node);
        self.follow_upkeep();
    }

    fn adapter_failed(&mut self, node: &NodeConfig, adapter: &AdapterConfig, why: &str) {
        let (name, interface) = (self.state.config.network_name(adapter.network), &adapter.interface);
        let others = node.adapters_on(adapter.network);
        let mut others = others.iter().filter(|a| a.interface != *interface);
        let substitute = others.clone().find(|a| self.adapters.is_well(&a.interface));
        let stands_by =
            adapter.role == AdapterRole::Standby || others.any(|a| self.adapters.carries(&a.interface));
        let (event, text) = if self.adapters.carries(interface) && substitute.is_some() {
            (None, "; its service addresses move to another interface of this node")
        } else if self.adapters.carries(interface) {
            (Some(EventName::FailInterface), "; no other interface of this node can take its place")
        } else if stands_by {
            (Some(EventName::FailStandby), "; a swap to it is not possible now")
        } else {
            (Some(EventName::FailInterface), "")
        };
        let text = format!("{interface} of network {name} failed: {why}{text}");
        self.tell(Level::Warning, "adapter", text);
        self.adapter_event(event, adapter);
    }

    fn adapter_returned(&mut self, node: &NodeConfig, adapter: &AdapterConfig) {
        let (name, interface) = (self.state.config.network_name(adapter.network), &adapter.interface);
        let others = node.adapters_on(adapter.network);
        let mut others = others.iter().filter(|a| a.interface != *interface);
        let elsewhere = others.any(|a| self.adapters.carries(&a.interface));
        let (event, text) = match (elsewhere, adapter.role) {
            (true, AdapterRole::Service) => (
                EventName::JoinStandby,
                "; it is the standby now: what moved away stays where it is until that fails, or the group moves",
            ),
            (true, AdapterRole::Standby) | (false, AdapterRole::Standby) => (EventName::JoinStandby, ""),
            (false, AdapterRole::Service) => (EventName::JoinInterface, ""),
        };
        self.tell(Level::Notice, "adapter", format!("{interface} of network {name} works again{text}"));
        self.adapter_event(Some(event), adapter);
    }

    /// The events name an interface by its boot address, where that is told.
    fn adapter_event(&mut self, event: Option<EventName>, adapter: &AdapterConfig) {
        if let Some(event) = event {
            self.raise(Event::new(event, [self.me.name.to_string(), named(adapter)]));
        }
    }

    /// Begins to move every service address that is on a failed interface and has a better one.
    fn swap_what_must(&mut self, node: &NodeConfig) {
        for ((group, resource), from) in self.adapters.carried.clone() {
            let key = (group.clone(), resource.clone());
            let underway = self.adapters.swaps.values().any(|s| s.group == group && s.resource == resource);
            let early = self.adapters.swap_at.get(&key).is_some_and(|at| self.now < *at);
            if underway || early || self.adapters.is_well(&from) || !self.may_swap(&group) {
                continue;
            }
            let Some(config) = self.state.definition(&group).cloned() else { continue };
            let Some(address) = config.addresses.iter().find(|a| a.name == resource) else { continue };
            let Some(network) = self.state.config.network_of(address) else { continue };
            let others = node.adapters_on(network);
            let well = others.iter().find(|a| a.interface != from && self.adapters.is_well(&a.interface));
            let sequencer = self.sequencers.get_mut(&group).filter(|_| well.is_some());
            let run = sequencer.and_then(|s| s.swap(self.now, &resource, &mut self.numbers));
            let Some(mut run) = run else { continue };
            self.choose_places(&mut run);
            let Some(to) = run.places.first().map(|p| p.interface.clone()) else { continue };
            let text = format!("{} moves from {from} to {to}, on this node", address.address);
            let (of, epoch) = (group.clone(), run.epoch);
            self.write(Level::Notice, "swap_adapter", text, |e| {
                e.group = Some(of);
                e.epoch = Some(epoch);
            });
            let swap = Swap { group, resource, network, from, to, began: self.now };
            self.adapters.swaps.insert(run.id, swap);
            self.out.run.push(run);
        }
    }

    /// As for every act: the log gave the group to this life, which has a lease. The guard asks once more.
    fn may_swap(&self, group: &GroupName) -> bool {
        let mine =
            self.my_life().is_some_and(|life| self.state.owned_by(life).any(|(name, _)| name == group));
        mine && self.current && self.guard.lease_valid && !self.guard.letting_go
    }

    /// The answer to a swap. False if it is none.
    pub(crate) fn swap_done(&mut self, id: RunId, outcome: &Outcome) -> bool {
        let Some(swap) = self.adapters.swaps.remove(&id) else { return false };
        let key = (swap.group.clone(), swap.resource.clone());
        if *outcome != Outcome::Running {
            self.adapters.swap_at.insert(key, self.now + SWAP_AGAIN);
            return true;
        }
        self.adapters.swap_at.remove(&key);
        let took = self.now.since(swap.began);
        let text = format!("{} is on {} now; {} has failed", swap.resource, swap.to, swap.from);
        let group = swap.group.clone();
        self.write(Level::Notice, "swap_adapter", text, |e| {
            e.group = Some(group);
            e.took = Some(took);
        });
        let node = self.my_config();
        let name_of = |interface: &str| {
            let adapters = node.iter().flat_map(|n| &n.adapters);
            adapters
                .into_iter()
                .find(|a| a.interface == interface)
                .map_or_else(|| interface.to_owned(), named)
        };
        let network = self.state.config.network_name(swap.network);
        let args = [self.me.name.to_string(), network, name_of(&swap.from), name_of(&swap.to)];
        self.raise(Event::new(EventName::SwapAdapter, args));
        true
    }

    /// Names the interfaces for an address, as things stand.
    pub(crate) fn choose_places(&self, run: &mut Run) {
        let (Resource::Address(address), Some(node)) = (&run.resource, self.my_config()) else { return };
        let adapters = &self.adapters;
        let config = &self.state.config;
        run.places =
            choice::places(config, &node, &run.group, address, &adapters.carried, |i| adapters.is_well(i));
    }

    fn follow_upkeep(&mut self) {
        let Some(node) = self.my_config() else { return };
        let idle = |u: &Upkeep| u.watch.is_empty() && u.persistent.is_empty() && u.boot.is_empty();
        if node.adapters.is_empty() && node.persistent.is_empty() && idle(&self.adapters.upkeep) {
            return;
        }
        let adapters = &self.adapters;
        let mut upkeep =
            choice::upkeep(&self.state.config, &node, &adapters.carried, |i| adapters.is_well(i));
        let in_force = self.state.groups.values().filter_map(|g| g.in_force.as_deref());
        upkeep.service.extend(in_force.flat_map(|g| g.addresses.iter().map(|a| a.address)));
        if upkeep != self.adapters.upkeep {
            self.adapters.upkeep = upkeep.clone();
            self.out.upkeep = Some(upkeep);
        }
    }

    /// Looks at the networks: what is heard, what that means, and whom to ask.
    pub(crate) fn look_at_networks(&mut self) {
        self.follow_upkeep();
        if self.state.config.networks.is_empty() || self.state.config.is_witness(&self.me.name) {
            return;
        }
        let Some(node) = self.my_config() else { return };
        // What came to an end without a word: a lease that was let go of, an answer that never came.
        let sequencers = &self.sequencers;
        self.adapters.carried.retain(|(group, _), _| sequencers.contains_key(group));
        let waits = |id: &RunId| sequencers.values().any(|s| s.waits_for(*id));
        self.adapters.swaps.retain(|id, _| waits(id));
        self.swap_what_must(&node);
        self.adapters.words.resize_with(self.state.config.network_count(), Settled::default);
        for network in 0..self.adapters.words.len() {
            let own = self.hearing(network);
            let peers = self.heard.keys().filter_map(|id| Some((*id, self.facts.get(id)?)));
            let peers: BTreeMap<NodeId, &Hearing> =
                peers.filter_map(|(id, facts)| Some((id, facts.networks.get(network)?))).collect();
            let lost = own.heard.is_empty() || is_unheard(self.me.id, &peers);
            let word = judge(self.me.id, &own, &peers);
            if !lost {
                self.adapters.reached.remove(&network);
            }
            self.ask_neighbours(&node, network, lost);
            let settle = SETTLE_MIN.max(self.state.config.timers.promise_begins());
            if let Some(before) = self.adapters.words[network].take(self.now, word, settle) {
                self.network_changed(network, before, word);
            }
        }
    }

    /// What this node hears on a network.
    fn hearing(&self, network: usize) -> Hearing {
        let heard =
            |(id, on): (&NodeId, &Vec<bool>)| on.get(network).copied().unwrap_or(false).then_some(*id);
        let adapters = self.state.config.member(&self.me.name).map(|n| n.adapters_on(network));
        let carries = adapters.filter(|all| !all.is_empty()).is_none_or(|all| {
            all.iter().any(|a| self.adapters.faults.get(&a.interface).is_none_or(Option::is_none))
        });
        Hearing {
            heard: self.networks.iter().filter_map(heard).collect(),
            reached: self.adapters.reached.contains(&network),
            carries,
            word: self.adapters.words.get(network).map(|w| w.word).unwrap_or_default(),
        }
    }

    /// Asks who is there, out of every interface: when no keepalive comes, or none arrives, and while an interface was
    /// found deaf.
    fn ask_neighbours(&mut self, node: &NodeConfig, network: usize, lost: bool) {
        let adapters = node.adapters_on(network);
        let deaf = adapters.iter().any(|a| self.adapters.deaf.contains(&a.interface));
        let due = self.adapters.ask_at.get(&network).is_none_or(|at| *at <= self.now);
        if self.networks.is_empty() || !(lost || deaf) || !due {
            return;
        }
        self.adapters.ask_at.insert(network, self.now + ASK_EVERY);
        let config = &self.state.config;
        let members = config.nodes.iter().chain(&config.witnesses).filter(|n| n.name != self.me.name);
        let targets = members.filter_map(|n| n.addresses.get(network).copied()).collect();
        self.out.ask.push(NeighbourProbe {
            network,
            interfaces: adapters.iter().map(|a| a.interface.clone()).collect(),
            own: node.addresses.get(network).copied(),
            targets,
        });
    }

    fn network_changed(&mut self, network: usize, before: NetworkWord, now: NetworkWord) {
        let name = self.state.config.network_name(network);
        let all = "-1".to_owned();
        let me = self.me.name.to_string();
        let (event, who, level, text) = match (before, now) {
            (NetworkWord::Unknown, NetworkWord::Up) | (_, NetworkWord::Unknown) => return,
            (_, NetworkWord::Local) => {
                let text = format!("{me} has lost network {name}; others hear each other there");
                (EventName::NetworkDown, me, Level::Warning, text)
            }
            (_, NetworkWord::Global) => {
                let text = format!("nobody hears anybody on network {name}; nothing is moved for that");
                (EventName::NetworkDown, all, Level::Warning, text)
            }
            (NetworkWord::Global, NetworkWord::Up) => {
                (EventName::NetworkUp, all, Level::Notice, format!("network {name} works again"))
            }
            (_, NetworkWord::Up) => {
                let text = format!("network {name} works again for {me}");
                (EventName::NetworkUp, me, Level::Notice, text)
            }
        };
        self.tell(level, "network", text);
        self.raise(Event::new(event, [who, name]));
    }

    /// What a failed check of an address means: where nobody hears anybody, it would be no better anywhere else.
    pub(crate) fn excuse(&self, name: &GroupName, id: RunId, outcome: Outcome) -> Outcome {
        if matches!(outcome, Outcome::Running) || self.adapters.words.is_empty() {
            return outcome;
        }
        let resource = self.sequencers.get(name).and_then(|s| s.checked(id));
        let config = self.state.definition(name);
        let address = config.zip(resource).and_then(|(c, r)| c.addresses.iter().find(|a| a.name == *r));
        let network = address.and_then(|a| self.state.config.network_of(a));
        let word = network.and_then(|n| self.adapters.words.get(n)).map(|w| w.word);
        match (&outcome, word) {
            (Outcome::Failed(_), Some(NetworkWord::Global)) => Outcome::Running,
            _ => outcome,
        }
    }
}

fn named(adapter: &AdapterConfig) -> String {
    adapter.boot.map_or_else(|| adapter.interface.clone(), |boot| boot.address.to_string())
}
