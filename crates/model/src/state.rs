//! The replicated state: what every voter agrees on, and the only way it changes ([`State::apply`]).

mod apply;
mod command;
mod config_lock;
mod disks;
mod format;
pub mod generations;
#[cfg(test)]
mod held;
mod hold;
mod in_force;
mod instances;
mod keeping;
mod keys;
#[cfg(test)]
mod log;
mod members;
mod proofs;
mod reboot;
mod relations;
mod tickets;
mod wishes;
mod word;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Barrier, Config, GroupConfig};
use crate::format::{self as formats, Format};
use crate::ids::{
    BootId, Epoch, GroupName, Incarnation, IncarnationOf, InstanceName, NodeId, NodeName, ResourceName,
};
use crate::mutants::{Condition, off};
use crate::proof::{Promise, Proof};

pub use instances::{Instance, Seen, Sighting, Version, VersionBy};

pub use command::{Command, NewConfig, NodeMode, Proposal, ProposalId, ReleaseReason, StopMode};
pub use config_lock::ConfigLock;
pub use hold::Hold;
pub use keys::{KeyChange, KeyMark, KeyNews, KeyStage, KeyStep, Keys, KeysHeld};
pub use members::{Leaving, Retired};
pub use tickets::{Fate, MachineKey, OPEN_MAX as TICKETS_OPEN_MAX, Showing, Ticket, TicketId, Verifier};
pub use word::{WORD_MINUTES, WORD_MINUTES_MAX, Word};

/// How many answered proposals are remembered, so that a retried one is applied once.
const PROPOSALS_REMEMBERED: usize = 1024;

/// What every voter agrees on. Changed only by applying committed entries in the order of the log (L9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The configuration in force.
    pub config: Config,
    /// Its text, as the user wrote it, comments kept.
    pub config_text: String,
    /// How many configurations there were before it.
    pub config_serial: u64,
    /// Who is changing it by hand.
    pub config_lock: Option<ConfigLock>,
    /// Who belongs to the cluster.
    pub members: BTreeMap<NodeId, Member>,
    /// The last registered life of each node.
    pub lives: BTreeMap<NodeId, Life>,
    /// Per node the newest incarnation that is proven to be over; it and every older one act no more.
    pub ended: BTreeMap<NodeId, Incarnation>,
    /// Per node the newest incarnation whose lease is proven to have ended, by the promises of a majority.
    pub leases_ended: BTreeMap<NodeId, Incarnation>,
    /// The largest lease that was ever in force (L1).
    pub largest_lease: Duration,
    /// The groups of the configuration.
    pub groups: BTreeMap<GroupName, Group>,
    /// The last epochs of groups that were taken out of the configuration: should one come back, it goes on from there.
    pub last_epochs: BTreeMap<GroupName, Epoch>,
    /// Promises withdrawn while the incarnation they are about was not ended (L5).
    pub withdrawn: BTreeSet<Promise>,
    /// Fence requests that were committed and are not yet answered.
    pub fence_requests: BTreeMap<IncarnationOf, FenceRequest>,
    /// The groups whose one date of failback was past when the configuration was put in force: they go back at once.
    pub past_dates: BTreeSet<GroupName>,
    /// What is known of the instances of the configuration.
    pub instances: BTreeMap<InstanceName, Instance>,
    /// The newest daemon of each node that has proposed something: what comes late of an earlier one does nothing.
    pub sessions: BTreeMap<NodeId, u64>,
    /// The format in which entries are written: the newest that every member reads.
    pub format: Format,
    /// The newest format that each member has said it reads.
    pub speaks: BTreeMap<NodeId, Format>,
    remembered: VecDeque<ProposalId>,
    /// The tokens that were made, and what became of each.
    pub tickets: BTreeMap<TicketId, Ticket>,
    /// How many times an arbiter has named the one who goes on, and one; see [`generations`].
    pub generation: u64,
    /// Whether its sole voter is alone in it still: nobody was made a voter since it began.
    pub alone: bool,
    /// The entry that changed voters or members of the log last.
    pub voters_at: u64,
    /// An arbiter may be asked: every lease is confirmed under these voters, and each knows durably that they vote.
    pub settled: bool,
    /// The cluster's key, and by what each machine is known.
    pub keys: Keys,
    /// The members that are to leave.
    pub leaving: BTreeMap<NodeId, Leaving>,
    /// The numbers that were members', and are nobody's again.
    pub retired: BTreeMap<NodeId, Retired>,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Whether it only votes.
    pub witness: bool,
    /// Whether it is to vote; a member that is not stays a learner.
    pub votes: bool,
}

/// One life of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its guard's incarnation.
    pub incarnation: Incarnation,
    /// The machine's boot.
    pub boot: BootId,
    /// What the node may be used for.
    pub mode: NodeMode,
    /// Whether what is held in it is held without lease (L10): nothing more is given to it.
    pub without_lease: bool,
    /// Whether its machine is to be rebooted, because something on it is released only then: nothing more is given
    /// to it, and everything else leaves it first.
    pub reboots: bool,
    /// Through which fence devices at the storage its machine is registered, at which disks: it may write there, and can be
    /// cut off. Registered once in a life, and not again.
    pub registered: BTreeMap<String, Barrier>,
    /// It was to be cut off from disks: it registers at none any more.
    pub cut: bool,
}

/// The state of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Whether it is to run.
    pub enabled: bool,
    /// The last epoch given.
    pub epoch: Epoch,
    /// Who has it.
    pub tenure: Tenure,
    /// The node that had it last (or has it).
    pub last_owner: Option<NodeId>,
    /// Whether it ran since it was enabled: the next placement is a failover, not a startup.
    pub started: bool,
    /// The node an operator moved it to: the best of its list until the operator restores the order, or the group
    /// cannot be run there. Outlives the loss of that node.
    pub moved_to: Option<NodeId>,
    /// Whether it got there.
    pub moved: bool,
    /// It went down with this node (`node stop --graceful`) and waits for its return.
    pub parked_on: Option<NodeId>,
    /// An operator asked for a restart of this ownership, and its children have to go first.
    pub restarts: Option<Epoch>,
    /// Where it could not be brought up or kept up, and why.
    pub failed_on: BTreeMap<NodeId, String>,
    /// Applications that are not watched, by an operator's wish: until he takes it back, or the ownership ends.
    pub suspended: BTreeSet<ResourceName>,
    /// What its owner acquired, where the configuration says something else by now: it counts until the ownership ends.
    pub in_force: Option<Box<GroupConfig>>,
    /// An operator holds it: nothing is done with it by itself.
    pub held: Option<Hold>,
    /// Its home node has joined the cluster in this life, and it is to go there: policies that fail back at that moment
    /// alone ([`crate::config::Failback::Join`]).
    pub joined_home: Option<IncarnationOf>,
    /// Nobody has it, on the strength of a person's word alone, which is good for a while.
    pub word: Option<Box<Word>>,
}

/// Who has a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tenure {
    /// Nobody, and this is why the one before can no longer act.
    Vacant(Proof),
    /// An incarnation.
    Owned(Ownership),
}

/// One ownership of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Its number.
    pub epoch: Epoch,
    /// Who.
    pub owner: IncarnationOf,
    /// How far it is.
    pub phase: Phase,
    /// Why the owner before could no longer act.
    pub proof: Proof,
    /// The node that owned it before, if any.
    pub previous: Option<NodeId>,
    /// The ownership of its parent under which it was given, if it has one: when the parent is acquired anew, so is it.
    pub parent_epoch: Option<Epoch>,
    /// Held without lease (L10): `lease-ended` is no proof for it. Adopting alone does not change that; being
    /// online under the new life does.
    pub without_lease: bool,
}

/// How far an ownership is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The owner is bringing the group up.
    Acquiring,
    /// The group runs.
    Online,
    /// The owner was told to take it down.
    Releasing(ReleaseReason),
    /// The owner could not take it down: it is blocked until a person, a reboot or a fence ends it.
    Stuck(String),
    /// The owner has taken it down as far as it could; the rest ends with its machine's reboot
    /// ([`crate::config::ReleaseEnd::Reboot`]).
    AwaitsReboot,
}

/// A committed wish to cut a node's power.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FenceRequest {
    /// The level of devices.
    pub level: u8,
    /// Its devices. Only all of them together prove anything.
    pub devices: Vec<String>,
    /// The node that operates them.
    pub by: NodeId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How often all levels were tried before.
    pub round: u32,
    /// What the devices at the storage among them cut off from; empty where all cut power.
    pub barriers: BTreeMap<String, Barrier>,
}

impl FenceRequest {
    /// The devices in words, as the proof names them: `"feed-a and feed-b"`.
    #[must_use]
    pub fn words(&self) -> String {
        match self.devices.split_last() {
            Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
            _ => self.devices.concat(),
        }
    }
}

/// What applying an entry changed, for the journal and for the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The entry's condition does not hold (any more): it did nothing. Why.
    Void(String),
    /// Another configuration is in force.
    ConfigChanged,
    /// Somebody has the lock of the configuration, or nobody any more.
    ConfigLocked(Option<ConfigLock>),
    /// A member was added.
    MemberAdded(NodeId),
    /// A member was removed.
    MemberRemoved(NodeId),
    /// A new life of a node was registered.
    NodeUp(IncarnationOf),
    /// An incarnation is proven to be over.
    NodeDown(IncarnationOf, Proof),
    /// A node's mode changed.
    Mode(NodeId, NodeMode),
    /// A group has a new owner under a new epoch.
    Assigned(GroupName, Ownership),
    /// An ownership went on to another phase.
    PhaseChanged(GroupName, Ownership),
    /// A group has no owner any more, and this is why the last one cannot act.
    Vacated(GroupName, Proof),
    /// A person's word on which a group was free is good no more: it is the last owner's again.
    WordExpired(GroupName, Ownership),
    /// The wish for a group changed (enabled, disabled, moved, cleared of failures).
    Wished(GroupName),
    /// A group failed on a node.
    FailedOn(GroupName, NodeId, String),
    /// The blocked cluster events of a node are to go on.
    EventsResumed(NodeId),
    /// A promise was withdrawn.
    Withdrawn(Promise),
    /// A node is registered at its disks, through this device.
    Registered(IncarnationOf, String),
    /// A node's power is to be cut, or its way to its disks.
    FenceRequested(IncarnationOf, FenceRequest),
    /// A node's groups are held without lease.
    HeldWithoutLease(IncarnationOf),
    /// A node's machine is to be rebooted.
    Reboots(IncarnationOf),
    /// More is known of an instance.
    InstanceKnown(InstanceName),
    /// Every member reads this format: it is in force.
    FormatRaised(Format),
    /// An operator holds a group.
    Held(GroupName, Hold),
    /// A group is not held any more; how it was.
    Resumed(GroupName, Hold),
    /// A token was made.
    Invited(TicketId),
    /// A machine joins with a token, under this name.
    Admitted(TicketId, NodeName),
    /// A token was taken back.
    Revoked(TicketId),
    /// The voters are settled: an arbiter may decide between them.
    Settled,
    /// The cluster's key is being changed, or was.
    Key(KeyNews),
    /// A member is to leave for good.
    Leaves(NodeId),
    /// A member that was to leave stays.
    Stays(NodeId),
}

impl State {
    /// The state that the first members of a cluster begin with.
    #[must_use]
    pub fn founded(config: Config, config_text: String, members: BTreeMap<NodeId, Member>) -> Self {
        let largest_lease = config.timers.lease;
        let speaks = members.keys().map(|id| (*id, formats::NEWEST)).collect();
        let mut state = Self {
            config,
            config_text,
            config_serial: 0,
            config_lock: None,
            members,
            lives: BTreeMap::new(),
            ended: BTreeMap::new(),
            leases_ended: BTreeMap::new(),
            largest_lease,
            groups: BTreeMap::new(),
            last_epochs: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            fence_requests: BTreeMap::new(),
            past_dates: BTreeSet::new(),
            instances: BTreeMap::new(),
            sessions: BTreeMap::new(),
            format: formats::NEWEST,
            speaks,
            remembered: VecDeque::new(),
            tickets: BTreeMap::new(),
            generation: 1,
            alone: false,
            voters_at: 0,
            settled: true,
            keys: Keys::default(),
            leaving: BTreeMap::new(),
            retired: BTreeMap::new(),
        };
        state.groups_follow_config();
        state
    }

    /// The member of that name.
    #[must_use]
    pub fn id_of(&self, name: &NodeName) -> Option<NodeId> {
        self.members.iter().find_map(|(id, member)| (&member.name == name).then_some(*id))
    }

    /// The name of a member; its number for one that is gone.
    #[must_use]
    pub fn name_of(&self, id: NodeId) -> String {
        let name = self.members.get(&id).map(|m| &m.name);
        // One whose name another member bears by now has none.
        let former = || self.retired.get(&id).map(|r| &r.name).filter(|name| self.id_of(name).is_none());
        let name = name.or_else(former);
        name.map_or_else(|| format!("node {id}"), NodeName::to_string)
    }

    /// Whether this incarnation is proven to be over.
    #[must_use]
    pub fn is_ended(&self, about: IncarnationOf) -> bool {
        self.ended.get(&about.node).is_some_and(|last| about.incarnation <= *last)
    }

    /// The registered incarnation of a node, if it is not ended.
    #[must_use]
    pub fn living(&self, node: NodeId) -> Option<IncarnationOf> {
        let about = IncarnationOf { node, incarnation: self.lives.get(&node)?.incarnation };
        (!self.is_ended(about)).then_some(about)
    }

    /// The ownership of a group, if it has an owner.
    #[must_use]
    pub fn ownership(&self, group: &GroupName) -> Option<&Ownership> {
        match &self.groups.get(group)?.tenure {
            Tenure::Owned(ownership) => Some(ownership),
            Tenure::Vacant(_) => None,
        }
    }

    /// The groups that an incarnation owns.
    pub fn owned_by(&self, owner: IncarnationOf) -> impl Iterator<Item = (&GroupName, &Ownership)> {
        self.groups.iter().filter_map(move |(name, group)| match &group.tenure {
            Tenure::Owned(o) if o.owner == owner => Some((name, o)),
            _ => None,
        })
    }

    /// The groups that an incarnation or an earlier one of the same node owns: what its end would vacate.
    pub fn owned_up_to(&self, last: IncarnationOf) -> impl Iterator<Item = (&GroupName, &Ownership)> {
        self.groups.iter().filter_map(move |(name, group)| match &group.tenure {
            Tenure::Owned(o) if o.owner.node == last.node && o.owner.incarnation <= last.incarnation => {
                Some((name, o))
            }
            _ => None,
        })
    }

    /// Whether an ownership of this group may be ended by this proof.
    #[must_use]
    pub fn accepts(&self, group: &GroupName, ownership: &Ownership, proof: &Proof) -> bool {
        use crate::proof::Need;
        let needs = |need| self.definition(group).is_some_and(|g| g.needs.contains(&need));
        match proof {
            Proof::Rebooted { .. } | Proof::Fenced { .. } | Proof::OperatorsWord { .. } => true,
            Proof::CutOff { .. } => {
                needs(Need::Storage)
                    && !ownership.without_lease
                    && self.is_cut_off(group, ownership.owner.node)
            }
            Proof::Released => !self.ends_by_reboot(group) || off(Condition::RebootAfterRelease),
            Proof::LeaseEnded { .. } if self.ends_by_reboot(group) => false,
            Proof::LeaseEnded { .. } => {
                let leased = !ownership.without_lease || off(Condition::L10NoLeaseProof);
                needs(Need::LeaseEnded) && !needs(Need::Storage) && leased
            }
            Proof::NeverOwned | Proof::Adopted => false,
        }
    }

    /// What must be true after every entry.
    fn check(&self) {
        for (name, group) in &self.groups {
            let Tenure::Owned(o) = &group.tenure else {
                assert!(group.in_force.is_none(), "{name}: nothing is in force of what nobody owns");
                continue;
            };
            assert_eq!(o.epoch, group.epoch, "{name}: the current ownership has the last epoch");
            assert_eq!(group.last_owner, Some(o.owner.node), "{name}: the owner is the last owner");
        }
    }

    fn groups_follow_config(&mut self) {
        for config in &self.config.groups {
            let last = self.last_epochs.remove(&config.name).unwrap_or(Epoch(0));
            self.groups.entry(config.name.clone()).or_insert_with(|| Group::new(last));
        }
    }
}

impl Group {
    /// A machine has another number from now on. It owns nothing at this moment; where the group ran and belongs is
    /// remembered of the machine, not of its number.
    fn renumber(&mut self, old: NodeId, new: NodeId) {
        for of in [&mut self.last_owner, &mut self.moved_to, &mut self.parked_on] {
            if *of == Some(old) {
                *of = Some(new);
            }
        }
        self.failed_on.remove(&old);
        self.outlives(old);
    }

    /// A machine is gone for good and owns nothing: nothing that belongs to it is waited for.
    fn forgets(&mut self, gone: NodeId) {
        if self.moved_to.take_if(|node| *node == gone).is_some() {
            self.moved = false;
        }
        self.parked_on.take_if(|node| *node == gone);
        self.failed_on.remove(&gone);
        self.joined_home.take_if(|life| life.node == gone);
        self.outlives(gone);
    }

    /// A group of which nothing is known but the last epoch of one of this name.
    fn new(epoch: Epoch) -> Self {
        Self {
            enabled: true,
            epoch,
            tenure: Tenure::Vacant(Proof::NeverOwned),
            last_owner: None,
            started: false,
            moved_to: None,
            moved: false,
            parked_on: None,
            restarts: None,
            failed_on: BTreeMap::new(),
            suspended: BTreeSet::new(),
            in_force: None,
            held: None,
            joined_home: None,
            word: None,
        }
    }
}
