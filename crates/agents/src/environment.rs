//! What scripts are told of the node's addresses, as they are when a command is run.

use regent_model::exclusion::{
    EXCLUDED_ADDRESSES, Exclusion, SERVICE_ADDRESSES, UNSUPPORTED_NETADDRS, addresses_in,
};

use crate::address;

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
