//! Which version would open an instance here, whether it is held here or not: found out without opening anything, once a
//! minute at the most, and at once when what would be run is another file than before.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use std::os::unix::fs::MetadataExt;

use regent_model::NodeName;
use regent_model::action::{How, Op, Resource, Run, RunId};
use regent_model::config::{Config, InstanceConfig, InstanceKind};
use regent_model::ids::InstanceName;
use regent_model::instance::Listed;

use super::known::Held;
use super::{Instance, commands, gtm, vendor};
use crate::hands::Context;
use crate::inspection::Inspector;
use crate::job::Job;
use crate::sync::lock;
use crate::user::User;

/// Nothing is read again before.
const EVERY: Duration = Duration::from_secs(60);
/// What does not answer within this is not known.
const WITHIN: Duration = Duration::from_secs(10);

/// What was read of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) version: Option<String>,
    pub(crate) listed: Option<Listed>,
}

/// What was read last.
#[derive(Default)]
pub(crate) struct Installed(Mutex<HashMap<InstanceName, Reading>>);

#[derive(Default)]
struct Reading {
    /// When somebody began to read it.
    at: Option<Instant>,
    /// Of what.
    of: Option<Program>,
    /// Rises with everything that is learnt: who began to read before that has read something older.
    number: u64,
    found: Found,
}

/// What would be run, so that another one in its place is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    path: PathBuf,
    device: u64,
    inode: u64,
    changed: (i64, i64),
    /// Whether the instance is held here: only then its own storage can be looked at.
    held: bool,
}

impl Program {
    fn at(path: &Path, held: bool) -> Self {
        let found = std::fs::metadata(path).ok();
        let of = |what: fn(&std::fs::Metadata) -> u64| found.as_ref().map_or(0, what);
        let changed = found.as_ref().map_or((0, 0), |f| (f.mtime(), f.mtime_nsec()));
        Self {
            path: path.to_owned(),
            device: of(MetadataExt::dev),
            inode: of(MetadataExt::ino),
            changed,
            held,
        }
    }
}

impl Installed {
    /// What was read of it last.
    pub(crate) fn found(&self, name: &InstanceName) -> Found {
        lock(&self.0).get(name).map(|r| r.found.clone()).unwrap_or_default()
    }

    /// Its agent, which holds it, has read its version.
    pub(super) fn told(&self, name: &InstanceName, version: &str) {
        let mut all = lock(&self.0);
        let reading = all.entry(name.clone()).or_default();
        reading.number += 1;
        reading.found.version = Some(version.to_owned());
    }

    /// The number of a reading that begins now, if it is time for one.
    fn begin(&self, name: &InstanceName, of: &Program, now: Instant, at_once: bool) -> Option<u64> {
        let mut all = lock(&self.0);
        let reading = all.entry(name.clone()).or_default();
        let is_recent = reading.at.is_some_and(|at| now.duration_since(at) < EVERY);
        if is_recent && !at_once && reading.of.as_ref() == Some(of) {
            return None;
        }
        reading.at = Some(now);
        reading.of = Some(of.clone());
        Some(reading.number)
    }

    /// What a reading has found. Whether that is news.
    fn end(&self, name: &InstanceName, begun: u64, found: Found) -> bool {
        let mut all = lock(&self.0);
        let reading = all.entry(name.clone()).or_default();
        if reading.number != begun || reading.found == found {
            return false;
        }
        reading.number += 1;
        reading.found = found;
        true
    }
}

impl Inspector {
    /// Finds out which version would open each instance that can come to `me`: where it is time for that, or of all of
    /// them. Runs the programs of the instances, each for ten seconds at most; whether it has learnt anything new.
    #[must_use]
    pub fn read_versions(&self, me: &NodeName, config: &Config, at_once: bool) -> bool {
        let mut news = false;
        for (group, instance) in config.instances().filter(|(group, _)| group.nodes.contains(me)) {
            let key = (group.name.clone(), instance.resource.clone());
            let held = self.inner().instances.held(&key);
            let installed = &self.inner().installed;
            let program = Program::at(&program_of(instance), held.is_some());
            let Some(number) = installed.begin(&instance.name, &program, Instant::now(), at_once) else {
                continue;
            };
            let run = Run {
                id: RunId(0),
                group: group.name.clone(),
                epoch: held.as_ref().map_or(regent_model::Epoch(0), |h| h.epoch),
                resource: Resource::Instance(instance.clone()),
                op: Op::Probe,
                how: How::Plain,
                deadline: WITHIN,
                environment: held.as_ref().map(|h| h.environment.clone()).unwrap_or_default(),
                places: Vec::new(),
                words: Vec::new(),
            };
            let found = self.read(instance, &run, held.as_ref());
            news |= installed.end(&instance.name, number, found);
        }
        news
    }

    fn read(&self, config: &InstanceConfig, run: &Run, held: Option<&Held>) -> Found {
        let Ok(user) = config.user.as_deref().map(User::find).transpose() else { return Found::default() };
        let job = Job::new(format!("reading the version of {}", config.name), WITHIN);
        let context = Context { inner: self.inner(), run, job: &job };
        let instance = Instance::beside(&context, config, user);
        match (config.kind, held) {
            // What opens a database that is not made yet says nothing of it.
            (InstanceKind::Gtm, Some(_)) if !gtm::database(config).is_file() => Found::default(),
            (InstanceKind::Gtm, _) => Found { version: gtm::version(&instance).ok().flatten(), listed: None },
            (InstanceKind::Cache | InstanceKind::Iris, _) => {
                let listed = vendor::listed_here(&instance).ok();
                let version = match &listed {
                    Some(Listed::At { version, .. }) if held.is_some() && !version.is_empty() => {
                        Some(version.clone())
                    }
                    _ => None,
                };
                Found { version, listed }
            }
            (InstanceKind::Command, Some(_)) => {
                Found { version: commands::version(&instance).ok().flatten(), listed: None }
            }
            (InstanceKind::Command, None) => Found::default(),
        }
    }
}

/// The file that answers which version it is; for a line of the configuration the instance's directory.
fn program_of(config: &InstanceConfig) -> PathBuf {
    let found = match config.kind {
        InstanceKind::Gtm => gtm::find(config).map(|dist| dist.join("mumps")),
        InstanceKind::Cache | InstanceKind::Iris => vendor::program_of(config),
        InstanceKind::Command => Err(String::new()),
    };
    found.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> InstanceName {
        InstanceName::new("c").unwrap()
    }

    fn found(version: &str) -> Found {
        Found { version: Some(version.into()), listed: None }
    }

    #[test]
    fn a_version_is_read_once_a_minute_and_at_once_when_another_file_would_be_run() {
        let installed = Installed::default();
        let program = |held| Program::at(Path::new("/bin/sh"), held);
        let now = Instant::now();
        let due = |of: &Program, after: u64, at_once: bool| {
            installed.begin(&name(), of, now + Duration::from_secs(after), at_once).is_some()
        };
        assert!(due(&program(false), 0, false));
        assert!(!due(&program(false), 59, false));
        assert!(due(&program(false), 60, false));
        assert!(!due(&program(false), 119, false));
        assert!(due(&program(false), 119, true), "somebody asks");
        assert!(due(&program(true), 120, false), "it came here");
        let other = Program { inode: 1, ..program(true) };
        assert!(due(&other, 121, false), "another version was installed");
        assert!(!due(&other, 122, false));
    }

    #[test]
    fn what_was_begun_before_something_newer_was_learnt_is_not_believed() {
        let installed = Installed::default();
        let program = Program::at(Path::new("/bin/sh"), true);
        let begin = || installed.begin(&name(), &program, Instant::now(), true).unwrap();
        let (slow, quick) = (begin(), begin());
        assert!(installed.end(&name(), quick, found("5.2")));
        installed.told(&name(), "5.3");
        assert!(!installed.end(&name(), slow, found("5.2")));
        assert_eq!(installed.found(&name()), found("5.3"));
        assert!(!installed.end(&name(), begin(), found("5.3")), "no news");
        assert!(installed.end(&name(), begin(), Found::default()));
        assert_eq!(installed.found(&name()), Found::default(), "it is gone");
    }
}
