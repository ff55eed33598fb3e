//! What is done to the owner, and what has to be so after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::stage::{BOUND, LEASE, Stage};

/// The scenes, in the order in which they are played.
pub(super) const NAMES: [&str; 8] =
    ["power", "killed", "frozen", "frozen-then-killed", "panic", "lockup", "fenced-hang", "fenced-pause"];

/// What came of it all.
pub(super) struct Report {
    pub(super) lines: Vec<String>,
    pub(super) violations: usize,
}

/// One thing that is done to the owner.
struct Scene {
    name: &'static str,
    what: &'static str,
    act: Act,
    /// Who has to end the owner.
    ends: End,
}

enum Act {
    /// A line of shell in the owner, after which its shell may not answer any more.
    Shell(&'static str),
    /// A word to QEMU.
    Qemu(&'static str),
    /// The power is cut.
    Power,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The act itself.
    Itself,
    /// Its watchdog, before the lease ends.
    Watchdog,
    /// The fence device.
    Fence,
}

/// Every process of Regent on a machine: supervisor, daemon, guard.
const ALL: &str = "$(pidof regent) $(pidof regent-guard)";

fn scenes() -> [Scene; 8] {
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
    ]
}

/// Real-time processes above the guard that never sleep, and no throttling of them: nothing else runs.
const HOG: &str = "echo -1 > /proc/sys/kernel/sched_rt_runtime_us; chrt -r 99 sh -c 'while :; do :; done' &";

/// Plays the scenes.
///
/// # Errors
/// When one could not be played: that says nothing about Regent.
pub(super) fn play(stage: &mut Stage, only: &[&str]) -> Result<Report, String> {
    let mut report = Report { lines: Vec::new(), violations: 0 };
    let mut in_force = End::Watchdog;
    for scene in scenes().iter().filter(|s| only.is_empty() || only.contains(&s.name)) {
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
            }
            Err(Wrong::CannotRun(why)) => return Err(why),
        }
        println!("   {}", report.lines.last().map_or("", |line| line));
        stage.settle()?;
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

enum Wrong {
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
        let [owner, survivor] = &mut stage.machines;
        let before = Instant::now();
        match self.act {
            Act::Shell(line) => owner.begin(&line.replace("ALL", ALL))?,
            Act::Qemu(word) => owner.power.tell(word)?,
            Act::Power => owner.power.cut(),
        }
        let watch = "until grep -q ' /data ' /proc/mounts; do usleep 20000; done";
        survivor.sh(watch, BOUND).map_err(|why| Wrong::Violation(format!("nobody takes over: {why}")))?;
        let mounted = Instant::now();
        let ended = match self.ends {
            End::Itself => Some(before),
            End::Watchdog => owner.event_after("WATCHDOG", before),
            End::Fence => (!owner.power.is_on()).then_some(mounted),
        };
        let Some(ended) = ended.filter(|ended| *ended <= mounted) else {
            let why = match self.ends {
                End::Fence => "the other node has mounted the disk, and this one has power still",
                _ => "the other node has mounted the disk before the watchdog reset this one",
            };
            return Err(Wrong::Violation(why.into()));
        };
        let first = stage.writer.first_by("lx5", before, BOUND);
        let Some(first) = first else {
            return Err(Wrong::Violation("the ledger does not answer again".into()));
        };
        let status = stage.machines[1].insist("regent status", Duration::from_secs(30))?;
        let proof = ["lease-ended", "lease ended", "fenced"].into_iter().find(|word| status.contains(word));
        all_is_there(stage).map_err(Wrong::Violation)?;
        let seconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f32();
        let end = match self.ends {
            End::Itself => "off at once".to_owned(),
            End::Watchdog => format!(
                "reset after {:.1} s, {:.1} s before the other mounts",
                seconds(before, ended),
                seconds(ended, mounted)
            ),
            End::Fence => "cut by the fence device".to_owned(),
        };
        let within = LEASE.as_secs_f32();
        Ok(format!(
            "{end}; mounted after {:.1} s, written after {:.1} s (lease {within} s{})",
            seconds(before, mounted),
            seconds(before, first.at),
            proof.map_or_else(String::new, |proof| format!(", {proof}"))
        ))
    }
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
