//! The store in a real folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use regent_store::{FsDisk, Snapshot, Store, StoreError};

use crate::expected::{Expected, Numbers, entry, identity};

/// A folder that is gone when the test is over, also when it fails.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("regent-store-{}-{number}", process::id())))
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> FsDisk {
    FsDisk::open(path).unwrap()
}

#[test]
fn a_state_in_a_real_folder_survives_its_process() {
    let folder = Folder::new();
    let (mut expected, mut numbers) = (Expected::default(), Numbers(7));
    drop(Store::create(open(&folder.state()), identity()).unwrap());
    for round in 0..30 {
        let (mut store, recovered) = Store::open(open(&folder.state()), identity()).unwrap();
        assert_eq!(recovered, expected.recovered());
        for _ in 0..5 {
            store.append(&expected.write_some(&mut numbers)).unwrap();
        }
        if round % 3 == 0 {
            let snapshot: Snapshot = expected.own_snapshot(&mut numbers);
            expected.apply(&regent_store::Record::Snapshot(snapshot.clone()));
            store.snapshot(snapshot).unwrap();
        }
        store.prepare().unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(folder.state()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["lock", "state-000000000000000b.log"]);
}

#[test]
fn only_its_owner_can_read_it_and_only_one_process_has_it_open() {
    let folder = Folder::new();
    let mut store = Store::create(open(&folder.state()), identity()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.state()), 0o700);
    assert_eq!(mode(&folder.state().join("state-0000000000000001.log")), 0o600);
    assert!(matches!(FsDisk::open(folder.state()), Err(StoreError::InUse { .. })));
    store.append(&[entry(1, 1, 1)]).unwrap();
    drop(store);
    assert_eq!(Store::open(open(&folder.state()), identity()).unwrap().1.entries.len(), 1);
}

#[test]
fn what_a_crash_left_beside_the_state_is_removed_and_what_is_not_ours_stays() {
    let folder = Folder::new();
    drop(Store::create(open(&folder.state()), identity()).unwrap());
    for name in ["state-0000000000000002.tmp", "notes.txt"] {
        fs::write(folder.state().join(name), b"x").unwrap();
    }
    drop(Store::open(open(&folder.state()), identity()).unwrap());
    assert!(!folder.state().join("state-0000000000000002.tmp").exists());
    assert!(folder.state().join("notes.txt").exists());
}

#[test]
fn a_damaged_file_names_its_path_and_is_left_as_it_is() {
    let folder = Folder::new();
    drop(Store::create(open(&folder.state()), identity()).unwrap());
    let path = folder.state().join("state-0000000000000001.log");
    let mut bytes = fs::read(&path).unwrap();
    bytes[600] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Store::open(open(&folder.state()), identity()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains("byte 512"), "{text}");
    assert!(text.contains("as a new member") && text.contains("older copy"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_folder_that_cannot_be_is_reported_with_its_name() {
    let folder = Folder::new();
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.state(), b"a file").unwrap();
    let error = FsDisk::open(folder.state()).unwrap_err();
    assert!(error.to_string().contains(&folder.state().display().to_string()), "{error}");
}
