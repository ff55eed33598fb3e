//! By what the machines of the members are known, kept beside the log: a daemon that begins has applied nothing of its log
//! before others confirm it, and those may use another key by then.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use regent_guard::durable;
use regent_model::NodeId;
use regent_model::state::{Keys, MachineKey};
use serde::{Deserialize, Serialize};

/// Which machine is whose, as the log has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The public key of each member's machine.
    pub(crate) machines: BTreeMap<NodeId, MachineKey>,
    /// The number of the newest key that the log knew of: who was a member no more before a change began is in no list of
    /// that change. Newer keys are not given away by this list.
    pub(crate) upto: u32,
}

impl Known {
    /// What the log says.
    pub(crate) fn by(keys: &Keys) -> Self {
        let upto = keys.number.wrapping_add(u32::from(keys.change.is_some()));
        Self { machines: keys.machines.clone(), upto }
    }

    /// Whether that is what the log says.
    pub(crate) fn is(&self, keys: &Keys) -> bool {
        self.machines == keys.machines
            && self.upto == keys.number.wrapping_add(u32::from(keys.change.is_some()))
    }

    fn path(state: &Path) -> PathBuf {
        state.join("machines.json")
    }

    /// What was kept; nothing where that is not there or damaged: the log says it again.
    pub(super) fn read(state: &Path) -> Self {
        let text = fs::read(Self::path(state)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps it, durably.
    ///
    /// # Errors
    /// In words.
    pub(super) fn keep(&self, state: &Path) -> Result<(), String> {
        let path = Self::path(state);
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        durable::replace(&path, &text, 0o600)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }
}
