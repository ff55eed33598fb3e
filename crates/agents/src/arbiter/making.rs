//! Making an area, on a disk that both nodes are shown to share.

use std::path::Path;

use regent_arbiter::Header;
use regent_arbiter::record::BLOCK;
use regent_model::ids::{AreaId, ClusterName};
use ring::rand::{SecureRandom, SystemRandom};

use super::area::{Disk, Open, too_small};
use super::look::{look_at, user_of};

/// Where a mark is: in an area, this block is zeros.
const MARK_AT: u64 = BLOCK as u64;

/// What a mark begins with.
const MARK: &[u8; 8] = b"RGNTMARK";

/// A mark on a disk, and what was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// What another node finds there, if it has the same disk.
    pub mark: AreaId,
    before: Vec<u8>,
}

/// Writes something onto the disk that nobody else could have written, to be found by the other node. [`unmark`] puts
/// back what was there.
///
/// # Errors
/// Why not; nothing was written then, or it is not known whether it was.
pub fn mark(path: &Path) -> Result<Made, String> {
    if let Some(user) = user_of(path) {
        return Err(format!("{} is in use: {user}", path.display()));
    }
    let disk = Disk::open(path, Open::Alone)?;
    if disk.size()? < regent_arbiter::area::AREA {
        return Err(too_small(path));
    }
    let before = disk.read(MARK_AT, BLOCK)?;
    let mark = drawn()?;
    let mut block = vec![0; BLOCK];
    block[..8].copy_from_slice(MARK);
    block[8..24].copy_from_slice(&mark.0);
    disk.write(MARK_AT, &block)?;
    Ok(Made { mark, before })
}

/// Puts back what was there before the mark.
///
/// # Errors
/// Why not: the mark may still be there.
pub fn unmark(path: &Path, made: &Made) -> Result<(), String> {
    Disk::open(path, Open::Alone)?.write(MARK_AT, &made.before)
}

/// The mark that is on the disk now, if there is one.
///
/// # Errors
/// It cannot be read.
pub fn marked(path: &Path) -> Result<Option<AreaId>, String> {
    let block = Disk::open(path, Open::Look)?.read(MARK_AT, BLOCK)?;
    let mark = block.strip_prefix(MARK).and_then(|rest| rest.get(..16)?.try_into().ok());
    Ok(mark.map(AreaId))
}

/// Makes a new area for `cluster` of the whole beginning of the disk, whatever was there, and reads it again.
///
/// # Errors
/// Why not. What was there may be lost.
pub fn make(path: &Path, cluster: &ClusterName) -> Result<AreaId, String> {
    let header = Header { area: drawn()?, cluster: cluster.clone() };
    Disk::open(path, Open::Alone)?.format(&header)?;
    match look_at(path)?.shows {
        super::Shows::Area { area, .. } if area == header.area => Ok(area),
        _ => Err(format!("{} does not show what was written to it", path.display())),
    }
}

fn drawn() -> Result<AreaId, String> {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| "the kernel gives no random numbers".to_owned())?;
    Ok(AreaId(id))
}
