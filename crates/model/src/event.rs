//! Cluster events: the catalogue, by the names that operators of HACMP know, and one event with its arguments.
//!
//! What an event consists of on a node, in which order, is the engine's (`engine::events`). This is the vocabulary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an event does when no command is configured for it, and so whether a command may take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Own {
    /// Nothing: it is told, and a command may be what it does.
    Nothing,
    /// The start or stop commands of applications: a command may take their place.
    Applications,
    /// Addresses are added or taken away, file systems mounted or unmounted: the guard does it, and nobody else.
    Guard,
    /// It is the frame around other events, some of which are the guard's.
    Frame,
}

impl Own {
    /// Whether `command` may take its place.
    #[must_use]
    pub fn is_replaceable(self) -> bool {
        matches!(self, Self::Nothing | Self::Applications)
    }

    /// In words, for the catalogue.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "does nothing by itself; `command` is what it does",
            Self::Applications => "runs the applications' own commands; `command` takes their place",
            Self::Guard => "acts through the guard; only `notify`, `pre` and `post`",
            Self::Frame => "is made of other events; only `notify`, `pre` and `post`",
        }
    }
}

/// One line of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Catalogued {
    /// The event.
    pub name: EventName,
    /// Its name on the command line, in files and in scripts.
    pub word: &'static str,
    /// Its arguments; one in brackets may be absent, one with `...` comes several times.
    pub arguments: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// What it does by itself.
    pub own: Own,
    /// The event that follows when it succeeded.
    pub complete: Option<EventName>,
    /// Why it never happens here, for one that does not.
    pub never: Option<&'static str>,
}

macro_rules! never {
    ([]) => {
        None
    };
    ([$text:expr]) => {
        Some($text)
    };
}

macro_rules! complete {
    (-) => {
        None
    };
    ($name:ident) => {
        Some(EventName::$name)
    };
}

macro_rules! catalogue {
    ($($name:ident $word:literal $arguments:literal $own:ident $complete:tt $never:tt $meaning:literal;)*) => {
        /// The name of a cluster event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum EventName {
            $(#[doc = $meaning] $name,)*
        }

        /// Every event there is, in the order of the catalogue.
        pub const CATALOGUE: &[Catalogued] = &[$(Catalogued {
            name: EventName::$name,
            word: $word,
            arguments: $arguments,
            meaning: $meaning,
            own: Own::$own,
            complete: complete!($complete),
            never: never!($never),
        },)*];
    };
}

const NO_SITES: &str = "Regent knows no sites";
const BY_CONFIGURATION: &str = "a change of configuration is told by the reconfig events";
const LEGACY: &str = "it belongs to a mechanism that Regent does not have";

catalogue! {
    NodeUp "node_up" "NODE" Frame NodeUpComplete [] "A node joins.";
    NodeUpLocal "node_up_local" "" Frame NodeUpLocalComplete [] "The joining node itself: storage, then addresses.";
    NodeUpRemote "node_up_remote" "NODE" Frame NodeUpRemoteComplete []
        "A node that was there: it releases what goes back to the one that joins.";
    NodeUpComplete "node_up_complete" "NODE" Frame - [] "node_up is done.";
    NodeUpLocalComplete "node_up_local_complete" "" Frame - [] "The joining node starts its applications.";
    NodeUpRemoteComplete "node_up_remote_complete" "NODE" Frame - [] "A node that was there has let the other join.";
    NodeDown "node_down" "NODE [graceful|takeover|forced]" Frame NodeDownComplete []
        "A node leaves, or is lost (then there is no second argument).";
    NodeDownLocal "node_down_local" "[MODE]" Frame NodeDownLocalComplete []
        "The leaving node itself: applications, addresses, storage. Never after a crash.";
    NodeDownRemote "node_down_remote" "NODE [MODE]" Frame NodeDownRemoteComplete []
        "A node that stays: it acquires storage, then addresses, of what it takes over.";
    NodeDownComplete "node_down_complete" "NODE [MODE]" Frame - [] "node_down is done.";
    NodeDownLocalComplete "node_down_local_complete" "[MODE]" Frame - [] "The leaving node has released everything.";
    NodeDownRemoteComplete "node_down_remote_complete" "NODE [MODE]" Frame - []
        "A node that stays starts the applications it took over.";
    NetworkUp "network_up" "NODE NETWORK" Nothing NetworkUpComplete [] "A network works again for a node (-1: for all).";
    NetworkUpComplete "network_up_complete" "NODE NETWORK" Nothing - [] "network_up is done.";
    NetworkDown "network_down" "NODE NETWORK" Nothing NetworkDownComplete []
        "A network is lost for a node (-1: for all).";
    NetworkDownComplete "network_down_complete" "NODE NETWORK" Nothing - [] "network_down is done.";
    SwapAdapter "swap_adapter" "NODE NETWORK FAILED NEW" Guard SwapAdapterComplete []
        "A service address moves to another interface of the same node.";
    SwapAdapterComplete "swap_adapter_complete" "NODE NETWORK FAILED NEW" Nothing - [] "swap_adapter is done.";
    FailStandby "fail_standby" "NODE ADDRESS" Nothing - [] "A standby interface failed.";
    JoinStandby "join_standby" "NODE ADDRESS" Nothing - [] "A standby interface works again.";
    FailInterface "fail_interface" "NODE ADDRESS" Nothing - [] "An interface failed, and none is left to take its place.";
    JoinInterface "join_interface" "NODE ADDRESS" Nothing - [] "An interface works again.";
    SwapAddress "swap_address" "NODE" Guard - [] "An operator moves an address to another interface.";
    AcquireServiceAddr "acquire_service_addr" "ADDRESS..." Guard - [] "A node adds the service addresses it is home to.";
    ReleaseServiceAddr "release_service_addr" "ADDRESS..." Guard - [] "A node takes them away.";
    AcquireTakeoverAddr "acquire_takeover_addr" "ADDRESS..." Guard - [] "A node adds the service addresses of another.";
    ReleaseTakeoverAddr "release_takeover_addr" "ADDRESS..." Guard - [] "A node takes them away.";
    GetDiskVgFs "get_disk_vg_fs" "RESOURCE..." Guard - [] "A node acquires storage: checks and mounts it.";
    ReleaseVgFs "release_vg_fs" "RESOURCE..." Guard - [] "A node releases storage: unmounts it.";
    StartServer "start_server" "APPLICATION..." Applications - [] "A node starts the applications of a group.";
    StopServer "stop_server" "APPLICATION..." Applications - [] "A node stops applications.";
    ServerDown "server_down" "APPLICATION NODE" Nothing ServerDownComplete []
        "An application failed, and its restarts are used up.";
    ServerDownComplete "server_down_complete" "APPLICATION NODE" Nothing - [] "server_down is done.";
    ServerRestart "server_restart" "APPLICATION NODE" Nothing ServerRestartComplete []
        "An application failed and is restarted where it is.";
    ServerRestartComplete "server_restart_complete" "APPLICATION NODE" Nothing - [] "server_restart is done.";
    RgMove "rg_move" "NODE acquire|release GROUP" Frame RgMoveComplete [] "A group moves, while no node joins or leaves.";
    RgMoveRelease "rg_move_release" "NODE release GROUP" Frame - [] "Its owner releases it.";
    RgMoveAcquire "rg_move_acquire" "NODE acquire GROUP" Frame - [] "Its next owner acquires storage and addresses.";
    RgMoveFence "rg_move_fence" "NODE release GROUP" Guard - ["fencing is part of the proof that precedes every epoch"]
        "The disks of a group that moves are fenced.";
    RgMoveComplete "rg_move_complete" "NODE acquire|release GROUP" Frame - []
        "rg_move is done; an owner starts its applications.";
    ResourceStateChange "resource_state_change" "GROUP" Nothing ResourceStateChangeComplete []
        "A group has to move because it failed where it was.";
    ResourceStateChangeComplete "resource_state_change_complete" "GROUP" Nothing - [] "resource_state_change is done.";
    ExternalResourceStateChange "external_resource_state_change" "GROUP" Nothing ExternalResourceStateChangeComplete []
        "An operator asked for a change of a group.";
    ExternalResourceStateChangeComplete "external_resource_state_change_complete" "GROUP" Nothing - []
        "external_resource_state_change is done.";
    ResourceAdd "resource_add" "" Nothing - [BY_CONFIGURATION] "A resource was added.";
    ResourceModify "resource_modify" "" Nothing - [BY_CONFIGURATION] "A resource was changed.";
    ResourceDelete "resource_delete" "" Nothing - [BY_CONFIGURATION] "A resource was taken out.";
    ResourceOnline "resource_online" "" Nothing - [BY_CONFIGURATION] "A resource came online by itself.";
    ResourceOffline "resource_offline" "" Nothing - [BY_CONFIGURATION] "A resource went offline by itself.";
    ReconfigTopologyStart "reconfig_topology_start" "" Nothing ReconfigTopologyComplete []
        "Another configuration is in force, with other nodes, networks or timers.";
    ReconfigTopologyComplete "reconfig_topology_complete" "" Nothing - [] "reconfig_topology_start is done.";
    ReconfigResourceRelease "reconfig_resource_release" "" Frame - []
        "Another configuration is in force: what was taken out of it is released.";
    ReconfigResourceReleasePrimary "reconfig_resource_release_primary" "" Frame - [LEGACY] "As above, primary site.";
    ReconfigResourceReleaseSecondary "reconfig_resource_release_secondary" "" Frame - [LEGACY]
        "As above, secondary site.";
    ReconfigResourceReleaseFence "reconfig_resource_release_fence" "" Frame - [LEGACY] "As above, fencing.";
    ReconfigResourceAcquireFence "reconfig_resource_acquire_fence" "" Frame - [LEGACY] "Fencing before acquiring.";
    ReconfigResourceAcquire "reconfig_resource_acquire" "" Frame - [] "What is new in the configuration is acquired.";
    ReconfigResourceAcquireSecondary "reconfig_resource_acquire_secondary" "" Frame - [LEGACY]
        "As above, secondary site.";
    ReconfigResourceComplete "reconfig_resource_complete" "" Frame - [] "What is new was acquired.";
    ReconfigResourceCompleteSecondary "reconfig_resource_complete_secondary" "" Frame - [LEGACY]
        "As above, secondary site.";
    ReconfigConfigurationComplete "reconfig_configuration_complete" "" Nothing - []
        "The node follows the configuration in force.";
    SiteUp "site_up" "SITE" Nothing SiteUpComplete [NO_SITES] "A site joins.";
    SiteUpLocal "site_up_local" "SITE" Nothing SiteUpLocalComplete [NO_SITES] "On the joining site.";
    SiteUpRemote "site_up_remote" "SITE" Nothing SiteUpRemoteComplete [NO_SITES] "On the other sites.";
    SiteUpComplete "site_up_complete" "SITE" Nothing - [NO_SITES] "site_up is done.";
    SiteUpLocalComplete "site_up_local_complete" "SITE" Nothing - [NO_SITES] "On the joining site.";
    SiteUpRemoteComplete "site_up_remote_complete" "SITE" Nothing - [NO_SITES] "On the other sites.";
    SiteDown "site_down" "SITE" Nothing SiteDownComplete [NO_SITES] "A site is lost.";
    SiteDownLocal "site_down_local" "SITE" Nothing SiteDownLocalComplete [NO_SITES] "On the leaving site.";
    SiteDownRemote "site_down_remote" "SITE" Nothing SiteDownRemoteComplete [NO_SITES] "On the other sites.";
    SiteDownComplete "site_down_complete" "SITE" Nothing - [NO_SITES] "site_down is done.";
    SiteDownLocalComplete "site_down_local_complete" "SITE" Nothing - [NO_SITES] "On the leaving site.";
    SiteDownRemoteComplete "site_down_remote_complete" "SITE" Nothing - [NO_SITES] "On the other sites.";
    SiteIsolation "site_isolation" "SITE" Nothing SiteIsolationComplete [NO_SITES] "Sites do not hear each other.";
    SiteIsolationComplete "site_isolation_complete" "SITE" Nothing - [NO_SITES] "site_isolation is done.";
    SiteMerge "site_merge" "SITE" Nothing SiteMergeComplete [NO_SITES] "Sites hear each other again.";
    SiteMergeComplete "site_merge_complete" "SITE" Nothing - [NO_SITES] "site_merge is done.";
    IntersiteFalloverPrevented "intersite_fallover_prevented" "GROUP" Nothing - [NO_SITES]
        "A group may not go to another site.";
    ClusterNotify "cluster_notify" "RESULT" Nothing - [] "The nightly comparison of the nodes has a result.";
    ConfigTooLong "config_too_long" "SECONDS EVENT" Nothing - []
        "An event, or a group's acquire or release, takes longer than the limits. Nothing is killed.";
    UnstableTooLong "unstable_too_long" "SECONDS EVENT" Nothing - ["config_too_long says the same"]
        "The older name of config_too_long.";
    ForcedDownTooLong "forced_down_too_long" "NODE" Nothing - []
        "A node that was stopped by force has left its groups unmanaged for long.";
    EventError "event_error" "NODE EVENT" Nothing - [] "A command of an event failed, and its recovery is used up.";
    SplitMergePrompt "split_merge_prompt" "" Nothing - ["the log decides; nobody is asked"]
        "A person has to choose a side.";
    StartUdresource "start_udresource" "RESOURCE" Nothing - [LEGACY] "A resource of a user's own type is started.";
    StopUdresource "stop_udresource" "RESOURCE" Nothing - [LEGACY] "A resource of a user's own type is stopped.";
    Migrate "migrate" "" Nothing MigrateComplete [LEGACY] "The cluster's software is migrated.";
    MigrateComplete "migrate_complete" "" Nothing - [LEGACY] "migrate is done.";
}

impl EventName {
    /// Its line of the catalogue.
    #[must_use]
    pub fn entry(self) -> &'static Catalogued {
        &CATALOGUE[self as usize]
    }

    /// Its name as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.entry().word
    }

    /// The event of that name.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        CATALOGUE.iter().find(|c| c.word == word).map(|c| c.name)
    }

    /// Whether it is told beside the queue of its node, because it may be about what the queue waits for.
    #[must_use]
    pub fn is_beside_the_queue(self) -> bool {
        matches!(self, Self::ConfigTooLong | Self::EventError | Self::ForcedDownTooLong | Self::ClusterNotify)
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// One event with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Event {
    /// Which.
    pub name: EventName,
    /// Its arguments, as commands get them after the name.
    pub args: Vec<String>,
}

impl Event {
    /// An event with these arguments.
    #[must_use]
    pub fn new<T: ToString>(name: EventName, args: impl IntoIterator<Item = T>) -> Self {
        Self { name, args: args.into_iter().map(|a| a.to_string()).collect() }
    }

    /// An event without arguments.
    #[must_use]
    pub fn bare(name: EventName) -> Self {
        Self { name, args: Vec::new() }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.word())?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// A line for `/bin/sh -c` that hands its arguments on, unless it speaks of them itself.
#[must_use]
pub fn with_arguments(line: &str) -> String {
    let speaks_of_them = ["$@", "$*", "$#", "$1", "$2", "${"].iter().any(|word| line.contains(word));
    if speaks_of_them { line.to_owned() } else { format!("{} \"$@\"", line.trim_end()) }
}

/// The event that a journal entry belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventNote {
    /// Its sequence number on the node that wrote the entry; larger than those of all earlier events there.
    pub number: u64,
    /// The event.
    pub event: Event,
    /// The number of the event that it is a part of.
    pub within: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_in_the_order_of_the_names_and_every_word_leads_back_to_its_event() {
        for (at, line) in CATALOGUE.iter().enumerate() {
            assert_eq!(line.name as usize, at, "{}", line.word);
            assert_eq!(EventName::of_word(line.word), Some(line.name));
            assert_eq!(snake_case(&format!("{:?}", line.name)), line.word, "as serde writes it");
        }
        assert_eq!(EventName::of_word("node_sideways"), None);
    }

    fn snake_case(name: &str) -> String {
        let mut word = String::new();
        for c in name.chars() {
            if c.is_uppercase() && !word.is_empty() {
                word.push('_');
            }
            word.push(c.to_ascii_lowercase());
        }
        word
    }

    #[test]
    fn what_follows_an_event_is_named_after_it() {
        for line in CATALOGUE {
            if let Some(complete) = line.complete {
                let stem = line.word.trim_end_matches("_start");
                assert_eq!(complete.word(), format!("{stem}_complete"));
                assert_eq!(complete.entry().complete, None);
            }
        }
    }

    #[test]
    fn no_event_in_which_the_guard_acts_may_be_replaced() {
        for name in
            [EventName::GetDiskVgFs, EventName::AcquireServiceAddr, EventName::NodeUp, EventName::NodeDown]
        {
            assert!(!name.entry().own.is_replaceable(), "{name}");
        }
        for name in [EventName::StartServer, EventName::NetworkDown, EventName::ConfigTooLong] {
            assert!(name.entry().own.is_replaceable(), "{name}");
        }
    }
}
