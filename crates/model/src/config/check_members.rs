//! Checks across nodes, witnesses and fence devices.

use std::collections::{BTreeMap, BTreeSet};

use super::arbiter;
use super::draft::{Draft, MemberDraft};
use super::finding::{Finding, Findings, Span};
use super::scalar::family;
use super::spelling;
use super::subnet::look_alike;
use super::tree::At;

/// Reports every name after the first that stands there a second time.
pub(super) fn names_once<'a>(
    what: &str,
    names: impl Iterator<Item = &'a At<String>>,
    findings: &mut Findings,
) {
    let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
    for name in names {
        if let Some(first) = seen.get(name.value.as_str()) {
            findings.add(
                Finding::error(&name.span, format!("there is already a {what} called `{}`", name.value))
                    .help("give each its own name")
                    .related(first, "the first one is here"),
            );
        } else {
            seen.insert(&name.value, &name.span);
        }
    }
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    names_once("node or witness", draft.members().filter_map(|m| m.name.as_ref()), findings);
    names_once("fence device", draft.fences.iter().filter_map(|f| f.name.as_ref()), findings);
    if draft.nodes.is_empty() {
        let finding = Finding::error(&top(draft), "there is no node").help(
            "add a table [[node]] with name = \"lx4\" and addresses = [\"10.77.0.4\"] for each machine",
        );
        findings.add_missing(finding);
    }
    same_count(draft, findings);
    addresses_once(draft, findings);
    same_family(draft, findings);
    loopback(draft, findings);
    crossed(draft, findings);
    fence_nodes(draft, findings);
    if !findings.broken_syntax {
        survives(draft, findings);
    }
}

/// Where a finding about the whole cluster points.
fn top(draft: &Draft) -> Span {
    draft.cluster.as_ref().map_or(0..0, |c| c.name.as_ref().map_or(&c.header, |n| &n.span).clone())
}

fn same_count(draft: &Draft, findings: &mut Findings) {
    let Some((first, first_list)) = draft.nodes.iter().find_map(|n| Some((n, n.list.as_ref()?))) else {
        return;
    };
    for member in draft.members() {
        let Some(list) = member.list.as_ref() else { continue };
        let (here, there) = (member.addresses.len(), first.addresses.len());
        if here != there && here > 0 {
            let count = |n: usize| if n == 1 { "1 address".to_string() } else { format!("{n} addresses") };
            let message = format!(
                "`{}` has {}, but `{}` has {}",
                member.title(),
                count(here),
                first.title(),
                count(there)
            );
            findings.add(
                Finding::error(list, message)
                    .help("give each node and each witness one address per network, in the same order")
                    .related(first_list, format!("{there} here")),
            );
        }
    }
}

fn addresses_once(draft: &Draft, findings: &mut Findings) {
    let mut seen = BTreeMap::new();
    for member in draft.members() {
        for address in member.readable() {
            let Some((first, owner)) = seen.get(&address.value) else {
                seen.insert(address.value, (&address.span, member.title()));
                continue;
            };
            let message = format!("the address {} is already `{owner}`'s", address.value);
            findings.add(
                Finding::error(&address.span, message)
                    .help(format!("write the address of `{}` on this network", member.title()))
                    .related(first, "first given here"),
            );
        }
    }
}

fn networks(draft: &Draft) -> usize {
    draft.nodes.iter().map(|n| n.addresses.len()).max().unwrap_or(0)
}

fn on_network(draft: &Draft, network: usize) -> Vec<(&MemberDraft, &At<std::net::IpAddr>)> {
    draft.members().filter_map(|m| Some((m, m.addresses.get(network)?.as_ref()?))).collect()
}

fn same_family(draft: &Draft, findings: &mut Findings) {
    for network in 0..networks(draft) {
        let all = on_network(draft, network);
        let Some(((owner, first), rest)) = all.split_first() else { continue };
        for (member, address) in rest {
            if address.value.is_ipv4() != first.value.is_ipv4() {
                let message = format!(
                    "network {}: `{}` has an {} address, but `{}` an {} one",
                    network + 1,
                    member.title(),
                    family(address.value),
                    owner.title(),
                    family(first.value)
                );
                findings.add(
                    Finding::error(&address.span, message)
                        .help("list the addresses in the order of the networks; one network has one family")
                        .related(&first.span, "the network's first address"),
                );
            }
        }
    }
}

fn loopback(draft: &Draft, findings: &mut Findings) {
    let all: Vec<_> = draft.members().flat_map(MemberDraft::readable).collect();
    let on_loopback: Vec<_> = all.iter().filter(|a| a.value.is_loopback()).collect();
    if on_loopback.len() < all.len() {
        for address in on_loopback {
            let message = format!("{} is a loopback address: no other machine reaches it", address.value);
            findings.add(
                Finding::error(&address.span, message)
                    .help("write the address that this machine has on that network"),
            );
        }
    } else if let Some(first) = on_loopback.first() {
        findings.add(
            Finding::warning(&first.span, "every address is a loopback address: this cluster is one machine")
                .help("good for a trial; for real nodes write their addresses on their networks"),
        );
    }
}

/// Addresses that stand at another place of the list than those they look like.
fn crossed(draft: &Draft, findings: &mut Findings) {
    for network in 0..networks(draft) {
        let all = on_network(draft, network);
        let Some(((owner, first), rest)) = all.split_first() else { continue };
        let alike = |a: &At<std::net::IpAddr>, b: &At<std::net::IpAddr>| look_alike(a.value, b.value);
        for (member, address) in rest {
            if alike(address, first) || address.value.is_ipv4() != first.value.is_ipv4() {
                continue;
            }
            let belongs = owner.readable().position(|other| alike(other, address));
            let help = match belongs {
                Some(other) => format!(
                    "it looks like network {}: list the addresses of every node in the same order",
                    other + 1
                ),
                None if rest.len() >= 2 && rest.iter().all(|(_, a)| alike(a, first) || a == address) => {
                    "the others share a subnet there; right if there is a router in between".to_string()
                }
                None => continue,
            };
            let message = format!(
                "network {}: {} of `{}` is not in the subnet of {} of `{}`",
                network + 1,
                address.value,
                member.title(),
                first.value,
                owner.title()
            );
            findings.add(
                Finding::warning(&address.span, message)
                    .help(help)
                    .related(&first.span, "the network's first"),
            );
        }
    }
}

fn fence_nodes(draft: &Draft, findings: &mut Findings) {
    for fence in &draft.fences {
        let Some(list) = &fence.nodes else { continue };
        known_nodes("nodes", list, draft, findings);
        let plugs = fence.plugs.iter().map(|plug| ("plugs", plug));
        let named: BTreeSet<&str> = list.value.iter().map(|n| n.value.as_str()).collect();
        for (key, plug) in plugs.chain(fence.delays.iter().map(|node| ("delay", node))) {
            if !named.contains(plug.value.as_str()) {
                let message =
                    format!("`{key}` names `{}`, which `nodes` does not", plug.value.escape_debug());
                let help = match nearest_of(&plug.value, list.value.iter()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "add it to `nodes`, or delete it here".to_string(),
                };
                findings.add(
                    Finding::error(&plug.span, message).help(help).related(&list.span, "the device's nodes"),
                );
            }
        }
    }
}

fn nearest_of<'a>(word: &str, names: impl Iterator<Item = &'a At<String>>) -> Option<&'a str> {
    let names: Vec<&str> = names.map(|n| n.value.as_str()).collect();
    spelling::nearest(word, &names)
}

/// A list of nodes: not empty, every name a node's, none twice.
pub(super) fn known_nodes(key: &str, list: &At<Vec<At<String>>>, draft: &Draft, findings: &mut Findings) {
    let all = || draft.nodes.iter().filter_map(|n| n.name.as_ref());
    let names = || all().map(|n| format!("\"{}\"", n.value)).collect::<Vec<_>>().join(", ");
    if list.value.is_empty() {
        findings.add_missing(
            Finding::error(&list.span, format!("`{key}` names no node"))
                .help(format!("write {key} = [{}]", names())),
        );
    }
    let mut seen: BTreeMap<&str, &At<String>> = BTreeMap::new();
    for name in &list.value {
        let first = *seen.entry(&name.value).or_insert(name);
        if !std::ptr::eq(first, name) {
            findings.add(
                Finding::error(&name.span, format!("`{}` stands here twice", name.value.escape_debug()))
                    .help("keep it where it belongs by preference, delete the other")
                    .related(&first.span, "first here"),
            );
            continue;
        }
        if draft.node(&name.value).is_some() {
            continue;
        }
        let witness = draft.witnesses.iter().filter_map(|w| w.name.as_ref()).find(|w| w.value == name.value);
        if let Some(witness) = witness {
            findings.add(
                Finding::error(
                    &name.span,
                    format!("`{}` is a witness: it votes and owns nothing", name.value),
                )
                .help(format!("write nodes, of {}; or make it a [[node]]", names()))
                .related(&witness.span, "the witness"),
            );
        } else if !draft.has_nameless_member() {
            let help = match nearest_of(&name.value, all()) {
                Some(near) => format!("did you mean \"{near}\"? The nodes are {}", names()),
                None if draft.nodes.is_empty() => "add it as a [[node]]".to_string(),
                None => format!("the nodes are {}; add a [[node]] for another", names()),
            };
            let message = format!("there is no node `{}`", name.value.escape_debug());
            findings.add(Finding::error(&name.span, message).help(help));
        }
    }
}

/// What this cluster as a whole does not survive.
fn survives(draft: &Draft, findings: &mut Findings) {
    let place = top(draft);
    match (draft.nodes.len(), draft.witnesses.len()) {
        (1, _) => findings.add(
            Finding::warning(&draft.nodes[0].header, "a cluster of one node takes nothing over")
                .help("add a second machine: `regent join` there, or another [[node]] here"),
        ),
        (2, 0) if draft.arbiter.is_none() => findings.add(
            Finding::warning(
                &place,
                "two nodes without a third vote: the second node stays a learner and cannot outvote anybody",
            )
            .help(format!(
                "when the first node is lost, nothing is taken over until it returns. Add a [[witness]] on \
                 any third machine (it needs no disk and no service): `regent witness` there. Where there is no third \
                 machine, {} can decide: regent arbiter init /dev/disk/by-id/...{}",
                common_disk(draft),
                fences(draft)
            )),
        ),
        _ => {}
    }
    if draft.members().count() > 1 && networks(draft) == 1 {
        let span = draft.nodes.first().and_then(|n| n.list.clone()).unwrap_or(place);
        findings.add(
            Finding::warning(&span, "one network only: when it fails, every node is silent to every other")
                .help(
                    "a broken cable or switch then counts as a lost node. Give each node a second address on \
                     separate cables: addresses = [\"10.77.0.4\", \"10.78.0.4\"]",
                ),
        );
    }
}

/// That the fence devices could decide, if they can.
fn fences(draft: &Draft) -> &'static str {
    if arbiter::uncut(draft).next().is_none() {
        ". Where they share no disk, who turns the other one off goes on: regent arbiter fence"
    } else {
        ""
    }
}

/// What of a disk both nodes could let decide.
fn common_disk(draft: &Draft) -> String {
    let shared =
        draft.groups.iter().find_map(|group| Some(group.shared_device()?.value.display().to_string()));
    shared.map_or_else(
        || "a partition of 16 MiB of a disk that both share".to_owned(),
        |device| format!("16 MiB of the disk that {device} is on"),
    )
}
