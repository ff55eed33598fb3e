//! The ledger's file: records of fixed length, each with its place and a checksum.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Doing, LabError, Result};

const MAGIC: [u8; 4] = *b"Rlg1";
const RECORD: usize = 24;

/// What was found in a ledger's file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The numbers, in order.
    pub numbers: Vec<u64>,
    /// How many bytes of a torn last record follow them.
    pub torn: u64,
}

/// An open ledger.
pub(super) struct Store {
    file: File,
    pub(super) numbers: Vec<u64>,
    known: HashSet<u64>,
}

impl Store {
    /// Opens or makes the ledger, and cuts off a record that was torn when the power went.
    pub(super) fn open(path: &Path) -> Result<(Self, u64)> {
        let doing = || format!("open the ledger {}", path.display());
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).doing(doing)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).doing(doing)?;
        let Recovered { numbers, torn } = parse(&bytes, path)?;
        if torn > 0 {
            file.set_len((numbers.len() * RECORD) as u64).doing(|| format!("shorten {}", path.display()))?;
        }
        file.sync_all().doing(|| format!("sync {}", path.display()))?;
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            let synced = File::open(folder).and_then(|f| f.sync_all());
            synced.doing(|| format!("sync {}", folder.display()))?;
        }
        let known = numbers.iter().copied().collect();
        Ok((Self { file, numbers, known }, torn))
    }

    /// Appends a number and waits until it is on the disk. A number that is there already comes from somebody who
    /// did not hear the answer: it stays where it is, once. It need not be the last one: on a connection that was
    /// given up, the network delivers a request as late as it likes, after others over a newer connection.
    /// After an error nothing may be appended any more.
    pub(super) fn put(&mut self, number: u64) -> io::Result<()> {
        if self.known.contains(&number) {
            return Ok(());
        }
        let place = self.numbers.len() as u64;
        self.file.write_all_at(&record(place, number), place * RECORD as u64)?;
        self.file.sync_data()?;
        self.numbers.push(number);
        self.known.insert(number);
        Ok(())
    }
}

fn record(place: u64, number: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..4].copy_from_slice(&MAGIC);
    record[8..16].copy_from_slice(&place.to_le_bytes());
    record[16..].copy_from_slice(&number.to_le_bytes());
    let sum = crc32c::crc32c(&record);
    record[4..8].copy_from_slice(&sum.to_le_bytes());
    record
}

fn number_of(place: u64, found: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(found.get(16..RECORD)?.try_into().ok()?);
    (record(place, number) == *found).then_some(number)
}

fn parse(bytes: &[u8], path: &Path) -> Result<Recovered> {
    let mut numbers = Vec::new();
    let mut whole = bytes.chunks(RECORD);
    for chunk in whole.by_ref() {
        match number_of(numbers.len() as u64, chunk) {
            Some(number) => numbers.push(number),
            None => break,
        }
    }
    let good = numbers.len() * RECORD;
    // Only the last record can be torn: nothing is appended before the one before it is safe.
    let later = bytes.get(good..).unwrap_or_default().chunks(RECORD).enumerate().skip(1);
    for (i, chunk) in later {
        let place = numbers.len() + i;
        if number_of(place as u64, chunk).is_some() {
            return Err(LabError::new(format!(
                "{}: record {} is damaged, and record {place} after it is whole: acknowledged numbers are lost",
                path.display(),
                numbers.len()
            )));
        }
    }
    Ok(Recovered { numbers, torn: (bytes.len() - good) as u64 })
}

/// Reads a ledger's file without changing it.
///
/// # Errors
/// When it cannot be read, or is damaged elsewhere than at its end.
pub fn read_file(path: &Path) -> Result<Recovered> {
    let bytes = std::fs::read(path).doing(|| format!("read {}", path.display()))?;
    parse(&bytes, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("ledger-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("ledger")
    }

    #[test]
    fn what_was_put_is_found_again_and_a_retry_is_stored_once() {
        let path = file("again");
        let (mut store, _) = Store::open(&path).unwrap();
        for number in [1, 2, 2, 3] {
            store.put(number).unwrap();
        }
        assert_eq!(Store::open(&path).unwrap().0.numbers, [1, 2, 3]);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_retry_that_arrives_after_later_numbers_is_stored_once_also_when_the_ledger_was_opened_anew() {
        let path = file("late");
        let (mut store, _) = Store::open(&path).unwrap();
        for number in [1, 2, 3, 2] {
            store.put(number).unwrap();
        }
        let (mut store, _) = Store::open(&path).unwrap();
        for number in [1, 4, 3] {
            store.put(number).unwrap();
        }
        assert_eq!(Store::open(&path).unwrap().0.numbers, [1, 2, 3, 4]);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_torn_tail_of_any_length_is_cut_off_and_appending_goes_on() {
        let path = file("torn");
        for torn in 1..RECORD {
            let _ = std::fs::remove_file(&path);
            let (mut store, _) = Store::open(&path).unwrap();
            (1..=5).for_each(|n| store.put(n).unwrap());
            store.file.set_len((4 * RECORD + torn) as u64).unwrap();
            let (mut store, cut) = Store::open(&path).unwrap();
            assert_eq!((store.numbers.as_slice(), cut), (&[1, 2, 3, 4][..], torn as u64));
            store.put(9).unwrap();
            assert_eq!(read_file(&path).unwrap(), Recovered { numbers: vec![1, 2, 3, 4, 9], torn: 0 });
        }
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn damage_in_the_middle_is_refused() {
        let path = file("middle");
        let (mut store, _) = Store::open(&path).unwrap();
        (1..=5).for_each(|n| store.put(n).unwrap());
        store.file.write_all_at(&[0xff], 2 * RECORD as u64 + 20).unwrap();
        let error = Store::open(&path).err().unwrap().to_string();
        assert!(error.contains("record 2 is damaged"), "{error}");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
