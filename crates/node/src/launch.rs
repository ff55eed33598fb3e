//! Starting Regent on this machine: by systemd where it runs the machine, by Regent's own supervisor elsewhere.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regent_api::Request;
use regent_guard::Paths;
use regent_guard::lock::Lock;

use crate::client;
use crate::error::{Doing, NodeError, Result};
use crate::os;

/// The environment variable that names the guard's executable.
pub const GUARD_VARIABLE: &str = "REGENT_GUARD";

const GUARD: &str = "regent-guard";
const UNITS: [&str; 3] = ["regent-guard.service", "regent.service", "regent-leave.service"];
/// The log is begun anew when it has grown beyond this.
const LOG_BYTES_MAX: u64 = 4 << 20;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What has refused to run, and is found still ending, is waited for so long.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The command lines of a node's processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// `regent node run`.
    pub supervisor: Vec<OsString>,
    /// `regent node daemon`.
    pub daemon: Vec<OsString>,
    /// `regent-guard`.
    pub guard: Vec<OsString>,
}

/// Who runs Regent on this machine now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It ran already.
    Already,
    /// systemd.
    BySystemd,
    /// Regent's own supervisor, detached; it does not come back by itself after a reboot.
    Detached,
}

impl Launch {
    /// The command lines of this program's installation: this executable, and the guard beside it or where
    /// `REGENT_GUARD` says.
    ///
    /// # Errors
    /// When one of them cannot be found.
    pub fn of_this_program() -> Result<Self> {
        let own = std::env::current_exe().doing(|| "find this executable".to_owned())?;
        let guard = std::env::var_os(GUARD_VARIABLE).map_or_else(|| own.with_file_name(GUARD), PathBuf::from);
        if !guard.is_file() {
            return Err(NodeError::new(format!("the guard's executable is not there: {}", guard.display()))
                .next(format!(
                    "install {GUARD} beside regent, or name it: {GUARD_VARIABLE}=/path/to/{GUARD}"
                )));
        }
        let words = |last: &str| vec![own.clone().into(), "node".into(), last.into()];
        Ok(Self { supervisor: words("run"), daemon: words("daemon"), guard: vec![guard.into()] })
    }

    /// A process of one of these command lines, in the environment of `paths`.
    pub(crate) fn command(words: &[OsString], paths: &Paths) -> Command {
        let (program, arguments) =
            words.split_first().map_or((OsString::new(), &[][..]), |(p, a)| (p.clone(), a));
        let mut command = Command::new(program);
        command.args(arguments).envs(paths.environment()).stdin(Stdio::null());
        command
    }
}

/// Starts Regent on this machine unless it runs already, and waits until its daemon answers.
///
/// # Errors
/// When the machine is no member, when it cannot be started, or when the daemon refuses or gives no answer within
/// the time.
pub fn start(paths: &Paths, launch: &Launch, within: Duration) -> Result<Started> {
    if !paths.identity().exists() {
        return Err(NodeError::new("this machine belongs to no cluster")
            .next("regent init NAME, or: regent join TOKEN"));
    }
    let mut started = begin(paths, launch)?;
    let ends_by = Instant::now() + ENDS_WITHIN;
    wait_for_answer(paths, within, || {
        // What ran already may have been about to end.
        if started == Started::Already && !runs(paths) {
            started = begin(paths, launch)?;
        }
        Ok(started != Started::Already || Instant::now() >= ends_by)
    })?;
    Ok(started)
}

/// Whether a supervisor or a daemon runs.
fn runs(paths: &Paths) -> bool {
    [paths.supervisor_lock(), paths.daemon_lock()].iter().any(|lock| Lock::holder(lock).is_some())
}

fn begin(paths: &Paths, launch: &Launch) -> Result<Started> {
    if runs(paths) {
        return Ok(Started::Already);
    }
    let _none_is_fine = fs::remove_file(paths.refused());
    if os::has_systemd() {
        by_systemd()?;
        return Ok(Started::BySystemd);
    }
    detached(paths, launch)?;
    Ok(Started::Detached)
}

fn by_systemd() -> Result<()> {
    let output = Command::new("systemctl")
        .args(["enable", "--now"])
        .args(UNITS)
        .output()
        .doing(|| "run systemctl".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NodeError::new(format!("systemd does not start {}: {said}", UNITS.join(" and "))).next(format!(
        "install the units of Regent's package into /etc/systemd/system, then: systemctl enable --now {}; or run it \
         in the foreground: regent node run",
        UNITS.join(" ")
    )))
}

fn detached(paths: &Paths, launch: &Launch) -> Result<()> {
    fs::create_dir_all(&paths.run).doing(|| format!("make {}", paths.run.display()))?;
    let log = open_log(&paths.log()).doing(|| format!("open {}", paths.log().display()))?;
    let second = log.try_clone().doing(|| "open the log twice".to_owned())?;
    let mut command = Launch::command(&launch.supervisor, paths);
    command.stdout(log).stderr(second).current_dir("/");
    os::detach(&mut command);
    command.spawn().map(drop).doing(|| "start the supervisor".to_owned())
}

fn open_log(path: &Path) -> std::io::Result<File> {
    let log = OpenOptions::new().create(true).append(true).open(path)?;
    if log.metadata()?.len() > LOG_BYTES_MAX {
        log.set_len(0)?;
    }
    Ok(log)
}

/// `between` says whether a refusal that is found is of what is waited for, and not of what ran before.
fn wait_for_answer(paths: &Paths, within: Duration, mut between: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + within;
    let socket = paths.api_socket();
    loop {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let error = match client::ask(&socket, &Request::Status, left) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if between()?
            && let Ok(why) = fs::read_to_string(paths.refused())
        {
            return Err(NodeError::new(format!("this node refuses to run: {}", why.trim())));
        }
        if Instant::now() >= until {
            let what = format!(
                "Regent was started, but its daemon gives no answer at {}: {error}",
                socket.display()
            );
            let log = if os::has_systemd() {
                "journalctl -u regent -u regent-guard".to_owned()
            } else {
                format!("look at {}", paths.log().display())
            };
            return Err(NodeError::new(what).next(log));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
