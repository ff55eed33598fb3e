//! Addresses that a node has for itself: persistent ones, and boot addresses that a service address has displaced.

use std::net::IpAddr;

use regent_model::action::{Notice, Upkeep};
use regent_model::config::Prefixed;

use crate::acts;
use crate::announce;
use crate::netlink::{self, Address, Link};
use crate::subnet;

/// Marks persistent addresses, so that a later daemon knows which it may take down.
const PROTOCOL: u8 = 83;
const TOPIC: &str = "own_addresses";

/// Puts everything where it belongs, and says how that went.
pub(super) fn keep(upkeep: &Upkeep) -> Notice {
    let mut wrong = Vec::new();
    if let Err(error) = persistent(upkeep, &mut wrong) {
        wrong.push(format!("cannot look at this node's addresses: {error}"));
    }
    if let Err(error) = boot(upkeep, &mut wrong) {
        wrong.push(format!("cannot look at this node's addresses: {error}"));
    }
    let topic = TOPIC.to_owned();
    if wrong.is_empty() {
        return Notice::Well { topic, text: "this node has all addresses of its own again".into() };
    }
    let text = format!("this node lacks addresses of its own: {}", wrong.join("; "));
    Notice::Trouble {
        topic,
        text,
        advice: "compare `ip address` with `persistent` and [[node.adapter]] in the configuration".into(),
    }
}

fn persistent(upkeep: &Upkeep, wrong: &mut Vec<String>) -> Result<(), netlink::Error> {
    let (links, present) = (netlink::links()?, netlink::addresses()?);
    let is_wanted = |a: &Address| upkeep.persistent.iter().any(|(p, _)| p.address == a.address);
    for old in present.iter().filter(|a| a.protocol == Some(PROTOCOL) && !is_wanted(a)) {
        if let Err(error) = netlink::delete_address(old.link, old.address, old.prefix) {
            wrong.push(format!("{} does not go: {error}", old.address));
        }
    }
    for (own, interface) in &upkeep.persistent {
        let link = match interface {
            Some(name) => links.iter().find(|l| &l.name == name),
            None => beside(*own, &links, &present),
        };
        let Some(link) = link else {
            wrong.push(format!("no interface for the persistent address {own}"));
            continue;
        };
        if let Err(error) = put(*own, link, &present) {
            wrong.push(format!("{own} on {}: {error}", link.name));
        }
    }
    Ok(())
}

/// The interface with an address in the same subnet.
fn beside<'a>(own: Prefixed, links: &'a [Link], present: &[Address]) -> Option<&'a Link> {
    let near =
        |a: &&Address| a.protocol != Some(PROTOCOL) && subnet::contains(own.address, own.prefix, a.address);
    let already = present.iter().find(|a| a.address == own.address);
    let found = already.or_else(|| present.iter().find(near))?;
    links.iter().find(|l| l.index == found.link)
}

/// Adds it here, and only then takes it away elsewhere: who is connected to it stays so.
fn put(own: Prefixed, link: &Link, present: &[Address]) -> Result<(), netlink::Error> {
    let added = !present.iter().any(|a| a.link == link.index && a.address == own.address);
    if added {
        acts::put_up(link, own, Some(PROTOCOL))?;
    }
    let elsewhere = present
        .iter()
        .filter(|a| a.address == own.address && a.link != link.index && a.protocol == Some(PROTOCOL));
    let mut moved = false;
    for old in elsewhere {
        netlink::delete_address(old.link, old.address, old.prefix)?;
        moved = true;
    }
    if (moved || added)
        && let Err(error) = announce::announce(&link.name, own.address)
    {
        tracing::warn!(%error, "the neighbours are not told of a persistent address");
    }
    Ok(())
}

/// A boot address is put back where no service address has its place.
fn boot(upkeep: &Upkeep, wrong: &mut Vec<String>) -> Result<(), netlink::Error> {
    if upkeep.boot.is_empty() {
        return Ok(());
    }
    let (links, present) = (netlink::links()?, netlink::addresses()?);
    for (boot, interface) in &upkeep.boot {
        let Some(link) = links.iter().find(|l| &l.name == interface) else { continue };
        let has = |address: &IpAddr| present.iter().any(|a| a.link == link.index && a.address == *address);
        if has(&boot.address) || upkeep.service.iter().any(has) {
            continue;
        }
        if let Err(error) = acts::put_up(link, *boot, None) {
            wrong.push(format!("the boot address {boot} on {interface}: {error}"));
        }
    }
    Ok(())
}
