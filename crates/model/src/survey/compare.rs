//! Holding the nodes side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Device, Difference, Point, Seen, Survey, Word, limits, users_of, words_of};
use crate::config::{Backing, Config, FilesystemConfig, GroupConfig, Role, Severity};
use crate::ids::{GroupName, NodeName};

/// Clocks that differ by more than this are said: logs and tickets would not fit together.
const CLOCKS_APART_MS: i64 = 2_000;

pub(super) type Surveys = BTreeMap<NodeName, Survey>;

/// Everything that does not fit together, the worst first. `owners` says which node has which group.
#[must_use]
pub fn differences(
    config: &Config,
    surveys: &Surveys,
    owners: &BTreeMap<GroupName, NodeName>,
) -> Vec<Difference> {
    let mut found = Found::default();
    for group in &config.groups {
        let mut at = At { group, surveys, owner: owners.get(&group.name), found: &mut found };
        at.files();
        at.points();
        at.preparation();
        at.users();
        at.devices();
        at.ports();
        at.boot();
        at.binds();
    }
    found.0.extend(super::clients::clients(config, surveys));
    found.0.extend(super::addresses::addresses(config, surveys));
    limits::check(config, surveys, &mut found);
    twice(surveys, &mut found);
    clocks(surveys, &mut found);
    found.0.sort();
    found.0.dedup();
    found.0
}

#[derive(Default)]
pub(super) struct Found(Vec<Difference>);

impl Found {
    pub(super) fn add(
        &mut self,
        severity: Severity,
        topic: &str,
        group: Option<&GroupName>,
        nodes: &[&NodeName],
        (text, help): (String, String),
    ) {
        let nodes = nodes.iter().map(|n| (*n).clone()).collect();
        self.0.push(Difference { severity, topic: topic.into(), group: group.cloned(), nodes, text, help });
    }
}

/// One group, held against every node that may own it.
struct At<'a> {
    group: &'a GroupConfig,
    surveys: &'a Surveys,
    owner: Option<&'a NodeName>,
    found: &'a mut Found,
}

fn names(nodes: &[&NodeName]) -> String {
    nodes.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ")
}

impl<'a> At<'a> {
    fn nodes(&self) -> Vec<(&'a NodeName, &'a Survey)> {
        self.group.nodes.iter().filter_map(|n| self.surveys.get_key_value(n)).collect()
    }

    fn add(&mut self, severity: Severity, topic: &str, nodes: &[&NodeName], said: (String, String)) {
        self.found.add(severity, topic, Some(&self.group.name), nodes, said);
    }

    fn files(&mut self) {
        let mut done = BTreeSet::new();
        for (whose, word) in words_of(self.group) {
            let (path, is_program) = match word {
                Word::Program(path) => (path, true),
                Word::Searched(name) => (PathBuf::from(name), true),
                Word::File(path) => (path, false),
            };
            if !done.insert(path.clone()) {
                continue;
            }
            let seen: Vec<_> =
                self.nodes().into_iter().filter_map(|(n, s)| Some((n, s.files.get(&path)?))).collect();
            let (missing, there): (Vec<_>, Vec<_>) =
                seen.into_iter().partition(|(_, seen)| matches!(seen, Seen::Missing(_)));
            self.missing_file(&whose, &path, is_program, &missing, &there);
            let sums: BTreeMap<&String, Vec<&NodeName>> =
                there.iter().fold(BTreeMap::new(), |mut all, (node, seen)| {
                    if let Seen::Sum(sum) = seen {
                        all.entry(sum).or_insert_with(Vec::new).push(*node);
                    }
                    all
                });
            if sums.len() > 1 {
                let which: Vec<_> =
                    sums.iter().map(|(sum, nodes)| format!("{sum} on {}", names(nodes))).collect();
                let nodes: Vec<_> = sums.values().flatten().copied().collect();
                let text = format!("{} ({whose}) is not the same: {}", path.display(), which.join("; "));
                let help = format!(
                    "compare, and copy the right one: scp -p {0}:{1} {2}:{1}",
                    nodes[0],
                    path.display(),
                    nodes[nodes.len() - 1]
                );
                self.add(Severity::Warning, "file", &nodes, (text, help));
            }
        }
    }

    fn missing_file(
        &mut self,
        whose: &str,
        path: &Path,
        is_program: bool,
        missing: &[(&NodeName, &Seen)],
        there: &[(&NodeName, &Seen)],
    ) {
        if missing.is_empty() || (!is_program && there.is_empty()) {
            return;
        }
        let nodes: Vec<_> = missing.iter().map(|(node, _)| *node).collect();
        let why = missing.iter().find_map(|(_, seen)| match seen {
            Seen::Missing(why) => Some(why.as_str()),
            _ => None,
        });
        let text = format!(
            "{} ({whose}) cannot be used on {}: {}",
            path.display(),
            names(&nodes),
            why.unwrap_or("it is not there")
        );
        let help = match there.first() {
            Some((has, _)) if path.is_absolute() => {
                format!("install it there, or: scp -p {has}:{0} {1}:{0}", path.display(), nodes[0])
            }
            _ => format!("install it on {}", names(&nodes)),
        };
        let severity = if is_program { Severity::Error } else { Severity::Warning };
        self.add(severity, if is_program { "program" } else { "file" }, &nodes, (text, help));
    }

    fn points(&mut self) {
        for filesystem in &self.group.filesystems {
            let point = &filesystem.mount;
            // A mount point inside another mount is seen only while that is mounted.
            if self.group.filesystems.iter().any(|f| f.mount != *point && point.starts_with(&f.mount)) {
                continue;
            }
            let shown = point.display();
            for (node, survey) in self.nodes() {
                let standing = survey.points.get(point).copied();
                if self.owner == Some(node) {
                    continue;
                }
                match standing {
                    Some(Point::Missing) => self.add(
                        Severity::Note,
                        "mount point",
                        &[node],
                        (
                            format!("there is no folder {shown} on {node} yet"),
                            format!(
                                "it is made when it is needed; to make it now, on {node}: mkdir -p {shown}"
                            ),
                        ),
                    ),
                    Some(Point::NoFolder) => self.add(
                        Severity::Error,
                        "mount point",
                        &[node],
                        (
                            format!("{shown} on {node} is no folder: nothing can be mounted there"),
                            format!("on {node}: move it away, then mkdir -p {shown}"),
                        ),
                    ),
                    Some(Point::Used) => self.used_point(node, point),
                    Some(Point::Mounted) => self.add(
                        Severity::Error,
                        "mount point",
                        &[node],
                        (
                            format!(
                                "something is mounted at {shown} on {node}, which does not own the group"
                            ),
                            format!("on {node}: findmnt {shown}, then umount {shown}"),
                        ),
                    ),
                    Some(Point::Empty) | None => {}
                }
            }
        }
    }

    /// Something of the standby's own lies where the group's file system will be.
    fn used_point(&mut self, node: &NodeName, point: &Path) {
        let shown = point.display();
        let server = self.group.applications.iter().find(|a| {
            a.claims.role == Some(Role::Server) && a.claims.state.iter().any(|s| s.starts_with(point))
        });
        let said = match server {
            Some(server) => (
                format!(
                    "the server {} looks configured on {node}: its {shown} there is not empty",
                    server.name
                ),
                format!(
                    "a server is configured once, on the group's file systems; on {node} it is only installed: \
                     unconfigure it there and empty {shown}"
                ),
            ),
            None => (
                format!("{shown} on {node} holds files of its own, which the group's file system will hide"),
                format!("on {node}: look what they are, and move them away"),
            ),
        };
        self.add(Severity::Warning, "mount point", &[node], said);
    }

    fn preparation(&mut self) {
        for (node, survey) in self.nodes() {
            for what in survey.unprepared.get(&self.group.name).into_iter().flatten() {
                let text = format!("{node} is not prepared: {what}");
                let help = format!("regent prepare {}", self.group.name);
                self.add(Severity::Warning, "preparation", &[node], (text, help));
            }
        }
    }

    fn users(&mut self) {
        for user in users_of(self.group) {
            let mut numbers: BTreeMap<u32, Vec<&NodeName>> = BTreeMap::new();
            let mut missing = Vec::new();
            for (node, survey) in self.nodes() {
                match survey.users.get(user) {
                    Some(Some(number)) => numbers.entry(*number).or_default().push(node),
                    Some(None) => missing.push(node),
                    None => {}
                }
            }
            if !missing.is_empty() {
                let number = numbers.keys().next().map(|n| format!("-u {n} ")).unwrap_or_default();
                let text = format!("there is no user {user} on {}", names(&missing));
                let help = format!("on {}: useradd -r {number}{user}", names(&missing));
                self.add(Severity::Error, "user", &missing, (text, help));
            }
            if numbers.len() > 1 {
                let list: Vec<_> =
                    numbers.iter().map(|(number, nodes)| format!("{number} on {}", names(nodes))).collect();
                let nodes: Vec<_> = numbers.values().flatten().copied().collect();
                let text = format!("the user {user} has the number {}", list.join(", "));
                let help = "files on the shared disk belong to numbers: give it the same one everywhere \
                            (usermod -u)"
                    .to_owned();
                self.add(Severity::Error, "user", &nodes, (text, help));
            }
        }
    }

    fn devices(&mut self) {
        let here = |f: &&std::sync::Arc<FilesystemConfig>| !f.is_bind() && !self.group.has_volume(&f.device);
        for filesystem in self.group.filesystems.iter().filter(here) {
            let mut identities: BTreeMap<String, Vec<&NodeName>> = BTreeMap::new();
            for (node, survey) in self.nodes() {
                let path = filesystem.on(node).device;
                match survey.devices.get(&path) {
                    Some(Device::Missing(why)) => {
                        let text = format!("{} cannot be used on {node}: {why}", path.display());
                        let help = format!("look at the cabling and the names on {node}: lsblk -f");
                        self.add(Severity::Error, "device", &[node], (text, help));
                    }
                    Some(Device::Found { bytes, uuid, .. }) => {
                        let uuid = uuid.as_ref().map(|u| format!(", UUID {u}")).unwrap_or_default();
                        identities.entry(format!("{bytes} bytes{uuid}")).or_default().push(node);
                    }
                    None => {}
                }
            }
            if identities.len() > 1 && matches!(filesystem.backing, Backing::Shared) {
                let list: Vec<_> =
                    identities.iter().map(|(what, nodes)| format!("{what} on {}", names(nodes))).collect();
                let nodes: Vec<_> = identities.values().flatten().copied().collect();
                let device = filesystem.device.display();
                let text = format!("{device} is not the same disk on every node: {}", list.join("; "));
                let help = "name it by what it is: /dev/disk/by-id/... (regent verify --nodes shows when it \
                            fits); or correct the cabling"
                    .to_owned();
                self.add(Severity::Error, "device", &nodes, (text, help));
            }
        }
    }

    fn ports(&mut self) {
        for (whose, port, is_bound) in self.group.ports() {
            let owner = self.owner;
            for (node, survey) in self.nodes().into_iter().filter(|(n, _)| Some(*n) != owner) {
                // Beside what is bound to an address of the group's, others may listen on theirs.
                if is_bound && !survey.listening_everywhere.contains(&port) {
                    continue;
                }
                let taken = survey.listening.iter().find(|(p, _)| *p == port);
                if let Some((_, who)) = taken {
                    let text = format!("{whose} wants the port {port}, which {who} has on {node}");
                    let help =
                        format!("on {node}: end it and keep it from starting, or give it another port");
                    self.add(Severity::Warning, "port", &[node], (text, help));
                }
            }
        }
    }

    fn binds(&mut self) {
        let Some(application) = self.group.applications.iter().find(|a| a.bind.is_some()) else { return };
        for (node, survey) in self.nodes() {
            let Some(why) = &survey.no_bind else { continue };
            let text = format!("{} cannot be started on {node} with `bind`: {why}", application.name);
            let help = format!(
                "mend that on {node}, or take `bind` out and have {} itself listen there",
                application.name
            );
            self.add(Severity::Error, "bind", &[node], (text, help));
        }
    }

    fn boot(&mut self) {
        for application in &self.group.applications {
            for service in &application.claims.not_at_boot {
                for (node, survey) in self.nodes() {
                    if let Some(how) = survey.at_boot.get(service) {
                        let text = format!(
                            "{service} starts by itself when {node} boots ({how}), and {} is the cluster's",
                            application.name
                        );
                        let help = format!(
                            "on {node}: systemctl disable {service} (or update-rc.d {service} disable)"
                        );
                        self.add(Severity::Error, "boot", &[node], (text, help));
                    }
                }
            }
        }
    }
}

/// Two names for one disk, or two disks with the same file system: one of them would be mounted for the other.
fn twice(surveys: &Surveys, found: &mut Found) {
    for (node, survey) in surveys {
        let devices: Vec<_> = survey
            .devices
            .iter()
            .filter_map(|(path, device)| match device {
                Device::Found { uuid, number, .. } => Some((path, uuid.as_ref(), number)),
                Device::Missing(_) => None,
            })
            .collect();
        for (at, (path, uuid, number)) in devices.iter().enumerate() {
            for (other, other_uuid, other_number) in &devices[..at] {
                let what = if number == other_number {
                    "are one device"
                } else if uuid.is_some() && uuid == other_uuid {
                    "hold the same file system, by its UUID"
                } else {
                    continue;
                };
                let text = format!("{} and {} {what} on {node}", other.display(), path.display());
                let help =
                    "each file system of the configuration needs a disk of its own; a copy gets a new \
                            UUID: tune2fs -U random DEVICE, xfs_admin -U generate DEVICE"
                        .to_owned();
                found.add(Severity::Error, "device", None, &[node], (text, help));
            }
        }
    }
}

fn clocks(surveys: &Surveys, found: &mut Found) {
    let mut zones: BTreeMap<&str, Vec<&NodeName>> = BTreeMap::new();
    for (node, survey) in surveys {
        zones.entry(&survey.zone).or_default().push(node);
        let apart = survey.clock_ahead_ms;
        if apart.abs() > CLOCKS_APART_MS {
            let way = if apart > 0 { "ahead of" } else { "behind" };
            let text =
                format!("the clock of {node} is about {} ms {way} that of the node that asked", apart.abs());
            let help = format!("on {node}: let chrony or ntpd run, and look: chronyc tracking");
            found.add(Severity::Warning, "clock", None, &[node], (text, help));
        }
    }
    if zones.len() > 1 {
        let list: Vec<_> = zones.iter().map(|(zone, nodes)| format!("{zone} on {}", names(nodes))).collect();
        let nodes: Vec<_> = zones.values().flatten().copied().collect();
        let text = format!("the time zones differ: {}", list.join(", "));
        found.add(Severity::Warning, "clock", None, &nodes, (text, "timedatectl set-timezone ZONE".into()));
    }
}
