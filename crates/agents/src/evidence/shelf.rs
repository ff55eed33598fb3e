//! Where evidence is kept: one file each, its head in the first line; the oldest go.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use regent_model::evidence::{EvidenceHead, EvidenceId};

use crate::sync::lock;

/// The name of the folder, in that of a node's state.
pub const FOLDER: &str = "evidence";
/// At most so many are kept on a node.
const NUMBER_MAX: usize = 100;
/// At most so many of one application.
const OF_ONE_MAX: usize = 20;
/// At most so many bytes of them are kept on a node.
const BYTES_MAX: u64 = 64 << 20;
/// A first line longer than this is none of ours.
const HEAD_MAX: u64 = 64 << 10;

/// Two at once must not choose the same number.
static CHOOSING: Mutex<()> = Mutex::new(());

/// Keeps one, under the next number. What is too much then goes, the oldest first.
pub(super) fn keep(folder: &Path, mut head: EvidenceHead, text: &str) -> Result<EvidenceHead, String> {
    let fail = |e: io::Error| format!("cannot keep evidence in {}: {e}", folder.display());
    let _alone = lock(&CHOOSING);
    // It may hold what only its application should see.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
    head.number = numbers(folder).last().map_or(0, |(number, _)| *number) + 1;
    head.bytes = text.len() as u64;
    let path = folder.join(format!("{:08}", head.number));
    let new = folder.join(".new");
    let mut line = serde_json::to_string(&head).map_err(|e| e.to_string())?;
    line.push('\n');
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(line.as_bytes())?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &path)
    })();
    if let Err(error) = written {
        let _nothing_is_left = fs::remove_file(&new);
        return Err(fail(error));
    }
    tidy(folder, &head);
    Ok(head)
}

fn tidy(folder: &Path, newest: &EvidenceHead) {
    let all = list(folder);
    let (mut left, mut bytes, mut of_this) = (0, 0, 0);
    for head in &all {
        let same = (&head.group, &head.application) == (&newest.group, &newest.application);
        of_this += usize::from(same);
        left += 1;
        bytes += head.bytes;
        let too_much = left > NUMBER_MAX || bytes > BYTES_MAX || (same && of_this > OF_ONE_MAX);
        if too_much && head.number != newest.number {
            let _tried_again_next_time = fs::remove_file(folder.join(format!("{:08}", head.number)));
            left -= 1;
            bytes -= head.bytes;
        }
    }
}

/// The numbers in the folder, in order, with their files.
fn numbers(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u64>().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

fn open(path: &Path) -> Option<(EvidenceHead, BufReader<fs::File>)> {
    let mut reader = BufReader::new(fs::File::open(path).ok()?);
    let mut line = Vec::new();
    (&mut reader).take(HEAD_MAX).read_until(b'\n', &mut line).ok()?;
    Some((serde_json::from_slice(&line).ok()?, reader))
}

/// What is kept in this folder, the newest first. What cannot be read is left out.
#[must_use]
pub fn list(folder: &Path) -> Vec<EvidenceHead> {
    numbers(folder).into_iter().rev().filter_map(|(_, path)| Some(open(&path)?.0)).collect()
}

/// One that is kept in this folder, if it is there.
#[must_use]
pub fn show(folder: &Path, id: &EvidenceId) -> Option<(EvidenceHead, String)> {
    let (head, reader) = open(&folder.join(format!("{:08}", id.number)))?;
    let mut text = Vec::new();
    reader.take(2 * super::TEXT_MAX as u64).read_to_end(&mut text).ok()?;
    id.means(&head).then(|| (head, String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use regent_model::{Epoch, GroupName, NodeName, ResourceName};

    use super::*;

    struct Folder(PathBuf);
    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn head(application: &str) -> EvidenceHead {
        EvidenceHead {
            number: 0,
            node: NodeName::new("lx4").unwrap(),
            group: GroupName::new("g").unwrap(),
            application: ResourceName::new(application).unwrap(),
            epoch: Epoch(1),
            at_ms: 1,
            reason: "it hangs".into(),
            took_ms: 1,
            complete: true,
            bytes: 0,
        }
    }

    #[test]
    fn the_oldest_go_and_numbers_are_not_used_again() {
        let folder = Folder(std::env::temp_dir().join(format!("regent-shelf-{}", std::process::id())));
        assert!(list(&folder.0).is_empty());
        let first = keep(&folder.0, head("other"), "the first").unwrap();
        assert_eq!(first.number, 1);
        for number in 2..=30 {
            assert_eq!(keep(&folder.0, head("app"), "text").unwrap().number, number);
        }
        let kept: Vec<u64> = list(&folder.0).iter().map(|h| h.number).collect();
        assert_eq!(kept, (11..=30).rev().chain([1]).collect::<Vec<_>>(), "the other application's stays");
        let (head, text) = show(&folder.0, &"lx4/1".parse().unwrap()).unwrap();
        assert_eq!((head.bytes, text.as_str()), (9, "the first"));
        assert!(show(&folder.0, &"lx5/1".parse().unwrap()).is_none());
        assert!(show(&folder.0, &"2".parse().unwrap()).is_none());
        fs::write(folder.0.join("00000099"), "rubbish").unwrap();
        assert_eq!(list(&folder.0).len(), 21, "what cannot be read is left out");
    }

    #[test]
    fn too_many_bytes_go_too_but_never_the_newest() {
        let folder = Folder(std::env::temp_dir().join(format!("regent-shelf-b-{}", std::process::id())));
        let large = "x".repeat((BYTES_MAX / 3) as usize);
        for _ in 0..4 {
            keep(&folder.0, head("app"), &large).unwrap();
        }
        let kept: Vec<u64> = list(&folder.0).iter().map(|h| h.number).collect();
        assert_eq!(kept, [4, 3, 2]);
    }
}
