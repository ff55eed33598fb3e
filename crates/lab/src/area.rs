//! The area of an arbiter on a new disk of the SAN.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use regent_arbiter::Header;
use regent_arbiter::area::made;
use regent_model::ids::{AreaId, ClusterName};

/// Makes it, as `regent arbiter init` would.
///
/// # Errors
/// The image could not be written.
pub(crate) fn make(image: &File, area: AreaId, cluster: &ClusterName) -> io::Result<()> {
    let header = Header { area, cluster: cluster.clone() };
    made(&header).try_for_each(|(at, bytes)| image.write_all_at(&bytes, at))
}
