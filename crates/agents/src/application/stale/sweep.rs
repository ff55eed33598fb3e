//! Removes the files that a pattern means, and nothing else.
//!
//! The way is walked part by part, each opened inside the one before without following a symbolic link. A link in the
//! written part of the way is followed only if nobody but root can have made it: it is root's, in a folder that is
//! root's and that only root can write. What a pattern found is never followed. Folders are left.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use regent_model::action::Failure;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::glob;
use crate::job::Job;

/// So many names are read before they are removed.
const BATCH: usize = 4096;
/// So many removed files are named.
pub(super) const NAMED_MAX: usize = 100;
const LINKS_MAX: usize = 10;
const DEPTH_MAX: usize = 64;

/// What was removed and what was not.
#[derive(Debug, Default)]
pub(super) struct Swept {
    /// How many files.
    pub(super) count: u64,
    /// The first of them.
    pub(super) named: Vec<String>,
    /// Folders that the pattern means; they were left.
    pub(super) folders: BTreeSet<String>,
}

/// A folder on the way, with its true path.
struct Place {
    fd: OwnedFd,
    path: PathBuf,
    stat: Stat,
}

/// Removes what `pattern` means, and makes that durable. What is not there needs no removing.
///
/// # Errors
/// What could not be removed or looked at, or why the work was given up; some may have been removed before.
pub(super) fn sweep(pattern: &str, job: &Job, swept: &mut Swept) -> Result<(), Failure> {
    let mut broom = Broom { job, swept, links: 0 };
    broom.begin_at_the_top(&parts_of(Path::new(pattern)))
}

fn parts_of(path: &Path) -> Vec<String> {
    let normal = path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    normal.collect()
}

struct Broom<'a> {
    job: &'a Job,
    swept: &'a mut Swept,
    links: usize,
}

/// What a name in a folder is.
enum Found {
    Nothing,
    File,
    Folder(Place),
    Link,
}

fn trouble(doing: &str, path: &Path, error: Errno) -> Failure {
    Failure::because(format!("cannot {doing} {}: {error}", path.display()))
}

impl Broom<'_> {
    fn begin_at_the_top(&mut self, parts: &[String]) -> Result<(), Failure> {
        let root = open_at(rustix::fs::CWD, "/", Path::new("/"))?;
        match root {
            Found::Folder(root) => self.walk(&root, parts, 0),
            _ => Err(Failure::because("cannot open /")),
        }
    }

    fn walk(&mut self, place: &Place, parts: &[String], depth: usize) -> Result<(), Failure> {
        self.job.check()?;
        if depth > DEPTH_MAX {
            return Err(Failure::because(format!("{} lies too deep", place.path.display())));
        }
        match parts {
            [] => Ok(()),
            [last] if last == "**" => self.everything_below(place, depth),
            [last] if glob::is_plain(last) => self.remove_named(place, last),
            [last] => self.remove_matching(place, last),
            [first, rest @ ..] if first == "**" => {
                self.walk(place, rest, depth + 1)?;
                for child in self.folders_below(place)? {
                    self.walk(&child, parts, depth + 1)?;
                }
                Ok(())
            }
            [first, rest @ ..] if glob::is_plain(first) => {
                match open_at(&place.fd, first, &place.path.join(first))? {
                    Found::Folder(child) => self.walk(&child, rest, depth + 1),
                    Found::Link => self.follow(place, first, rest),
                    Found::Nothing | Found::File => Ok(()),
                }
            }
            [first, rest @ ..] => {
                for child in self.folders_in(place, first)? {
                    self.walk(&child, rest, depth + 1)?;
                }
                Ok(())
            }
        }
    }

    /// Goes on where a link on the way leads, if only root can have laid it.
    fn follow(&mut self, place: &Place, name: &str, rest: &[String]) -> Result<(), Failure> {
        let path = place.path.join(name);
        let link = rustix::fs::statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| trouble("look at", &path, e))?;
        if link.st_uid != 0 || place.stat.st_uid != 0 || place.stat.st_mode & 0o022 != 0 {
            return Err(Failure::because(format!(
                "{} is a symbolic link that others than root can have laid, and is not followed; name the folder \
                 that it leads to",
                path.display()
            )));
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Failure::because(format!("{} leads in a circle", path.display())));
        }
        let target =
            rustix::fs::readlinkat(&place.fd, name, Vec::new()).map_err(|e| trouble("read", &path, e))?;
        let target = PathBuf::from(String::from_utf8_lossy(target.as_bytes()).into_owned());
        // The place's path holds no link, so that `..` means what it says.
        let mut way = PathBuf::from("/");
        for part in place.path.join(&target).components() {
            match part {
                Component::ParentDir => drop(way.pop()),
                Component::Normal(name) => way.push(name),
                _ => {}
            }
        }
        let mut parts = parts_of(&way);
        parts.extend(rest.iter().cloned());
        // Only the pattern's own parts are patterns.
        if let Some(odd) = parts_of(&way).iter().find(|p| !glob::is_plain(p)) {
            return Err(Failure::because(format!("{} leads through {odd:?}", path.display())));
        }
        self.begin_at_the_top(&parts)
    }

    /// The folders in a folder that `**` means: a file system that is mounted there is another matter.
    fn folders_below(&mut self, place: &Place) -> Result<Vec<Place>, Failure> {
        let mut folders = self.folders_in(place, "*")?;
        folders.retain(|child| child.stat.st_dev == place.stat.st_dev);
        Ok(folders)
    }

    /// The folders in a folder whose names match.
    fn folders_in(&mut self, place: &Place, pattern: &str) -> Result<Vec<Place>, Failure> {
        let mut folders = Vec::new();
        for name in names_in(place)?.filter(|name| name.as_ref().is_ok_and(|n| glob::matches(pattern, n))) {
            let name = name?;
            if let Found::Folder(child) = open_at(&place.fd, &name, &place.path.join(&name))? {
                folders.push(child);
            }
        }
        Ok(folders)
    }

    /// Every file below, in this file system.
    fn everything_below(&mut self, place: &Place, depth: usize) -> Result<(), Failure> {
        self.remove_matching(place, "*")?;
        if depth > DEPTH_MAX {
            return Err(Failure::because(format!("{} lies too deep", place.path.display())));
        }
        for child in self.folders_below(place)? {
            self.swept.folders.remove(&child.path.display().to_string());
            self.everything_below(&child, depth + 1)?;
        }
        Ok(())
    }

    fn remove_named(&mut self, place: &Place, name: &str) -> Result<(), Failure> {
        if self.remove(place, name)? { make_durable(place) } else { Ok(()) }
    }

    fn remove_matching(&mut self, place: &Place, pattern: &str) -> Result<(), Failure> {
        let mut removed = false;
        loop {
            let matching =
                names_in(place)?.filter(|name| name.as_ref().map_or(true, |n| glob::matches(pattern, n)));
            let names: Vec<String> = matching.take(BATCH).collect::<Result<_, _>>()?;
            let mut some = false;
            for name in &names {
                some |= self.remove(place, name)?;
            }
            removed |= some;
            if names.len() < BATCH || !some {
                break;
            }
        }
        if removed { make_durable(place) } else { Ok(()) }
    }

    /// Removes one file, whatever it is but a folder. False when there is none.
    fn remove(&mut self, place: &Place, name: &str) -> Result<bool, Failure> {
        self.job.check()?;
        let path = place.path.join(name);
        match rustix::fs::statat(&place.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(trouble("look at", &path, error)),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.swept.folders.insert(path.display().to_string());
                return Ok(false);
            }
            Ok(_) => {}
        }
        match rustix::fs::unlinkat(&place.fd, name, AtFlags::empty()) {
            Ok(()) => {
                self.swept.count += 1;
                if self.swept.named.len() < NAMED_MAX {
                    self.swept.named.push(path.display().to_string());
                }
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(trouble("remove", &path, error)),
        }
    }
}

/// Looks at a name in a folder without following a link, and opens it if it is a folder.
fn open_at(folder: impl std::os::fd::AsFd, name: &str, path: &Path) -> Result<Found, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::openat(&folder, name, flags, Mode::empty()) {
        Ok(fd) => {
            let stat = rustix::fs::fstat(&fd).map_err(|e| trouble("look at", path, e))?;
            Ok(Found::Folder(Place { fd, path: path.to_owned(), stat }))
        }
        Err(Errno::NOENT) => Ok(Found::Nothing),
        // Links give either, by kernel and file system.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Ok(Found::Link),
                Ok(_) => Ok(Found::File),
                Err(Errno::NOENT) => Ok(Found::Nothing),
                Err(error) => Err(trouble("look at", path, error)),
            }
        }
        Err(error) => Err(trouble("open", path, error)),
    }
}

/// The names in a folder. What is no text has no pattern that means it.
fn names_in(place: &Place) -> Result<impl Iterator<Item = Result<String, Failure>>, Failure> {
    let path = place.path.clone();
    let dir = Dir::read_from(&place.fd).map_err(|e| trouble("read", &path, e))?;
    Ok(dir.filter_map(move |entry| match entry {
        Ok(entry) => match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => None,
            Ok(name) => Some(Ok(name.to_owned())),
        },
        Err(error) => Some(Err(trouble("read", &path, error))),
    }))
}

fn make_durable(place: &Place) -> Result<(), Failure> {
    match rustix::fs::fsync(&place.fd) {
        // File systems without durable folders say so.
        Ok(()) | Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
        Err(error) => Err(trouble("make durable what was removed in", &place.path, error)),
    }
}
