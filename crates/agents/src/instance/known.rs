//! What this daemon knows of the instances that are held here: under which ownership, and since when.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;

use regent_model::Epoch;
use regent_model::action::Failure;

use super::Instance;
use crate::application::record::write_text;
use crate::slot::{self, Key};
use crate::sync::lock;

/// The instances that are held here, each with the ownership under which it is. Changed only by whoever has the
/// instance's slot.
#[derive(Default)]
pub(crate) struct Instances(Mutex<HashMap<Key, Held>>);

/// The ownership under which an instance is held, and what its commands are told under it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    pub(super) environment: Vec<(String, String)>,
}

impl Instances {
    fn hold(&self, key: Key, held: Held) {
        lock(&self.0).insert(key, held);
    }

    pub(super) fn held(&self, key: &Key) -> Option<Held> {
        lock(&self.0).get(key).cloned()
    }

    pub(super) fn is_held(&self, key: &Key, epoch: Epoch) -> bool {
        lock(&self.0).get(key).is_some_and(|held| held.epoch == epoch)
    }

    pub(super) fn forget(&self, key: &Key) {
        lock(&self.0).remove(key);
    }
}

impl Instance<'_> {
    /// Under which ownership it was taken here last: written where it outlives the daemon and not the boot.
    fn note_path(&self) -> PathBuf {
        let folder = self.context.inner.run_dir.join("applications").join(self.context.run.group.as_str());
        folder.join(format!("{}.epoch", self.config.resource))
    }

    /// Whether it was taken here under this ownership already, or under the one that this goes on with.
    pub(super) fn is_begun(&self) -> bool {
        let noted = std::fs::read_to_string(self.note_path()).ok();
        let noted = noted.and_then(|text| text.trim().parse::<u64>().ok());
        let goes_on = self.told("REGENT_PROOF") == Some("adopted");
        noted.is_some_and(|epoch| epoch == self.context.run.epoch.0 || goes_on)
    }

    /// From now on it is held under this ownership.
    ///
    /// # Errors
    /// It could not be written down.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        let run = self.context.run;
        write_text(&self.note_path(), run.epoch.0.to_string().as_bytes()).map_err(Failure::because)?;
        let held = Held { epoch: run.epoch, environment: run.environment.clone() };
        self.context.inner.instances.hold(slot::key(run), held);
        Ok(())
    }
}
