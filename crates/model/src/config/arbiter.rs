//! `[arbiter]`: who names the one that goes on of two nodes without a third vote.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::{Draft, MemberDraft};
use super::fence::FenceKind;
use super::finding::{Finding, Findings, Span};
use super::reader::{Reader, Zero};
use super::scalar;
use super::tree::{At, Table};
use crate::ids::AreaId;

/// What decides between two nodes, where they have no third vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arbiter {
    /// An area of a disk that both nodes share.
    Disk {
        /// The block device or file, by a name that is the same on both.
        disk: PathBuf,
        /// The area that was made there: anything else found at that name decides nothing.
        area: AreaId,
    },
    /// The fence devices: who turned the other one off.
    Fence {
        /// How much longer the node with fewer groups waits before it turns the other one off.
        delay: Duration,
    },
}

/// What a node with fewer groups waits longer by default: a device answers and cuts within it.
const DELAY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct ArbiterDraft {
    pub(super) header: Span,
    pub(super) disk: Option<At<PathBuf>>,
    /// Whether fence devices decide.
    pub(super) fence: Option<At<bool>>,
    pub(super) config: Option<Arbiter>,
}

/// Reads `[arbiter]`.
pub(super) fn arbiter(table: Table, findings: &mut Findings) -> ArbiterDraft {
    let mut reader = Reader::new("[arbiter]", table, findings);
    let header = reader.header.clone();
    if reader.has("fence") {
        return by_fence(reader, header);
    }
    let disk = reader.need_path("disk", "disk", "\"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1\"");
    let area = reader.need_text("area", "\"...\", as `regent arbiter init DISK` printed it");
    let area = reader.checked("area", area, |text| {
        text.parse::<AreaId>().map_err(|e| scalar::Refused {
            message: format!("`{}` names no area: {e}", text.escape_debug()),
            help:
                "write what `regent arbiter init DISK` printed; it stands on the disk, too: regent arbiter \
                   status --disk DISK"
                    .to_owned(),
        })
    });
    reader.finish();
    let config = disk
        .as_ref()
        .zip(area.as_ref())
        .map(|(disk, area)| Arbiter::Disk { disk: disk.value.clone(), area: area.value });
    ArbiterDraft { header, disk, fence: None, config }
}

/// Reads one that says `fence`.
fn by_fence(mut reader: Reader<'_>, header: Span) -> ArbiterDraft {
    let fence = reader.flag("fence");
    let delay = reader.duration("delay", Zero::Allowed, "\"2s\"").map_or(DELAY, |delay| delay.value);
    let of_a_disk = reader.take("disk").or_else(|| reader.take("area"));
    if let Some(of_a_disk) = &of_a_disk {
        let message = "a disk decides, or the fence devices: both are here";
        reader.findings.add(Finding::error(&of_a_disk.span, message).help(
            "delete `fence`, or `disk` and `area`. The disk is the better one: it decides also when a node comes up alone",
        ));
    }
    if let Some(no) = fence.as_ref().filter(|fence| !fence.value) {
        let finding = Finding::error(&no.span, "`fence = false` leaves nobody to decide");
        reader.findings.add(finding.help("delete [arbiter], or write fence = true"));
    }
    reader.finish();
    let fence = fence.filter(|fence| fence.value);
    let config = fence.as_ref().filter(|_| of_a_disk.is_none()).map(|_| Arbiter::Fence { delay });
    ArbiterDraft { header, disk: None, fence, config }
}

/// What does not go together with an arbiter.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let Some(arbiter) = &draft.arbiter else { return };
    if let Some(witness) = draft.witnesses.first() {
        let message = format!(
            "an arbiter decides between two nodes without a third vote, and `{}` has one",
            witness.title()
        );
        findings.add(
            Finding::error(&arbiter.header, message)
                .help(
                    "keep one of the two. The witness is the better one where it stays: it survives the loss \
                     of the disk, and it needs no disk",
                )
                .related(&witness.header, "the witness"),
        );
    }
    if let Some(third) = draft.nodes.get(2) {
        let message = format!("an arbiter decides between two nodes, and here are {}", draft.nodes.len());
        findings.add(
            Finding::error(&arbiter.header, message)
                .help(
                    "delete [arbiter]: three nodes have three votes, and need nobody to decide between them",
                )
                .related(&third.header, "the third vote"),
        );
    }
    if let Some(disk) = &arbiter.disk {
        not_of_a_group(disk, draft, findings);
        changes_its_name(disk, findings);
    }
    if let Some(fence) = &arbiter.fence {
        each_can_be_cut(fence, draft, findings);
    }
}

/// Who cannot be turned off can never be missed.
fn each_can_be_cut(fence: &At<bool>, draft: &Draft, findings: &mut Findings) {
    let unread = draft.fences.iter().any(|fence| fence.config.is_none());
    for node in uncut(draft).filter(|_| !unread) {
        let message =
            format!("no fence device turns `{}` off: when it is lost, nobody goes on", node.title());
        findings.add(
            Finding::error(&fence.span, message)
                .help(format!("add `{}` to the `nodes` of a [[fence]] that cuts power", node.title()))
                .related(&node.header, "this node"),
        );
    }
}

/// The nodes that no fence device turns off, as far as could be read.
pub(super) fn uncut(draft: &Draft) -> impl Iterator<Item = &MemberDraft> {
    let cuts = |name: &str| {
        let known = draft.fences.iter().filter_map(|fence| fence.config.as_ref());
        let mut power = known.filter(|fence| fence.kind == FenceKind::Power);
        power.any(|fence| fence.nodes.iter().any(|node| node.as_str() == name))
    };
    draft.nodes.iter().filter(move |node| !cuts(node.title()))
}

/// The area is written beside everything that knows of file systems.
fn not_of_a_group(disk: &At<PathBuf>, draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        let mut devices = group.filesystems.iter().flat_map(|f| f.config.iter().flat_map(|f| f.devices()));
        if devices.any(|device| *device == disk.value) {
            let message =
                format!("{} holds a file system of the group `{}`", disk.value.display(), group.title());
            findings.add(
                Finding::error(&disk.span, message)
                    .help("give the arbiter a partition or LUN of its own; 16 MiB are plenty")
                    .related(group.place(), "the group"),
            );
        }
    }
}

/// `/dev/sdb` is whichever disk was found second.
fn changes_its_name(disk: &At<PathBuf>, findings: &mut Findings) {
    let is_short = |start: &str| {
        disk.value
            .strip_prefix(Path::new("/dev"))
            .ok()
            .and_then(Path::to_str)
            .is_some_and(|name| name.starts_with(start) && !name.contains('/'))
    };
    if ["sd", "vd", "xvd", "nvme"].into_iter().any(is_short) {
        let message = format!("{} may be another disk after the next boot", disk.value.display());
        findings.add(Finding::note(&disk.span, message).help(
            "nothing is written to a disk that has not this area on it, and `status` says so; a name under \
             /dev/disk/by-id is the same on both nodes, and stays",
        ));
    }
}
