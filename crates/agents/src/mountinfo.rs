//! The kernel's own list of mounts.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A device number: major, minor.
pub(crate) type DeviceNumber = (u32, u32);

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) device: DeviceNumber,
    /// The folder of the file system that is seen here; `/` unless it is a bind mount.
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    /// The options of this mount.
    pub(crate) options: String,
    pub(crate) fstype: String,
    pub(crate) source: PathBuf,
    /// The options of the file system under all its mounts.
    pub(crate) super_options: String,
}

impl Mount {
    /// Whether either the mount or the file system carries this option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.split(',').chain(self.super_options.split(',')).any(|o| o == option)
    }
}

/// The mounts of the calling thread's namespace, in the order in which they were made.
pub(crate) fn own() -> Result<Vec<Mount>, String> {
    // thread-self, not self: another thread of the process may live in another mount namespace.
    let path = "/proc/thread-self/mountinfo";
    read(Path::new(path)).map_err(|e| format!("cannot read {path}: {e}; is /proc mounted?"))
}

/// The mounts that a process sees.
pub(crate) fn of(pid: i32) -> io::Result<Vec<Mount>> {
    read(Path::new(&format!("/proc/{pid}/mountinfo")))
}

/// What is mounted at `point`, the topmost if there are several.
pub(crate) fn at<'a>(mounts: &'a [Mount], point: &Path) -> Option<&'a Mount> {
    mounts.iter().rev().find(|m| m.point == point)
}

/// The mounts that lie on `top`, at any depth, the deepest last.
pub(crate) fn nested<'a>(mounts: &'a [Mount], top: &Mount) -> Vec<&'a Mount> {
    let mut inside = vec![top.id];
    let mut found = Vec::new();
    for mount in mounts {
        if mount.id != top.id && inside.contains(&mount.parent) {
            inside.push(mount.id);
            found.push(mount);
        }
    }
    found
}

fn read(path: &Path) -> io::Result<Vec<Mount>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.split(|b| *b == b'\n').filter_map(parse).collect())
}

fn parse(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let separator = fields.iter().position(|f| *f == b"-")?;
    let text = |at: usize| fields.get(at).map(|f| String::from_utf8_lossy(f).into_owned());
    let path = |at: usize| fields.get(at).map(|f| PathBuf::from(unescape(f)));
    let number = text(2)?;
    let (major, minor) = number.split_once(':')?;
    Some(Mount {
        id: text(0)?.parse().ok()?,
        parent: text(1)?.parse().ok()?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: path(3)?,
        point: path(4)?,
        options: text(5)?,
        fstype: text(separator + 1)?,
        source: path(separator + 2)?,
        super_options: text(separator + 3).unwrap_or_default(),
    })
}

/// Space, tab, newline, backslash and `#` are written as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        match digits {
            Some(digits) => {
                let value = digits.iter().fold(0_u32, |sum, b| sum * 8 + u32::from(b - b'0'));
                bytes.push((value & 0xff) as u8);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &[u8] =
        b"36 35 98:17 / /mnt/two\\040words rw,noatime shared:7 master:1 - ext4 /dev/sd\\134x ro,errors=panic";

    #[test]
    fn a_line_is_read_with_its_optional_fields_and_escapes() {
        let mount = parse(LINE).unwrap();
        assert_eq!((mount.id, mount.parent, mount.device), (36, 35, (98, 17)));
        assert_eq!(mount.point, Path::new("/mnt/two words"));
        assert_eq!(mount.source, Path::new("/dev/sd\\x"));
        assert!(mount.has("ro") && mount.has("noatime") && !mount.has("errors"));
    }

    #[test]
    fn the_topmost_mount_of_a_point_is_found_and_nested_ones_in_order() {
        let line = |id: u32, parent: u32, point: &str| {
            parse(format!("{id} {parent} 0:{id} / {point} rw - tmpfs none rw").as_bytes()).unwrap()
        };
        let mounts = [
            line(1, 0, "/"),
            line(2, 1, "/a"),
            line(3, 2, "/a/b"),
            line(4, 3, "/a/b/c"),
            line(5, 1, "/z"),
            line(6, 1, "/z"),
        ];
        assert_eq!(at(&mounts, Path::new("/z")).unwrap().id, 6);
        assert_eq!(at(&mounts, Path::new("/y")), None);
        assert_eq!(nested(&mounts, &mounts[1]).iter().map(|m| m.id).collect::<Vec<_>>(), [3, 4]);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_without_harm(line: Vec<u8>) {
            let _ = parse(&line);
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(path in "[a-z \\\\\t\n#]{1,30}") {
            let escaped: String = path
                .chars()
                .map(|c| if c.is_ascii_lowercase() { c.to_string() } else { format!("\\{:03o}", c as u32) })
                .collect();
            prop_assert_eq!(unescape(escaped.as_bytes()), OsString::from(path));
        }
    }
}
