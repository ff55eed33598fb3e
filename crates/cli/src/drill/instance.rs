//! What the registry says of an instance: whether it is up where it is expected, in the version that it had. Pure.

use std::collections::{BTreeMap, BTreeSet};

use regent_api::Registry;
use regent_model::NodeName;
use regent_model::ids::InstanceName;
use regent_model::instance::Condition;

/// The version of each instance, where one is known.
pub(super) type Versions = BTreeMap<InstanceName, String>;

/// What versions are registered.
#[must_use]
pub(super) fn versions(registry: &Registry) -> Versions {
    let known = |i: &regent_api::InstanceStatus| Some((i.name.clone(), i.version.as_ref()?.version.clone()));
    registry.instances.iter().filter_map(known).collect()
}

/// The instances that run on the owners of their groups.
#[must_use]
pub(super) fn running(registry: &Registry) -> BTreeSet<InstanceName> {
    let runs = |i: &&regent_api::InstanceStatus| {
        i.seen.as_ref().is_some_and(|seen| {
            seen.condition == Condition::Running && i.owner.as_ref().is_some_and(|o| o.as_str() == seen.node)
        })
    };
    registry.instances.iter().filter(runs).map(|i| i.name.clone()).collect()
}

/// How it is up; else what there is instead. `failed` are the nodes whose word is old, `before` the versions when the
/// drill began.
pub(super) fn up(
    registry: &Registry,
    name: &InstanceName,
    on: Option<&NodeName>,
    failed: &BTreeSet<NodeName>,
    before: &Versions,
) -> Result<String, String> {
    if !registry.quorate {
        return Err(format!("{} is in touch with no majority", registry.node));
    }
    let Some(is) = registry.instances.iter().find(|i| i.name == *name) else {
        return Err(format!("there is no instance {name} any more"));
    };
    let Some(owner) = &is.owner else { return Err(format!("nobody has {}, the group of {name}", is.group)) };
    if failed.contains(owner) {
        return Err(format!("{name} is still {owner}'s, which has failed"));
    }
    let condition = match &is.seen {
        Some(seen) if seen.node == owner.as_str() => seen.condition,
        _ => return Err(format!("{owner} has {}, and has not said how {name} is", is.group)),
    };
    let version = is.version.as_ref().map(|v| v.version.as_str());
    let words =
        format!("{name} is {} on {owner}, version {}", condition.word(), version.unwrap_or("not known"));
    if condition != Condition::Running || on.is_some_and(|node| node != owner) {
        return Err(words);
    }
    match before.get(name) {
        Some(was) if version != Some(was) => Err(format!("{words}; it was {was} when the drill began")),
        _ => Ok(words),
    }
}
