//! Adding and deleting a service address.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};

use regent_model::config::Prefixed;
use regent_model::holding::Origin;

use crate::acts::route;
use crate::netlink::{self, Address, Link};
use crate::subnet;

/// Marks our addresses for whoever lists them (`IFA_PROTO`); a number that the kernel does not use itself.
const PROTOCOL: u8 = 82;
/// The longest label the kernel takes.
const LABEL_BYTES_MAX: usize = 15;

/// A service address to be added.
pub(super) struct Addition<'a> {
    pub(super) interface: &'a str,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// By default the last address of the subnet.
    pub(super) broadcast: Option<Ipv4Addr>,
    pub(super) label: Option<&'a str>,
    pub(super) replaces: Option<Prefixed>,
    pub(super) from: Option<&'a Origin>,
    pub(super) leads: bool,
}

impl Addition<'_> {
    /// Adds it; then the boot address goes whose place it takes, and the address itself where it was before.
    pub(super) fn perform(&self) -> Result<(), String> {
        let Self { interface, address, prefix, .. } = *self;
        let fail = |what: &dyn std::fmt::Display| self.fail(what);
        let links = netlink::links().map_err(|e| fail(&e))?;
        let link = links.iter().find(|l| l.name == interface).ok_or_else(|| fail(&"no such interface"))?;
        let present = netlink::addresses().map_err(|e| fail(&e))?;
        let usable = self.judge_present(link, &links, &present)?;
        if !usable {
            self.add(link, &present)?;
        }
        let done = self.take_boot_away(link).and_then(|()| match self.from {
            Some(from) => remove(&from.interface, address, prefix, from.replaces),
            None => Ok(()),
        });
        if let Err(why) = done {
            // Nothing of it stays behind; where it was before it is still, or nowhere.
            let undone = if usable { Ok(()) } else { remove(interface, address, prefix, self.replaces) };
            return Err(match undone {
                Ok(()) => why,
                Err(also) => format!("{why}; and {also}"),
            });
        }
        if self.leads
            && let Err(error) = route::lead_over(link, &links, &present, address, prefix)
        {
            tracing::warn!(%interface, %address, %error, "the way to its subnet may lead over another interface");
        }
        Ok(())
    }

    fn fail(&self, what: &dyn std::fmt::Display) -> String {
        format!("cannot add {}/{} to {}: {what}", self.address, self.prefix, self.interface)
    }

    /// Whether it is there already, and answers. Elsewhere it may only be where it is to come from.
    fn judge_present(&self, link: &Link, links: &[Link], present: &[Address]) -> Result<bool, String> {
        let Self { address, prefix, .. } = *self;
        let mut usable = false;
        for found in present.iter().filter(|a| a.address == address) {
            let there = links.iter().find(|l| l.index == found.link).map_or("?", |l| l.name.as_str());
            if found.link != link.index && self.from.is_some_and(|from| from.interface == there) {
                continue;
            }
            if found.link != link.index || found.prefix != prefix {
                return Err(self.fail(&format!(
                    "it is on this node already, as {address}/{} on {there}; remove it there: ip address del \
                     {address}/{} dev {there}",
                    found.prefix, found.prefix
                )));
            }
            usable = !is_unusable(found);
            if !usable {
                netlink::delete_address(link.index, address, prefix).map_err(|e| self.fail(&e))?;
            }
        }
        Ok(usable)
    }

    fn add(&self, link: &Link, present: &[Address]) -> Result<(), String> {
        let Self { interface, address, .. } = *self;
        keep_secondaries(interface, address);
        // What it replaces will not hold the route to the subnet.
        let boot = self.replaces.map(|b| b.address);
        let stays: Vec<Address> = present.iter().filter(|a| Some(a.address) != boot).cloned().collect();
        match netlink::add_address(self.message(link, &stays)) {
            Ok(()) => Ok(()),
            Err(e) if e.is(libc::EEXIST) => Ok(()),
            Err(e) if e.is(libc::EACCES) && address.is_ipv6() => Err(self.fail(&format!(
                "IPv6 is switched off there; type: sysctl net.ipv6.conf.{interface}.disable_ipv6=0"
            ))),
            Err(e) => Err(self.fail(&e)),
        }
    }

    /// What the kernel is told to add, where `present` is what the interfaces have already.
    fn message(&self, link: &Link, present: &[Address]) -> AddressMessage {
        let Self { address, prefix, .. } = *self;
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
        message.header.scope =
            if address.is_loopback() { AddressScope::Host } else { AddressScope::Universe };
        message.attributes.push(AddressAttribute::Flags(flags));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
        match address {
            IpAddr::V4(_) => {
                if let Some(label) = self.label.filter(|l| l.len() <= LABEL_BYTES_MAX) {
                    message.attributes.push(AddressAttribute::Label(label.to_owned()));
                }
                let usual = || subnet::broadcast(address, prefix).filter(|_| !has_route);
                message.attributes.extend(self.broadcast.or_else(usual).map(AddressAttribute::Broadcast));
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

    fn take_boot_away(&self, link: &Link) -> Result<(), String> {
        let Some(boot) = self.replaces else { return Ok(()) };
        match netlink::delete_address(link.index, boot.address, boot.prefix) {
            Ok(()) => Ok(()),
            Err(e) if e.is(libc::EADDRNOTAVAIL) => Ok(()),
            Err(e) => Err(self.fail(&format!("the boot address {boot} does not go: {e}"))),
        }
    }
}

/// Removes a service address, after the boot address is back whose place it took.
pub(super) fn remove(
    interface: &str,
    address: IpAddr,
    prefix: u8,
    replaces: Option<Prefixed>,
) -> Result<(), String> {
    let fail =
        |what: &dyn std::fmt::Display| format!("cannot remove {address}/{prefix} from {interface}: {what}");
    let links = netlink::links().map_err(|e| fail(&e))?;
    // An interface that is gone took its addresses with it.
    let Some(link) = links.iter().find(|l| l.name == interface) else { return Ok(()) };
    if let Some(boot) = replaces
        && let Err(error) = put_up(link, boot, None)
    {
        // The end of a lease does not wait for it: the next daemon puts it back.
        tracing::warn!(%interface, %boot, %error, "the boot address does not come back");
    }
    keep_secondaries(interface, address);
    match netlink::delete_address(link.index, address, prefix) {
        Ok(()) => {}
        Err(e) if e.is(libc::EADDRNOTAVAIL) || e.is(libc::ENODEV) => {}
        Err(e) => return Err(fail(&e)),
    }
    route::lead_no_more(link, address, prefix);
    let left = netlink::addresses().map_err(|e| fail(&e))?;
    match left.iter().find(|a| a.link == link.index && a.address == address) {
        None => Ok(()),
        Some(a) => Err(fail(&format!("it is still there, as {address}/{}", a.prefix))),
    }
}

/// Puts up an address that is the node's own, marked for whoever lists it, unless it is there.
pub(crate) fn put_up(link: &Link, own: Prefixed, mark: Option<u8>) -> Result<(), netlink::Error> {
    let mut message = netlink::address_message(link.index, own.address, own.prefix);
    let mark = mark.map(|mark| AddressAttribute::Protocol(AddressProtocol::Other(mark)));
    let broadcast = subnet::broadcast(own.address, own.prefix).map(AddressAttribute::Broadcast);
    message.attributes.extend(mark.into_iter().chain(broadcast));
    match netlink::add_address(message) {
        Err(e) if e.is(libc::EEXIST) => Ok(()),
        done => done,
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
