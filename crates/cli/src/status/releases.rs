//! In the middle of an upgrade: who runs which release, and who holds the format back.

use std::collections::BTreeMap;

use regent_api::{NodeStatus, Status};

use crate::paint::{Paint, Tone, printable, wrapped};

/// A line while not all run the same release; nothing when they do.
pub(super) fn releases(status: &Status, width: usize, paint: Paint) -> String {
    let mut runs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in &status.nodes {
        if let Some(version) = node.version.as_deref().filter(|_| is_there(node)) {
            runs.entry(printable(version)).or_default().push(node.name.as_str());
        }
    }
    let oldest: Vec<&str> =
        status.nodes.iter().filter(|n| n.reads == Some(status.format)).map(|n| n.name.as_str()).collect();
    let waits = status.nodes.iter().any(|n| n.reads.is_some_and(|format| format > status.format));
    if runs.len() < 2 && !waits {
        return String::new();
    }
    let each: Vec<String> =
        runs.iter().map(|(version, nodes)| format!("{version} on {}", nodes.join(", "))).collect();
    let mut text = format!("releases: {}", each.join("; "));
    if waits && !oldest.is_empty() {
        text += &format!("; format {} stays in force for {}", status.format, oldest.join(", "));
    }
    format!("{}\n", paint.tone(Tone::Warning, &wrapped(&text, width, "  ")))
}

fn is_there(node: &NodeStatus) -> bool {
    matches!(node.state.as_str(), "up" | "standby" | "stopping")
}
