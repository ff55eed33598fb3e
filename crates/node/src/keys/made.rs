//! Keys that were made here and are none of the cluster's yet: the log has to agree first, and this daemon may die meanwhile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use regent_guard::durable;
use regent_wire::ClusterKey;

/// So many are kept: an order that was given up may be agreed on all the same, a little later.
const KEPT: usize = 4;

/// Beside the key file.
fn path(key_file: &Path) -> PathBuf {
    let mut name = key_file.file_name().unwrap_or_default().to_owned();
    name.push(".made");
    key_file.with_file_name(name)
}

/// All that are kept, the oldest first; none where the file is not there or damaged, which only loses what nobody uses.
pub(super) fn all(key_file: &Path) -> Vec<ClusterKey> {
    let text = fs::read_to_string(path(key_file)).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Keeps one more, durably, for root alone.
///
/// # Errors
/// The kernel's.
pub(super) fn keep(key_file: &Path, key: &ClusterKey) -> io::Result<()> {
    let mut keys = all(key_file);
    keys.push(key.clone());
    let from = keys.len().saturating_sub(KEPT);
    let text: String = keys[from..].iter().map(|key| format!("{}\n", key.to_text())).collect();
    durable::replace(&path(key_file), text.as_bytes(), 0o600)
}

/// Forgets them: one was agreed on, and is in the key file.
pub(super) fn forget(key_file: &Path) {
    let _none_is_fine = fs::remove_file(path(key_file));
}
