//! A port of the SAN: what one node's requests go through, and the switch in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use fuser::{Errno, ReplyData, ReplyEmpty, ReplyWrite};
use serde::{Deserialize, Serialize};

use super::journal::{Journal, Kind};
use super::keys::Keys;
use crate::clock::now_ns;

/// What a port does with the requests of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// It serves them.
    Ok,
    /// It serves each of them after so many milliseconds.
    Slow(u64),
    /// It keeps them, and serves them in order when it is `Ok` again. Meanwhile a plain `sync` waits, wherever on the
    /// host it is called, if the node has something to write: there is one kernel. `fsync` and `syncfs` do not.
    Hang,
    /// It refuses them: I/O error. Those it kept are refused too.
    Error,
    /// The same, because the node has no power.
    Cut,
}

impl std::fmt::Display for DiskState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => write!(f, "ok"),
            Self::Slow(ms) => write!(f, "slow ({ms} ms)"),
            Self::Hang => write!(f, "hang"),
            Self::Error => write!(f, "error"),
            Self::Cut => write!(f, "cut"),
        }
    }
}

/// A shared disk: its image on the host.
pub(crate) struct Disk {
    pub(crate) image: File,
    pub(crate) bytes: u64,
    /// Whether it is noted who writes to it.
    pub(crate) seen: bool,
}

/// One node's port.
pub(crate) struct Port {
    node: String,
    pub(crate) disks: Vec<Arc<Disk>>,
    journal: Option<Arc<Journal>>,
    /// Who may write to the shared disks.
    pub(crate) keys: Arc<Keys>,
    /// Held for reading while a request touches an image: whoever has it for writing knows that none does.
    state: RwLock<State>,
    kept: Mutex<Vec<Request>>,
}

/// What the switch says.
struct State {
    all: DiskState,
    /// What is wrong with a single disk, by its number, while nothing is with all of them.
    single: BTreeMap<usize, DiskState>,
    boot: u64,
}

impl State {
    fn of(&self, disk: usize) -> DiskState {
        match self.all {
            DiskState::Ok => self.single.get(&disk).copied().unwrap_or(DiskState::Ok),
            all => all,
        }
    }
}

/// A request of the node's kernel that waits for its answer.
pub(super) enum Request {
    Read { disk: usize, offset: u64, length: u32, reply: ReplyData },
    Write { disk: usize, offset: u64, data: Vec<u8>, reply: ReplyWrite },
    Flush { disk: usize, reply: ReplyEmpty },
}

impl Request {
    fn refuse(self) {
        match self {
            Self::Read { reply, .. } => reply.error(Errno::EIO),
            Self::Write { reply, .. } => reply.error(Errno::EIO),
            Self::Flush { reply, .. } => reply.error(Errno::EIO),
        }
    }

    fn disk(&self) -> usize {
        match self {
            Self::Read { disk, .. } | Self::Write { disk, .. } | Self::Flush { disk, .. } => *disk,
        }
    }
}

impl Port {
    /// A port that is cut: its node has no power yet. Without a journal nothing is noted: nobody shares the disks.
    pub(crate) fn new(
        node: &str,
        disks: Vec<Arc<Disk>>,
        journal: Option<Arc<Journal>>,
        keys: Arc<Keys>,
    ) -> Self {
        let state = RwLock::new(State { all: DiskState::Cut, single: BTreeMap::new(), boot: 0 });
        Self { node: node.to_owned(), disks, journal, keys, state, kept: Mutex::new(Vec::new()) }
    }

    pub(crate) fn state(&self) -> DiskState {
        self.state.read().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Sets the switch. When this returns, no request under the old state touches an image any more. Gives the
    /// time from which on the new state held.
    pub(crate) fn switch(&self, to: DiskState) -> u64 {
        self.switch_for_boot(to, None)
    }

    /// The same at the beginning of a boot, whose number goes into the journal.
    pub(crate) fn power_on(&self, boot: u64) {
        self.switch_for_boot(DiskState::Ok, Some(boot));
    }

    fn switch_for_boot(&self, to: DiskState, boot: Option<u64>) -> u64 {
        let (at, kept) = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.all = to;
            if let Some(boot) = boot {
                state.boot = boot;
                state.single.clear();
            }
            let at = now_ns();
            if let Some(journal) = &self.journal {
                journal.switched(at, &self.node, state.boot, to);
            }
            (at, self.take_kept())
        };
        // What still hangs is kept again.
        for request in kept {
            self.submit(request);
        }
        at
    }

    /// Sets the switch of a single disk. It says nothing while that of all is not `Ok`, and is `Ok` after a boot.
    pub(crate) fn switch_single(&self, disk: usize, to: DiskState) -> u64 {
        let (at, kept) = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.single.insert(disk, to);
            (now_ns(), self.take_kept())
        };
        for request in kept {
            self.submit(request);
        }
        at
    }

    /// Registers a node.
    pub(crate) fn register(&self, node: &str) {
        self.keys.register(node);
        self.note_key(node, true);
    }

    /// Takes a node's key away. When this returns, none of its writes touches an image any more.
    pub(crate) fn preempt(&self, node: &str) {
        self.keys.preempt(node);
        self.note_key(node, false);
    }

    fn note_key(&self, node: &str, registered: bool) {
        if let Some(journal) = &self.journal {
            journal.key(now_ns(), node, registered);
        }
    }

    /// Copies the image of a disk, as it is at one moment: no request touches it meanwhile.
    pub(crate) fn copy(&self, image: &Path, to: &Path) -> io::Result<()> {
        let _none = self.state.write().unwrap_or_else(PoisonError::into_inner);
        std::fs::copy(image, to).map(|_| ())
    }

    fn take_kept(&self) -> Vec<Request> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves, delays, keeps or refuses a request, whichever the switch says.
    pub(super) fn submit(&self, request: Request) {
        let mut delayed = false;
        loop {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            match state.of(request.disk()) {
                DiskState::Slow(ms) if !delayed => {
                    drop(state);
                    std::thread::sleep(Duration::from_millis(ms));
                    delayed = true;
                }
                DiskState::Ok | DiskState::Slow(_) => return self.serve(request, state.boot),
                DiskState::Hang => {
                    self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    return;
                }
                DiskState::Error | DiskState::Cut => return request.refuse(),
            }
        }
    }

    /// Called with the state held for reading.
    fn serve(&self, request: Request, boot: u64) {
        let began = now_ns();
        match request {
            Request::Read { disk, offset, length, reply } => match self.read(disk, offset, length) {
                Ok(data) => {
                    if offset < FIRST_BLOCK {
                        self.note(Kind::ReadFirstBlock, began, boot, (disk, offset, length));
                    }
                    reply.data(&data);
                }
                Err(_) => reply.error(Errno::EIO),
            },
            Request::Write { disk, offset, data, reply } => {
                let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
                match self.write(disk, offset, &data) {
                    Ok(()) => {
                        self.note(Kind::Write, began, boot, (disk, offset, length));
                        reply.written(length);
                    }
                    Err(_) => reply.error(Errno::EIO),
                }
            }
            Request::Flush { reply, .. } => reply.ok(),
        }
    }

    fn note(&self, kind: Kind, began: u64, boot: u64, range: (usize, u64, u32)) {
        let seen = self.disks.get(range.0).is_some_and(|disk| disk.seen);
        if let Some(journal) = self.journal.as_ref().filter(|_| seen) {
            journal.request(kind, (began, now_ns()), &self.node, boot, range);
        }
    }

    fn disk(&self, disk: usize) -> io::Result<&Disk> {
        self.disks.get(disk).map(AsRef::as_ref).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read(&self, disk: usize, offset: u64, length: u32) -> io::Result<Vec<u8>> {
        let disk = self.disk(disk)?;
        let length = u64::from(length).min(disk.bytes.saturating_sub(offset));
        let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        disk.image.read_exact_at(&mut data, offset)?;
        Ok(data)
    }

    fn write(&self, disk: usize, offset: u64, data: &[u8]) -> io::Result<()> {
        let disk = self.disk(disk)?;
        if offset.saturating_add(data.len() as u64) > disk.bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let write = || disk.image.write_all_at(data, offset);
        if !disk.seen {
            return write();
        }
        let refused = || Err(io::Error::other("not registered at the SAN"));
        self.keys.while_allowed(&self.node, write).unwrap_or_else(refused)
    }
}

/// A file system keeps the block of its superblock in memory while it is mounted, so reading it from the disk
/// means looking at the disk anew.
const FIRST_BLOCK: u64 = 4096;
