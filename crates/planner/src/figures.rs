//! The next node by a measured figure.

use std::cmp::Reverse;

use regent_model::config::GroupConfig;
use regent_model::figure::Prefer;
use regent_model::ids::{IncarnationOf, NodeId, NodeName};
use regent_model::state::{Group, State};

use crate::verdict::Verdict;
use crate::view::View;

/// The node with the best figure among those that fit, and why, if a figure decides where the group goes next. Of
/// equal ones the first of the list; a node without a figure comes last. Where an operator moved it comes before.
pub(crate) fn best(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    candidates: &[(NodeName, Verdict)],
) -> Option<(IncarnationOf, String)> {
    let figure = config.figure().filter(|_| group.started)?;
    let fit: Vec<IncarnationOf> = candidates
        .iter()
        .filter_map(|(_, v)| if let Verdict::Fit(about) = v { Some(*about) } else { None })
        .collect();
    if fit.iter().any(|about| group.moved_to == Some(about.node)) {
        return None;
    }
    let value = |node: NodeId| view.figures.get(&node).and_then(|f| f.get(&figure)).copied();
    let worth = |node: NodeId| match (value(node), config.figure_script.as_ref().map(|s| s.prefer)) {
        (Some(v), Some(Prefer::LowestNonzero)) => (v != 0).then_some(-v),
        (v, _) => v,
    };
    let (_, to) = fit.iter().enumerate().max_by_key(|(at, about)| (worth(about.node), Reverse(*at)))?;
    let list: Vec<String> = fit
        .iter()
        .map(|about| {
            let words = value(about.node).map_or_else(|| "nothing measured".to_owned(), |v| figure.words(v));
            format!("{}: {words}", state.name_of(about.node))
        })
        .collect();
    Some((*to, format!("{figure} ({})", list.join("; "))))
}
