//! Service addresses: found on an interface, added by the guard, announced, watched, and removed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use regent_model::action::{Failure, Notice, Op, Outcome, Place};
use regent_model::config::{AddressConfig, Prefixed};
use regent_model::holding::{Act, Holding};

use crate::acts;
use crate::connections;
use crate::hands::{Context, failure};
use crate::netlink::{self, Address, Link};
use crate::report::Report;
use crate::subnet;

mod swap;

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
        Op::Swap => swap::swap(context, config),
    }
}

fn probe(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let places = &context.run.places;
    let Some(found) = view.find(config.address) else {
        carried(context, config, None);
        return Ok(Outcome::Stopped);
    };
    let there = view.name(found.link);
    let belongs = |link: &Link| match places.is_empty() {
        true => link.index == found.link,
        // A swap may have been under way when the daemon before this one ended.
        false => places.iter().any(|p| p.interface == there),
    };
    match view.interface_for(config, places) {
        Ok(link) if !belongs(link) => Err(Failure::because(format!(
            "{} is on {there}, and not on {} where it belongs; remove it: ip address del {}/{} dev {there}",
            config.address, link.name, found.address, found.prefix
        ))),
        _ => {
            // What is adopted is let go of like everything else (L12), and announced again.
            for also in view.addresses.iter().filter(|a| a.address == config.address) {
                context.hold(holding_on(view.name(also.link), also, places))?;
            }
            carried(context, config, Some(there));
            if let Err(error) = context.inner.announcer.keep_up(there, config.address) {
                context.job.warn("the announcement failed", error);
            }
            Ok(Outcome::Running)
        }
    }
}

fn acquire(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let link = view.interface_for(config, &context.run.places)?;
    if !link.is_up() || !link.has_carrier() {
        return Err(failure(no_carrier(link), view.describe()));
    }
    let act = Act::AddAddress {
        interface: link.name.clone(),
        address: config.address,
        prefix: config.prefix,
        broadcast: config.broadcast,
        label: view.free_label(link, config.address),
        replaces: replaced_on(&link.name, &context.run.places),
        from: None,
        leads: !context.run.places.is_empty(),
    };
    context.perform(&format!("add {}/{} to {}", config.address, config.prefix, link.name), act)?;
    wait_usable(context, config.address, link)?;
    carried(context, config, Some(&link.name));
    announce(context, config.address, link);
    Ok(Outcome::Running)
}

fn announce(context: &Context<'_>, address: IpAddr, link: &Link) {
    let announced = context.job.step(&format!("announce {address} on {}", link.name), || {
        context.inner.announcer.start(&link.name, address)
    });
    if let Err(error) = announced {
        // The address works; neighbours learn of it from its first frame, if later.
        context.job.warn("the announcement failed", error);
    }
}

/// Tells on which interface the address is.
fn carried(context: &Context<'_>, config: &AddressConfig, interface: Option<&str>) {
    (context.inner.report)(Report::Notice(Notice::Carried {
        group: context.run.group.clone(),
        resource: config.name.clone(),
        interface: interface.map(str::to_owned),
    }));
}

/// The boot address whose place a service address takes on that interface.
fn replaced_on(interface: &str, places: &[Place]) -> Option<Prefixed> {
    places.iter().find(|p| p.interface == interface)?.replaces
}

/// What stands on the guard's list for an address that was found on that interface.
fn holding_on(interface: &str, found: &Address, places: &[Place]) -> Holding {
    Holding::Address {
        interface: interface.to_owned(),
        address: found.address,
        prefix: found.prefix,
        replaces: replaced_on(interface, places),
    }
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
    let places = &context.run.places;
    let expected = view.interface_for(config, places).ok().map(|link| link.name.clone());
    let is_here = view.find(config.address).is_some();
    if is_here {
        connections::before_it_goes(context, config);
    }
    for found in view.addresses.iter().filter(|a| a.address == config.address) {
        take_away(context, found, view.name(found.link))?;
    }
    if is_here {
        connections::slipped_in(context, config);
    }
    // It may be gone already, and still be on the guard's list, with or without a boot address to bring back.
    let named = config.interface.clone().or(expected).into_iter().map(|i| (i, None));
    let told = places.iter().flat_map(|p| [(p.interface.clone(), None), (p.interface.clone(), p.replaces)]);
    for (interface, replaces) in named.chain(told) {
        context.inner.announcer.stop(&interface, config.address);
        let (address, prefix) = (config.address, config.prefix);
        context.let_go(Holding::Address { interface, address, prefix, replaces })?;
    }
    carried(context, config, None);
    Ok(Outcome::Stopped)
}

/// Takes an address away from an interface, shows it, and takes it off the guard's list.
fn take_away(context: &Context<'_>, found: &Address, interface: &str) -> Result<(), Failure> {
    let (address, prefix) = (found.address, found.prefix);
    context.inner.announcer.stop(interface, address);
    let holding = holding_on(interface, found, &context.run.places);
    let what = format!("remove {address}/{prefix} from {interface}");
    let removed = context.job.step(&what, || acts::release(&holding, context.job.soft_deadline()));
    removed.map_err(Failure::because)?;
    context.let_go(holding)
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
    fn interface_for(&self, config: &AddressConfig, places: &[Place]) -> Result<&Link, Failure> {
        if !places.is_empty() {
            return self.best_of(config, places);
        }
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

    /// Of the configured interfaces the first that works; the first that carries, where none is known to work.
    fn best_of(&self, config: &AddressConfig, places: &[Place]) -> Result<&Link, Failure> {
        let there = |place: &Place| self.links.iter().find(|l| l.name == place.interface);
        let carries = |link: &&Link| link.is_up() && link.has_carrier();
        let well = places.iter().filter(|p| p.well).filter_map(there).find(carries);
        let any = || places.iter().filter_map(there).find(carries);
        let first = || places.iter().find_map(there);
        well.or_else(any).or_else(first).ok_or_else(|| {
            let names: Vec<&str> = places.iter().map(|p| p.interface.as_str()).collect();
            let reason =
                format!("none of the interfaces for {} is there: {}", config.address, names.join(", "));
            failure(reason, self.describe())
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
