//! A drill's plan: what is done to a cluster, and what is expected of it, one step per line.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use regent_model::config::Span;
use regent_model::ids::InstanceName;
use regent_model::{GroupName, NodeName, ResourceName};

/// How a node is made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Its power is cut.
    Power,
    /// It is cut off from every network, and runs on.
    Network,
    /// Its guard is killed.
    Guard,
}

impl Way {
    /// The words of a plan.
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("power", Self::Power), ("network", Self::Network), ("guard", Self::Guard)];

    /// The word of a plan.
    #[must_use]
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Network => "network",
            Self::Guard => "guard",
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// A service address is to be asked at this port from the beginning of the drill on.
    Probe(SocketAddr),
    /// A node fails.
    Fail {
        /// Which.
        node: NodeName,
        /// How.
        way: Way,
    },
    /// What made a node fail is undone.
    Return(NodeName),
    /// A node loses one network.
    NetworkDown {
        /// Which node.
        node: NodeName,
        /// What the network is called.
        network: String,
    },
    /// It has it again.
    NetworkUp {
        /// Which node.
        node: NodeName,
        /// What the network is called.
        network: String,
    },
    /// Every process of an application is killed.
    Kill {
        /// Its group.
        group: GroupName,
        /// Which.
        application: ResourceName,
    },
    /// A group is moved, as an operator would.
    Move {
        /// Which.
        group: GroupName,
        /// Where to.
        node: NodeName,
    },
    /// Nothing is done for so long.
    Wait(Duration),
    /// Something must be so.
    Expect {
        /// What.
        what: What,
        /// How soon, or for how long.
        limit: Duration,
    },
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// These groups come online.
    Online {
        /// Which.
        groups: Vec<GroupName>,
        /// On this node, if one is given.
        on: Option<NodeName>,
    },
    /// These groups come to be owned by nobody.
    Down {
        /// Which.
        groups: Vec<GroupName>,
    },
    /// These groups are online all the time.
    Stay {
        /// Which.
        groups: Vec<GroupName>,
        /// On this node, or else wherever they are.
        on: Option<NodeName>,
    },
    /// A service address answers.
    Answers {
        /// Which.
        address: IpAddr,
        /// This node, if one is given.
        from: Option<NodeName>,
    },
    /// Nobody answers at a service address.
    Silent(IpAddr),
    /// Since the last step that hurts a service address was not away for longer.
    Away(IpAddr),
    /// A node belongs to the cluster and is ready.
    Up(NodeName),
    /// The cluster knows that it has lost a node.
    Lost(NodeName),
    /// A database instance runs, in the version that it had when the drill began.
    Instance {
        /// Which.
        name: InstanceName,
        /// On this node, if one is given.
        on: Option<NodeName>,
    },
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Where it stands in the text.
    pub(super) span: Span,
    /// What it does.
    pub(super) act: Act,
}

impl Act {
    /// Whether a service, or what protects it, suffers from it.
    #[must_use]
    pub(super) fn hurts(&self) -> bool {
        matches!(self, Self::Fail { .. } | Self::NetworkDown { .. } | Self::Kill { .. } | Self::Move { .. })
    }
}

/// The step as a plan has it, with every default written out.
impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Probe(target) => write!(f, "PROBE {target}"),
            Self::Fail { node, way } => write!(f, "FAIL_NODE {node} {}", way.word()),
            Self::Return(node) => write!(f, "RETURN_NODE {node}"),
            Self::NetworkDown { node, network } => write!(f, "NETWORK_DOWN {node} {network}"),
            Self::NetworkUp { node, network } => write!(f, "NETWORK_UP {node} {network}"),
            Self::Kill { group, application } => write!(f, "SERVICE_KILL {group} {application}"),
            Self::Move { group, node } => write!(f, "MOVE {group} {node}"),
            Self::Wait(time) => write!(f, "WAIT {}", time_text(*time)),
            Self::Expect { what, limit } => {
                let limit = time_text(*limit);
                let how = match what {
                    What::Stay { .. } => "FOR",
                    What::Away(_) => "AT_MOST",
                    _ => "WITHIN",
                };
                write!(f, "EXPECT {what} {how} {limit}")
            }
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: &Option<NodeName>| on.as_ref().map(|n| format!(" ON {n}")).unwrap_or_default();
        match self {
            Self::Online { groups, on: node } => write!(f, "{} ONLINE{}", names(groups), on(node)),
            Self::Down { groups } => write!(f, "{} DOWN", names(groups)),
            Self::Stay { groups, on: node } => write!(f, "{} STAYS{}", names(groups), on(node)),
            Self::Answers { address, from: None } => write!(f, "{address} ANSWERS"),
            Self::Answers { address, from: Some(node) } => write!(f, "{address} ANSWERS FROM {node}"),
            Self::Silent(address) => write!(f, "{address} SILENT"),
            Self::Away(address) => write!(f, "{address} AWAY"),
            Self::Up(node) => write!(f, "{node} UP"),
            Self::Lost(node) => write!(f, "{node} LOST"),
            Self::Instance { name, on: node } => write!(f, "INSTANCE {name} UP{}", on(node)),
        }
    }
}

fn names(groups: &[GroupName]) -> String {
    groups.iter().map(GroupName::as_str).collect::<Vec<_>>().join(" ")
}

/// A duration as a plan has it, in one word.
#[must_use]
pub(super) fn time_text(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}
