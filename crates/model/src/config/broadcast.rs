//! Reads the `broadcast` of a service address.

use std::net::{IpAddr, Ipv4Addr};

use super::finding::Finding;
use super::reader::Reader;
use super::scalar::{Refused, refused};
use super::subnet;
use super::tree::At;

/// The broadcast address of `address`, if one is written that can be one.
pub(super) fn broadcast(reader: &mut Reader<'_>, address: Option<&At<(IpAddr, u8)>>) -> Option<Ipv4Addr> {
    let text = reader.text("broadcast", "\"192.9.255.255\"");
    let found = reader.checked("broadcast", text, ipv4)?;
    let at = address?;
    let (own, prefix) = at.value;
    let last = match subnet::last(own, prefix) {
        Some(last) => last,
        None => {
            let what = if own.is_ipv4() { "a subnet of this size" } else { "IPv6" };
            let finding = Finding::error(&found.span, format!("{what} has no broadcast address"))
                .help("delete the line")
                .related(&at.span, "the address");
            reader.findings.add(finding);
            return None;
        }
    };
    let network = subnet::network_text(own, prefix);
    let broadcast = IpAddr::V4(found.value);
    if !subnet::share(own, broadcast, prefix) || broadcast == own {
        let why = match broadcast == own {
            true => "is the service address itself".to_owned(),
            false => format!("is not in {network}, the subnet of {own}"),
        };
        let finding = Finding::error(&found.span, format!("{broadcast} {why}"))
            .help(format!(
                "write broadcast = \"{last}\", or correct the prefix length; without the line it is {last}"
            ))
            .related(&at.span, "the address");
        reader.findings.add(finding);
        return None;
    }
    if found.value != last && !subnet::is_network(broadcast, prefix) {
        let message = format!(
            "{broadcast} is a host's address in {network}: as broadcast address, no host can have it"
        );
        let finding = Finding::warning(&found.span, message)
            .help(format!("write broadcast = \"{last}\", the last address of {network}"))
            .related(&at.span, "the address");
        reader.findings.add(finding);
    }
    Some(found.value)
}

fn ipv4(text: &str) -> Result<Ipv4Addr, Refused> {
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) => refused(
            format!("`{}` is no IPv4 address", text.escape_debug()),
            "write the last address of the subnet, for example \"192.9.255.255\", or delete the line",
        ),
    }
}
