//! The area of an arbiter on a new disk of the SAN.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use regent_arbiter::Header;
use regent_arbiter::area::{SLOTS, formatted, slot_at};
use regent_model::NodeId;
use regent_model::ids::{AreaId, ClusterName};

/// Makes it, as `regent arbiter init` would.
///
/// # Errors
/// The image could not be written.
pub(crate) fn make(image: &File, area: AreaId, cluster: &ClusterName) -> io::Result<()> {
    for node in (1..=SLOTS).map(NodeId) {
        if let Some(at) = slot_at(node) {
            image.write_all_at(&formatted(area, node), at)?;
        }
    }
    image.write_all_at(&Header { area, cluster: cluster.clone() }.block(), 0)
}
