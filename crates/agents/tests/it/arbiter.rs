//! The disk that decides between two nodes: on files and on loop devices.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regent_agents::arbiter::{Act, DiskArbiter, Limits, Place, Shows, look_at, make, mark, marked, unmark};
use regent_arbiter::area::{AREA, slot_at};
use regent_arbiter::contest::Outcome;
use regent_arbiter::mutants::Mutants;
use regent_arbiter::slot::block_of;
use regent_arbiter::standing::Generation;
use regent_arbiter::{Contest, Effect, Input, Record};
use regent_model::NodeId;
use regent_model::action::Notice;
use regent_model::ids::{AreaId, ClusterName};

use crate::support::{Folder, isolated, sh};

const PATIENCE: Duration = Duration::from_secs(60);

fn ward7() -> ClusterName {
    ClusterName::new("ward7").unwrap()
}

/// A blank file, and a loop device on it that wants everything aligned to `sector` bytes.
struct Lun {
    folder: Folder,
    device: PathBuf,
}

impl Lun {
    fn new(sector: u32) -> Self {
        let folder = Folder::new();
        let image = folder.0.join("image");
        sh(&format!("truncate -s 8M {}", image.display()));
        let device = sh(&format!("losetup -f --show -b {sector} --direct-io=on {}", image.display()));
        Self { folder, device: device.trim().into() }
    }

    fn image(&self) -> PathBuf {
        self.folder.0.join("image")
    }
}

impl Drop for Lun {
    fn drop(&mut self) {
        sh(&format!("losetup -d {}", self.device.display()));
    }
}

fn area_on(disk: &Path) -> Place {
    let area = make(disk, &ward7()).unwrap();
    Place { disk: disk.to_owned(), area, cluster: ward7() }
}

fn record(place: &Place, node: u64, life: u64, sequence: u64) -> Record {
    Record { life, sequence, generation: Generation(2), ..Record::blank(place.area, NodeId(node)) }
}

fn newest(place: &Place, node: u64) -> Option<(u64, u64)> {
    let slots = place.slots(&[NodeId(node)]).unwrap();
    slots[0].newest(Mutants::none()).map(|record| record.written())
}

fn write(place: &Place, record: &Record) -> Result<(), String> {
    place.write(record, &AtomicBool::new(false))
}

/// Writes these bytes as anybody could.
fn scribble(disk: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(disk).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

fn block_at(node: u64, life: u64, copy: usize) -> u64 {
    slot_at(NodeId(node)).unwrap() + ((block_of(life) + copy) * 4096) as u64
}

#[test]
fn what_one_writes_the_other_reads_on_files_and_on_devices_of_either_sector() {
    let folder = Folder::new();
    let file = folder.0.join("area");
    sh(&format!("truncate -s {AREA} {}", file.display()));
    let (small, large) = (Lun::new(512), Lun::new(4096));
    for disk in [&file, &small.device, &large.device] {
        let place = area_on(disk);
        assert_eq!(newest(&place, 1), Some((0, 0)));
        for life in 1..20 {
            write(&place, &record(&place, 1, life, 3)).unwrap();
            assert_eq!(newest(&place, 1), Some((life, 3)), "{}", disk.display());
        }
        let (own, other) = place.read(NodeId(2), NodeId(1)).unwrap();
        assert_eq!(own.newest(Mutants::none()).map(|r| r.life), Some(0));
        assert_eq!(other.newest(Mutants::none()), Some(record(&place, 1, 19, 3)));
    }
    // Nothing of it was in a cache of this machine only.
    let through_the_file = Place { disk: large.image(), ..area_of(&large) };
    assert_eq!(newest(&through_the_file, 1), Some((19, 3)));
}

fn area_of(lun: &Lun) -> Place {
    let Shows::Area { area, cluster } = look_at(&lun.device).unwrap().shows else { panic!("no area") };
    Place { disk: lun.device.clone(), area, cluster }
}

#[test]
fn what_a_crash_tears_leaves_the_other_copy_and_two_torn_ones_are_damage() {
    let folder = Folder::new();
    let file = folder.0.join("area");
    sh(&format!("truncate -s {AREA} {}", file.display()));
    let place = area_on(&file);
    write(&place, &record(&place, 2, 7, 1)).unwrap();
    // The first copy of the next record, of which only half came.
    let next = record(&place, 2, 7, 2).block();
    scribble(&file, block_at(2, 7, 0), &next[..40]);
    assert_eq!(newest(&place, 2), Some((7, 1)));
    scribble(&file, block_at(2, 7, 0), &next);
    assert_eq!(newest(&place, 2), Some((7, 2)));
    // And the second copy torn after that.
    scribble(&file, block_at(2, 7, 1), &next[..40]);
    assert_eq!(newest(&place, 2), Some((7, 2)));
    scribble(&file, block_at(2, 7, 0), b"damaged");
    scribble(&file, block_at(2, 7, 1), b"damaged");
    assert_eq!(newest(&place, 2), None, "what was there may have been newer");
}

#[test]
fn a_damaged_or_foreign_header_is_seen_and_nothing_is_written() {
    let lun = Lun::new(512);
    let place = area_on(&lun.device);
    let says = |place: &Place| write(place, &record(place, 1, 1, 1)).unwrap_err();
    let other_area = Place { area: AreaId([7; 16]), ..place.clone() };
    assert!(says(&other_area).contains("another area"), "{}", says(&other_area));
    let other_cluster = Place { cluster: ClusterName::new("ward8").unwrap(), ..place.clone() };
    assert!(says(&other_cluster).contains("of another cluster, ward7"), "{}", says(&other_cluster));
    scribble(&lun.device, 100, b"x");
    assert!(says(&place).contains("damaged"), "{}", says(&place));
    assert!(place.read(NodeId(1), NodeId(2)).is_err());
    scribble(&lun.device, 0, &[0; 4096]);
    assert!(says(&place).contains("blank"), "{}", says(&place));
    let gone = Place { disk: "/dev/no-such-disk".into(), ..place };
    assert!(says(&gone).contains("there is no /dev/no-such-disk"), "{}", says(&gone));
    let folder = Folder::new();
    let small = folder.0.join("small");
    sh(&format!("truncate -s 64K {}", small.display()));
    assert!(make(&small, &ward7()).unwrap_err().contains("too small"));
}

#[test]
fn what_is_on_a_disk_is_said_before_an_area_is_made_of_it() {
    let lun = Lun::new(512);
    assert_eq!(look_at(&lun.device).unwrap().shows, Shows::Blank);
    sh(&format!("mkfs.ext4 -q {}", lun.device.display()));
    let Shows::Other(what) = look_at(&lun.device).unwrap().shows else { panic!("a file system is there") };
    assert!(what.contains("ext4"), "{what}");
    let claimed = rustix::fs::open(
        &lun.device,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::EXCL,
        rustix::fs::Mode::empty(),
    );
    let look = look_at(&lun.device).unwrap();
    assert!(look.in_use.is_some(), "{look:?}");
    assert!(make(&lun.device, &ward7()).unwrap_err().contains("in use"));
    assert!(mark(&lun.device).unwrap_err().contains("in use"));
    drop(claimed);
}

#[test]
fn a_mark_is_found_through_another_path_and_leaves_nothing_behind() {
    let lun = Lun::new(512);
    sh(&format!("mkfs.ext4 -q -b 4096 {}", lun.device.display()));
    let before = std::fs::read(lun.image()).unwrap();
    let made = mark(&lun.device).unwrap();
    assert_eq!(marked(&lun.image()).unwrap(), Some(made.mark));
    assert_eq!(marked(&Lun::new(512).device).unwrap(), None);
    unmark(&lun.device, &made).unwrap();
    assert_eq!(marked(&lun.image()).unwrap(), None);
    assert!(std::fs::read(lun.image()).unwrap() == before, "not as it was");
}

/// The hands on a disk, and what they say.
struct Hands {
    hands: DiskArbiter,
    answers: Receiver<(u64, Input)>,
    notices: Receiver<Notice>,
}

impl Hands {
    fn new(within: Duration) -> Self {
        let (answer, answers) = channel();
        let (tell, notices) = channel();
        let limits = Limits { within, look_every: Duration::from_millis(20), slow: PATIENCE };
        let hands = DiskArbiter::start(
            limits,
            move |number, input| answer.send((number, input)).unwrap_or(()),
            move |notice| tell.send(notice).unwrap_or(()),
        );
        Self { hands: hands.unwrap(), answers, notices }
    }

    fn act(&self, number: u64, place: &Place, act: Act) -> Input {
        self.hands.act(number, place.clone(), act);
        let (answered, input) = self.answers.recv_timeout(PATIENCE).unwrap();
        assert_eq!(answered, number);
        input
    }

    fn trouble(&self) -> String {
        match self.notices.recv_timeout(PATIENCE).unwrap() {
            Notice::Trouble { topic, text, .. } => {
                assert_eq!(topic, regent_model::action::ARBITER_DISK);
                text
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_nodes_get_one_winner_from_a_disk() {
    let lun = Lun::new(4096);
    let place = area_on(&lun.device);
    let play = |me: u64, other: u64| {
        let hands = Hands::new(PATIENCE);
        hands.hands.place(Some(place.clone()));
        let (me, other) = (NodeId(me), NodeId(other));
        let (mut contest, mut next) = Contest::new(place.area, me, other, Generation(2), (1, 0), (0, 0));
        for number in 1.. {
            let act = match next {
                Effect::Write(record) => Act::Write(record),
                Effect::Read => Act::Read { own: me, other },
                Effect::Over(outcome) => return outcome,
            };
            next = contest.step(hands.act(number, &place, act)).unwrap();
        }
        unreachable!()
    };
    assert_eq!(play(1, 2), Outcome::Won(Generation(2)));
    assert_eq!(play(2, 1), Outcome::Lost(Generation(2)));
}

#[test]
fn a_life_whose_write_was_not_answered_writes_no_more_and_the_next_one_does() {
    let folder = Folder::new();
    let file = folder.0.join("area");
    sh(&format!("truncate -s {AREA} {}", file.display()));
    let place = area_on(&file);
    let hands = Hands::new(PATIENCE);
    hands.hands.place(Some(place.clone()));
    assert_eq!(hands.act(1, &place, Act::Write(record(&place, 1, 4, 1))), Input::Written);
    scribble(&file, 100, b"x");
    assert_eq!(hands.act(2, &place, Act::Write(record(&place, 1, 4, 2))), Input::WriteFailed);
    assert!(hands.trouble().contains("damaged"));
    scribble(&file, 100, &[0]);
    let Notice::Well { .. } = hands.notices.recv_timeout(PATIENCE).unwrap() else {
        panic!("still in trouble")
    };
    assert_eq!(hands.act(3, &place, Act::Write(record(&place, 1, 4, 3))), Input::WriteFailed);
    assert_eq!(newest(&place, 1), Some((4, 1)));
    let read = Act::Read { own: NodeId(1), other: NodeId(2) };
    assert!(matches!(hands.act(4, &place, read.clone()), Input::Slots { .. }), "it still reads");
    assert_eq!(hands.act(5, &place, Act::Write(record(&place, 1, 5, 1))), Input::Written);
    // Another place than the one told: nothing is done.
    let elsewhere = Place { area: AreaId([1; 16]), ..place.clone() };
    assert_eq!(hands.act(6, &elsewhere, read), Input::ReadFailed);
}

#[test]
fn a_disk_that_hangs_is_answered_for_and_holds_nobody_up() {
    isolated(hanging);
}

fn hanging() {
    // A file on a frozen file system: writes to it wait for ever.
    let lun = Lun::new(512);
    let inner = Folder::new();
    sh(&format!(
        "mkfs.ext4 -q {} && mount {} {}",
        lun.device.display(),
        lun.device.display(),
        inner.0.display()
    ));
    let file = inner.0.join("area");
    sh(&format!("fallocate -l {AREA} {}", file.display()));
    let place = area_on(&file);
    let hands = Hands::new(Duration::from_millis(300));
    hands.hands.place(Some(place.clone()));
    sh(&format!("fsfreeze -f {}", inner.0.display()));
    let failed: Vec<Input> =
        (1..=6).map(|life| hands.act(life, &place, Act::Write(record(&place, 1, life, 1)))).collect();
    let outer = Folder::new();
    let other = outer.0.join("other");
    sh(&format!("fallocate -l {AREA} {}", other.display()));
    let other = area_on(&other);
    hands.hands.place(Some(other.clone()));
    let elsewhere = hands.act(20, &other, Act::Write(record(&other, 1, 20, 1)));
    assert_eq!(elsewhere, Input::Written, "another disk answers meanwhile");
    hands.hands.place(Some(place.clone()));
    sh(&format!("fsfreeze -u {}", inner.0.display()));
    assert_eq!(failed, vec![Input::WriteFailed; 6], "more than threads may hang");
    // Those that hung are done one day, and then others may ask again.
    let begun = std::time::Instant::now();
    let mut life = 7;
    while hands.act(life, &place, Act::Write(record(&place, 1, life, 1))) != Input::Written {
        assert!(begun.elapsed() < PATIENCE, "it never writes again");
        std::thread::sleep(Duration::from_millis(50));
        life += 1;
    }
    drop(hands);
    sh(&format!("umount -l {}", inner.0.display()));
}
