//! What keeps a group at one owner, and how long its takeover may take: for `verify` and `status`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Config, GroupConfig, duration_text};
use crate::ids::{GroupName, NodeName};
use crate::proof::Need;
use crate::timers::Timers;
use crate::watchdog::timeout_wanted;

/// What is set aside of the release budget for killing the processes of a group's control groups (measured on
/// an idle machine: under 1 ms).
pub const KILL_TIME: Duration = Duration::from_millis(5);

/// The same for each unmount. What is not done by the end of the lease ends in a reset of the machine.
pub const UNMOUNT_TIME: Duration = Duration::from_millis(10);

/// What enforces that a lost owner no longer acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// The guard: a small real-time process on the owner itself, which lets go before the lease ends.
    Guard,
    /// The kernel of the owner itself, which answers for a service address no longer than its lease lasts, whatever has
    /// become of the guard. Good for a group that is nothing but addresses.
    Kernel,
    /// The guard as ever; where it cannot run, a watchdog device, which resets the owner's machine before the lease ends.
    /// Good for everything but a machine that a hypervisor stops, its devices too.
    Watchdog,
    /// The guard as ever; then a fence device at the storage, which cut the owner off from its disks and confirmed it. Good
    /// for everything but addresses and processes on a machine that a hypervisor stops.
    Storage,
    /// A fence device, which cut the owner off and confirmed it.
    Fenced,
}

impl Guarantee {
    /// The word that `verify` and `status` show.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Guard => "guard",
            Self::Kernel => "kernel",
            Self::Watchdog => "watchdog",
            Self::Storage => "storage",
            Self::Fenced => "fenced",
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The guarantee of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupGuarantee {
    /// The group.
    pub group: GroupName,
    /// What enforces it: the weakest of what the group is content with.
    pub class: Guarantee,
    /// The words of every proof that it accepts for a takeover.
    pub proofs: Vec<&'static str>,
    /// All this in one sentence for the operator.
    pub sentence: String,
    /// From the loss of the owner to the moment at which the next node may act; `None` when there is no
    /// bound.
    pub worst_case: Option<Duration>,
    /// What acquiring may then take: the sum of the time limits of one attempt at each resource.
    pub acquire_limit: Duration,
}

/// The guarantee of every group, in the order of the file, where the kernel of every node can end the leases of
/// addresses: no kernel was asked, and the sentences say so.
#[must_use]
pub fn guarantees(config: &Config) -> Vec<GroupGuarantee> {
    let kernels = Kernels { unable: Vec::new(), unwatched: Vec::new(), are_asked: false };
    config.groups.iter().map(|group| judged(config, group, &kernels)).collect()
}

/// What is known of the kernels of a group's nodes.
struct Kernels<'a> {
    /// Those that cannot end the leases of addresses.
    unable: Vec<&'a NodeName>,
    /// Those on which no watchdog is fed.
    unwatched: Vec<&'a NodeName>,
    are_asked: bool,
}

/// The guarantee of one group, where these nodes have a kernel that cannot end the leases of addresses, and those a
/// watchdog that is configured and not fed.
#[must_use]
pub fn guarantee(
    config: &Config,
    group: &GroupConfig,
    unable: &BTreeSet<NodeName>,
    unwatched: &BTreeSet<NodeName>,
) -> GroupGuarantee {
    let among = |named: &BTreeSet<NodeName>| group.nodes.iter().filter(|n| named.contains(*n)).collect();
    judged(config, group, &Kernels { unable: among(unable), unwatched: among(unwatched), are_asked: true })
}

fn judged(config: &Config, group: &GroupConfig, kernels: &Kernels<'_>) -> GroupGuarantee {
    let by_lease = group.needs.contains(&Need::LeaseEnded);
    let watched = group.needs.contains(&Need::Watchdog);
    let class = match by_lease {
        true if group.needs_storage() => Guarantee::Storage,
        true if watched && kernels.unwatched.is_empty() => Guarantee::Watchdog,
        true if is_addresses_alone(group) && kernels.unable.is_empty() => Guarantee::Kernel,
        true => Guarantee::Guard,
        false => Guarantee::Fenced,
    };
    let mut proofs = vec!["released", "rebooted"];
    // Where the storage is to cut the owner off as well, the end of the lease alone is none.
    let stands = |need: &&Need| need.is_proof() && !(**need == Need::LeaseEnded && group.needs_storage());
    proofs.extend(group.needs.iter().filter(stands).map(|need| need.word()));
    proofs.extend(group.needs_storage().then_some("cut-off"));
    let (worst_case, sentence) = if group.is_concurrent() {
        (None, "each node of its list has an instance of its own; nobody takes it over".to_string())
    } else if group.nodes.len() < 2 {
        (None, "it has one node; nobody takes it over".to_string())
    } else if config.nodes.len() + config.witnesses.len() < 3 {
        let sentence = "no majority is left when a voter is lost: nothing is taken over until it returns; \
                        add a witness";
        (None, sentence.to_string())
    } else if group.needs_storage() {
        by_storage(config, group, kernels)
    } else if by_lease {
        by_lease_end(config, group, kernels)
    } else {
        by_device(config, group)
    };
    GroupGuarantee {
        group: group.name.clone(),
        class,
        proofs,
        sentence,
        worst_case,
        acquire_limit: acquire_limit(group),
    }
}

/// Whether there is nothing in it that only processes of the node can let go of.
fn is_addresses_alone(group: &GroupConfig) -> bool {
    let others =
        [group.volumes.len(), group.filesystems.len(), group.instances.len(), group.applications.len()];
    !group.addresses.is_empty() && others.iter().all(|n| *n == 0)
}

/// The lease, and then the disks.
fn by_storage(config: &Config, group: &GroupConfig, kernels: &Kernels<'_>) -> (Option<Duration>, String) {
    let (lease, ends) = by_lease_end(config, group, kernels);
    let cut = group.nodes.iter().map(|node| time_of_levels(config, node, true)).max().flatten();
    let worst = lease.zip(cut).map(|(lease, cut)| round_up_ms(lease + config.timers.heartbeat + cut));
    let sentence = format!(
        "{ends}; then a fence device at the storage cuts it off from its disks, confirmed, before anybody else acts: what \
         it may still write reaches no disk, also where a hypervisor had stopped it. If no device confirms, the group stays \
         blocked until the node has rebooted"
    );
    (worst, sentence)
}

fn by_lease_end(config: &Config, group: &GroupConfig, kernels: &Kernels<'_>) -> (Option<Duration>, String) {
    // The leader's own end falls into the lease wait; one heartbeat pays for the commit that follows it.
    let worst = config.timers.promise_wait() + config.timers.heartbeat;
    let watched = group.needs.contains(&Need::Watchdog);
    let risk = if watched || group.needs_storage() {
        ""
    } else if group.has_shared_writer() {
        "; only that: a machine that was paused for longer may still write its disk after the takeover"
    } else {
        ""
    };
    let lets_go = duration_text(config.timers.release_begins);
    let lease = duration_text(config.timers.lease);
    let beyond = match watched {
        true if kernels.unwatched.is_empty() => watchdog_ends(config),
        true => format!("{}{}", not_watched(kernels), addresses_end(group, kernels)),
        false => addresses_end(group, kernels),
    };
    let sentence = format!(
        "an owner that cannot renew its lease begins to let go after {lets_go} and has let go after {lease}, \
         by its guard{risk}{beyond}"
    );
    (Some(round_up_ms(worst)), sentence)
}

/// What becomes of the whole machine when its guard cannot run.
fn watchdog_ends(config: &Config) -> String {
    format!(
        "; should its guard be frozen, killed or starved, or its kernel hang, its watchdog ({}) resets the machine within \
         that time; not where a hypervisor stops the machine and its watchdog alike",
        duration_text(timeout_wanted(&config.timers))
    )
}

fn not_watched(kernels: &Kernels<'_>) -> String {
    let names: Vec<_> = kernels.unwatched.iter().map(ToString::to_string).collect();
    format!(
        "; on {} no watchdog is fed (regent status says why): nothing new is acquired there, and what is held there \
         ends by the guard alone",
        names.join(", ")
    )
}

/// What becomes of a group's addresses when their guard cannot run.
fn addresses_end(group: &GroupConfig, kernels: &Kernels<'_>) -> String {
    if group.addresses.is_empty() {
        return String::new();
    }
    if !kernels.unable.is_empty() {
        let names: Vec<_> = kernels.unable.iter().map(ToString::to_string).collect();
        return format!(
            "; on {} a guard that is frozen or killed leaves its addresses answering, for the kernel there cannot \
             end them: a fence device would",
            names.join(", ")
        );
    }
    let rest = if is_addresses_alone(group) { "" } else { ", but not for its processes" };
    let asked =
        if kernels.are_asked { "" } else { "; where the kernel of each node can (regent verify --nodes)" };
    format!(
        "; should its guard be frozen, killed or starved, the kernel itself answers for the addresses no longer than \
         that{rest}{asked}"
    )
}

fn by_device(config: &Config, group: &GroupConfig) -> (Option<Duration>, String) {
    let times: Option<Vec<_>> = group.nodes.iter().map(|node| time_of_levels(config, node, false)).collect();
    let Some(worst_fence) = times.and_then(|t| t.into_iter().max()) else {
        let bare: Vec<_> = group
            .nodes
            .iter()
            .filter(|n| time_of_levels(config, n, false).is_none())
            .map(ToString::to_string)
            .collect();
        let sentence = format!(
            "no fence device can cut {}: a takeover from there waits until the node returns or the operator \
             confirms it dead",
            bare.join(", ")
        );
        return (None, sentence);
    };
    let noticed = config.timers.promise_begins().max(config.timers.election_witness);
    let sentence = "a lost owner is cut off by a fence device, confirmed, before anybody else acts; if no \
                    device confirms, the group stays blocked until the node returns";
    (Some(round_up_ms(noticed + worst_fence)), sentence.to_string())
}

/// The next whole millisecond.
pub(super) fn round_up_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// How long it may take to try every level of a node's devices once, of those at the storage or of the others; `None` when
/// it has none.
fn time_of_levels(config: &Config, node: &NodeName, storage: bool) -> Option<Duration> {
    let levels = config.fence_levels(node);
    levels
        .iter()
        .filter(|level| level.is_storage() == storage)
        .map(|level| level.limit(node))
        .reduce(Duration::saturating_add)
}

fn acquire_limit(group: &GroupConfig) -> Duration {
    let volumes = group.volumes.iter().map(|v| v.acquire_timeout);
    let storage = volumes.chain(group.filesystems.iter().map(|f| f.acquire_timeout));
    let addresses = group.addresses.iter().map(|a| a.acquire_timeout);
    let applications = group.applications.iter().map(|a| a.start_timeout);
    storage.chain(addresses).chain(applications).fold(Duration::ZERO, Duration::saturating_add)
}

/// The shortest lease, in steps of 10 ms, that leaves at least `need` for letting go.
#[must_use]
pub fn timers_for_budget(need: Duration) -> Option<Timers> {
    let at = |step: u64| Timers::for_lease(Duration::from_millis(step * 10)).ok();
    let (mut low, mut high) = (12, 6_000);
    while low < high {
        let middle = u64::midpoint(low, high);
        if at(middle).is_some_and(|t| t.release_budget() >= need) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    at(low).filter(|t| t.release_budget() >= need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_lease_that_fits_a_budget_is_found() {
        for ms in [1, 29, 30, 149, 150, 500, 1900, 5000, 29_000] {
            let need = Duration::from_millis(ms);
            let fits = timers_for_budget(need).unwrap();
            assert!(fits.release_budget() >= need);
            let shorter = Timers::for_lease(fits.lease.saturating_sub(Duration::from_millis(10)));
            assert!(shorter.is_err() || shorter.unwrap().release_budget() < need, "{ms} ms");
        }
        assert_eq!(timers_for_budget(Duration::from_secs(31)), None);
    }
}
