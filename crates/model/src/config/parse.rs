//! Text to configuration.

use std::sync::Arc;

use super::draft::{ClusterDraft, Draft, GroupDraft, NetworkDraft};
use super::event::EventDraft;
use super::finding::{Finding, Findings, Parsed};
use super::profile::Profiles;
use super::reader::Reader;
use super::tree::{self, Table};
use super::{
    ApplicationConfig, Config, EventConfig, FenceConfig, FilesystemConfig, GroupConfig, InstanceConfig,
    LocalTime, NetworkConfig, NodeConfig, arbiter, bind, check_addresses, check_events, check_groups,
    check_instances, check_members, check_networks, check_ports, check_profiles, check_proofs,
    check_relations, check_storage, check_volumes, check_watchdog, event, failback, fence, group, instance,
    members, monitoring, network, portal, relations, share, stale, storage, storage_fence,
};
use crate::ids::{ClusterName, GroupName, NodeName};

/// Reads a configuration. Everything wrong with it is found in one go, each at its place; what is merely
/// dangerous or surprising is found too. Never panics, whatever the text is.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    parse_at(text, None)
}

/// As [`parse`]; what is past at this time is found, too.
#[must_use]
pub fn parse_at(text: &str, now: Option<LocalTime>) -> Parsed {
    read(text, now, false)
}

/// As [`parse_at`], of the text that a daemon shows as the one in force: it may be without its secrets, which are then
/// [`super::HIDDEN`].
#[must_use]
pub fn parse_shown(text: &str, now: Option<LocalTime>) -> Parsed {
    read(text, now, true)
}

fn read(text: &str, now: Option<LocalTime>, is_shown: bool) -> Parsed {
    let mut findings = Findings::default();
    let root = tree::read(text, &mut findings);
    let draft = draft(root, &mut findings);
    if !is_shown {
        fence::no_secret_is_missing(&draft, &mut findings);
    }
    check_members::check(&draft, &mut findings);
    arbiter::check(&draft, &mut findings);
    check_groups::check(&draft, &mut findings);
    check_networks::check(&draft, &mut findings);
    check_storage::check(&draft, &mut findings);
    check_volumes::check(&draft, &mut findings);
    check_profiles::check(&draft, &mut findings);
    check_relations::check(&draft, &mut findings);
    failback::check(&draft, now, &mut findings);
    check_addresses::check(&draft, &mut findings);
    bind::check(&draft, &mut findings);
    share::check(&draft, &mut findings);
    check_ports::check(&draft, &mut findings);
    portal::check(&draft, &mut findings);
    check_proofs::check(&draft, &mut findings);
    check_watchdog::check(&draft, &mut findings);
    storage_fence::check(&draft, &mut findings);
    monitoring::check(&draft, &mut findings);
    stale::check(&draft, &mut findings);
    check_events::check(&draft, &mut findings);
    check_instances::check(&draft, &mut findings);
    let config = if findings.has_error() || findings.unreadable { None } else { config(draft) };
    if config.is_none() && !findings.has_error() {
        // A part was refused without a word: a fault of ours, which must not pass for a good file.
        findings.add(
            Finding::error(&(0..0), "this file was not understood")
                .help("report it, with the file, as a fault of Regent"),
        );
    }
    Parsed { config, findings: findings.sorted() }
}

fn draft(root: Table, findings: &mut Findings) -> Draft {
    let mut reader = Reader::new("the file", root, findings);
    let given = reader.has("cluster");
    let cluster = reader.table("cluster", "a table: [cluster], and name = \"ward7\" on the next line");
    let networks = reader.tables("network", "network");
    let nodes = reader.tables("node", "node");
    let witnesses = reader.tables("witness", "witness");
    let arbiter =
        reader.table("arbiter", "a table: [arbiter], and disk = \"/dev/disk/by-id/...\" on the next line");
    let fences = reader.tables("fence", "fence");
    let mut groups = reader.tables("group", "group");
    let instances = reader.tables("instance", "instance");
    let profiles = reader.tables("profile", "profile");
    let profiles = Profiles::read(profiles, reader.findings);
    profiles.spread(&mut groups, reader.findings);
    let events = reader.tables("event", "event");
    if !given {
        reader.findings.add_missing(
            Finding::error(&(0..0), "there is no table [cluster]")
                .help("begin the file with [cluster] and, on the next line, name = \"ward7\""),
        );
    }
    let findings = &mut *reader.findings;
    let draft = Draft {
        cluster: cluster.map(|t| members::cluster(t, findings)),
        networks: networks.into_iter().map(|t| network::network(t, findings)).collect(),
        nodes: nodes.into_iter().map(|t| members::member("[[node]]", t, findings)).collect(),
        witnesses: witnesses.into_iter().map(|t| members::member("[[witness]]", t, findings)).collect(),
        arbiter: arbiter.map(|t| arbiter::arbiter(t, findings)),
        fences: fences.into_iter().map(|t| fence::fence(t, findings)).collect(),
        groups: groups.into_iter().map(|t| group::group(t, findings)).collect(),
        instances: instances.into_iter().map(|t| instance::instance(t, findings)).collect(),
        events: events.into_iter().map(|t| event::event("[[event]]", t, findings)).collect(),
    };
    reader.finish();
    draft
}

/// The configuration, when every part of the draft is there.
fn config(draft: Draft) -> Option<Config> {
    let placed = check_instances::placed(&draft)?;
    let ClusterDraft { name, takeover, timers, settling_time, port, rules, verify_at, .. } = draft.cluster?;
    let adapters: Vec<_> =
        draft.nodes.iter().map(|n| network::adapters(n, &draft.networks)).collect::<Option<_>>()?;
    let member = |m: super::draft::MemberDraft| m.config;
    let nodes = draft.nodes.into_iter().map(member).zip(adapters);
    let cluster = ClusterName::new(name?.value).ok()?;
    let keyed = |fence: FenceConfig| Arc::new(fence.keyed(&cluster));
    Some(Config {
        takeover,
        timers: timers?,
        settling_time,
        port,
        verify_at,
        networks: draft.networks.into_iter().map(network_config).collect::<Option<_>>()?,
        nodes: nodes
            .map(|(node, adapters)| node.map(|n| NodeConfig { adapters, ..n }))
            .collect::<Option<_>>()?,
        witnesses: draft.witnesses.into_iter().map(member).collect::<Option<_>>()?,
        arbiter: draft.arbiter.map(|a| a.config.map(Some)).unwrap_or(Some(None))?,
        fences: draft.fences.into_iter().map(|f| f.config.map(keyed)).collect::<Option<_>>()?,
        groups: draft
            .groups
            .into_iter()
            .map(group_config)
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .map(|group| with_instances(group, &placed))
            .flat_map(instances)
            .map(Arc::new)
            .collect(),
        events: event_configs(draft.events)?,
        event_rules: rules,
        cluster,
    })
}

fn network_config(draft: NetworkDraft) -> Option<NetworkConfig> {
    let (on_down, takeover) = (draft.on_down, draft.takeover);
    Some(NetworkConfig { name: draft.name?.value, on_down, takeover })
}

/// A concurrent group is one group for each node of its list: each instance has epochs of its own, and is acquired
/// and released like any other group.
fn instances(group: GroupConfig) -> Vec<GroupConfig> {
    if !group.is_concurrent() {
        return vec![group];
    }
    let instance = |node: &NodeName| GroupConfig {
        name: GroupName::instance(&group.name, node),
        nodes: vec![node.clone()],
        ..group.clone()
    };
    group.nodes.iter().map(instance).collect()
}

/// The group with the instances that its storage holds.
fn with_instances(group: GroupConfig, placed: &[(String, InstanceConfig)]) -> GroupConfig {
    let own = placed.iter().filter(|(home, _)| home == group.name.as_str());
    let hostname = group.hostname.clone();
    let instances = own.map(|(_, i)| Arc::new(InstanceConfig { hostname: hostname.clone(), ..i.clone() }));
    GroupConfig { instances: instances.collect(), ..group }
}

fn event_configs(drafts: Vec<EventDraft>) -> Option<Vec<Arc<EventConfig>>> {
    drafts.into_iter().map(|e| e.config.map(Arc::new)).collect()
}

fn group_config(draft: GroupDraft) -> Option<GroupConfig> {
    let (addresses, samba) = (bind::addresses(&draft), share::server(&draft));
    let hostname = draft.hostname.map(|name| name.value);
    let application = |a: super::draft::ApplicationDraft| {
        let (hostname, bind) = (hostname.clone(), bind::resolve(&a, &addresses));
        a.config.map(|config| Arc::new(ApplicationConfig { hostname, bind, ..config }))
    };
    Some(GroupConfig {
        name: GroupName::new(draft.name?.value).ok()?,
        nodes: draft.nodes?.value.into_iter().map(|n| NodeName::new(n.value).ok()).collect::<Option<_>>()?,
        policy: draft.policy?.value,
        figure_script: draft.figure_script,
        failback: draft.failback.times(),
        relations: relations::meant(draft.relations)?,
        needs: draft.needs,
        release: draft.release.map(|r| r.value).unwrap_or_default(),
        prepare: draft.prepare.config,
        requires: draft.requires,
        requires_ports: draft.requires_ports.into_iter().map(|port| port.value).collect(),
        volumes: draft.volumes.into_iter().map(|v| v.config.map(Arc::new)).collect::<Option<_>>()?,
        filesystems: in_order(
            draft.filesystems.into_iter().map(|f| f.config.map(Arc::new)).collect::<Option<_>>()?,
        ),
        hostname: hostname.clone(),
        events: event_configs(draft.events)?,
        addresses: draft.addresses.into_iter().map(|a| a.config.map(Arc::new)).collect::<Option<_>>()?,
        applications: std::iter::once(samba.map(|s| Some(Arc::new(s))))
            .flatten()
            .chain(draft.applications.into_iter().map(application))
            .collect::<Option<_>>()?,
        instances: Vec::new(),
    })
}

/// As they are mounted: what others stand on comes first, otherwise the order of the file.
fn in_order(filesystems: Vec<Arc<FilesystemConfig>>) -> Vec<Arc<FilesystemConfig>> {
    let order = storage::order(&filesystems, |one, other| one.needs(other));
    order.into_iter().map(|at| filesystems[at].clone()).collect()
}
