//! What a node durably remembers of the area, beside its log.

use regent_arbiter::Generation;
use regent_model::ids::AreaId;
use regent_store::{Record, Recovered};
use serde::{Deserialize, Serialize};

/// Under which key the store keeps it.
const KEY: &str = "arbiter";

/// What is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Memo {
    /// The area that the rest is about, but for `life`.
    pub(crate) area: AreaId,
    /// How many lives of this node's daemon ever wrote to an area: the last one's number (A4).
    pub(crate) life: u64,
    /// The life and number of the last write that is known to be on the disk (A8).
    pub(crate) written: (u64, u64),
    /// The generation for which a contest was begun. Until it is noted it is brought to its end.
    pub(crate) contest: Generation,
    /// The last generation of which the area is known to say that this node is its sole voter.
    pub(crate) said: Generation,
}

impl Memo {
    pub(crate) fn recovered(recovered: &Recovered) -> Self {
        recovered.meta.get(KEY).map_or_else(Self::default, |bytes| {
            postcard::from_bytes(bytes)
                .unwrap_or_else(|e| panic!("what was stored of the arbiter is nothing: {e}"))
        })
    }

    /// What makes it durable.
    pub(crate) fn record(&self) -> Record {
        let value =
            postcard::to_stdvec(self).unwrap_or_else(|e| panic!("some numbers cannot be encoded: {e}"));
        Record::Meta { key: KEY.to_owned(), value }
    }

    /// What is remembered of this area.
    pub(crate) fn of(self, area: AreaId) -> Self {
        if self.area == area { self } else { Self { area, life: self.life, ..Self::default() } }
    }
}
