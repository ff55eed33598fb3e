//! Two who write without a pause, whatever happens to the instance's node: one over the network, who flushes in the
//! server's place after each batch, and one beside the server, in transactions. Afterwards everything must be there that
//! was acknowledged.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, find};
use crate::far::{Data, Far};
use crate::hot_standby::{m, m_if_there};

const BATCH: u32 = 20;

/// How often two have written in this run: what stands there from an earlier time is not taken for theirs.
static ROUND: AtomicU32 = AtomicU32::new(1);

/// What they wrote and know to be on the disk: the last number of each.
pub(crate) struct Written {
    /// The value of number `i` is `base + i`.
    base: u32,
    end: AtomicBool,
    flushed: AtomicU32,
    committed: AtomicU32,
}

impl Written {
    fn begin() -> Self {
        let base = ROUND.fetch_add(1, Ordering::Relaxed) * 1_000_000;
        Self { base, end: AtomicBool::new(false), flushed: AtomicU32::new(0), committed: AtomicU32::new(0) }
    }

    fn goes_on(&self) -> bool {
        !self.end.load(Ordering::Relaxed)
    }

    fn counts(&self) -> [u32; 2] {
        [self.flushed.load(Ordering::Relaxed), self.committed.load(Ordering::Relaxed)]
    }

    /// Waits until both have got on since the call: they work again.
    pub(crate) fn get_on(&self, cluster: &Cluster) {
        let (began, before) = (Instant::now(), self.counts());
        loop {
            let now = self.counts();
            if now[0] > before[0] && now[1] > before[1] {
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "flushed, committed: {before:?} before, {now:?} now\n{}",
                cluster.evidence()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The node that has the instance's group, if it is there to be asked.
pub(crate) fn owner(cluster: &Cluster, group: &str) -> Option<String> {
    let owner = find(&cluster.status()?, group).owner.clone()?;
    cluster.status_of(owner.as_str()).map(|_| owner.to_string())
}

/// Writes while `work` goes on, and finds everything again on whichever node has the instance then.
pub(crate) fn nothing_is_lost_while(cluster: &Cluster, data: &Data<'_>, work: impl FnOnce(&Written)) {
    let written = Written::begin();
    std::thread::scope(|scope| {
        let far = scope.spawn(|| flushes(cluster, data, &written));
        let near = scope.spawn(|| commits(cluster, data, &written));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            written.get_on(cluster);
            work(&written);
            written.get_on(cluster);
        }));
        written.end.store(true, Ordering::Relaxed);
        far.join().unwrap();
        near.join().unwrap();
        if let Err(why) = ended {
            std::panic::resume_unwind(why);
        }
    });
    let ([flushed, committed], base) = (written.counts(), written.base);
    let node = owner(cluster, data.name).expect("it has an owner");
    for (global, last, what) in [("^F", flushed, "flushed"), ("^T", committed, "committed")] {
        // The first that is missing, or 0. What follows a loop on its line belongs to the loop.
        let line = format!(
            "set n=0 xecute \"for i=1:1:{last} if $get({global}(i))'=({base}+i) set n=i quit\" write n,\" of \",{last}"
        );
        let found = m(cluster, &node, data.name, &line);
        assert_eq!(found, format!("0 of {last}"), "{what}, and missing\n{}", cluster.evidence());
    }
}

/// A batch of SETs, a flush in the server's place, and a look whether the last one is there: then all are, and durably,
/// whichever server it is that answered.
fn flushes(cluster: &Cluster, data: &Data<'_>, written: &Written) {
    let mut far = Far::start(cluster, data);
    while written.goes_on() {
        let from = written.flushed.load(Ordering::Relaxed);
        let to = from + BATCH;
        let base = written.base;
        let all_set = (from + 1..=to).all(|i| far.tries(&format!("set ^F({i})={} write {i},!", base + i), i));
        let flush = || {
            let node = owner(cluster, data.name)?;
            m_if_there(cluster, &node, data.name, "view \"JNLFLUSH\":\"DEFAULT\" write \"flushed\"")
        };
        if all_set
            && flush().as_deref() == Some("flushed")
            && far.tries(&format!("write $get(^F({to})),!"), base + to)
        {
            written.flushed.store(to, Ordering::Relaxed);
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    far.ends();
}

/// Numbers in transactions, each printed once it is committed; on the next node from the last one on.
fn commits(cluster: &Cluster, data: &Data<'_>, written: &Written) {
    while written.goes_on() {
        let Some(node) = owner(cluster, data.name) else { continue };
        let next = written.committed.load(Ordering::Relaxed) + 1;
        let base = written.base;
        let line = format!("for i={next}:1 tstart ():serial set ^T(i)={base}+i tcommit  write i,! hang .002");
        let mumps = "exec $gtm_dist/mumps -run %XCMD \"$0\"";
        let mut command = Command::new("regent");
        command.args(["instance", "env", data.name, "--", "sh", "-c", mumps, &line]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut writer) = cluster.lab.spawn(&node, command) else { continue };
        for line in BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let Ok(number) = line.trim().parse() {
                written.committed.store(number, Ordering::Relaxed);
            }
            if !written.goes_on() {
                writer.kill().unwrap();
            }
        }
        let _ended_with_the_instance = writer.wait();
    }
}
