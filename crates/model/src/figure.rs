//! Figures by which a group chooses its next node.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::GroupName;

/// What is measured on every node of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Figure {
    /// Memory that can be had without swapping, in MiB.
    FreeMemory,
    /// How idle the processors are, in percent.
    IdleCpu,
    /// How idle the busiest disk is, in percent.
    DiskIdle,
    /// What the script of this group says by its exit code.
    Script(GroupName),
}

/// What a node has measured, rounded, so that it does not change at every look.
pub type Figures = BTreeMap<Figure, i64>;

impl Figure {
    /// A value with its unit, for people.
    #[must_use]
    pub fn words(&self, value: i64) -> String {
        match self {
            Self::FreeMemory => format!("{value} MiB of memory free"),
            Self::IdleCpu => format!("processors {value} % idle"),
            Self::DiskIdle => format!("disks {value} % idle"),
            Self::Script(_) => format!("its script says {value}"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FreeMemory => "most free memory",
            Self::IdleCpu => "most idle processors",
            Self::DiskIdle => "most idle disks",
            Self::Script(_) => "best value of its script",
        })
    }
}

/// Which value of a script is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// The highest.
    Highest,
    /// The lowest that is not 0; 0 says that the node does not want it.
    LowestNonzero,
}

/// A script of the user's that measures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FigureScript {
    /// The command, for `/bin/sh -c`; its exit code is the figure.
    pub command: String,
    /// Which is best.
    pub prefer: Prefer,
    /// How often it is run.
    pub interval: Duration,
    /// How long it may take; then it has no figure.
    pub timeout: Duration,
}
