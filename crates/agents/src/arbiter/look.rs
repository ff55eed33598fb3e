//! What is on a disk, for people; and the looking after the area that decides.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use regent_arbiter::area::{AREA, Beginning, SLOTS, slot_at};
use regent_arbiter::mutants::Mutants;
use regent_arbiter::record::BLOCK;
use regent_arbiter::slot::SLOT;
use regent_arbiter::{Record, Slot};
use regent_model::NodeId;
use regent_model::action::{ARBITER_DISK, Notice};
use regent_model::ids::{AreaId, ClusterName};

use super::area::{Disk, Open, Place};
use super::{Hanging, Limits};
use crate::{device, holders};

/// What is on a disk where an area is, or could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Its size in bytes.
    pub bytes: u64,
    /// What it shows.
    pub shows: Shows,
    /// Who uses it, if it is a device and somebody does.
    pub in_use: Option<String>,
    /// If it is an area: what every node that ever wrote there says, by its number; nothing where its slot is damaged.
    pub slots: Vec<(NodeId, Option<Record>)>,
}

/// What a disk shows where an area would lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shows {
    /// Zeros alone.
    Blank,
    /// An area.
    Area {
        /// Which.
        area: AreaId,
        /// Of which cluster.
        cluster: ClusterName,
    },
    /// Something else, in words.
    Other(String),
}

/// Looks at a disk. Nothing is written.
///
/// # Errors
/// Why it cannot be read.
pub fn look_at(path: &Path) -> Result<Look, String> {
    let disk = Disk::open(path, Open::Look)?;
    let bytes = disk.size()?;
    let whole = AREA.min(bytes / BLOCK as u64 * BLOCK as u64);
    let read = disk.read(0, usize::try_from(whole).unwrap_or_default())?;
    let shows = match Beginning::at(&read) {
        Beginning::Area(header) => Shows::Area { area: header.area, cluster: header.cluster },
        _ if read.iter().all(|byte| *byte == 0) => Shows::Blank,
        Beginning::Blank | Beginning::Foreign => Shows::Other(known(&read)),
    };
    let slots = match &shows {
        Shows::Area { area, .. } => slots(*area, &read),
        Shows::Blank | Shows::Other(_) => Vec::new(),
    };
    Ok(Look { bytes, shows, in_use: user_of(path), slots })
}

fn slots(area: AreaId, bytes: &[u8]) -> Vec<(NodeId, Option<Record>)> {
    let newest = |node| {
        let at = usize::try_from(slot_at(node)?).ok()?;
        let slot = Slot::at(bytes.get(at..at + SLOT).unwrap_or_default(), area, node);
        Some((node, slot.newest(Mutants::none())))
    };
    let written = |(_, record): &(NodeId, Option<Record>)| record.is_none_or(|record| record.life > 0);
    (1..=SLOTS).map(NodeId).filter_map(newest).filter(written).collect()
}

/// Who uses a device.
pub(super) fn user_of(path: &Path) -> Option<String> {
    let number = device::number(path).ok()?;
    match device::try_claim(path) {
        Err(rustix::io::Errno::BUSY) => Some(holders::of_device(number).to_string()),
        _ => None,
    }
}

/// What these bytes are the beginning of.
fn known(bytes: &[u8]) -> String {
    const SIGNS: [(usize, &[u8], &str); 11] = [
        (1080, &[0x53, 0xef], "a file system (ext2, ext3 or ext4)"),
        (0, b"XFSB", "a file system (XFS)"),
        (65_600, b"_BHRfS_M", "a file system (btrfs)"),
        (512, b"EFI PART", "a partition table (GPT)"),
        (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
        (512, b"LABELONE", "a physical volume of LVM"),
        (0, b"LABELONE", "a physical volume of LVM"),
        (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "a member of a RAID (md)"),
        (4086, b"SWAPSPACE2", "swap space"),
        (4, b"RGNTARE", "the beginning of an area of the arbiter, damaged"),
        (510, &[0x55, 0xaa], "a partition table or a boot sector"),
    ];
    let is = |(at, sign, _): &&(usize, &[u8], &str)| bytes.get(*at..).is_some_and(|b| b.starts_with(sign));
    SIGNS.iter().find(is).map_or("data of a kind that is not known here", |(_, _, words)| words).to_owned()
}

/// Looks at the area again and again, and tells what is wrong with it.
pub(super) fn keep_looking(places: &Receiver<Option<Place>>, limits: Limits, tell: &impl Fn(Notice)) {
    let mut hanging = Hanging::default();
    let mut place: Option<Place> = None;
    let mut told: Option<String> = None;
    loop {
        let next = match &place {
            // Nothing to look at: until there is.
            None => places.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => places.recv_timeout(limits.look_every),
        };
        match next {
            Ok(newer) if newer == place => {}
            Ok(newer) => (place, hanging) = (newer, Hanging::default()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let trouble = place.clone().and_then(|place| trouble(&hanging, limits, place));
        if trouble == told {
            continue;
        }
        let topic = ARBITER_DISK.to_owned();
        tell(match &trouble {
            Some(text) => Notice::Trouble { topic, text: text.clone(), advice: ADVICE.to_owned() },
            None if place.is_none() => {
                Notice::Well { topic, text: "the arbiter's disk is not asked any more".to_owned() }
            }
            None => Notice::Well { topic, text: "the arbiter's disk can be read again".to_owned() },
        });
        told = trouble;
    }
}

const ADVICE: &str =
    "until it is mended nobody decides between the two nodes when one is lost; regent arbiter status";

/// What is wrong with the area.
fn trouble(hanging: &Hanging, limits: Limits, place: Place) -> Option<String> {
    let disk = place.disk.display().to_string();
    let begun = Instant::now();
    let looked = hanging.within(limits.within, move || place.open(Open::Write).map(drop));
    match looked {
        None => Some(format!(
            "the arbiter's disk {disk} does not answer within {} s",
            limits.within.as_secs_f32()
        )),
        Some(Err(why)) => Some(format!("the arbiter's disk cannot decide: {why}")),
        Some(Ok(())) if begun.elapsed() > limits.slow => Some(format!(
            "the arbiter's disk {disk} is slow: it takes longer than {} s",
            limits.slow.as_secs_f32()
        )),
        Some(Ok(())) => None,
    }
}
