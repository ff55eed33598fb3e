//! Checks of the events: known nodes, and for a group's events that they can concern it and its nodes.

use super::check_members::known_nodes;
use super::draft::Draft;
use super::event::concerns_groups;
use super::finding::{Finding, Findings};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for event in &draft.events {
        if let Some(nodes) = &event.nodes {
            known_nodes("nodes", nodes, draft, findings);
        }
    }
    for group in &draft.groups {
        for event in &group.events {
            if let Some(name) = event.name.as_ref().filter(|name| !concerns_groups(name.value)) {
                let message = format!("`{}` concerns no group", name.value);
                findings
                    .add(Finding::error(&name.span, message).help(
                        "move the table out of the group: write [[event]] in place of [[group.event]]",
                    ));
            }
            let (Some(own), Some(nodes)) = (&group.nodes, &event.nodes) else { continue };
            let known = |name: &str| own.value.iter().any(|n| n.value == name);
            for stranger in nodes.value.iter().filter(|n| !known(&n.value)) {
                let message = format!("`{}` never has `{}`", stranger.value.escape_debug(), group.title());
                let list: Vec<_> = own.value.iter().map(|n| n.value.as_str()).collect();
                findings.add(
                    Finding::error(&stranger.span, message)
                        .help(format!("name nodes of the group: {}", list.join(", ")))
                        .related(&own.span, "its nodes"),
                );
            }
        }
    }
}
