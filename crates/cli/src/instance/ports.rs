//! A port for a new instance.

use std::collections::BTreeSet;

use regent_model::config::{Config, FIRST_INSTANCE_PORT, Protocol};

/// The next free port for an instance, from the vendor's first one up: none that the configuration gives to something
/// else, on whichever node that is, and none where somebody listens on this one.
#[must_use]
pub fn free(config: &Config, listening: impl FnOnce() -> BTreeSet<u16>) -> u16 {
    let claimed = config.groups.iter().flat_map(|g| g.ports());
    let claimed =
        claimed.filter(|(_, port, _)| port.protocol == Protocol::Tcp).map(|(_, port, _)| port.number);
    let portals = config.groups.iter().flat_map(|g| &g.addresses).filter_map(|a| a.portal);
    let mut taken: BTreeSet<u16> = claimed.chain(portals).chain([config.port]).collect();
    taken.extend(listening());
    (FIRST_INSTANCE_PORT..=u16::MAX).find(|port| !taken.contains(port)).unwrap_or(FIRST_INSTANCE_PORT)
}

/// The TCP ports of this machine on which somebody listens.
#[must_use]
pub fn listening() -> BTreeSet<u16> {
    let files =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| std::fs::read_to_string(file).unwrap_or_default());
    files.iter().flat_map(|text| text.lines().filter_map(listener)).collect()
}

/// The port of a line of that table, if it listens: `0: 0100007F:1F90 00000000:0000 0A ...`.
fn listener(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, port) = local.rsplit_once(':').filter(|_| state == "0A")?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_is_seen() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening().contains(&socket.local_addr().unwrap().port()));
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue"), None);
        assert_eq!(listener("   1: 0100007F:07B5 0100007F:1F90 01 00000000"), None, "one that is connected");
    }
}
