//! A service address moves to another interface of this node.

use regent_model::action::{Failure, Outcome};
use regent_model::config::AddressConfig;
use regent_model::holding::{Act, Origin};

use super::{View, announce, carried, no_carrier, replaced_on, take_away, wait_usable};
use crate::hands::{Context, failure};

/// Moves it to the first of the places. The guard adds it there and takes it away where it was, in one act, with both
/// on its list; what listens on it and who is connected to it notices nothing.
pub(super) fn swap(context: &Context<'_>, config: &AddressConfig) -> Result<Outcome, Failure> {
    let view = View::now()?;
    let places = &context.run.places;
    let target = places.first().map_or("", |p| p.interface.as_str());
    let Some(link) = view.links.iter().find(|l| l.name == target) else {
        let reason = format!("there is no interface {target} for {}", config.address);
        return Err(failure(reason, view.describe()));
    };
    if !link.is_up() || !link.has_carrier() {
        return Err(failure(no_carrier(link), view.describe()));
    }
    let elsewhere =
        view.addresses.iter().filter(|a| a.address == config.address && a.link != link.index).cloned();
    let elsewhere: Vec<_> = elsewhere.collect();
    let from = elsewhere.first().map(|found| {
        let interface = view.name(found.link).to_owned();
        Origin { replaces: replaced_on(&interface, places), interface }
    });
    let (address, prefix) = (config.address, config.prefix);
    let act = Act::AddAddress {
        interface: link.name.clone(),
        address,
        prefix,
        broadcast: config.broadcast,
        label: view.free_label(link, address),
        replaces: replaced_on(&link.name, places),
        from: from.clone(),
        leads: true,
    };
    let there = from.map_or_else(String::new, |from| format!(" from {}", from.interface));
    context.perform(&format!("move {address}/{prefix}{there} to {}", link.name), act)?;
    wait_usable(context, address, link)?;
    announce(context, address, link);
    for found in &elsewhere {
        // It is gone there: this shows it, and takes it off the guard's list.
        take_away(context, found, view.name(found.link))?;
    }
    carried(context, config, Some(&link.name));
    Ok(Outcome::Running)
}
