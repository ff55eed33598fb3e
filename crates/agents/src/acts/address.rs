//! Adding and deleting a service address.

use std::net::IpAddr;

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressProtocol, AddressScope, CacheInfo,
};

use crate::netlink::{self, Address, Link};
use crate::subnet;

/// Marks our addresses for whoever lists them (`IFA_PROTO`); a number that the kernel does not use itself.
const PROTOCOL: u8 = 82;
/// The longest label the kernel takes.
const LABEL_BYTES_MAX: usize = 15;

pub(super) fn add(interface: &str, address: IpAddr, prefix: u8, label: Option<&str>) -> Result<(), String> {
    let fail = |what: &dyn std::fmt::Display| format!("cannot add {address}/{prefix} to {interface}: {what}");
    let links = netlink::links().map_err(|e| fail(&e))?;
    let link = links.iter().find(|l| l.name == interface).ok_or_else(|| fail(&"no such interface"))?;
    let present = netlink::addresses().map_err(|e| fail(&e))?;
    if let Some(found) = present.iter().find(|a| a.address == address) {
        let there = links.iter().find(|l| l.index == found.link).map_or("?", |l| l.name.as_str());
        if found.link != link.index || found.prefix != prefix {
            return Err(fail(&format!(
                "it is on this node already, as {address}/{} on {there}; remove it there: ip address del \
                 {address}/{} dev {there}",
                found.prefix, found.prefix
            )));
        }
        if !is_unusable(found) {
            return Ok(());
        }
        netlink::delete_address(link.index, address, prefix).map_err(|e| fail(&e))?;
    }
    keep_secondaries(interface, address);
    match netlink::add_address(new_address(link, address, prefix, label, &present)) {
        Ok(()) => Ok(()),
        Err(e) if e.is(libc::EEXIST) => Ok(()),
        Err(e) if e.is(libc::EACCES) && address.is_ipv6() => Err(fail(&format!(
            "IPv6 is switched off there; type: sysctl net.ipv6.conf.{interface}.disable_ipv6=0"
        ))),
        Err(e) => Err(fail(&e)),
    }
}

pub(super) fn remove(interface: &str, address: IpAddr, prefix: u8) -> Result<(), String> {
    let fail =
        |what: &dyn std::fmt::Display| format!("cannot remove {address}/{prefix} from {interface}: {what}");
    let links = netlink::links().map_err(|e| fail(&e))?;
    // An interface that is gone took its addresses with it.
    let Some(link) = links.iter().find(|l| l.name == interface) else { return Ok(()) };
    keep_secondaries(interface, address);
    match netlink::delete_address(link.index, address, prefix) {
        Ok(()) => {}
        Err(e) if e.is(libc::EADDRNOTAVAIL) || e.is(libc::ENODEV) => {}
        Err(e) => return Err(fail(&e)),
    }
    let left = netlink::addresses().map_err(|e| fail(&e))?;
    match left.iter().find(|a| a.link == link.index && a.address == address) {
        None => Ok(()),
        Some(a) => Err(fail(&format!("it is still there, as {address}/{}", a.prefix))),
    }
}

/// An address that another machine was found to use, or that still waits to find out, answers nobody.
pub(crate) fn is_unusable(address: &Address) -> bool {
    address.flags.intersects(AddressFlags::Dadfailed | AddressFlags::Tentative)
}

/// Deleting the first address of a subnet takes the others of that subnet along, unless the interface
/// promotes them: another group's address must outlive ours. Where this cannot be set, the interface stays as
/// it is.
fn keep_secondaries(interface: &str, address: IpAddr) {
    if address.is_ipv4() {
        let path = format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries");
        if std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "0")
            && let Err(error) = std::fs::write(&path, "1")
        {
            tracing::warn!(%interface, %error, "cannot set promote_secondaries");
        }
    }
}

fn new_address(
    link: &Link,
    address: IpAddr,
    prefix: u8,
    label: Option<&str>,
    present: &[Address],
) -> netlink_packet_route::address::AddressMessage {
    let mut message = netlink::address_message(link.index, address, prefix);
    let mut flags = AddressFlags::Nodad;
    // Where the interface has a route to the subnet already, ours would be a second one that goes away with
    // us.
    let has_route = present.iter().any(|a| {
        a.link == link.index && a.prefix <= prefix && subnet::contains(a.address, a.prefix, address)
    });
    if has_route {
        flags |= AddressFlags::Noprefixroute;
    }
    message.header.flags = netlink::header_flags(flags);
    message.header.scope = if address.is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes.push(AddressAttribute::Flags(flags));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    match address {
        IpAddr::V4(_) => {
            if let Some(label) = label.filter(|l| l.len() <= LABEL_BYTES_MAX) {
                message.attributes.push(AddressAttribute::Label(label.to_owned()));
            }
            if let Some(broadcast) = subnet::broadcast(address, prefix).filter(|_| !has_route) {
                message.attributes.push(AddressAttribute::Broadcast(broadcast));
            }
        }
        IpAddr::V6(_) => {
            // Never preferred: what the node itself sends must not come from an address that moves away.
            let mut times = CacheInfo::default();
            times.ifa_valid = u32::MAX;
            message.attributes.push(AddressAttribute::CacheInfo(times));
        }
    }
    message
}
