//! Policies: where a group starts, where it goes, whether it comes back.

use serde::{Deserialize, Serialize};

use super::scalar;

/// When a group is brought up for the first time after the whole cluster was down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Startup {
    /// On its home node (the first of its list) only.
    Home,
    /// On the first node of its list that is there.
    FirstAvailable,
    /// On the first node there that carries no other group of this kind (rotating: one per node).
    Distribute,
    /// On every node (concurrent).
    All,
}

/// Where a group goes when its node is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failover {
    /// To the next node of its list that is there.
    Next,
    /// Nowhere: it stays off until its node returns.
    Stay,
    /// To the node with the most free memory.
    FreeMemory,
    /// To the node with the most idle processors.
    IdleCpu,
    /// To the node with the most idle disks.
    DiskIdle,
    /// To the node for which a script of the user's has the best figure.
    Script,
}

/// What happens when a better node of the list returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failback {
    /// The group goes back to it, in order: released there, then acquired here.
    Home,
    /// The group stays; the node that returned becomes the standby.
    Never,
    /// The group goes to its home node at the moment when that node joins, wherever it is and whoever moved it there;
    /// at no other moment.
    Join,
}

/// The triple under every policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// See [`Startup`].
    pub startup: Startup,
    /// See [`Failover`].
    pub failover: Failover,
    /// See [`Failback`].
    pub failback: Failback,
}

impl Policy {
    /// The preset `cascading`: home node, next node, back home.
    pub const CASCADING: Self =
        Self { startup: Startup::Home, failover: Failover::Next, failback: Failback::Home };
    /// The preset `rotating`: one per node, next node, no way back.
    pub const ROTATING: Self =
        Self { startup: Startup::Distribute, failover: Failover::Next, failback: Failback::Never };
    /// The preset `concurrent`: on every node of the list at once, each instance on its own.
    pub const CONCURRENT: Self =
        Self { startup: Startup::All, failover: Failover::Stay, failback: Failback::Never };

    /// Every preset with its name.
    pub const PRESETS: [(&'static str, Self); 3] =
        [("cascading", Self::CASCADING), ("rotating", Self::ROTATING), ("concurrent", Self::CONCURRENT)];

    /// The preset's name, if the triple is one.
    #[must_use]
    pub fn preset(self) -> Option<&'static str> {
        Self::PRESETS.into_iter().find_map(|(name, policy)| (policy == self).then_some(name))
    }

    /// The triple as a configuration can say it.
    #[must_use]
    pub fn triple(self) -> String {
        format!(
            "startup {}, failover {}, failback {}",
            self.startup.word(),
            self.failover.word(),
            self.failback.word()
        )
    }
}

impl Startup {
    /// The words of a configuration.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("home", Self::Home),
        ("first-available", Self::FirstAvailable),
        ("distribute", Self::Distribute),
        ("all", Self::All),
    ];

    /// The word of a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        scalar::word(&Self::WORDS, self)
    }
}

impl Failover {
    /// The words of a configuration.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("next", Self::Next),
        ("stay", Self::Stay),
        ("free-memory", Self::FreeMemory),
        ("idle-cpu", Self::IdleCpu),
        ("disk-idle", Self::DiskIdle),
    ];

    /// The word of a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        if self == Self::Script { "script" } else { scalar::word(&Self::WORDS, self) }
    }
}

impl Failback {
    /// The words of a configuration.
    pub const WORDS: [(&'static str, Self); 3] =
        [("home", Self::Home), ("never", Self::Never), ("join", Self::Join)];

    /// The word of a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        scalar::word(&Self::WORDS, self)
    }
}
