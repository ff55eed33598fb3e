//! Making the area that decides between two nodes, on a disk that both are shown to have; and what each sees of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regent_agents::arbiter::{self, Look, Shows};
use regent_api::{Answer, DiskLook, DiskShows, NodeWord, NodesAnswer, NodesAsk, SlotLook, SlotSays};
use regent_arbiter::Record;
use regent_arbiter::area::AREA;
use regent_model::NodeName;
use regent_model::config::{Arbiter, Config, GroupConfig};
use regent_model::ids::ClusterName;

use crate::side::Side;

/// What this node sees of the disk.
pub(crate) fn word(disk: &Path) -> NodeWord {
    let path = disk.to_owned();
    match arbiter::in_time(disk, move || look(&path)) {
        Ok(look) => NodeWord::Disk(Box::new(look)),
        Err(why) => NodeWord::Unable(why),
    }
}

/// The same of the disk that the configuration names.
pub(crate) fn configured(config: &Config) -> NodeWord {
    match &config.arbiter {
        Some(Arbiter::Disk { disk, .. }) => word(disk),
        Some(Arbiter::Fence { .. }) => NodeWord::Unable("the fence devices decide, and no disk".to_owned()),
        None => NodeWord::Unable("the configuration names no [arbiter]".to_owned()),
    }
}

fn look(disk: &Path) -> Result<DiskLook, String> {
    let Look { bytes, shows, in_use, slots } = arbiter::look_at(disk)?;
    let shows = match shows {
        Shows::Blank => DiskShows::Blank,
        Shows::Area { area, cluster } => DiskShows::Area { area: area.to_string(), cluster },
        Shows::Other(what) => DiskShows::Other(what),
    };
    let mark = if bytes < AREA { None } else { arbiter::marked(disk)? };
    let mark = mark.map(|mark| mark.to_string());
    let says = |record: Record| SlotSays {
        generation: record.generation.0,
        round: record.promised.round,
        named: record.accepted.map(|(_, winner)| winner.0),
        decided: record.decided.map(|winner| winner.0),
    };
    let slots = slots.into_iter().map(|(node, record)| SlotLook { node: node.0, says: record.map(says) });
    Ok(DiskLook { disk: disk.to_owned(), bytes, shows, in_use, mark, slots: slots.collect() })
}

/// Why the area is not made.
struct Not {
    reason: String,
    advice: String,
}

fn not<T>(reason: impl Into<String>, advice: impl Into<String>) -> Result<T, Not> {
    Err(Not { reason: reason.into(), advice: advice.into() })
}

/// How all nodes are asked.
struct Nodes<'a> {
    side: &'a Side,
    text: &'a str,
    config: &'a Config,
}

/// Makes an area on `disk`, once every node has shown that it is the same disk there. Whatever is on it is lost with
/// `force`; without, it must be blank.
pub(crate) fn make(side: &Side, text: &str, config: &Config, disk: &Path, force: bool) -> Answer {
    let nodes = Nodes { side, text, config };
    match making(&nodes, disk, force) {
        Ok((area, seen_by)) => Answer::Area { disk: disk.to_owned(), area, seen_by },
        Err(Not { reason, advice }) => Answer::refused(reason, advice),
    }
}

fn making(nodes: &Nodes<'_>, disk: &Path, force: bool) -> Result<(String, Vec<NodeName>), Not> {
    let config = nodes.config;
    if config.nodes.len() != 2 || !config.witnesses.is_empty() {
        let votes = config.nodes.len() + config.witnesses.len();
        return not(
            format!(
                "an arbiter decides between two nodes without a third vote, and this cluster has {votes}"
            ),
            "with one node: regent join on the second one first; with three votes nobody need decide",
        );
    }
    not_of_a_group(config, disk)?;
    let looks = nodes.look(disk)?;
    may_be_lost(&looks, disk, &config.cluster, force)?;
    same_disk(nodes, disk)?;
    let (path, cluster) = (disk.to_owned(), config.cluster.clone());
    let made = arbiter::in_time(disk, move || arbiter::make(&path, &cluster));
    let area = match made {
        Ok(area) => area.to_string(),
        Err(why) => {
            return not(format!("the area was not made: {why}"), format!("see to the disk; then: {AGAIN}"));
        }
    };
    for (node, look) in nodes.look(disk)? {
        if !matches!(&look.shows, DiskShows::Area { area: found, .. } if *found == area) {
            let reason = format!("{node} does not find at {} the area that was just made", disk.display());
            return not(reason, "give both nodes one disk under one name, uncached");
        }
    }
    Ok((area, config.nodes.iter().map(|node| node.name.clone()).collect()))
}

const AGAIN: &str = "regent arbiter init DISK --force";

impl Nodes<'_> {
    /// What every node sees.
    fn look(&self, disk: &Path) -> Result<BTreeMap<NodeName, DiskLook>, Not> {
        let ask = NodesAsk::Disk { disk: disk.to_owned() };
        let NodesAnswer { told, silent, .. } = self.side.ask(self.text, self.config, &ask);
        if let Some(node) = silent.first() {
            return not(
                format!("{node} does not say whether it has {} too", disk.display()),
                "both nodes must be up: regent status",
            );
        }
        let mut looks = BTreeMap::new();
        for (node, word) in told {
            match word {
                NodeWord::Disk(look) => looks.insert(node, *look),
                NodeWord::Unable(why) => {
                    return not(
                        format!("{node}: {why}"),
                        "give both nodes one disk under one name: ls -l /dev/disk/by-id on each",
                    );
                }
                _ => return not(format!("{node} answers something else"), "regent status"),
            };
        }
        Ok(looks)
    }
}

/// Whether what is on the disk may be written over.
fn may_be_lost(
    looks: &BTreeMap<NodeName, DiskLook>,
    disk: &Path,
    cluster: &ClusterName,
    force: bool,
) -> Result<(), Not> {
    let path = disk.display();
    for (node, look) in looks {
        if let Some(user) = &look.in_use {
            let reason = format!("{path} is in use on {node}: {user}");
            return not(reason, "take another disk or partition: the arbiter needs one of its own");
        }
        if look.bytes < AREA {
            let reason =
                format!("{path} has {} KiB on {node}, and an area needs {}", look.bytes / 1024, AREA / 1024);
            return not(reason, "take a disk or partition of 16 MiB");
        }
        let found = match &look.shows {
            DiskShows::Blank => continue,
            _ if force => continue,
            DiskShows::Area { cluster: whose, .. } if whose != cluster => {
                format!("the area of the arbiter of another cluster, {whose}")
            }
            DiskShows::Area { area, .. } => format!("an area of this cluster's arbiter already, {area}"),
            DiskShows::Other(what) => what.clone(),
        };
        let reason = format!("{path} is not blank on {node}: it holds {found}");
        return not(reason, format!("if all that is on it may be lost: regent arbiter init {path} --force"));
    }
    Ok(())
}

/// A file system that is mounted nowhere at present is not in use, and not to be lost by any word.
fn not_of_a_group(config: &Config, disk: &Path) -> Result<(), Not> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = real(disk);
    let has_it = |group: &&Arc<GroupConfig>| {
        group.filesystems.iter().flat_map(|f| f.devices()).any(|device| real(device) == here)
    };
    let Some(group) = config.groups.iter().find(has_it) else { return Ok(()) };
    not(
        format!("{} holds a file system of the group {}", disk.display(), group.name),
        "give the arbiter a partition or LUN of its own; 16 MiB are plenty",
    )
}

/// Writes something onto the disk here and has every other node find it; puts back what was there.
fn same_disk(nodes: &Nodes<'_>, disk: &Path) -> Result<(), Not> {
    let path = disk.to_owned();
    let made = arbiter::in_time(disk, move || arbiter::mark(&path))
        .or_else(|why| not(why, "see to the disk; nothing was made"))?;
    let looked = nodes.look(disk);
    let (path, back): (PathBuf, _) = (disk.to_owned(), made.clone());
    arbiter::in_time(disk, move || arbiter::unmark(&path, &back)).or_else(|why| {
        not(format!("what was written to try the disk is still there: {why}"), "see to the disk")
    })?;
    let mark = Some(made.mark.to_string());
    let other = looked?.into_iter().find(|(_, look)| look.mark != mark);
    match other {
        None => Ok(()),
        Some((node, _)) => not(
            format!(
                "{} is another disk on {node}: what was written to it here is not found there; it was put back as it was",
                disk.display()
            ),
            "use a name that is of the disk and not of its place: ls -l /dev/disk/by-id on each",
        ),
    }
}
