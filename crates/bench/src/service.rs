//! The service that every row keeps alive: the same address, disk and application for all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use regent_lab::ledger::LEDGER_PORT;

/// The service address.
pub(crate) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// The length of its prefix.
pub(crate) const PREFIX: u8 = 24;
/// Where it lives in the nodes.
pub(crate) const INTERFACE: &str = "eth0";
/// The shared disk.
pub(crate) const DEVICE: &str = regent_lab::DEFAULT_DEVICE;
/// Where it is mounted.
pub(crate) const MOUNT: &str = "/srv/ledger";
/// Where the ledger lies in groups without a shared disk: in the node's memory, for it is never read again.
pub(crate) const LOCAL: &str = "/run/ledger";

/// The nodes that can own the service.
pub(crate) const NODES: [&str; 2] = ["lx4", "lx5"];

/// The other node.
pub(crate) fn peer(node: &str) -> &'static str {
    if node == NODES[0] { NODES[1] } else { NODES[0] }
}

/// What the group consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// An address; what answers runs on both nodes all the time.
    Address,
    /// An address and the ledger, without a shared disk.
    Application,
    /// An address, the shared disk with ext4, and the ledger on it.
    Ext4,
}

impl Kind {
    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Application => "application",
            Self::Ext4 => "ext4",
        }
    }

    /// The folder of the ledger's file.
    pub(crate) fn folder(self) -> &'static Path {
        Path::new(if self == Self::Ext4 { MOUNT } else { LOCAL })
    }
}

/// Where clients ask.
pub(crate) fn service_at() -> SocketAddr {
    SocketAddr::from((SERVICE, LEDGER_PORT))
}

/// The command that serves the ledger whose file lies in `folder`.
pub(crate) fn ledger_words(folder: &Path) -> Vec<String> {
    let file = folder.join("ledger").display().to_string();
    let at = service_at().to_string();
    ["regent", "lab", "ledger", "serve", "--listen", &at, "--file", &file].map(str::to_owned).to_vec()
}
