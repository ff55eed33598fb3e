//! An application that runs: its folders, its main process, and the thread that sees it end.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use regent_model::Epoch;
use regent_model::action::Notice;
use rustix::event::{EventfdFlags, PollFlags};

use super::record;
use crate::cgroup::Folder;
use crate::clock::Reporter;
use crate::command::{how_it_ended, wait_for};
use crate::output::Output;
use crate::process::Identity;
use crate::report::Report;
use crate::slot::Key;
use crate::sync::lock;

/// The applications that run here.
#[derive(Default)]
pub(crate) struct Applications(Mutex<HashMap<Key, Arc<Life>>>);

/// One life of an application, from its start or adoption to its end.
pub(crate) struct Life {
    key: Key,
    /// The whole application.
    pub(crate) folder: Folder,
    /// Where its main processes live.
    pub(crate) main: Folder,
    process: Mutex<Option<Identity>>,
    /// Whether only its commands say how it is: the end of its processes is no news.
    is_told: bool,
    epoch: AtomicU64,
    /// Its end is asked for, or was told already.
    expected: AtomicBool,
    unwatched: AtomicBool,
    alarm: OwnedFd,
}

/// What a watcher needs besides the life itself.
pub(crate) struct Watch {
    /// The process, if the daemon is its parent.
    pub(crate) child: Option<Child>,
    pub(crate) output: Output,
    /// Where the application writes the number of its main process, if it does.
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) report: Reporter,
}

impl Applications {
    /// The life of this application, now under this ownership.
    pub(crate) fn find(&self, key: &Key, epoch: Epoch) -> Option<Arc<Life>> {
        let life = lock(&self.0).get(key).cloned();
        if let Some(life) = &life {
            life.epoch.store(epoch.0, Ordering::Release);
        }
        life
    }

    pub(crate) fn insert(&self, life: &Arc<Life>) {
        if let Some(before) = lock(&self.0).insert(life.key.clone(), life.clone()) {
            before.stop_watching();
        }
    }

    pub(crate) fn remove(&self, key: &Key) {
        if let Some(life) = lock(&self.0).remove(key) {
            life.stop_watching();
        }
    }

    /// Ends every watcher; the applications go on.
    pub(crate) fn stop_watching(&self) {
        for life in lock(&self.0).drain() {
            life.1.stop_watching();
        }
    }
}

impl Life {
    pub(crate) fn new(
        key: Key,
        epoch: Epoch,
        folder: Folder,
        main: Folder,
        process: Option<Identity>,
        is_told: bool,
    ) -> Result<Arc<Self>, String> {
        let alarm = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| format!("cannot watch the application: {e}"))?;
        Ok(Arc::new(Self {
            key,
            folder,
            main,
            process: Mutex::new(process),
            is_told,
            epoch: AtomicU64::new(epoch.0),
            expected: AtomicBool::new(false),
            unwatched: AtomicBool::new(false),
            alarm,
        }))
    }

    /// The main process; none when the whole control group is.
    pub(crate) fn process(&self) -> Option<Identity> {
        *lock(&self.process)
    }

    /// Whether the main process lives, or anybody where there is none.
    pub(crate) fn is_alive(&self) -> bool {
        match self.process() {
            Some(process) => process.is_alive(),
            None if self.is_told => true,
            None => self.main.is_populated().unwrap_or(true),
        }
    }

    /// From now on its end is no news.
    pub(crate) fn expect_end(&self) {
        self.expected.store(true, Ordering::Release);
    }

    fn stop_watching(&self) {
        self.unwatched.store(true, Ordering::Release);
        let _ = rustix::io::write(&self.alarm, &1_u64.to_ne_bytes());
    }

    /// Starts the thread that tells when the application ends unasked.
    pub(crate) fn watch(self: &Arc<Self>, watch: Watch) -> Result<(), String> {
        let life = self.clone();
        std::thread::Builder::new()
            .name("regent-watch".into())
            .spawn(move || life.see_it_end(watch))
            .map(|_| ())
            .map_err(|e| format!("cannot make a thread to watch the application: {e}"))
    }

    fn see_it_end(&self, mut watch: Watch) {
        loop {
            let how = match self.process() {
                Some(process) => self.wait_process(process, &mut watch),
                None => self.wait_folder(&watch),
            };
            let Some(how) = how else { return };
            if self.is_told {
                return;
            }
            if let Some(successor) = self.successor(watch.pid_file.as_ref()) {
                tracing::info!(application = %self.key.1, pid = successor.pid, "another main process");
                *lock(&self.process) = Some(successor);
                continue;
            }
            if !self.expected.swap(true, Ordering::AcqRel) {
                let last = watch.output.last_line();
                let how = if last.is_empty() { how } else { format!("{how}; it said last: {last}") };
                let (group, resource) = self.key.clone();
                let epoch = Epoch(self.epoch.load(Ordering::Acquire));
                (watch.report)(Report::Notice(Notice::Exited { group, epoch, resource, how }));
            }
            return;
        }
    }

    /// Waits for the end of a process and says how it ended; none when nobody wants to know any more.
    fn wait_process(&self, process: Identity, watch: &mut Watch) -> Option<String> {
        let pidfd = process.open();
        loop {
            if let Some(child) = &mut watch.child
                && let Ok(Some(status)) = child.try_wait()
            {
                watch.child = None;
                return Some(format!("process {} {}", process.pid, how_it_ended(status)));
            }
            if watch.child.is_none() && !process.is_alive() {
                return Some(format!("process {} ended", process.pid));
            }
            if self.unwatched.load(Ordering::Acquire) {
                return None;
            }
            let fds: Vec<_> = pidfd.iter().map(|fd| (fd.as_fd(), PollFlags::IN)).collect();
            wait_for(&fds, Some(&self.alarm), &watch.output, None);
        }
    }

    /// Waits until nobody is left in the main folder.
    fn wait_folder(&self, watch: &Watch) -> Option<String> {
        let gone = || Some("its last process ended".to_owned());
        let Ok(events) = self.main.events() else { return gone() };
        loop {
            let mut text = [0; 256];
            let _ = rustix::io::pread(&events, &mut text, 0);
            if !self.main.is_populated().unwrap_or(true) {
                return gone();
            }
            if self.unwatched.load(Ordering::Acquire) {
                return None;
            }
            wait_for(&[(events.as_fd(), PollFlags::PRI)], Some(&self.alarm), &watch.output, None);
        }
    }

    /// A program that replaces itself writes its new number before the old process ends.
    fn successor(&self, pid_file: Option<&PathBuf>) -> Option<Identity> {
        let named = record::read_pid_file(pid_file?)?;
        (Some(named) != self.process() && self.main.all_processes().contains(&named.pid)).then_some(named)
    }
}
