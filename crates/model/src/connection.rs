//! The TCP connections of service addresses: recorded by the owner, known to its peers, ended by whoever owns next.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::GroupName;

/// How many connections of one address are recorded.
pub const RECORDED_MAX: usize = 4096;

/// A connection of a service address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// The port at the service address.
    pub port: u16,
}

impl Connection {
    /// Whether there can be such a connection with another machine: what is sent to it goes to one machine.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let one = match self.peer.ip() {
            IpAddr::V4(a) => {
                !a.is_broadcast() && !a.is_multicast() && !a.is_unspecified() && !a.is_loopback()
            }
            IpAddr::V6(a) => {
                !a.is_multicast() && !a.is_unspecified() && !a.is_loopback() && !a.is_unicast_link_local()
            }
        };
        one && self.peer.port() != 0 && self.port != 0
    }
}

/// So many connections, in words.
#[must_use]
pub fn in_words(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

/// A service address of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The group.
    pub group: GroupName,
    /// The address.
    pub address: IpAddr,
}

/// What has changed of the connections of an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// These are all there are: what was known before is of no account.
    pub whole: bool,
    /// New ones.
    pub opened: Vec<Connection>,
    /// Those that are no more.
    pub closed: Vec<Connection>,
    /// How many there are that find no room in the record.
    pub beyond: u32,
}

/// A request to make the clients of connections that ended with an earlier owner of the address notice it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickleRun {
    /// The address; it is on this node.
    pub of: ServiceAddress,
    /// The connections, at most [`RECORDED_MAX`].
    pub connections: Vec<Connection>,
}

/// What came of a [`TickleRun`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tickled {
    /// The address.
    pub of: ServiceAddress,
    /// To how many clients something was sent.
    pub sent: u32,
    /// How long that took.
    pub took: Duration,
    /// Why the others, if there are any, were sent nothing.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_to_many_at_once_or_to_the_node_itself() {
        let possible = |peer: &str| Connection { peer: peer.parse().unwrap(), port: 80 }.is_possible();
        assert!(possible("10.77.0.9:4000") && possible("[fd00::9]:4000"));
        for peer in [
            "255.255.255.255:1",
            "224.0.0.1:1",
            "0.0.0.0:1",
            "127.0.0.1:1",
            "10.77.0.9:0",
            "[ff02::1]:1",
            "[::]:1",
            "[::1]:1",
            "[fe80::9]:1",
        ] {
            assert!(!possible(peer), "{peer}");
        }
        assert!(!Connection { peer: "10.77.0.9:1".parse().unwrap(), port: 0 }.is_possible());
    }
}
