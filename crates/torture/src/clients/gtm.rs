//! GT.M: globals that are set over the network by GT.CM, and count when they were flushed in the server's place and
//! then read back: GT.CM itself says nothing of the disk.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use regent_lab::{CLIENT, Running};

use super::printed;
use crate::loads::{GTM_FOLDER, GTM_PORT, address};
use crate::stage::Stage;
use crate::{Result, site};

/// How many are set before they are flushed.
const BATCH: u64 = 20;
/// A server that has lost its power answers nothing; the process that waits for it is ended.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
const FLUSHES_WITHIN: Duration = Duration::from_secs(6);
const TRIES_AGAIN: Duration = Duration::from_millis(200);

/// A process that does a line of M after the other, and says what came of each.
const FAR: &str = r#"
set -e
mkdir -p /tmp/torture-far && cd /tmp/torture-far
cat > far.m <<'END'
far for  read line quit:$zeof  do one(line)
 quit
one(line) new $etrap set $etrap="write ""ERR "",$zstatus,! set $ecode="""" quit"
 xecute line
 quit
END
gtm_dist=$(ls -d /usr/lib/*/fis-gtm/V* | tail -n 1)
export gtm_dist gtmgbldir=/tmp/torture-far/far.gld gtm_tmp=/tmp
export gtmroutines=". $gtm_dist/libgtmutil.so $gtm_dist"
test -e far.gld || printf 'change -segment DEFAULT -file="gtm:FOLDER/mumps.dat"\nexit\n' | $gtm_dist/mumps -run GDE > /dev/null 2>&1
export GTCM_gtm='[ADDRESS]:PORT'
exec $gtm_dist/mumps -run far
"#;

/// A line of M beside the database, on the node that has it.
const BESIDE: &str = "exec $gtm_dist/mumps -run %XCMD \"$0\"";

/// The writer.
pub(super) struct Globals {
    end: Arc<AtomicBool>,
    flushed: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Globals {
    /// Begins to write.
    ///
    /// # Errors
    /// When there is no thread.
    pub(super) fn start(stage: &Arc<Stage>) -> Result<Self> {
        let (end, flushed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ending, known, stage) = (Arc::clone(&end), Arc::clone(&flushed), Arc::clone(stage));
        let write = move || write(&stage, &ending, &known);
        let thread = Some(std::thread::Builder::new().name("globals".into()).spawn(write)?);
        Ok(Self { end, flushed, thread })
    }

    /// How many are flushed.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.flushed.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Ends, and gives all that count.
    pub(super) fn stop(self) -> BTreeSet<u64> {
        let flushed = Arc::clone(&self.flushed);
        drop(self);
        (1..=flushed.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Globals {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _it_has_said_what_it_knows = self.thread.take().map(JoinHandle::join);
    }
}

fn write(stage: &Stage, end: &AtomicBool, flushed: &AtomicU64) {
    let mut far: Option<Far> = None;
    let mut owner = None;
    while !end.load(Ordering::Relaxed) {
        let from = flushed.load(Ordering::Relaxed);
        if batch(stage, &mut far, &mut owner, from).is_some() {
            flushed.store(from + BATCH, Ordering::Relaxed);
        } else {
            std::thread::sleep(TRIES_AGAIN);
        }
    }
}

/// Sets a batch, flushes it, and reads its last one: whichever server answers then has them all on the disk.
fn batch(stage: &Stage, far: &mut Option<Far>, owner: &mut Option<String>, from: u64) -> Option<()> {
    let mut process = match far.take() {
        Some(process) => process,
        None => Far::start(stage)?,
    };
    let to = from + BATCH;
    for i in from + 1..=to {
        process.says(&format!("set ^F({i})={i} write {i},!"), i)?;
    }
    let node = match owner.take() {
        Some(node) => node,
        None => stage.status()?.groups.iter().find(|g| g.name.as_str() == "gtm")?.owner.clone()?.to_string(),
    };
    if flush(stage, &node) {
        *owner = Some(node);
        process.says(&format!("write $get(^F({to})),!"), to)?;
        *far = Some(process);
        return Some(());
    }
    *far = Some(process);
    None
}

fn flush(stage: &Stage, node: &str) -> bool {
    let line = "view \"JNLFLUSH\":\"DEFAULT\" write \"flushed\"";
    let script = format!(
        "[ \"$(regent instance env gtm -- sh -c '{BESIDE}' '{line}' | tr -d '[:space:]')\" = flushed ]"
    );
    stage.script(node, &script, FLUSHES_WITHIN) == Some(0)
}

/// The process on the client's machine.
struct Far {
    running: Option<Running>,
    said: Receiver<String>,
}

impl Far {
    fn start(stage: &Stage) -> Option<Self> {
        let script = FAR.replace("ADDRESS", &address("gtm")).replace("PORT", &GTM_PORT.to_string());
        let script = script.replace("FOLDER", GTM_FOLDER);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = stage.lab.spawn(CLIENT, command).ok()?;
        let (say, said) = channel();
        let output = BufReader::new(running.stdout.take()?);
        std::thread::spawn(move || {
            for line in output.lines().map_while(std::result::Result::ok).filter(|l| !l.trim().is_empty()) {
                let _nobody_asks_any_more = say.send(line.trim().to_owned());
            }
        });
        Some(Self { running: Some(running), said })
    }

    /// Nothing unless a line of M writes this number, in time: then the process is done with.
    fn says(&mut self, line: &str, number: u64) -> Option<()> {
        let input = self.running.as_mut()?.stdin.as_mut()?;
        input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush()).ok()?;
        let answer = self.said.recv_timeout(ANSWERS_WITHIN).ok()?;
        (answer == number.to_string()).then_some(())
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _dead_already = running.kill();
            let _dead_already = running.wait();
        }
    }
}

/// The globals that are there, read on whichever node has the instance.
pub(super) fn kept(stage: &Stage) -> Option<BTreeSet<u64>> {
    let line = "set n=\"\" for  set n=$order(^F(n)) quit:n=\"\"  write:^F(n)=n n,!";
    site::nodes(&stage.head).iter().find_map(|node| {
        let text =
            printed(stage, node, &["regent", "instance", "env", "gtm", "--", "sh", "-c", BESIDE, line])?;
        let numbers: BTreeSet<u64> = text.lines().filter_map(|l| l.trim().parse().ok()).collect();
        (!numbers.is_empty()).then_some(numbers)
    })
}
