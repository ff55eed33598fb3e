//! What a node says about itself when all are asked.

use std::path::Path;

use regent_agents::{evidence as shelf, prepare, presence, survey};
use regent_api::{NodeWord, NodesAsk, Presence};
use regent_guard::clock;
use regent_model::NodeName;
use regent_model::config::{Config, GroupConfig};

use crate::area;
use crate::license;
use crate::registry::Registrar;

/// The answer of the node `me`.
pub(crate) fn word(
    me: &NodeName,
    config: &Config,
    ask: &NodesAsk,
    registrar: Option<&Registrar>,
) -> NodeWord {
    match ask {
        NodesAsk::Prepare { group, dry_run } => prepared(me, config, group.as_deref(), *dry_run),
        NodesAsk::Survey => {
            let mut survey = survey::survey(me, config);
            // The asking node takes its own clock off when it hears this.
            survey.clock_ahead_ms = wall_ms();
            NodeWord::Surveyed(Box::new(survey))
        }
        NodesAsk::Instances => match registrar {
            Some(registrar) => NodeWord::Instances(registrar.asked(config)),
            None => NodeWord::Unable("it can hold nothing".to_owned()),
        },
        NodesAsk::License { instance } => {
            let wanted = config.instances().find(|(_, i)| i.name.as_str().eq_ignore_ascii_case(instance));
            NodeWord::License(wanted.map(|(_, i)| license::asked(&i.license_servers)).unwrap_or_default())
        }
        NodesAsk::Presence { group } => {
            // Of a concurrent group, each node answers for its own.
            let mine = |g: &&std::sync::Arc<GroupConfig>| {
                is_called(g, group) && (g.name.node().is_none() || g.nodes.contains(me))
            };
            let seen = config.groups.iter().filter(mine).flat_map(|g| presence::presence(me, g));
            NodeWord::Presence(seen.map(|(what, there)| Presence { what, there }).collect())
        }
        NodesAsk::Disk { disk } => area::word(disk),
        NodesAsk::Arbiter => area::configured(config),
        NodesAsk::Evidence { .. } | NodesAsk::EvidenceText { .. } => {
            NodeWord::Unable("that is not about how it is equipped".to_owned())
        }
    }
}

/// The evidence that is kept in `folder`.
pub(crate) fn evidence(folder: &Path, ask: &NodesAsk) -> NodeWord {
    match ask {
        NodesAsk::EvidenceText { id } => NodeWord::EvidenceText(shelf::show(folder, id).map(Box::new)),
        NodesAsk::Evidence { group } => {
            let wanted = |name: &regent_model::GroupName| {
                group.as_deref().is_none_or(|group| name.as_str() == group || name.base() == group)
            };
            NodeWord::Evidence(shelf::list(folder).into_iter().filter(|head| wanted(&head.group)).collect())
        }
        _ => NodeWord::Unable("that is not about evidence".to_owned()),
    }
}

/// Whether the group has this name, or is a part of the concurrent group that has it.
pub(crate) fn is_called(group: &GroupConfig, name: &str) -> bool {
    group.name.as_str() == name || group.name.base() == name
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    i64::try_from(clock::wall_ms()).unwrap_or(i64::MAX)
}

fn prepared(me: &NodeName, config: &Config, group: Option<&str>, dry_run: bool) -> NodeWord {
    let wanted = |g: &&std::sync::Arc<GroupConfig>| {
        g.nodes.contains(me) && group.is_none_or(|name| is_called(g, name))
    };
    let lines = config.groups.iter().filter(wanted).flat_map(|group| {
        if dry_run {
            prepare::missing(&group.prepare).into_iter().map(Err).collect()
        } else {
            let done = prepare::make(&group.prepare);
            for line in &done {
                match line {
                    Ok(what) => tracing::info!(group = %group.name, "prepared: {what}"),
                    Err(why) => tracing::warn!(group = %group.name, "not prepared: {why}"),
                }
            }
            done
        }
    });
    NodeWord::Prepared(lines.collect())
}
