//! What would come of a situation: owners do what they are told, devices confirm, and the leader decides, until
//! nothing is left to do. The deciding is [`decide`]'s, so what is foreseen is what would happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_model::ids::{IncarnationOf, NodeId};
use regent_model::proof::Promise;
use regent_model::state::{Change, Command, FenceRequest, Phase, ReleaseReason, State, Tenure};
use regent_model::{BootId, GroupName};

use crate::decide::decide;
use crate::view::View;

/// After so many happenings something goes round in a circle.
const HAPPENINGS_MAX: usize = 2_000;

/// How long things take.
pub trait Costs {
    /// From the epoch until the group is online there.
    fn acquire(&self, group: &GroupName, node: NodeId) -> Duration;
    /// From the order to release until it is shown to be down there.
    fn release(&self, group: &GroupName, node: NodeId) -> Duration;
    /// From the order until the node is up again in a new boot; `None` if it is not expected back.
    fn reboot(&self, node: NodeId) -> Option<Duration>;
    /// From the request until the device has confirmed; `None` if it is not expected to.
    fn fence(&self, request: &FenceRequest) -> Option<Duration>;
}

/// Everything happens at once, and every device confirms.
#[derive(Debug, Clone, Copy)]
pub struct AtOnce;

impl Costs for AtOnce {
    fn acquire(&self, _: &GroupName, _: NodeId) -> Duration {
        Duration::ZERO
    }
    fn release(&self, _: &GroupName, _: NodeId) -> Duration {
        Duration::ZERO
    }
    fn reboot(&self, _: NodeId) -> Option<Duration> {
        Some(Duration::ZERO)
    }
    fn fence(&self, _: &FenceRequest) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// One thing that would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When, from the beginning.
    pub after: Duration,
    /// What.
    pub what: What,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A node's end is proven, and this is how.
    Down(NodeId, String),
    /// A device is asked to cut a node.
    Fence(NodeId, FenceRequest),
    /// A node, emptied, is rebooted.
    Reboots(NodeId),
    /// A node begins to take a group down.
    Releases(GroupName, NodeId, ReleaseReason),
    /// It is down.
    Released(GroupName, NodeId),
    /// A node begins to bring a group up.
    Acquires(GroupName, NodeId),
    /// It runs.
    Online(GroupName, NodeId),
}

/// What would come of it.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// The state in the end.
    pub state: State,
    /// What the leader would know in the end.
    pub view: View,
    /// What would happen on the way.
    pub happenings: Vec<Happening>,
    /// Whether it comes to rest.
    pub settles: bool,
}

/// What the leader will learn on the way.
#[derive(Debug, Clone)]
pub enum Coming {
    /// A promise is durable.
    Stored(Promise),
    /// A promise may be cited.
    Matured(Promise),
}

/// Foresees what comes of `state`, as far as `view` can tell; what the leader learns on the way is known beforehand.
#[must_use]
pub fn foresee(state: &State, view: &View, costs: &dyn Costs, coming: &[(Duration, Coming)]) -> Foreseen {
    let mut run = Run {
        costs,
        now: Duration::ZERO,
        due: coming.iter().map(|(after, coming)| (*after, Due::Learns(coming.clone()))).collect(),
        begun: BTreeSet::new(),
        foreseen: Foreseen {
            state: state.clone(),
            view: view.clone(),
            happenings: Vec::new(),
            settles: false,
        },
    };
    run.foreseen.settles = run.go();
    run.foreseen
}

/// What is on its way.
enum Due {
    Commit(Command),
    Confirmed(IncarnationOf, String),
    Rebooted(IncarnationOf),
    Learns(Coming),
}

struct Run<'a> {
    costs: &'a dyn Costs,
    now: Duration,
    due: Vec<(Duration, Due)>,
    /// The ownerships whose present phase is on its way already.
    begun: BTreeSet<(GroupName, regent_model::Epoch, bool)>,
    foreseen: Foreseen,
}

impl Run<'_> {
    fn go(&mut self) -> bool {
        for _ in 0..HAPPENINGS_MAX {
            self.registers();
            self.owners_begin();
            self.reboots();
            let decided = decide(&self.foreseen.state, &self.foreseen.view);
            if let Some(command) = decided.into_iter().next() {
                self.commit(&command);
                continue;
            }
            let Some(at) = (0..self.due.len()).min_by_key(|at| (self.due[*at].0, *at)) else { return true };
            let (time, due) = self.due.remove(at);
            self.now = self.now.max(time);
            match due {
                Due::Commit(command) => self.commit(&command),
                Due::Confirmed(about, device) => {
                    self.foreseen.view.fenced.insert(about, device);
                }
                Due::Rebooted(about) => self.boots(about),
                Due::Learns(Coming::Stored(promise)) => {
                    self.foreseen.view.stored.insert(promise);
                }
                Due::Learns(Coming::Matured(promise)) => {
                    self.foreseen.view.matured.insert(promise);
                }
            }
        }
        false
    }

    fn tell(&mut self, what: What) {
        self.foreseen.happenings.push(Happening { after: self.now, what });
    }

    fn commit(&mut self, command: &Command) {
        let (state, changes) = self.foreseen.state.preview(command, &self.foreseen.view.voters);
        self.foreseen.state = state;
        for change in changes {
            match change {
                Change::NodeDown(about, proof) => self.tell(What::Down(about.node, proof.to_string())),
                Change::FenceRequested(about, request) => {
                    self.tell(What::Fence(about.node, request.clone()));
                    // A device that is not expected to confirm is not asked again either.
                    if let Some(takes) = self.costs.fence(&request) {
                        self.due.push((self.now + takes, Due::Confirmed(about, request.words())));
                    }
                }
                Change::Assigned(group, o) => self.tell(What::Acquires(group, o.owner.node)),
                Change::PhaseChanged(group, o) => match o.phase {
                    Phase::Online => self.tell(What::Online(group, o.owner.node)),
                    Phase::Releasing(reason) => self.tell(What::Releases(group, o.owner.node, reason)),
                    Phase::Acquiring | Phase::Stuck(_) | Phase::AwaitsReboot => {}
                },
                _ => {}
            }
        }
        if let Command::Released { group, .. } = command
            && let Some(node) = self.foreseen.state.groups.get(group).and_then(|g| g.last_owner)
        {
            self.tell(What::Released(group.clone(), node));
        }
    }

    /// Nodes that are there register at their disks.
    fn registers(&mut self) {
        let state = &self.foreseen.state;
        let mut commands = Vec::new();
        for about in state.lives.keys().filter_map(|node| state.living(*node)) {
            let life = &state.lives[&about.node];
            let Some(member) = state.members.get(&about.node) else { continue };
            for fence in state.config.storage_fences_of(&member.name) {
                let open = !life.cut && !life.registered.contains_key(&fence.name);
                if let Some(barrier) = fence.barrier().filter(|_| open) {
                    commands.push(Command::Registered { about, device: fence.name.clone(), barrier });
                }
            }
        }
        commands.iter().for_each(|command| self.commit(command));
    }

    /// A node that was emptied for a reboot goes down and comes back.
    fn reboots(&mut self) {
        let state = &self.foreseen.state;
        let ready: Vec<IncarnationOf> = state
            .lives
            .iter()
            .filter(|(_, life)| life.reboots)
            .filter_map(|(node, _)| state.living(*node))
            .filter(|about| self.foreseen.view.heard.contains(about))
            .filter(|about| state.owned_by(*about).all(|(_, o)| o.phase == Phase::AwaitsReboot))
            .collect();
        for about in ready {
            self.foreseen.view.heard.remove(&about);
            self.tell(What::Reboots(about.node));
            if let Some(takes) = self.costs.reboot(about.node) {
                self.due.push((self.now + takes, Due::Rebooted(about)));
            }
        }
    }

    fn boots(&mut self, before: IncarnationOf) {
        let about = IncarnationOf { node: before.node, incarnation: before.incarnation.next() };
        let boot = BootId(format!("after incarnation {}", before.incarnation));
        self.foreseen.view.heard.insert(about);
        self.commit(&Command::NodeUp { about, boot, clean: true });
    }

    /// Owners that are there begin what the log asks of them.
    fn owners_begin(&mut self) {
        let mut orders: BTreeMap<(GroupName, regent_model::Epoch, bool), (Duration, Command)> =
            BTreeMap::new();
        for (group, g) in &self.foreseen.state.groups {
            let Tenure::Owned(o) = &g.tenure else { continue };
            let lives = self.foreseen.state.living(o.owner.node) == Some(o.owner);
            if !lives || !self.foreseen.view.heard.contains(&o.owner) {
                continue;
            }
            let (takes, command) = match &o.phase {
                Phase::Acquiring => (
                    self.costs.acquire(group, o.owner.node),
                    Command::Online { group: group.clone(), epoch: o.epoch },
                ),
                Phase::Releasing(_) => (
                    self.costs.release(group, o.owner.node),
                    Command::Released { group: group.clone(), epoch: o.epoch, failure: None },
                ),
                Phase::Online | Phase::Stuck(_) | Phase::AwaitsReboot => continue,
            };
            let key = (group.clone(), o.epoch, o.phase == Phase::Acquiring);
            if !self.begun.contains(&key) {
                orders.insert(key, (self.now + takes, command));
            }
        }
        for (key, (at, command)) in orders {
            self.begun.insert(key);
            self.due.push((at, Due::Commit(command)));
        }
    }
}
