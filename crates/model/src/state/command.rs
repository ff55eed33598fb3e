//! The entries of the log.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::config::{Barrier, Config};
use crate::format::Format;
use crate::ids::{BootId, Epoch, GroupName, IncarnationOf, InstanceName, NodeId, NodeName, ResourceName};
use crate::proof::{Promise, Proof};
use crate::state::{
    ConfigLock, FenceRequest, KeyMark, KeyStage, Leaving, MachineKey, Member, Seen, Showing, Ticket, TicketId,
};

/// The number of a proposal: the node that made it, the session of its daemon, and a count within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalId {
    /// Who proposed.
    pub node: NodeId,
    /// The session of its daemon; later daemons of a node have larger ones.
    pub session: u64,
    /// Its number in that session.
    pub number: u64,
}

/// An entry with its number: a retried proposal is applied once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The number.
    pub id: ProposalId,
    /// What to change.
    pub command: Command,
}

/// How a node leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopMode {
    /// Release; nobody takes over; the groups return with the node.
    Graceful,
    /// Release, then the peers acquire.
    Takeover,
    /// Everything stays up where it is, unmanaged, and is adopted at the next start.
    Forced,
}

impl StopMode {
    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Graceful => "graceful",
            Self::Takeover => "takeover",
            Self::Forced => "forced",
        }
    }
}

/// What a node may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeMode {
    /// It may own groups.
    Active,
    /// It votes, but its groups go elsewhere.
    Standby,
    /// It leaves.
    Stopping(StopMode),
}

/// Why an owner is to take a group down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReleaseReason {
    /// The group was disabled.
    Disabled,
    /// An operator moved it to this node.
    Move(NodeId),
    /// A better node of its list has returned.
    Reintegration(NodeId),
    /// Its node is on standby.
    Standby,
    /// Its node stops.
    Stopping(StopMode),
    /// It failed there, and local restarts are used up.
    Failed(String),
    /// An operator asked for a restart.
    Restart,
    /// It is not in the configuration any more.
    Removed,
    /// Its node is to be rebooted, because of another group.
    Reboot,
    /// Its parent goes, is gone, or was acquired anew.
    Parent(GroupName),
    /// It follows this group to another node.
    Follows(GroupName),
    /// This group has a higher priority, no other node, and shares none with it.
    GivesWay(GroupName),
    /// Its node has lost this network, and another one has it.
    LostNetwork(String),
}

impl std::fmt::Display for ReleaseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disabled => write!(f, "the group was disabled"),
            Self::Move(_) => write!(f, "an operator moved it"),
            Self::Reintegration(_) => write!(f, "a better node of its list has returned"),
            Self::Standby => write!(f, "its node is on standby"),
            Self::Stopping(mode) => write!(f, "its node stops ({})", mode.word()),
            Self::Failed(why) => write!(f, "it failed there: {why}"),
            Self::Restart => write!(f, "an operator asked for a restart"),
            Self::LostNetwork(network) => write!(f, "its node has lost network {network}"),
            Self::Removed => write!(f, "it was taken out of the configuration"),
            Self::Reboot => write!(f, "its node is to be rebooted"),
            Self::Parent(parent) => write!(f, "it runs only while {parent} does, which goes"),
            Self::Follows(group) => write!(f, "it follows {group} to another node"),
            Self::GivesWay(group) => write!(f, "it gives way to {group}, which has no other node"),
        }
    }
}

/// What an entry changes, if its condition still holds when it is applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Command {
    /// A daemon has begun. It changes nothing; that it is applied shows its proposer that everything before it is
    /// applied too, whatever its predecessor did.
    Present,
    /// Put a configuration in force, if none came between.
    SetConfig(Box<NewConfig>),
    /// Add a member as learner; the engine makes it a voter when it may be one.
    AddMember {
        /// Its number, never used before.
        id: NodeId,
        /// Who.
        member: Member,
    },
    /// A node registers a new life. If the boot is another one than that of the life before, everything of that
    /// life is proven to be over (`rebooted`); if the guard let go of everything, too (`released`).
    NodeUp {
        /// The life.
        about: IncarnationOf,
        /// The machine's boot.
        boot: BootId,
        /// Nothing of an older incarnation is held on this machine.
        clean: bool,
    },
    /// An incarnation is over, by this proof; and these groups begin a new epoch elsewhere, in the same entry.
    NodeDown {
        /// Who.
        about: IncarnationOf,
        /// Why it can no longer act.
        proof: Proof,
        /// Who takes over what.
        takeovers: Vec<(GroupName, IncarnationOf)>,
    },
    /// A vacant group gets an owner.
    Assign {
        /// The group.
        group: GroupName,
        /// The last epoch known to the proposer; another one came between if it differs.
        after: Epoch,
        /// Who.
        to: IncarnationOf,
    },
    /// The same machine goes on under a new guard (L6): valid only if the old epoch is still current.
    Adopt {
        /// The group.
        group: GroupName,
        /// The old epoch.
        epoch: Epoch,
        /// The new incarnation of the same node in the same boot.
        to: IncarnationOf,
    },
    /// The owner has brought the group up.
    Online {
        /// The group.
        group: GroupName,
        /// The ownership.
        epoch: Epoch,
    },
    /// The owner is to take the group down.
    Release {
        /// The group.
        group: GroupName,
        /// The ownership.
        epoch: Epoch,
        /// Why.
        reason: ReleaseReason,
    },
    /// The owner has taken the group down and shown it to be down.
    Released {
        /// The group.
        group: GroupName,
        /// The ownership.
        epoch: Epoch,
        /// Why the group cannot run on this node, if that is why it was taken down.
        failure: Option<String>,
    },
    /// The owner could not take the group down.
    Stuck {
        /// The group.
        group: GroupName,
        /// The ownership.
        epoch: Epoch,
        /// What is in the way.
        reason: String,
    },
    /// A promise is withdrawn: its incarnation lives (L5).
    Withdraw(Promise),
    /// A node's power is to be cut, because an incarnation is suspected and one of its groups needs it.
    RequestFence {
        /// Who.
        about: IncarnationOf,
        /// How.
        request: FenceRequest,
    },
    /// A machine is registered at its disks: its agent said so, and none is at work on that any more.
    Registered {
        /// Who.
        about: IncarnationOf,
        /// Through which fence device.
        device: String,
        /// At which disks, and as what.
        barrier: Barrier,
    },
    /// From now on this incarnation holds its groups without lease (L10).
    HoldWithoutLease {
        /// Who.
        about: IncarnationOf,
    },
    /// A machine is to be rebooted: a group on it is released only then, and another node is to have it.
    Reboot {
        /// Who.
        about: IncarnationOf,
    },
    /// What awaits a reboot of its owner is brought up there again instead, in the same ownership.
    Reacquire {
        /// The group.
        group: GroupName,
        /// The ownership.
        epoch: Epoch,
    },
    /// A node's mode changes.
    SetMode {
        /// The node.
        node: NodeId,
        /// The mode.
        mode: NodeMode,
    },
    /// A group is to run; earlier failures are forgotten.
    Enable(GroupName),
    /// A group is to be down.
    Disable(GroupName),
    /// A group is to run on this node.
    Move {
        /// The group.
        group: GroupName,
        /// The node.
        to: NodeId,
    },
    /// The order of its list decides again where a group runs, not the operator's move.
    Restore(GroupName),
    /// A group is to be taken down and brought up again; earlier failures are forgotten.
    Restart(GroupName),
    /// A person wants the blocked cluster events of a node to go on.
    ResumeEvents(NodeId),
    /// An application is to be watched, or not, for as long as its group's ownership lasts.
    Watch {
        /// The group.
        group: GroupName,
        /// The application.
        application: ResourceName,
        /// Whether it is to be watched.
        on: bool,
    },
    /// Somebody takes the lock of the configuration, from nobody or over from somebody, or gives it up.
    LockConfig {
        /// Who has it from now on.
        lock: Option<ConfigLock>,
        /// The ticket of who has had it; nothing is done if that is another one.
        over: Option<String>,
    },
    /// A person's word that an incarnation is over.
    ConfirmDead {
        /// Who is said to be dead.
        about: IncarnationOf,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
        /// When, in milliseconds since 1970 by the clock of the node that was asked.
        given_ms: u64,
        /// For how many minutes it is good, where nobody takes over on the strength of it.
        minutes: u32,
    },
    /// A person's word, on which this group is free since that epoch, is good no more.
    ExpireWord {
        /// The group.
        group: GroupName,
        /// The ownership that the word has ended.
        epoch: Epoch,
    },
    /// The owner of an instance's group has looked at the instance.
    InstanceSeen {
        /// The instance.
        instance: InstanceName,
        /// The ownership of its group.
        epoch: Epoch,
        /// What it sees.
        seen: Seen,
    },
    /// An operator says what version an instance has.
    InstanceVersion {
        /// The instance.
        instance: InstanceName,
        /// The version.
        version: String,
        /// Who says so.
        who: String,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// A daemon reads formats up to this one.
    Speaks {
        /// Whose daemon.
        node: NodeId,
        /// The newest format that it reads.
        newest: Format,
    },
    /// Nothing is to be done with a group by itself.
    Hold {
        /// The group.
        group: GroupName,
        /// Who wants it.
        who: String,
        /// Why.
        why: String,
        /// The time of the node that was asked, in milliseconds since 1970.
        since_ms: u64,
    },
    /// A group is not held any more.
    Resume(GroupName),
    /// A token was made.
    Invite {
        /// Its number.
        id: TicketId,
        /// The token.
        ticket: Ticket,
    },
    /// A machine is to join with a token: from now on the token is this machine's.
    Admit {
        /// What it shows.
        showing: Showing,
        /// Under which name.
        name: NodeName,
        /// Whether it will only vote.
        witness: bool,
    },
    /// Nobody is to join with this token any more.
    Revoke(TicketId),
    /// The voters that changed last at this entry are settled ([`super::State::settled`]).
    Settled {
        /// The entry.
        changed: u64,
    },
    /// The cluster's key is to be changed. The key itself is with the member that made it.
    ChangeKey {
        /// The number of the new key.
        number: u32,
        /// Which key it is.
        mark: KeyMark,
        /// Who has made it.
        maker: NodeId,
        /// Who is not waited for.
        without: BTreeSet<NodeId>,
        /// When, in milliseconds since 1970, by the clock of its maker.
        at_ms: u64,
    },
    /// A member is through with a stage of the change of the key.
    KeyThrough {
        /// Which member.
        node: NodeId,
        /// Which change: the mark of the new key. The number may be that of one that was given up.
        mark: KeyMark,
        /// Which stage.
        stage: KeyStage,
    },
    /// Members are not to be waited for any more in the change of the key.
    KeyWithout {
        /// Which.
        nodes: BTreeSet<NodeId>,
    },
    /// By what the machine of a member is known.
    Machine {
        /// Whose.
        node: NodeId,
        /// The public key of its key pair.
        key: MachineKey,
    },
    /// A member is to leave for good: it loses its vote, and is stopped.
    Leave {
        /// Which.
        node: NodeId,
        /// Who wants it.
        leaving: Leaving,
    },
    /// A member that was to leave stays.
    Stay(NodeId),
    /// A member that was to leave is none any more, and this configuration, which does not name it, is put in force.
    RemoveMember {
        /// Which.
        node: NodeId,
        /// The configuration.
        new: Box<NewConfig>,
    },
}

/// A configuration to put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewConfig {
    /// The serial of the configuration it replaces; it does nothing if another one came between.
    pub replaces: u64,
    /// Its text.
    pub text: String,
    /// The configuration that the text means.
    pub config: Config,
    /// The groups whose one date of failback is past already.
    pub past_dates: BTreeSet<GroupName>,
    /// The ticket of the lock under which the change was made; nothing is done if it was taken over meanwhile.
    pub lock: Option<String>,
    /// The groups that are disabled when they are new.
    pub disabled: BTreeSet<GroupName>,
    /// Running groups are not even added to: whatever is new to them waits for their next acquisition.
    pub later: bool,
}

impl NewConfig {
    /// One that holds on no terms.
    #[must_use]
    pub fn replacing(replaces: u64, text: String, config: Config, past_dates: BTreeSet<GroupName>) -> Self {
        Self { replaces, text, config, past_dates, lock: None, disabled: BTreeSet::new(), later: false }
    }
}

impl PartialOrd for NewConfig {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NewConfig {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.replaces, &self.text, &self.lock, &self.disabled).cmp(&(
            other.replaces,
            &other.text,
            &other.lock,
            &other.disabled,
        ))
    }
}
