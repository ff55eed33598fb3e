//! The interfaces of the nodes, in `regent status`.

use regent_api::{AdapterStatus, NodeStatus, Status};

use crate::paint::{Cell, Paint, Tone, printable, table};

/// A table with every interface that is configured; nothing where none is.
pub(super) fn adapters(status: &Status, paint: Paint) -> String {
    let all = status.nodes.iter().flat_map(|n| n.adapters.iter().map(move |a| (n, a)));
    let rows: Vec<Vec<Cell>> = all.map(|(node, adapter)| row(node, adapter)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let title = ["NODE", "INTERFACE", "NETWORK", "ROLE", "STATE", "CARRIES"];
    let title: Vec<Cell> = title.iter().map(|t| Cell::new(Tone::Dim, t)).collect();
    format!("\n{}", table(&[vec![title], rows].concat(), "", paint))
}

fn row(node: &NodeStatus, adapter: &AdapterStatus) -> Vec<Cell> {
    let service = adapter.carries.iter().map(ToString::to_string);
    let persistent = adapter.persistent.iter().map(|a| format!("{a} (persistent)"));
    let carries: Vec<String> = service.chain(persistent).collect();
    let state = match (adapter.state.as_str(), &adapter.fault) {
        ("up", _) => Cell::new(Tone::Good, "up"),
        ("failed", Some(fault)) => Cell::new(Tone::Bad, format!("FAILED: {}", printable(fault))),
        (other, _) => Cell::plain(printable(other)),
    };
    vec![
        Cell::new(Tone::Strong, node.name.as_str()),
        Cell::plain(&adapter.interface),
        Cell::plain(printable(&adapter.network)),
        Cell::plain(&adapter.role),
        state,
        Cell::plain(if carries.is_empty() { "-".to_owned() } else { carries.join(", ") }),
    ]
}
