//! Checks of the instances: among each other, against their group, and what they are told of other machines.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::data_servers;
use super::draft::{Draft, FilesystemDraft, GroupDraft, MemberDraft};
use super::finding::{Finding, Findings, Span};
use super::instance::{DataServer, FIRST_INSTANCE_PORT, InstanceConfig, InstanceDraft, InstanceKind};
use super::tree::At;
use crate::ids::InstanceName;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (at, instance) in draft.instances.iter().enumerate() {
        for earlier in &draft.instances[..at] {
            apart(earlier, instance, findings);
        }
        let group = at_home(draft, instance, findings);
        if let Some(group) = group {
            address(draft, group, instance, findings);
            named_apart(group, instance, findings);
        }
        data_servers(draft, instance, findings);
        data_servers::check(draft, instance, findings);
        license_servers(draft, instance, findings);
    }
}

/// Every instance, complete, with the name of its group. `None` where a part of one could not be read.
pub(super) fn placed(draft: &Draft) -> Option<Vec<(String, InstanceConfig)>> {
    let place = |instance: &InstanceDraft| {
        let config = instance.config.clone()?;
        let (group, ..) = filesystem_of(draft, &config.directory)?;
        let first = group.addresses.first().and_then(|a| a.address.as_ref()).map(|at| at.value.0);
        let address = instance.address.as_ref().map(|at| at.value).or(first);
        let server = |(name, at): &(At<String>, At<(IpAddr, Option<u16>)>)| {
            let (address, port) = at.value;
            let port = port.or_else(|| port_at(draft, address))?;
            let mapping = instance.mappings.get(&name.value.to_ascii_uppercase());
            let written = mapping.and_then(|m| Some(m.database.as_ref()?.value.clone()));
            Some(DataServer {
                name: InstanceName::new(&name.value).ok()?,
                address: SocketAddr::new(address, port),
                database: written.or_else(|| data_servers::database_at(draft, at.value)),
                globals: mapping.iter().flat_map(|m| &m.globals).map(|g| g.value.clone()).collect(),
            })
        };
        let data_servers = instance.data_servers.iter().map(server).collect::<Option<_>>()?;
        Some((group.name.as_ref()?.value.clone(), InstanceConfig { address, data_servers, ..config }))
    };
    draft.instances.iter().map(place).collect()
}

/// Names, ports and directories belong to one instance each.
fn apart(first: &InstanceDraft, second: &InstanceDraft, findings: &mut Findings) {
    if let (Some(a), Some(b)) = (&first.name, &second.name)
        && a.value.eq_ignore_ascii_case(&b.value)
    {
        let mut message = format!("there is already an instance called `{}`", a.value);
        if a.value != b.value {
            message.push_str("; case does not matter in their names");
        }
        let finding = Finding::error(&b.span, message).help("give each its own name");
        findings.add(finding.related(&a.span, "the first one is here"));
    }
    if let (Some(a), Some(b)) = (&first.port, &second.port)
        && a.value == b.value
    {
        let message = format!("port {} is `{}`'s already", b.value, first.title());
        let finding = Finding::error(&b.span, message).help(
            "give each instance a port of its own: one node may have to run both. `regent instance create` \
             takes the next free one",
        );
        findings.add(finding.related(&a.span, "first given here"));
    }
    if let (Some(a), Some(b)) = (&first.default, &second.default)
        && a.value
        && b.value
    {
        let message = format!("`{}` is the default instance already", first.title());
        let finding = Finding::error(&b.span, message).help("write default = true for one of them");
        findings.add(finding.related(&a.span, "first said here"));
    }
    let (Some(a), Some(b)) = (&first.directory, &second.directory) else { return };
    let (here, there) = (b.value.display(), a.value.display());
    let message = if a.value == b.value {
        format!("{here} is `{}`'s directory already", first.title())
    } else if b.value.starts_with(&a.value) {
        format!("{here} lies inside {there}, the directory of `{}`", first.title())
    } else if a.value.starts_with(&b.value) {
        format!("{there}, the directory of `{}`, lies inside {here}", first.title())
    } else {
        return;
    };
    let finding = Finding::error(&b.span, message).help("install each instance in a directory of its own");
    findings.add(finding.related(&a.span, "first given here"));
}

/// The deepest file system that a path lies on, and its group.
pub(super) fn filesystem_of<'d>(
    draft: &'d Draft,
    path: &Path,
) -> Option<(&'d GroupDraft, &'d FilesystemDraft, &'d At<PathBuf>)> {
    let all = draft.groups.iter().flat_map(|g| g.filesystems.iter().map(move |f| (g, f)));
    let mounted = all.filter_map(|(g, f)| Some((g, f, f.mount.as_ref()?)));
    mounted.filter(|(_, _, m)| path.starts_with(&m.value)).max_by_key(|(_, _, m)| m.value.as_os_str().len())
}

/// The group on whose storage a path lies.
pub(super) fn group_of<'d>(draft: &'d Draft, path: &Path) -> Option<&'d GroupDraft> {
    filesystem_of(draft, path).map(|(group, ..)| group)
}

/// The group whose shared storage holds the instance; what is wrong with where it lies is told.
fn at_home<'d>(
    draft: &'d Draft,
    instance: &InstanceDraft,
    findings: &mut Findings,
) -> Option<&'d GroupDraft> {
    let directory = instance.directory.as_ref()?;
    let Some((group, filesystem, mount)) = filesystem_of(draft, &directory.value) else {
        let unreadable = draft.groups.iter().flat_map(|g| &g.filesystems).any(|f| f.mount.is_none());
        if !unreadable {
            let message = format!("{} lies on no file system of a group", directory.value.display());
            let finding = Finding::error(&directory.span, message).help(
                "an instance moves with its storage: write a directory below the `mount` of a \
                 [[group.filesystem]], or add the file system to its group",
            );
            findings.add_missing(finding);
        }
        return None;
    };
    let folder = filesystem.folder().and_then(|f| filesystem_of(draft, &f.value));
    let (held_by, place) = folder.map_or((filesystem, mount), |(_, below, mount)| (below, mount));
    if !held_by.is_shared() {
        let message =
            format!("{} lies on a file system that each node has its own of", directory.value.display());
        let finding = Finding::error(&directory.span, message)
            .help("the next node must find the instance's data: write a directory on a shared file system")
            .related(&place.span, "the node's own");
        findings.add(finding);
        return None;
    }
    Some(group)
}

/// An instance listens on its group's service address: that is what its users know, wherever it runs.
fn address(draft: &Draft, group: &GroupDraft, instance: &InstanceDraft, findings: &mut Findings) {
    let own: Vec<IpAddr> = group.addresses.iter().filter_map(|a| Some(a.address.as_ref()?.value.0)).collect();
    if own.len() != group.addresses.len() {
        return;
    }
    let all = own.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(" or ");
    let Some(at) = &instance.address else {
        if own.len() > 1 {
            let message =
                format!("`{}` has {} addresses: which one is this instance's?", group.title(), own.len());
            findings.add(
                Finding::error(instance.place(), message)
                    .help(format!("write address = {}", all.replace(" or ", " or address = "))),
            );
        } else if own.is_empty() {
            let message = format!("`{}` has no service address for this instance", group.title());
            findings
                .add_missing(Finding::warning(instance.place(), message).help(
                    "its users would have to know where it runs: add a [[group.address]] to its group",
                ));
        }
        return;
    };
    if own.contains(&at.value) {
        return;
    }
    if let Some((node, span)) = node_with(draft, at.value) {
        let message = format!("{} is `{}`'s own address and stays with that node", at.value, node.title());
        let help = if all.is_empty() {
            format!("add a [[group.address]] to `{}`, and write that address", group.title())
        } else {
            format!("write address = {all}, which moves with the group")
        };
        findings
            .add(Finding::error(&at.span, message).help(help).related(span, format!("`{}`'s", node.title())));
        return;
    }
    let message = format!("{} is no service address of `{}`", at.value, group.title());
    let help = if all.is_empty() {
        format!("add it as a [[group.address]] to `{}`, or delete the line", group.title())
    } else {
        format!("write address = {all}")
    };
    findings.add(Finding::error(&at.span, message).help(help));
}

/// The node or witness that has an address of its own, and where that is written.
fn node_with(draft: &Draft, address: IpAddr) -> Option<(&MemberDraft, &Span)> {
    draft.members().find_map(|member| {
        let networks = member.readable().filter(|a| a.value == address).map(|a| &a.span);
        let boot = member.adapters.iter().filter_map(|a| a.boot.as_ref());
        let kept = boot.chain(&member.persistent).filter(|p| p.value.address == address).map(|p| &p.span);
        networks.chain(kept).next().map(|span| (member, span))
    })
}

/// The group that has a service address, and where that is written.
fn service_with(draft: &Draft, address: IpAddr) -> Option<(&GroupDraft, &Span)> {
    let all = draft
        .groups
        .iter()
        .flat_map(|g| g.addresses.iter().filter_map(move |a| Some((g, a.address.as_ref()?))));
    all.into_iter().find(|(_, at)| at.value.0 == address).map(|(group, at)| (group, &at.span))
}

/// Nothing else of the group has the name of the instance's resource.
fn named_apart(group: &GroupDraft, instance: &InstanceDraft, findings: &mut Findings) {
    let Some(config) = &instance.config else { return };
    if let Some(taken) = group.resource_names().find(|n| n.value == config.resource.as_str()) {
        let message = format!("`{}` is how the resource of an instance is called", taken.value);
        let finding = Finding::error(&taken.span, message).help("give this one another name");
        findings.add(finding.related(instance.place(), "the instance"));
    }
}

/// The instance of a group whose service address this is, and its port; the only one, or the one on `port`.
pub(super) fn port_at(draft: &Draft, address: IpAddr) -> Option<u16> {
    let listening = draft.instances.iter().filter(|i| listens_at(draft, i, address));
    let mut ports = listening.filter_map(|i| Some(i.port.as_ref()?.value));
    ports.next().filter(|_| ports.next().is_none())
}

/// Whether an instance answers at this service address.
pub(super) fn listens_at(draft: &Draft, instance: &InstanceDraft, address: IpAddr) -> bool {
    let directory = instance.directory.as_ref();
    let Some((group, ..)) = directory.and_then(|d| filesystem_of(draft, &d.value)) else { return false };
    match &instance.address {
        Some(at) => at.value == address,
        None => group.addresses.iter().any(|a| a.address.as_ref().is_some_and(|at| at.value.0 == address)),
    }
}

/// Other instances are reached by addresses that move with them.
fn data_servers(draft: &Draft, instance: &InstanceDraft, findings: &mut Findings) {
    let mut seen: BTreeMap<String, &Span> = BTreeMap::new();
    for (name, at) in &instance.data_servers {
        if let Some(first) = seen.insert(name.value.to_ascii_uppercase(), &name.span) {
            let message = format!("`{}` is a data server of `{}` already", name.value, instance.title());
            findings
                .add(Finding::error(&name.span, message).help("name each once").related(first, "first here"));
        }
        data_server(draft, instance, name, at, findings);
    }
    let count = u32::try_from(instance.data_servers.len()).unwrap_or(u32::MAX);
    if count > instance.max_data_servers {
        let message = format!(
            "`{}` has {count} data servers, and may use at most {}",
            instance.title(),
            instance.max_data_servers
        );
        let place = instance.max_span.as_ref().unwrap_or(instance.place());
        findings
            .add(Finding::error(place, message).help(format!("write max_data_servers = {count} or more")));
    }
    if let (Some(off), Some((_, first))) =
        (instance.networked.as_ref().filter(|n| !n.value), instance.data_servers.first())
    {
        let finding = Finding::warning(&off.span, "with `networked = false` no data server is used")
            .help("write networked = true, or delete the data servers")
            .related(&first.span, "a data server");
        findings.add(finding);
    }
}

fn data_server(
    draft: &Draft,
    instance: &InstanceDraft,
    name: &At<String>,
    at: &At<(IpAddr, Option<u16>)>,
    findings: &mut Findings,
) {
    let (address, port) = at.value;
    if let Some((node, span)) = node_with(draft, address) {
        let message = format!(
            "{address} is `{}`'s own address: it does not follow `{}` to another node",
            node.title(),
            name.value
        );
        let services = draft.instances.iter().find(|i| i.upper() == Some(name.value.to_ascii_uppercase()));
        let service = services
            .and_then(|i| filesystem_of(draft, &i.directory.as_ref()?.value))
            .and_then(|(g, ..)| Some(g.addresses.first()?.address.as_ref()?.value.0));
        let help = match service {
            Some(service) => format!("write the service address of its group: \"{service}\""),
            None => "write the service address of the group that it belongs to".to_owned(),
        };
        findings
            .add(Finding::error(&at.span, message).help(help).related(span, format!("`{}`'s", node.title())));
        return;
    }
    let effective = port.or_else(|| port_at(draft, address));
    let Some(effective) = effective else {
        let message = format!("on which port does {address} serve data?");
        findings.add(Finding::error(&at.span, message).help(format!(
            "write {} = \"{}\"",
            name.value,
            SocketAddr::new(address, FIRST_INSTANCE_PORT)
        )));
        return;
    };
    if instance.port.as_ref().is_some_and(|p| p.value == effective)
        && service_with(draft, address).is_some_and(|(group, _)| {
            let own = instance.directory.as_ref().and_then(|d| filesystem_of(draft, &d.value));
            own.is_some_and(|(g, ..)| std::ptr::eq(g, group))
        })
    {
        let message = format!("`{}` would be a data server of its own", instance.title());
        findings.add(Finding::error(&at.span, message).help("name another instance, or delete it"));
    }
}

/// License servers belong to machines, not to services: each runs on its node, whatever moves.
fn license_servers(draft: &Draft, instance: &InstanceDraft, findings: &mut Findings) {
    let mut seen: BTreeMap<String, &Span> = BTreeMap::new();
    for at in &instance.license_servers {
        let address = at.value.ip();
        if let Some((group, span)) = service_with(draft, address) {
            let message = format!("{address} is a service address of `{}`, and moves", group.title());
            let finding = Finding::error(&at.span, message)
                .help(
                    "a license server runs on each node and stays there: write the nodes' own addresses, so that \
                     one of them answers when the other node is off",
                )
                .related(span, "the service address");
            findings.add(finding);
            continue;
        }
        let machine =
            node_with(draft, address).map_or(address.to_string(), |(n, _)| format!("`{}`", n.title()));
        if let Some(first) = seen.get(&machine) {
            let message = format!("{machine} has a license server here already");
            let finding = Finding::error(&at.span, message).help("write one for each machine");
            findings.add(finding.related(first, "first here"));
        } else {
            seen.insert(machine, &at.span);
        }
    }
    let needed =
        instance.kind.as_ref().is_some_and(|k| matches!(k.value, InstanceKind::Cache | InstanceKind::Iris));
    if needed && seen.len() == 1 && draft.nodes.len() > 1 {
        let only = instance.license_servers.first().map_or(instance.place(), |at| &at.span);
        let finding = Finding::warning(only, format!("`{}` has one license server", instance.title())).help(
            "with its machine off, the instance gets no licenses on the other: write one for each node",
        );
        findings.add(finding);
    }
}
