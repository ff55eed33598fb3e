//! What would prove that a lost owner is gone, in the operator's words.

use regent_model::GroupName;
use regent_model::proof::Need;
use regent_model::state::State;

/// What the takeover of `group` waits for, each in a few words.
pub(crate) fn needed(state: &State, group: &GroupName) -> Vec<&'static str> {
    let Some(definition) = state.definition(group) else { return Vec::new() };
    let word = |need: &Need| match need {
        Need::Fenced => Some("a fence device's confirmation"),
        Need::LeaseEnded if definition.needs_storage() => None,
        Need::LeaseEnded => Some("the end of its lease, promised by a majority of voters"),
        Need::Storage => Some(
            "the end of its lease and then a device at the storage, asked by a node that is registered there itself",
        ),
        // It enforces the end of the lease, and proves nothing.
        Need::Watchdog => None,
    };
    definition.needs.iter().filter_map(word).collect()
}
