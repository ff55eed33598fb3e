//! The open state: append, snapshot, compact; and how it is opened.

use std::fmt;
use std::io;

use regent_model::NodeId;

use crate::disk::Disk;
use crate::error::{StoreError, is_full};
use crate::journal::{self, BATCH_MAX, Damage, FIRST_BATCH, FORMAT, prepared_for};
use crate::outline::Outline;
use crate::record::{Identity, Record, Snapshot};
use crate::recovery::{Recovered, Recovery};
use crate::sector::{Kind, lay};

/// A file that has grown beyond this is worth compacting once that would make it half as large.
const COMPACT_ABOVE: u64 = 1 << 20;

/// How much room the state takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that hold records.
    pub used: u64,
    /// Bytes of the file; appending within them needs no new room on the disk.
    pub prepared: u64,
    /// How often the file was written anew.
    pub generation: u64,
}

/// The durable state of one node, open for writing.
///
/// A failed write or sync is final: the store takes nothing more ([`StoreError::Poisoned`]), because nobody knows
/// any longer what the disk holds. The caller ends the process; its successor opens the state again.
pub struct Store<D> {
    disk: D,
    identity: Identity,
    generation: u64,
    name: String,
    seed: u32,
    next_batch: u64,
    end: u64,
    prepared: u64,
    used_at_start: u64,
    outline: Outline,
    poison: Option<String>,
}

fn name_of(generation: u64) -> String {
    format!("state-{generation:016x}.log")
}

fn generation_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("state-")?.strip_suffix(".log")?;
    let generation = u64::from_str_radix(digits, 16).ok()?;
    (name_of(generation) == name).then_some(generation)
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with("state-") && name.ends_with(".tmp")
}

fn failed<D: Disk>(
    disk: &D,
    doing: &'static str,
    name: &str,
    last: bool,
) -> impl FnOnce(io::Error) -> StoreError + use<D> {
    let place = disk.place();
    let file = if name.is_empty() { place } else { format!("{place}/{name}") };
    move |source| StoreError::Io { doing, file, source, last }
}

fn damaged<D: Disk>(disk: &D, name: &str, damage: Damage) -> StoreError {
    match damage {
        Damage::At { offset, what } => StoreError::corrupt(&disk.place(), name, offset, what),
        Damage::Format(found) => {
            StoreError::Version { file: format!("{}/{name}", disk.place()), found, known: FORMAT }
        }
    }
}

impl<D: Disk> Store<D> {
    /// Makes the first state of a node that never had one. A node that lost its state gets a new identity first:
    /// under the old one it would break what it promised.
    ///
    /// # Errors
    /// When the folder holds a state already, or the disk fails.
    pub fn create(mut disk: D, identity: Identity) -> Result<Self, StoreError> {
        let names = disk.list();
        let names = names.map_err(failed(&disk, "reading", "", true))?;
        if names.iter().any(|name| generation_of(name).is_some()) {
            return Err(StoreError::Exists { place: disk.place() });
        }
        let recovery = Recovery::new(identity.node);
        let mut store = Self::closed(disk, identity, recovery.outline.clone());
        store.write_generation(1, recovery.finish(false).into_records())?;
        Ok(store)
    }

    /// Opens the state, and makes durable whatever it recovers before it returns.
    ///
    /// # Errors
    /// When there is no state, when it is damaged or another node's, or when the disk fails. Nothing is open and
    /// no record is changed then.
    pub fn open(mut disk: D, identity: Identity) -> Result<(Self, Recovered), StoreError> {
        let names = disk.list();
        let names = names.map_err(failed(&disk, "reading", "", true))?;
        let generation = names.iter().filter_map(|name| generation_of(name)).max();
        let Some(generation) = generation else {
            return Err(StoreError::Missing { place: disk.place() });
        };
        let name = name_of(generation);
        let bytes = disk.read(&name);
        let bytes = bytes.map_err(failed(&disk, "reading", &name, true))?;
        let (journal, recovery) =
            replay(&bytes, &identity, generation).map_err(|damage| damaged(&disk, &name, damage))?;

        let mut store = Self::closed(disk, identity, recovery.outline.clone());
        store.generation = generation;
        let recovered = recovery.finish(journal.torn);
        if journal.torn {
            store.write_generation(generation + 1, recovered.clone().into_records())?;
        } else {
            store.take_over(&name, &bytes, &journal)?;
        }
        store.sweep(&names);
        Ok((store, recovered))
    }

    fn closed(disk: D, identity: Identity, outline: Outline) -> Self {
        Self {
            disk,
            identity,
            outline,
            generation: 0,
            name: String::new(),
            seed: 0,
            next_batch: FIRST_BATCH,
            end: 0,
            prepared: 0,
            used_at_start: 0,
            poison: None,
        }
    }

    /// Goes on with a file that ends cleanly. All of it, the prepared zeros too, is written once more where it
    /// is: a sync that failed in an earlier process leaves bytes that can be read, count as clean, and are on
    /// no disk.
    fn take_over(&mut self, name: &str, bytes: &[u8], journal: &journal::Journal) -> Result<(), StoreError> {
        let written = self.disk.write(name, 0, bytes);
        written.map_err(failed(&self.disk, "writing", name, true))?;
        let synced = self.disk.sync(name);
        synced.map_err(failed(&self.disk, "syncing", name, true))?;
        let synced = self.disk.sync_folder();
        synced.map_err(failed(&self.disk, "syncing", "", true))?;
        self.name = name.to_owned();
        (self.seed, self.next_batch, self.end) = (journal.seed, journal.next_batch, journal.end);
        self.prepared = bytes.len() as u64;
        self.used_at_start = self.end;
        Ok(())
    }

    /// Removes what earlier generations left. Not being able to does no harm: the newest one counts.
    fn sweep(&mut self, names: &[String]) {
        for name in names {
            let is_older = generation_of(name).is_some_and(|generation| generation < self.generation);
            if is_older || is_unfinished(name) {
                let _ = self.disk.remove(name);
            }
        }
    }

    /// Makes `records` durable, all or none: when this returns, they survive any crash.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when they contradict what is stored: nothing is written. Neither is it when there is no
    /// room to prepare for them ([`StoreError::is_full`], not final): the same can be tried again when there is.
    /// Every other error is final.
    pub fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.check_poison()?;
        if records.is_empty() {
            return Ok(());
        }
        let refused = |why| StoreError::Refused { why };
        let mut outline = self.outline.clone();
        for record in records {
            outline.admit(record).map_err(refused)?;
        }
        outline.settle().map_err(refused)?;
        let payload = journal::payload(records).map_err(refused)?;
        let mut batch = Vec::new();
        lay(&mut batch, Kind::Batch, self.next_batch, &payload, self.seed);
        let end = self.end + batch.len() as u64;
        let prepared = self.prepare_to(prepared_for(end));
        self.keep_poison(prepared)?;
        let written = self.disk.write(&self.name, self.end, &batch);
        let written = written.map_err(failed(&self.disk, "writing", &self.name, true)).and_then(|()| {
            self.disk.sync(&self.name).map_err(failed(&self.disk, "syncing", &self.name, true))
        });
        self.keep_poison(written)?;
        (self.end, self.outline) = (end, outline);
        self.next_batch += 1;
        Ok(())
    }

    /// Prepares room ahead of need, so that appending seldom has to wait for it. Cheap when there is enough.
    ///
    /// # Errors
    /// A full disk is not final here ([`StoreError::is_full`]): what is prepared already can still be filled.
    pub fn prepare(&mut self) -> Result<(), StoreError> {
        self.check_poison()?;
        let wanted = prepared_for(self.end + journal::CHUNK / 2);
        match self.prepare_to(wanted) {
            Err(StoreError::Io { doing: doing @ "preparing", file, source, .. }) => {
                Err(StoreError::Io { doing, file, source, last: false })
            }
            other => self.keep_poison(other),
        }
    }

    /// Where there is no room nothing is lost: what is missing are zeros behind everything that counts, and they are
    /// written again when it is tried again.
    fn prepare_to(&mut self, wanted: u64) -> Result<(), StoreError> {
        if wanted <= self.prepared {
            return Ok(());
        }
        let zeros = vec![0; usize::try_from(wanted - self.prepared).unwrap_or(BATCH_MAX)];
        let written = self.disk.write(&self.name, self.prepared, &zeros);
        let last = !matches!(&written, Err(error) if is_full(error));
        written.map_err(failed(&self.disk, "preparing", &self.name, last))?;
        let synced = self.disk.sync(&self.name);
        synced.map_err(failed(&self.disk, "syncing", &self.name, true))?;
        self.prepared = wanted;
        Ok(())
    }

    /// Replaces the entries that `snapshot` contains by it, and compacts. Durable on return.
    ///
    /// # Errors
    /// As [`Store::compact`], and [`StoreError::Refused`] for a snapshot that contradicts what is stored.
    pub fn snapshot(&mut self, snapshot: Snapshot) -> Result<(), StoreError> {
        self.check_poison()?;
        self.rewrite(Some(Record::Snapshot(snapshot)))
    }

    /// Whether much of the file is superseded by later records.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        self.end > COMPACT_ABOVE && self.end > 2 * self.used_at_start
    }

    /// Writes the state anew without what is superseded, and reads all of it on the way: damage is found
    /// while there still is a process to say so. Durable on return.
    ///
    /// # Errors
    /// When the new file cannot be written, for want of room or another reason, the state is as before and stays
    /// open ([`StoreError::is_final`] says so). Every other error is final.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.check_poison()?;
        self.rewrite(None)
    }

    fn rewrite(&mut self, last: Option<Record>) -> Result<(), StoreError> {
        let reread = self.reread();
        let mut recovery = self.keep_poison(reread)?;
        if let Some(record) = last {
            let taken = recovery.take(record).and_then(|()| recovery.outline.settle());
            taken.map_err(|why| StoreError::Refused { why })?;
        }
        let outline = recovery.outline.clone();
        let old = self.name.clone();
        let written = self.write_generation(self.generation + 1, recovery.finish(false).into_records());
        self.keep_poison(written)?;
        self.outline = outline;
        self.sweep(&[old]);
        Ok(())
    }

    fn reread(&mut self) -> Result<Recovery, StoreError> {
        let bytes = self.disk.read(&self.name);
        let bytes = bytes.map_err(failed(&self.disk, "reading", &self.name, true))?;
        let (journal, recovery) = replay(&bytes, &self.identity, self.generation)
            .map_err(|damage| damaged(&self.disk, &self.name, damage))?;
        if (journal.end, journal.torn) != (self.end, false) || recovery.outline != self.outline {
            let damage = Damage::At { offset: journal.end, what: "it does not hold what was written".into() };
            return Err(damaged(&self.disk, &self.name, damage));
        }
        Ok(recovery)
    }

    /// Writes these records as a generation of their own and goes on with it. On an error before the new file
    /// has its name, everything is as before.
    fn write_generation(&mut self, generation: u64, records: Vec<Record>) -> Result<(), StoreError> {
        let payload = journal::payload(&records).map_err(|why| StoreError::Refused { why })?;
        let mut bytes = journal::header(&self.identity, generation);
        let seed = journal::seed_of(&bytes);
        lay(&mut bytes, Kind::Batch, FIRST_BATCH, &payload, seed);
        let end = bytes.len() as u64;
        let prepared = prepared_for(end);
        bytes.resize(usize::try_from(prepared).unwrap_or(bytes.len()), 0);

        let (name, unfinished) = (name_of(generation), format!("state-{generation:016x}.tmp"));
        let disk = &mut self.disk;
        let written = disk.create(&unfinished).and_then(|()| disk.write(&unfinished, 0, &bytes));
        if let Err(source) = written {
            let _ = disk.remove(&unfinished);
            return Err(failed(disk, "writing", &unfinished, false)(source));
        }
        disk.sync(&unfinished).map_err(|e| failed(disk, "syncing", &unfinished, true)(e))?;
        disk.rename(&unfinished, &name).map_err(|e| failed(disk, "renaming", &unfinished, true)(e))?;
        disk.sync_folder().map_err(|e| failed(disk, "syncing", "", true)(e))?;
        (self.generation, self.name, self.seed) = (generation, name, seed);
        (self.next_batch, self.end, self.prepared) = (FIRST_BATCH + 1, end, prepared);
        self.used_at_start = end;
        Ok(())
    }

    /// How much room the state takes.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        Usage { used: self.end, prepared: self.prepared, generation: self.generation }
    }

    /// Whose state it is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.identity.node
    }

    /// The disk, for whoever plays its part.
    pub const fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Closes the state and gives the disk back.
    #[must_use]
    pub fn into_disk(self) -> D {
        self.disk
    }

    fn check_poison(&self) -> Result<(), StoreError> {
        match &self.poison {
            Some(by) => Err(StoreError::Poisoned { by: by.clone() }),
            None => Ok(()),
        }
    }

    fn keep_poison<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && error.is_final()
        {
            self.poison = Some(error.to_string());
        }
        result
    }
}

fn replay(
    bytes: &[u8],
    identity: &Identity,
    generation: u64,
) -> Result<(journal::Journal, Recovery), Damage> {
    let mut journal = journal::read(bytes, identity, generation)?;
    let records = std::mem::take(&mut journal.records);
    Ok((journal, Recovery::replay(identity.node, records)?))
}

impl<D> fmt::Debug for Store<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store(node {}, generation {}, {} bytes)", self.identity.node, self.generation, self.end)
    }
}
