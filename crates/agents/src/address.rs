//! Service addresses: found on an interface, added by the guard, announced, watched, and removed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use regent_model::action::{Failure, Op, Outcome};
use regent_model::config::AddressConfig;
use regent_model::holding::{Act, Holding};

use crate::acts;
use crate::hands::{Context, failure};
use crate::netlink::{self, Address, Link};
use crate::subnet;

/// The longest label the kernel takes; it begins with the interface's name.
const LABEL_BYTES_MAX: usize = 15;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What this node's network looks like now.
struct View {
    links: Vec<Link>,
    addresses: Vec<Address>,
}

/// Works on a service address.
pub(crate) fn work(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    match context.run.op {
        Op::Probe => probe(context, config),
        Op::Acquire => acquire(context, config),
        Op::Release => release(context, config),
        Op::Monitor => monitor(context, config),
    }
}

fn probe(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let Some(found) = view.find(config.address) else { return Ok(Outcome::Stopped) };
    let there = view.name(found.link);
    match view.interface_for(config) {
        Ok(link) if link.index != found.link => Err(Failure::because(format!(
            "{} is on {there}, and not on {} where it belongs; remove it: ip address del {}/{} dev {there}",
            config.address, link.name, found.address, found.prefix
        ))),
        _ => {
            // What is adopted is let go of like everything else (L12), and announced again.
            context.hold(Holding::Address {
                interface: there.to_owned(),
                address: found.address,
                prefix: found.prefix,
            })?;
            if let Err(error) = context.inner.announcer.keep_up(there, config.address) {
                context.job.warn("the announcement failed", error);
            }
            Ok(Outcome::Running)
        }
    }
}

fn acquire(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let link = view.interface_for(config)?;
    if !link.is_up() || !link.has_carrier() {
        return Err(failure(no_carrier(link), view.describe()));
    }
    let act = Act::AddAddress {
        interface: link.name.clone(),
        address: config.address,
        prefix: config.prefix,
        label: view.free_label(link, config.address),
    };
    context.perform(&format!("add {}/{} to {}", config.address, config.prefix, link.name), act)?;
    wait_usable(context, config.address, link)?;
    let announced = context.job.step(&format!("announce {} on {}", config.address, link.name), || {
        context.inner.announcer.start(&link.name, config.address)
    });
    if let Err(error) = announced {
        // The address works; neighbours learn of it from its first frame, if later.
        context.job.warn("the announcement failed", error);
    }
    Ok(Outcome::Running)
}

/// Sees that the address is there and answers. Without duplicate detection that is so at once.
fn wait_usable(context: &Context<'_>, address: IpAddr, link: &Link) -> Result<(), Failure> {
    loop {
        let view = View::now()?;
        let found = view.addresses.iter().find(|a| a.address == address && a.link == link.index);
        match found {
            Some(found) if !acts::is_unusable(found) => return Ok(()),
            found => {
                let what = match found {
                    Some(found) => format!("its flags are {:?}", found.flags),
                    None => "it is not there".into(),
                };
                let reason = format!("{address} was added to {}, but {what}", link.name);
                context.job.check().map_err(|_| failure(reason, view.describe()))?;
                std::thread::sleep(LOOK_AGAIN);
            }
        }
    }
}

fn release(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let held_on: Vec<(String, u8)> = view
        .addresses
        .iter()
        .filter(|a| a.address == config.address)
        .map(|a| (view.name(a.link).to_owned(), a.prefix))
        .collect();
    let expected = view.interface_for(config).ok().map(|link| link.name.clone());
    for (interface, prefix) in held_on {
        context.inner.announcer.stop(&interface, config.address);
        let holding = Holding::Address { interface: interface.clone(), address: config.address, prefix };
        let what = format!("remove {}/{prefix} from {interface}", config.address);
        let removed = context.job.step(&what, || acts::release(&holding, context.job.soft_deadline()));
        removed.map_err(Failure::because)?;
        context.let_go(holding)?;
    }
    // It may be gone already, and still be on the guard's list.
    if let Some(interface) = config.interface.clone().or(expected) {
        context.inner.announcer.stop(&interface, config.address);
        context.let_go(Holding::Address { interface, address: config.address, prefix: config.prefix })?;
    }
    Ok(Outcome::Stopped)
}

fn monitor(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let Some(found) = view.find(config.address) else {
        context.job.warn(format!("{} is no longer on this node", config.address), view.describe());
        return Ok(Outcome::Stopped);
    };
    let Some(link) = view.links.iter().find(|l| l.index == found.link) else {
        return Err(Failure::because(format!("the interface of {} vanished", config.address)));
    };
    if !link.is_up() || !link.has_carrier() {
        return Err(failure(no_carrier(link), view.describe()));
    }
    if acts::is_unusable(found) {
        let reason = format!("{} is on {} but answers nobody: {:?}", config.address, link.name, found.flags);
        return Err(Failure::because(reason));
    }
    if let Err(error) = context.inner.announcer.keep_up(&link.name, config.address) {
        context.job.warn("the announcement failed", error);
    }
    Ok(Outcome::Running)
}

fn no_carrier(link: &Link) -> String {
    let name = &link.name;
    if link.is_up() {
        format!("{name} has no carrier; check the cable, or the switch")
    } else {
        format!("{name} is switched off; type: ip link set {name} up")
    }
}

impl View {
    fn now() -> Result<Self, Failure> {
        let begun = Instant::now();
        let view = netlink::links().and_then(|links| Ok(Self { links, addresses: netlink::addresses()? }));
        tracing::trace!(took = ?begun.elapsed(), "looked at the network");
        view.map_err(|e| Failure::because(format!("cannot look at this node's interfaces: {e}")))
    }

    fn find(&self, address: IpAddr) -> Option<&Address> {
        self.addresses.iter().find(|a| a.address == address)
    }

    fn name(&self, index: u32) -> &str {
        self.links.iter().find(|l| l.index == index).map_or("an unknown interface", |l| &l.name)
    }

    /// The interface that was configured, or the one that carries an address of the same subnet; of several
    /// the one with the narrowest subnet.
    fn interface_for(&self, config: &AddressConfig) -> Result<&Link, Failure> {
        if let Some(name) = &config.interface {
            let reason = format!("there is no interface {name} for {}", config.address);
            return self
                .links
                .iter()
                .find(|l| &l.name == name)
                .ok_or_else(|| failure(reason, self.describe()));
        }
        let neighbours = self.addresses.iter().filter(|a| {
            a.address != config.address
                && (subnet::contains(a.address, a.prefix, config.address)
                    || subnet::contains(config.address, config.prefix, a.address))
        });
        let narrowest = neighbours.max_by_key(|a| (a.prefix, std::cmp::Reverse(a.link)));
        let link = narrowest.and_then(|a| self.links.iter().find(|l| l.index == a.link));
        link.ok_or_else(|| {
            let reason = format!(
                "no interface of this node carries an address of the subnet of {}/{}; name one with \
                 `interface = \"...\"`; this node has: {}",
                config.address,
                config.prefix,
                self.describe()
            );
            Failure::because(reason)
        })
    }

    /// Every interface with its addresses, in one line.
    fn describe(&self) -> String {
        let each = self.links.iter().map(|link| {
            let own = self.addresses.iter().filter(|a| a.link == link.index);
            let own: Vec<String> = own.map(|a| format!("{}/{}", a.address, a.prefix)).collect();
            let state = match (link.is_up(), link.has_carrier()) {
                (false, _) => " (off)",
                (true, false) => " (no carrier)",
                (true, true) => "",
            };
            let own = if own.is_empty() { "no address".into() } else { own.join(" ") };
            format!("{}{state}: {own}", link.name)
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// The first free label of the form `eth0:rg1`, where it fits.
    fn free_label(&self, link: &Link, address: IpAddr) -> Option<String> {
        if address.is_ipv6() {
            return None;
        }
        let used: Vec<&str> = self.addresses.iter().filter_map(|a| a.label.as_deref()).collect();
        let mut labels = (1..=self.addresses.len() + 1).map(|n| format!("{}:rg{n}", link.name));
        labels.find(|l| !used.contains(&l.as_str())).filter(|l| l.len() <= LABEL_BYTES_MAX)
    }
}

/// Every address of this node outside the loopback and link-local ranges.
pub(crate) fn of_this_node() -> Vec<IpAddr> {
    let all = netlink::addresses().unwrap_or_default().into_iter().map(|a| a.address);
    all.filter(|a| {
        let link_local = match a {
            IpAddr::V4(a) => a.is_link_local(),
            IpAddr::V6(a) => a.is_unicast_link_local(),
        };
        !a.is_loopback() && !link_local
    })
    .collect()
}
