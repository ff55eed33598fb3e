//! What is done to the owner, and what has to be so after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::journal::{self, Takeover};
use super::stage::{BOUND, Disk, LEASE, Stage};
use super::storage;
use super::stray::Stray;

/// The scenes, in the order in which they are played.
pub(super) const NAMES: [&str; 11] = [
    "power",
    "killed",
    "frozen",
    "frozen-then-killed",
    "panic",
    "lockup",
    "fenced-hang",
    "fenced-pause",
    "storage-pause",
    "storage-cut",
    "storage-hang",
];

/// What came of it all.
pub(super) struct Report {
    pub(super) lines: Vec<String>,
    pub(super) violations: usize,
}

/// One thing that is done to the owner.
pub(super) struct Scene {
    pub(super) name: &'static str,
    what: &'static str,
    pub(super) act: Act,
    /// Who has to end the owner.
    ends: End,
}

pub(super) enum Act {
    /// A line of shell in the owner, after which its shell may not answer any more.
    Shell(&'static str),
    /// A word to QEMU.
    Qemu(&'static str),
    /// The power is cut.
    Power,
    /// Its cable to the other nodes is pulled; the one to the array stays.
    Cable,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The act itself.
    Itself,
    /// Its watchdog, before the lease ends.
    Watchdog,
    /// The fence device.
    Fence,
    /// The array, when the lease has ended.
    Array,
}

impl End {
    /// How the proof begins, in the journal of who takes over.
    fn proof(self) -> &'static str {
        match self {
            Self::Itself | Self::Watchdog => "lease ended, promised by",
            Self::Fence => "fenced, confirmed by switch",
            Self::Array => "its lease ended, and san confirmed that it is cut off from the disks",
        }
    }
}

/// Every process of Regent on a machine: supervisor, daemon, guard.
const ALL: &str = "$(pidof regent) $(pidof regent-guard)";

fn scenes() -> [Scene; 11] {
    let scene = |name, what, act, ends| Scene { name, what, act, ends };
    [
        scene("power", "its power is lost", Act::Power, End::Itself),
        scene(
            "killed",
            "guard, daemon and supervisor are killed at once",
            Act::Shell("kill -9 ALL"),
            End::Watchdog,
        ),
        scene(
            "frozen",
            "guard, daemon and supervisor stand still",
            Act::Shell("kill -STOP ALL"),
            End::Watchdog,
        ),
        scene(
            "frozen-then-killed",
            "they stand still, and are killed just before the watchdog fires",
            Act::Shell("p=\"ALL\"; kill -STOP $p; usleep 1700000; kill -9 $p"),
            End::Watchdog,
        ),
        scene(
            "panic",
            "its kernel panics and hangs",
            Act::Shell("echo c > /proc/sysrq-trigger"),
            End::Watchdog,
        ),
        scene("lockup", "its only processor is taken by a real-time loop", Act::Shell(HOG), End::Watchdog),
        scene(
            "fenced-hang",
            "its kernel panics and hangs, and the group needs a fence device",
            Act::Shell("echo c > /proc/sysrq-trigger"),
            End::Fence,
        ),
        scene("fenced-pause", "a hypervisor stops it, watchdog and all", Act::Qemu("stop"), End::Fence),
        scene(
            "storage-pause",
            "a hypervisor stops it, and lets it go on when another owns its disk",
            Act::Qemu("stop"),
            End::Array,
        ),
        scene(
            "storage-cut",
            "nobody hears it any more, and it has its disk still: both live",
            Act::Cable,
            End::Array,
        ),
        scene(
            "storage-hang",
            "its kernel panics and hangs, and nothing resets it",
            Act::Shell("echo c > /proc/sysrq-trigger"),
            End::Array,
        ),
    ]
}

/// The scenes that are played with this disk.
pub(super) fn of(disk: Disk, only: &[&str]) -> impl Iterator<Item = Scene> {
    let wanted = move |s: &Scene| {
        (s.ends == End::Array) == (disk == Disk::Array) && (only.is_empty() || only.contains(&s.name))
    };
    scenes().into_iter().filter(wanted)
}

/// Real-time processes above the guard that never sleep, and no throttling of them: nothing else runs.
const HOG: &str = "echo -1 > /proc/sys/kernel/sched_rt_runtime_us; chrt -r 99 sh -c 'while :; do :; done' &";

/// Plays the scenes.
///
/// # Errors
/// When one could not be played: that says nothing about Regent.
pub(super) fn play(stage: &mut Stage, disk: Disk, only: &[&str]) -> Result<Report, String> {
    let mut report = Report { lines: Vec::new(), violations: 0 };
    let mut in_force = End::Watchdog;
    for scene in of(disk, only) {
        println!("\n== {}: {}", scene.name, scene.what);
        if scene.ends == End::Fence && in_force != End::Fence {
            stage.apply("fenced.toml")?;
            in_force = End::Fence;
        }
        match scene.play(stage) {
            Ok(line) => report.lines.push(format!("{:<20}{line}", scene.name)),
            Err(Wrong::Violation(what)) => {
                report.violations += 1;
                report.lines.push(format!("{:<20}VIOLATION: {what}", scene.name));
                stage.put_right()?;
            }
            Err(Wrong::CannotRun(why)) => return Err(why),
        }
        println!("   {}", report.lines.last().map_or("", |line| line));
        stage.settle()?;
        stage.keep_events(scene.name)?;
    }
    println!("\n== the data");
    let found = data(stage);
    match found {
        Ok(line) => report.lines.push(line),
        Err(what) => {
            report.violations += 1;
            report.lines.push(format!("VIOLATION: {what}"));
        }
    }
    Ok(report)
}

pub(super) enum Wrong {
    Violation(String),
    CannotRun(String),
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::CannotRun(why)
    }
}

impl Scene {
    fn play(&self, stage: &mut Stage) -> Result<String, Wrong> {
        let stray = if self.ends == End::Array {
            Some(Stray::begin(&mut stage.machines[0], &stage.site)?)
        } else {
            None
        };
        let before = Instant::now();
        self.begin(stage)?;
        let survivor = &mut stage.machines[1];
        let watch = "until grep -q ' /data ' /proc/mounts; do usleep 20000; done";
        survivor.sh(watch, BOUND).map_err(|why| Wrong::Violation(format!("nobody takes over: {why}")))?;
        let taken = journal::takeover(survivor, "ledger", "lx4", before)?;
        if !taken.proof.starts_with(self.ends.proof()) {
            return Err(Wrong::Violation(format!("another proof than the one due: {}", taken.proof)));
        }
        let end = self.ended(stage, before, &taken)?;
        let first = stage.writer.first_by("lx5", taken.at, BOUND);
        let Some(first) = first else {
            return Err(Wrong::Violation("the ledger does not answer again".into()));
        };
        let late = match &stray {
            Some(stray) => storage::afterwards(self, stage, stray)?,
            None => String::new(),
        };
        all_is_there(stage).map_err(Wrong::Violation)?;
        Ok(format!(
            "{end}; taken over after {:.1} s (+{:.2}), written after {:.1} s (lease {} s; epoch {}, {}){late}",
            seconds(before, taken.at),
            seconds(taken.at, taken.by),
            seconds(before, first.at),
            LEASE.as_secs(),
            taken.epoch,
            taken.proof
        ))
    }

    fn begin(&self, stage: &mut Stage) -> Result<(), String> {
        let owner = &mut stage.machines[0];
        match self.act {
            Act::Shell(line) => owner.begin(&line.replace("ALL", ALL)),
            Act::Qemu(word) => owner.power.tell(word),
            Act::Cable => owner.lan(&stage.site, false),
            Act::Power => {
                owner.power.cut();
                Ok(())
            }
        }
    }

    /// When and how the owner was ended. It has to be before anybody else owned the group.
    fn ended(&self, stage: &Stage, before: Instant, taken: &Takeover) -> Result<String, Wrong> {
        let owner = &stage.machines[0];
        let (ended, what) = match self.ends {
            End::Itself | End::Fence => {
                (owner.power.cut_at().filter(|at| *at >= before), "its power was off")
            }
            End::Watchdog => (owner.event_after("WATCHDOG", before), "its watchdog reset it"),
            // What it can still do is seen afterwards. Its lease was renewed for the last time a moment before.
            End::Array => (Some(before + LEASE * 3 / 4), "its lease can have ended"),
        };
        let Some(ended) = ended.filter(|ended| *ended <= taken.by) else {
            let late = format!(
                "the other node owned the group {:.1} s after the fault, before {what}",
                seconds(before, taken.at)
            );
            return Err(Wrong::Violation(late));
        };
        let (after, margin) = (seconds(before, ended), seconds(ended, taken.at));
        Ok(match self.ends {
            End::Watchdog => format!("reset after {after:.1} s, {margin:.1} s before"),
            End::Fence => format!("cut by the fence device after {after:.1} s, {margin:.1} s before"),
            End::Itself => format!("off after {after:.1} s"),
            End::Array => "cut off by the array".to_owned(),
        })
    }
}

fn seconds(from: Instant, to: Instant) -> f32 {
    to.saturating_duration_since(from).as_secs_f32()
}

/// Every acknowledged number is stored.
fn all_is_there(stage: &Stage) -> Result<usize, String> {
    let acknowledged: BTreeSet<u64> = stage.writer.all().into_iter().map(|w| w.number).collect();
    let until = Instant::now() + Duration::from_secs(60);
    let stored: BTreeSet<u64> = loop {
        match stage.writer.stored() {
            Ok(stored) => break stored.into_iter().collect(),
            Err(why) if Instant::now() > until => return Err(why),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    };
    let lost: Vec<u64> = acknowledged.difference(&stored).copied().collect();
    if lost.is_empty() {
        Ok(acknowledged.len())
    } else {
        Err(format!("{} acknowledged numbers are lost, the first is {}", lost.len(), lost[0]))
    }
}

/// At the end: everything acknowledged is there, and the file system is whole.
fn data(stage: &mut Stage) -> Result<String, String> {
    stage.writer.stop();
    let count = all_is_there(stage)?;
    stage.machines[0].insist("regent group disable ledger", Duration::from_secs(90))?;
    stage.end();
    stage.check_disk()?;
    Ok(format!("{count} acknowledged numbers, all of them stored; e2fsck -f finds nothing"))
}
