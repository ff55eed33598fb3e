//! One call of a fence agent by hand: what it is given, how long it may take, and what it said.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regent_model::NodeName;
use regent_model::config::FenceConfig;
use regent_model::fence_agent::{self, METADATA, Metadata};
use regent_node::process_group;

use crate::trouble::{Result, Trouble};

/// Of an agent's output the end is kept.
const OUTPUT_MAX: usize = 64 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// What an agent wrote is in the pipe when it ends. Only something that it has left behind makes one wait for more.
const LATE: Duration = Duration::from_millis(500);

/// What an agent said.
#[derive(Debug)]
pub(super) struct Said {
    /// What it exited with, unless it was killed.
    pub(super) code: Option<i32>,
    /// Standard output and standard error.
    output: String,
}

impl Said {
    pub(super) fn in_words(&self) -> String {
        let code = self.code.map_or_else(|| "it was killed".to_owned(), |c| format!("exit code {c}"));
        let last = self.output.lines().last().unwrap_or_default().trim();
        if last.is_empty() { code } else { format!("{code} ({last})") }
    }
}

/// One call of the agent. The options go to its standard input.
pub(super) fn call(device: &FenceConfig, node: &NodeName, action: &str) -> Result<Said> {
    let input =
        fence_agent::input(device, node, action, metadata(device).as_ref()).map_err(Trouble::refused)?;
    let said = run(&device.agent, input.as_bytes(), device.timeout).map_err(|error| {
        Trouble::refused(format!("cannot run {} for {action} of {node}: {error}", device.agent.display()))
            .next("run it as root on a machine that has the agent, best on the witness")
    })?;
    Ok(Said { output: device.without_secrets(said.output), ..said })
}

/// What the agent says about itself. One that says nothing is taken as it is.
pub(super) fn metadata(device: &FenceConfig) -> Option<Metadata> {
    static KNOWN: Mutex<BTreeMap<PathBuf, Option<Metadata>>> = Mutex::new(BTreeMap::new());
    let asked = || {
        let said = run(&device.agent, format!("action={METADATA}\n").as_bytes(), device.timeout).ok()?;
        if said.code == Some(0) { Metadata::read(&said.output) } else { None }
    };
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&device.agent).cloned();
    known.unwrap_or_else(|| {
        let said = asked();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(device.agent.clone(), said.clone());
        said
    })
}

/// Runs it until it ends, or kills it when `limit` is over. What it started ends with it.
fn run(agent: &Path, input: &[u8], limit: Duration) -> io::Result<Said> {
    let until = Instant::now() + limit;
    let (pipe, out) = io::pipe()?;
    let mut command = Command::new(agent);
    command.stdin(Stdio::piped()).stderr(out.try_clone()?).stdout(out).process_group(0);
    let mut child = command.spawn()?;
    // Our own ends of the pipe: it is at its end when those that were started have closed theirs.
    drop(command);
    if let Some(mut stdin) = child.stdin.take() {
        let _what_it_did_not_read_shows = stdin.write_all(input);
    }
    let reading = read(pipe);
    while Instant::now() < until && !process_group::has_ended(&child)? {
        std::thread::sleep(LOOK_EVERY);
    }
    // Before it is waited for: the number of its group is not another's yet.
    let _nothing_was_left = process_group::kill(&child);
    let status = child.wait()?;
    let output = tail(&reading, Instant::now() + LATE);
    Ok(Said { code: status.code(), output })
}

/// What was read so far; and when the other end of this is gone, all was.
type Reading = (Arc<Mutex<Vec<u8>>>, Receiver<()>);

/// Reads to the end, in a thread of its own: an agent that says more than a pipe holds would never end. Only the end is
/// kept, however much it says.
fn read(mut pipe: io::PipeReader) -> Reading {
    let (reads, end) = mpsc::channel();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeps = kept.clone();
    std::thread::spawn(move || {
        let _reads: mpsc::Sender<()> = reads;
        let mut piece = vec![0; 8 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut piece) {
            keep(&mut keeps.lock().unwrap_or_else(PoisonError::into_inner), &piece[..length]);
        }
    });
    (kept, end)
}

/// A line that is cut off at its beginning is left out: it may begin within a secret.
fn keep(bytes: &mut Vec<u8>, piece: &[u8]) {
    bytes.extend(piece);
    if bytes.len() > OUTPUT_MAX {
        let over = bytes.len() - OUTPUT_MAX;
        let line = bytes[over..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| over + at + 1);
        bytes.drain(..line);
    }
}

/// The end of what came until then.
fn tail((kept, end): &Reading, until: Instant) -> String {
    let _it_has_ended_or_it_is_late = end.recv_timeout(until.saturating_duration_since(Instant::now()));
    String::from_utf8_lossy(&kept.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Said, Duration) {
        let began = Instant::now();
        let said = run(Path::new("/bin/sh"), script.as_bytes(), limit).unwrap();
        (said, began.elapsed())
    }

    const LONG: Duration = Duration::from_secs(60);

    fn is_gone(pid: &str) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let state = stat.rsplit(") ").next().unwrap_or_default();
            if state.is_empty() || state.starts_with('Z') {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    #[test]
    fn what_an_agent_leaves_behind_holds_nothing_up_and_ends_with_it() {
        let (said, took) = shell("sleep 600 &\necho $!\nexit 2\n", LONG);
        assert_eq!(said.code, Some(2));
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert!(is_gone(said.output.trim()), "{said:?}");
        // Also what has left the group, and keeps the pipe.
        let (said, took) = shell("setsid sleep 30 &\necho off\nexit 2\n", LONG);
        assert_eq!(said.in_words(), "exit code 2 (off)");
        assert!(took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn an_agent_that_does_not_end_in_its_time_is_killed_with_what_it_started() {
        let (said, took) = shell("sleep 600 &\necho $!\nwait\n", Duration::from_secs(1));
        assert_eq!(said.code, None);
        assert!(said.in_words().starts_with("it was killed"), "{said:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert!(is_gone(said.output.trim()), "{said:?}");
    }

    #[test]
    fn an_agent_may_say_much_on_standard_error_before_it_says_something_on_standard_output() {
        let script = "head -c 300000 /dev/zero | tr '\\0' x >&2\necho >&2\necho mended\n";
        let (said, _) = shell(script, LONG);
        assert_eq!(said.in_words(), "exit code 0 (mended)");
        assert!(said.output.len() <= OUTPUT_MAX);
    }

    #[test]
    fn of_an_agent_that_never_stops_talking_no_more_than_the_end_is_kept() {
        let (said, took) = shell("yes\n", Duration::from_secs(1));
        assert_eq!(said.in_words(), "it was killed (y)");
        assert!(said.output.len() <= OUTPUT_MAX && took < Duration::from_secs(20), "{took:?}");
    }

    #[test]
    fn an_agent_that_repeats_what_it_was_given_shows_no_secret() {
        let text = r#"
[cluster]
name = "w"
[[node]]
name = "lx4"
addresses = ["10.0.0.4"]
[[fence]]
name = "bmc"
agent = "/bin/cat"
nodes = ["lx4"]
plugs = { lx4 = "outlet geheim" }
options = { password = "geheim" }
"#;
        let config = regent_model::config::parse(text).config.unwrap();
        let said = call(&config.fences[0], &NodeName::new("lx4").unwrap(), "status").unwrap();
        assert_eq!(said.in_words(), "exit code 0 (port=outlet [hidden])");
        assert!(said.output.contains("password=[hidden]") && !said.output.contains("geheim"), "{said:?}");
    }
}
