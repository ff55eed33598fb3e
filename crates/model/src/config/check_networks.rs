//! Checks of the networks, of the nodes' adapters on them, and of persistent addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::check_members::names_once;
use super::draft::{AdapterDraft, Draft, MemberDraft, NetworkDraft};
use super::finding::{Finding, Findings, Span};
use super::tree::At;
use super::{AdapterRole, IpTakeover, OnDown, Prefixed, network, spelling};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    names_once("network", draft.networks.iter().filter_map(|n| n.name.as_ref()), findings);
    count(draft, findings);
    for node in &draft.nodes {
        interfaces_once(node, findings);
        for adapter in &node.adapters {
            known_network(adapter, draft, findings);
            replaceable(node, adapter, draft, findings);
        }
        standby_has_a_service(node, draft, findings);
        persistent(node, draft, findings);
    }
    addresses_once(draft, findings);
    for address in draft.groups.iter().flat_map(|g| &g.addresses) {
        if let Some(name) = &address.network {
            exists(name, draft, findings);
        }
    }
    served(draft, findings);
}

fn network_of<'a>(adapter: &AdapterDraft, draft: &'a Draft) -> Option<&'a NetworkDraft> {
    network::place(&draft.networks, &adapter.network.as_ref()?.value).map(|at| &draft.networks[at])
}

/// The networks are those of the nodes' addresses, in their order.
fn count(draft: &Draft, findings: &mut Findings) {
    let Some(node) = draft.nodes.iter().rev().max_by_key(|n| n.addresses.len()) else { return };
    let have = node.addresses.len();
    if let Some(network) = draft.networks.get(have.max(1)) {
        let place = network.name.as_ref().map_or(&network.header, |n| &n.span);
        let message = format!(
            "there are {} networks, but `{}` has {have} address{}",
            draft.networks.len(),
            node.title(),
            if have == 1 { "" } else { "es" }
        );
        let mut finding = Finding::error(place, message).help(
            "write one [[network]] for each place in the nodes' `addresses`, in the same order, or give each node \
             and witness one more address",
        );
        if let Some(list) = &node.list {
            finding = finding.related(list, "one network for each of these");
        }
        findings.add(finding);
    }
}

fn interfaces_once(node: &MemberDraft, findings: &mut Findings) {
    let mut seen: BTreeMap<&str, (&Span, &AdapterDraft)> = BTreeMap::new();
    for adapter in &node.adapters {
        let Some(interface) = &adapter.interface else { continue };
        let Some((first, other)) = seen.get(interface.value.as_str()) else {
            seen.insert(&interface.value, (&interface.span, adapter));
            continue;
        };
        let both = adapter.role == AdapterRole::Standby && other.role == AdapterRole::Standby;
        let message = if both {
            format!("the standby {} of `{}` is in use already", interface.value, node.title())
        } else {
            format!("`{}` has an adapter on {} already", node.title(), interface.value)
        };
        let help = if both {
            "a standby stands in on one network; give the other one an interface of its own"
        } else {
            "an interface is one adapter, on one network, in one role; name another one, or delete this adapter"
        };
        findings.add(Finding::error(&interface.span, message).help(help).related(first, "the first one"));
    }
}

fn known_network(adapter: &AdapterDraft, draft: &Draft, findings: &mut Findings) {
    if let Some(name) = &adapter.network {
        exists(name, draft, findings);
    }
}

fn exists(name: &At<String>, draft: &Draft, findings: &mut Findings) {
    let known: Vec<&str> =
        draft.networks.iter().filter_map(|n| n.name.as_ref()).map(|n| n.value.as_str()).collect();
    if known.contains(&name.value.as_str()) || known.len() < draft.networks.len() {
        return;
    }
    let help = match (spelling::nearest(&name.value, &known), known.is_empty()) {
        (Some(near), _) => format!("did you mean \"{near}\"? The networks are {}", known.join(", ")),
        (None, false) => format!("the networks are {}", known.join(", ")),
        (None, true) => format!(
            "name the networks, in the order of the nodes' addresses: [[network]], and on the next line name = {:?}",
            name.value
        ),
    };
    findings.add(Finding::error(&name.span, format!("there is no network `{}`", name.value)).help(help));
}

/// Where service addresses take the boot address's place, there must be one, and it must be free to go.
fn replaceable(node: &MemberDraft, adapter: &AdapterDraft, draft: &Draft, findings: &mut Findings) {
    let Some(network) = network_of(adapter, draft).filter(|n| n.takeover == IpTakeover::Replace) else {
        return;
    };
    let network = network.name.as_ref().map_or("", |n| &n.value);
    let Some(boot) = &adapter.boot else {
        let message = format!(
            "service addresses of {network} take the boot address's place, and this adapter's is not known"
        );
        findings.add(
            Finding::error(&adapter.header, message)
                .help("add address = \"A/PREFIX\": the address that the interface has after boot"),
        );
        return;
    };
    let Some(own) = node.readable().find(|own| own.value == boot.value.address) else { return };
    let message = format!(
        "{} carries keepalives, and on {network} a service address would take its place",
        boot.value.address
    );
    let help = format!(
        "keepalives need an address that stays. Give the interface another boot address, and keep this one with \
         persistent = [\"{}\"] in this [[node]]; or write takeover = \"alias\" in the [[network]]",
        boot.value
    );
    findings.add(
        Finding::error(&boot.span, message).help(help).related(&own.span, "keepalives are sent from here"),
    );
}

fn standby_has_a_service(node: &MemberDraft, draft: &Draft, findings: &mut Findings) {
    for standby in node.adapters.iter().filter(|a| a.role == AdapterRole::Standby) {
        let Some(network) = &standby.network else { continue };
        // What is wrong with the network's name was said.
        if network_of(standby, draft).is_none() {
            continue;
        }
        let same = |a: &&AdapterDraft| a.network.as_ref().is_none_or(|n| n.value == network.value);
        if node.adapters.iter().filter(same).any(|a| a.role == AdapterRole::Service) {
            continue;
        }
        let message =
            format!("`{}` has a standby on {}, but no service adapter", node.title(), network.value);
        let help = format!(
            "add the interface that it stands in for: [[node.adapter]] with interface = \"eth0\", network = {:?}, \
             role = \"service\"",
            network.value
        );
        findings.add(Finding::error(&standby.header, message).help(help));
    }
}

fn persistent(node: &MemberDraft, draft: &Draft, findings: &mut Findings) {
    let mut taken: BTreeMap<usize, &Span> = BTreeMap::new();
    for at in &node.persistent {
        let Some(network) = beside(node, at.value, draft) else {
            if node.list.is_some() && node.addresses.iter().all(Option::is_some) {
                let message =
                    format!("the persistent address {} lies on no network of `{}`", at.value, node.title());
                findings.add(Finding::error(&at.span, message).help(
                    "write one in the subnet of this node's `addresses` or of an adapter's boot address, with that \
                     network's prefix length",
                ));
            }
            continue;
        };
        if let Some(first) = taken.insert(network, &at.span) {
            let message = format!("`{}` has a persistent address on that network already", node.title());
            findings.add(
                Finding::error(&at.span, message)
                    .help("a node has one persistent address per network")
                    .related(first, "the first one"),
            );
        }
    }
}

fn beside(node: &MemberDraft, at: Prefixed, draft: &Draft) -> Option<usize> {
    let own = node.addresses.iter().map(|own| own.as_ref().map(|own| own.value));
    let place = |a: &AdapterDraft| network::place(&draft.networks, &a.network.as_ref()?.value);
    let boots = node.adapters.iter().filter_map(|a| Some((a.boot.as_ref()?.value, place(a))));
    network::beside(at, own, boots)
}

/// Boot and persistent addresses are one machine's, and no service's. A node's own address may be either.
fn addresses_once(draft: &Draft, findings: &mut Findings) {
    let mut seen: BTreeMap<IpAddr, (&Span, String)> = BTreeMap::new();
    for address in draft.groups.iter().flat_map(|g| &g.addresses).filter_map(|a| a.address.as_ref()) {
        seen.insert(address.value.0, (&address.span, "is a service address: it moves".to_owned()));
    }
    for node in &draft.nodes {
        let boots = node.adapters.iter().filter_map(|a| a.boot.as_ref()).map(|b| (b, "boot"));
        let kept = node.persistent.iter().map(|p| (p, "persistent"));
        for (at, kind) in boots.chain(kept) {
            let address = at.value.address;
            let foreign = draft.members().filter(|m| m.header != node.header).find_map(|m| {
                m.readable().find(|a| a.value == address).map(|a| (&a.span, format!("is `{}`'s", m.title())))
            });
            let other = seen.get(&address).map(|(span, what)| (*span, what.clone()));
            if let Some((span, what)) = foreign.or(other) {
                let message =
                    format!("{address} {what}, and cannot be a {kind} address of `{}`", node.title());
                findings.add(
                    Finding::error(&at.span, message)
                        .help(
                            "write a free address of that network: each interface and each node has its own",
                        )
                        .related(span, "given here"),
                );
                continue;
            }
            seen.insert(address, (&at.span, format!("is a {kind} address of `{}` already", node.title())));
        }
    }
}

/// What a network promises must be possible on every node of a group that has an address on it.
fn served(draft: &Draft, findings: &mut Findings) {
    for network in draft.networks.iter().filter(|n| n.takeover == IpTakeover::Replace) {
        let Some(name) = &network.name else { continue };
        let on_it = |a: &&AdapterDraft| a.network.as_ref().is_some_and(|n| n.value == name.value);
        let bare = draft.nodes.iter().filter(|n| !n.adapters.iter().any(|a| on_it(&a)));
        let bare: Vec<String> = bare.map(|n| format!("`{}`", n.title())).collect();
        if !bare.is_empty() {
            let message = format!(
                "service addresses of {} take the boot address's place, but {} {} no adapter on it",
                name.value,
                bare.join(", "),
                if bare.len() == 1 { "has" } else { "have" }
            );
            let help = format!(
                "add to each: [[node.adapter]] with interface = \"eth0\", network = {:?}, address = \"A/PREFIX\"",
                name.value
            );
            findings.add(Finding::error(&name.span, message).help(help));
        }
    }
    let moves = draft.networks.iter().filter(|n| n.on_down == OnDown::Move);
    for name in moves.filter_map(|n| n.name.as_ref()) {
        if draft.groups.iter().all(|g| g.addresses.is_empty()) {
            let message =
                format!("`on_down` of {} moves nothing: no group has a service address", name.value);
            findings.add(
                Finding::warning(&name.span, message).help("add a [[group.address]], or delete `on_down`"),
            );
        }
    }
    interfaces_are_adapters(draft, findings);
}

/// An interface that a service address names is one of the node's adapters, where those are told.
fn interfaces_are_adapters(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        for interface in group.addresses.iter().filter_map(|a| a.interface.as_ref()) {
            let nodes = group.node_names().filter_map(|n| draft.node(&n.value));
            let lacks = |n: &&MemberDraft| {
                let names = n.adapters.iter().filter_map(|a| a.interface.as_ref());
                !n.adapters.is_empty() && names.clone().all(|name| name.value != interface.value)
            };
            let Some(node) = nodes.into_iter().find(lacks) else { continue };
            let message = format!("{} is no adapter of `{}`", interface.value, node.title());
            findings.add(Finding::error(&interface.span, message).help(
                "name one of its adapters, or the network alone (network = \"...\"): then its service adapter carries \
                 the address",
            ));
        }
    }
}
