//! The cluster in its lab, as a runner sees it: asked and ordered by the commands that a user types.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regent_api::Status;
use regent_lab::{Lab, Power};
use regent_model::journal::Entry;

use crate::plan::Head;
use crate::{Result, site};

/// The stage.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) head: Head,
    pub(crate) name: String,
    regent: PathBuf,
    pub(crate) folder: PathBuf,
    /// The edition of the configuration that was last applied.
    pub(crate) edition: AtomicU64,
    /// Whether a member was to be removed since the configuration was last put in force as a whole.
    pub(crate) removed: AtomicBool,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// The exit code; none where it did not end in time.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Stage {
    /// Builds the lab, forms the cluster, and puts the configuration in force. The lab goes down with the value.
    ///
    /// # Errors
    /// What kept it from coming up.
    pub(crate) fn up(head: &Head) -> Result<Self> {
        let name = format!("torture-{}", std::process::id());
        let spec = site::spec(head, &name)?;
        let folder = std::env::temp_dir().join(format!("regent-{name}"));
        std::fs::create_dir_all(&folder)?;
        let lab = Lab::up_leashed(&spec)?;
        let regent = spec.executable.clone();
        let (edition, removed) = (AtomicU64::new(0), AtomicBool::new(false));
        let stage = Self { lab, head: head.clone(), name, regent, folder, edition, removed };
        site::form(&stage.lab, &spec, head)?;
        stage.apply(&site::nodes(head)[0], 0)?;
        Ok(stage)
    }

    /// Runs `regent WORDS` on the host, speaking to the daemon of a node, and waits so long for its end.
    pub(crate) fn regent(&self, node: &str, words: &[&str], patience: Duration) -> Said {
        let lab = format!("--lab={}", self.name);
        let mut command = Command::new(&self.regent);
        command.args(words).args([lab.as_str(), "--on", node]).env("NO_COLOR", "1");
        match run(command, patience) {
            Ok(said) => said,
            Err(why) => Said { code: Some(1), out: String::new(), err: why.to_string() },
        }
    }

    /// Applies this edition of the configuration, asking this node.
    ///
    /// # Errors
    /// What the command said.
    pub(crate) fn apply(&self, node: &str, edition: u64) -> Result<()> {
        let file = self.folder.join(format!("edition-{edition}.toml"));
        std::fs::write(&file, site::config(&self.head, edition))?;
        let said = self.regent(node, &["apply", &file.to_string_lossy()], Duration::from_secs(120));
        if said.code == Some(0) {
            self.edition.store(edition, Ordering::SeqCst);
            return Ok(());
        }
        Err(format!("apply: {}{}", said.out, said.err).into())
    }

    /// Where the copy of a node's own disk is.
    pub(crate) fn copy_of(&self, node: &str) -> PathBuf {
        self.folder.join(format!("{node}.copy"))
    }

    /// The members that could answer now.
    pub(crate) fn awake(&self) -> Vec<String> {
        let Ok(status) = self.lab.status() else { return Vec::new() };
        let awake = |name: &String| status.machine(name).is_some_and(|m| m.power == Power::On && !m.paused);
        site::members(&self.head).into_iter().filter(awake).collect()
    }

    /// What a node says of the cluster.
    pub(crate) fn status_of(&self, node: &str) -> Option<Status> {
        let said = self.regent(node, &["status", "--json"], Duration::from_secs(8));
        serde_json::from_str(&said.out).ok()
    }

    /// What somebody says who is in touch with a majority, and has a lease if anybody has.
    pub(crate) fn status(&self) -> Option<Status> {
        let mut without = None;
        for node in self.awake() {
            let Some(status) = self.status_of(&node).filter(|s| s.quorate) else { continue };
            let has = status.nodes.iter().any(|n| n.name == status.node && n.lease_valid == Some(true));
            if has {
                return Some(status);
            }
            without = without.or(Some(status));
        }
        without
    }

    /// The newest entries of the journal, as this node knows it.
    pub(crate) fn journal(&self, node: &str) -> Vec<Entry> {
        let said = self.regent(node, &["events", "--json", "--last", "4000"], Duration::from_secs(20));
        serde_json::from_str(&said.out).unwrap_or_default()
    }

    /// Runs a shell script in a machine and waits so long for its end. Nothing if it did not end, or the machine has no
    /// power.
    pub(crate) fn script(&self, machine: &str, text: &str, patience: Duration) -> Option<i32> {
        let mut command = Command::new("sh");
        command.args(["-c", text]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = self.lab.spawn(machine, command).ok()?;
        let end = Instant::now() + patience;
        while !running.has_ended() {
            if Instant::now() >= end {
                // A machine that stands still buries nobody; its end takes it along.
                let _its_machine_may_stand_still = running.kill();
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        running.wait().ok().map(regent_lab::exit_code)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _it_is_in_the_temporary_folder = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs a command and collects what it says, for so long.
fn run(mut command: Command, patience: Duration) -> Result<Said> {
    use std::io::Read;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let read = |source: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _what_there_is = source.map(|mut s| s.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
    let err = read(child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
    let end = Instant::now() + patience;
    let code = loop {
        if let Some(status) = child.try_wait()? {
            break Some(regent_lab::exit_code(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Ok(Said { code, out: out.join().unwrap_or_default(), err: err.join().unwrap_or_default() })
}
