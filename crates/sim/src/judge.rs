//! The checkers that watch at every event: one owner of everything shared, one log, epochs in order.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use regent_engine::Engine;
use regent_lease::list::Inherited;
use regent_model::Moment;
use regent_model::config::Config;
use regent_model::holding::Holding;
use regent_model::ids::{Epoch, GroupName, IncarnationOf, NodeId};
use regent_model::proof::{Need, Proof};
use regent_model::state::{State, Tenure};

use crate::array::Array;
use crate::body::AppKey;
use crate::machine::Machine;
use crate::net::Net;
use crate::time::{MS, Ns};
use crate::trace::Trace;

/// What only one node may have.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Device(PathBuf),
    Address(IpAddr),
    App(AppKey),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(device) => write!(f, "able to write {}", device.display()),
            Self::Address(address) => write!(f, "answering {address}"),
            Self::App((group, app)) => write!(f, "running {app} of {group}"),
        }
    }
}

#[derive(Debug, Clone)]
struct Shared {
    what: What,
    /// It is taken over on a fence device's word only: then even a machine that stands still counts.
    fenced: bool,
}

/// What went wrong in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// When, in milliseconds of true time.
    pub at_ms: u64,
    /// What.
    pub what: String,
    /// Whether it is that two nodes had at once what only one may have.
    pub two_owners: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {} ms: {}", self.at_ms, self.what)
    }
}

/// The judge of a run.
#[derive(Debug)]
pub(crate) struct Judge {
    shared: Vec<Shared>,
    pub(crate) violations: Vec<Violation>,
    /// Only two owners are looked for; what else goes wrong is not told.
    pub(crate) hunts: bool,
    /// The state that the most advanced node has applied, and how far that is.
    pub(crate) truth: Option<(u64, State)>,
    hashes: BTreeMap<u64, u64>,
    owners: BTreeMap<(GroupName, Epoch), IncarnationOf>,
    epochs: BTreeMap<NodeId, BTreeMap<GroupName, Epoch>>,
    applied: BTreeMap<NodeId, u64>,
    leaders: BTreeMap<u64, NodeId>,
}

impl Judge {
    pub(crate) fn new(config: &Config) -> Self {
        let mut judge = Self {
            shared: Vec::new(),
            violations: Vec::new(),
            hunts: false,
            truth: None,
            hashes: BTreeMap::new(),
            owners: BTreeMap::new(),
            epochs: BTreeMap::new(),
            applied: BTreeMap::new(),
            leaders: BTreeMap::new(),
        };
        judge.watch(config);
        judge
    }

    /// Watches everything that this configuration describes, beside what was watched before.
    pub(crate) fn watch(&mut self, config: &Config) {
        for group in &config.groups {
            let fenced = !group.needs.contains(&Need::LeaseEnded);
            let devices = group.shared_devices().map(|device| What::Device(device.to_owned()));
            let addresses = group.addresses.iter().map(|a| What::Address(a.address));
            let apps = group.applications.iter().map(|a| What::App((group.name.clone(), a.name.clone())));
            let instances =
                group.instances.iter().map(|i| What::App((group.name.clone(), i.resource.clone())));
            for what in devices.chain(addresses).chain(apps).chain(instances) {
                // What a machine has in memory when it stands still is written when it goes on.
                let fenced = fenced || (matches!(what, What::Device(_)) && group.needs_storage());
                match self.shared.iter_mut().find(|s| s.what == what) {
                    Some(known) => known.fenced &= fenced,
                    None => self.shared.push(Shared { what, fenced }),
                }
            }
        }
    }

    pub(crate) fn violated(&mut self, now: Ns, trace: &mut Trace, what: String) {
        if !self.hunts {
            trace.world(now, format_args!("VIOLATION: {what}"));
            self.violations.push(Violation { at_ms: now / MS, what, two_owners: false });
        }
    }

    /// Whether the run can end.
    pub(crate) fn has_seen_enough(&self) -> bool {
        !self.violations.is_empty()
    }

    /// Looks for two owners of anything; says how many were forgiven because one of them had just woken up from
    /// standing still, which no guard on the machine itself can prevent. An address is ended by the kernel all the same:
    /// nothing of that is forgiven. `overdue` is by how much too late kernels do so.
    pub(crate) fn look(
        &mut self,
        now: Ns,
        trace: &mut Trace,
        machines: &BTreeMap<NodeId, Machine>,
        (net, array): (&Net, &Array),
        overdue: Ns,
    ) -> u32 {
        let mut forgiven = 0;
        let mut found = Vec::new();
        for shared in &self.shared {
            let owners: Vec<&Machine> =
                machines.values().filter(|m| has(m, shared, (net, array), (now, overdue))).collect();
            if owners.len() < 2 {
                continue;
            }
            let by_guard = !shared.fenced && !matches!(shared.what, What::Address(_));
            if by_guard && owners.iter().any(|m| now < m.waking_until) {
                forgiven += 1;
                continue;
            }
            let names: Vec<&str> = owners.iter().map(|m| m.name.as_str()).collect();
            found.push(format!("two owners: {} are {}", names.join(" and "), shared.what));
        }
        for what in found {
            trace.world(now, format_args!("VIOLATION: {what}"));
            self.violations.push(Violation { at_ms: now / MS, what, two_owners: true });
        }
        forgiven
    }

    /// Whether this node has led in a term after that one.
    pub(crate) fn has_led_after(&self, node: NodeId, term: u64) -> bool {
        self.leaders.iter().any(|(led, leader)| *leader == node && *led > term)
    }

    /// Compares what an engine has applied with what every other one has.
    pub(crate) fn learn(&mut self, now: Ns, trace: &mut Trace, node: NodeId, engine: &Engine) {
        if engine.leads() {
            let term = engine.term();
            let leader = *self.leaders.entry(term).or_insert(node);
            if leader != node {
                self.violated(now, trace, format!("nodes {leader} and {node} both lead in term {term}"));
            }
        }
        let applied = engine.applied();
        // A machine that joined knows nothing yet.
        if applied == 0 {
            return;
        }
        if self.applied.insert(node, applied) == Some(applied) {
            return;
        }
        let state = engine.state();
        let hash = hash_of(state);
        let known = *self.hashes.entry(applied).or_insert(hash);
        if known != hash {
            let what = format!("node {node} has another state at entry {applied} than a node before it");
            self.violated(now, trace, what);
        }
        self.learn_epochs(now, trace, node, state);
        if self.truth.as_ref().is_none_or(|(index, _)| *index < applied) {
            self.truth = Some((applied, state.clone()));
        }
    }

    fn learn_epochs(&mut self, now: Ns, trace: &mut Trace, node: NodeId, state: &State) {
        let mut wrong = Vec::new();
        let last = self.epochs.entry(node).or_default();
        for (name, group) in &state.groups {
            let before = last.insert(name.clone(), group.epoch);
            if before.is_some_and(|before| before > group.epoch) {
                wrong.push(format!("the epoch of {name} fell on node {node}"));
            }
            let Tenure::Owned(o) = &group.tenure else { continue };
            let owner = *self.owners.entry((name.clone(), o.epoch)).or_insert(o.owner);
            if owner != o.owner {
                wrong.push(format!("epoch {} of {name} belongs to {owner} and to {}", o.epoch, o.owner));
            }
        }
        for what in wrong {
            self.violated(now, trace, what);
        }
    }

    /// A daemon has ended: its successor may begin at an earlier entry.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.epochs.remove(&node);
        self.applied.remove(&node);
    }

    /// Whether a group's act by this incarnation under this epoch is what the log says.
    pub(crate) fn allows(&self, group: &GroupName, epoch: Epoch, who: IncarnationOf) -> Result<(), String> {
        let owned = self.truth.as_ref().and_then(|(_, state)| state.ownership(group));
        match owned {
            Some(o) if o.epoch == epoch && o.owner == who => Ok(()),
            // A start that was allowed ends up in what the next life has on its list, and has adopted.
            Some(o) if o.proof == Proof::Adopted && o.owner.node == who.node && epoch < o.epoch => Ok(()),
            Some(o) => Err(format!(
                "{who} acts for {group} under epoch {epoch}, but epoch {} belongs to {}",
                o.epoch, o.owner
            )),
            None => Err(format!("{who} acts for {group} under epoch {epoch}, but nobody owns it")),
        }
    }
}

fn has(machine: &Machine, shared: &Shared, (net, array): (&Net, &Array), times: (Ns, Ns)) -> bool {
    let is_by_guard = !shared.fenced && !matches!(shared.what, What::Address(_));
    if !machine.power || (machine.frozen.is_some() && is_by_guard) {
        return false;
    }
    match &shared.what {
        What::Device(device) => {
            // The recovery of a journal writes, too.
            let body = &machine.body;
            let mounted = body.mounts.values().any(|d| d == device) || body.mounting.contains(device);
            let there = mounted || body.kept.contains(device);
            machine.san && there && array.takes(&machine.name, device)
        }
        What::Address(address) => {
            net.is_plugged(machine.id, 0)
                && machine.body.addresses.contains(address)
                && is_answered_by_kernel(machine, *address, times)
        }
        What::App(key) => machine.body.apps.contains(key),
    }
}

/// Whether the kernel of a machine answers for an address that is there: until the end of the right by which its guard
/// holds it, whether the guard runs, stands still, or is gone. What no guard has on its list is not limited.
fn is_answered_by_kernel(machine: &Machine, address: IpAddr, (now, overdue): (Ns, Ns)) -> bool {
    let left = machine.guard.as_ref().map_or_else(|| machine.left.clone(), |guard| guard.core.leaves());
    let ends = left.into_iter().filter_map(|left| match (left.held.holding, left.right) {
        (Holding::Address { address: held, .. }, right) if held == address => Some(right),
        _ => None,
    });
    let end = ends.map(|right| match right {
        Inherited::Lease(bounds) => bounds.deadline,
        Inherited::WithoutLease => Moment(u64::MAX),
    });
    end.max().is_none_or(|end| machine.clock.at(now).0 < end.0.saturating_add(overdue))
}

fn hash_of(state: &State) -> u64 {
    let bytes = postcard::to_stdvec(state).unwrap_or_default();
    let mut trace = Trace::new(false, false);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        trace.mix(u64::from_le_bytes(word));
    }
    trace.hash()
}
