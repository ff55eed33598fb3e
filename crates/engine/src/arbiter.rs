//! Who decides between two nodes: the disk, when it is asked ([`when`]), how it goes on ([`asking`]); the fence devices
//! ([`fence`]); the one that stops, for the other ([`handing_over`]); what `status` says ([`telling`]); a sole voter that comes
//! up again ([`cold`]), and a person's word instead of the arbiter's ([`word`]).

mod asking;
mod cold;
mod fence;
mod handing_over;
mod memo;
mod telling;
mod when;
mod word;

use std::path::PathBuf;

use regent_arbiter::Record;
use regent_model::NodeId;
use regent_model::ids::{AreaId, ClusterName};

pub(crate) use asking::Asking;
pub(crate) use cold::Cleared;
pub(crate) use memo::Memo;

/// Where the area is that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArbiterPlace {
    /// The block device or file.
    pub disk: PathBuf,
    /// The area that has to be there.
    pub area: AreaId,
    /// The cluster that it has to be of.
    pub cluster: ClusterName,
}

/// One thing to do with the area at the [`ArbiterPlace`] told last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArbiterRun {
    /// To answer with.
    pub number: u64,
    /// In which area. Where another one was told since, it is answered as failed.
    pub area: AreaId,
    /// What.
    pub act: ArbiterAct,
}

/// See [`regent_arbiter::Effect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArbiterAct {
    /// Write this record, one copy after the other, each flushed to the disk before the next.
    Write(Record),
    /// Read both slots from the disk.
    Read {
        /// This node.
        own: NodeId,
        /// The other one.
        other: NodeId,
    },
}
