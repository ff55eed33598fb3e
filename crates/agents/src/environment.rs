//! What scripts are told of the node's addresses, as they are when a command is run.

use regent_model::action::Run;
use regent_model::exclusion::{
    EXCLUDED_ADDRESSES, Exclusion, SERVICE_ADDRESSES, UNSUPPORTED_NETADDRS, addresses_in,
};

use crate::address;

/// What a command of a resource is told: what was ordered with the run, and which resource and action it is about. Nothing
/// that was ordered is replaced.
pub(crate) fn of_command(run: &Run, action: &str) -> Vec<(String, String)> {
    let about = [
        ("REGENT_GROUP", run.group.to_string()),
        ("REGENT_RESOURCE", run.resource.name().to_string()),
        ("REGENT_EPOCH", run.epoch.to_string()),
        ("REGENT_ACTION", action.to_owned()),
    ];
    let mut all = run.environment.clone();
    add(&mut all, about);
    all
}

/// Adds the variables that are not there yet.
pub(crate) fn add<const N: usize>(all: &mut Vec<(String, String)>, more: [(&str, String); N]) {
    for (key, value) in more {
        if all.iter().all(|(known, _)| known != key) {
            all.push((key.to_owned(), value));
        }
    }
}

/// Sets `REGENT_EXCLUDED_ADDRESSES` and `RPC_UNSUPPORTED_NETADDRS` to every address of this node that is not the group's
/// own: those of the configuration, which may not be there at this moment, and those that the node has, which the
/// configuration may not know. Says in sentences what they do not carry. Does nothing where no own addresses are named.
pub fn complete(environment: &mut Vec<(String, String)>) -> Vec<String> {
    let value =
        |key: &str| environment.iter().find(|(known, _)| known == key).map(|(_, value)| addresses_in(value));
    let Some(own) = value(SERVICE_ADDRESSES) else { return Vec::new() };
    let configured = value(EXCLUDED_ADDRESSES).unwrap_or_default();
    let exclusion = Exclusion::new(&own, configured.into_iter().chain(address::of_this_node()));
    environment.retain(|(key, _)| key != EXCLUDED_ADDRESSES && key != UNSUPPORTED_NETADDRS);
    environment.push((EXCLUDED_ADDRESSES.to_owned(), exclusion.in_words()));
    let netaddrs = exclusion.netaddrs();
    if !netaddrs.is_empty() {
        environment.push((UNSUPPORTED_NETADDRS.to_owned(), netaddrs));
    }
    exclusion.remarks()
}
