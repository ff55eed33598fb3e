//! The cluster in a lab: what it consists of, and how its machines become one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_api::{Request, Status};
use regent_lab::ledger::LEDGER_PORT;
use regent_lab::{DEFAULT_DEVICE, FENCE_AGENT, Lab, LabSpec, MachineSpec, Role};
use regent_model::config::{Config, parse};

use crate::client::{self, Client};
use crate::paint::block;
use crate::reach;
use crate::trouble::{Result, Trouble};

/// The service address of the ledger.
pub(super) const SERVICE: &str = "10.77.0.100";
/// The group of a lab that is given no configuration.
pub(super) const GROUP: &str = "ledger";
/// How long a machine may take for one step on the way into the cluster.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many lines of a console are told when something fails.
const CONSOLE_LINES: usize = 12;
/// What a machine runs once it has booted: nothing useful before it belongs to a cluster.
const DAEMON: [&str; 3] = ["regent", "node", "run"];

/// The configuration of a lab that is given none. `regent` is how its machines call this executable.
pub(super) fn default_config(cluster: &str) -> String {
    format!(
        r#"# The cluster of a lab: everything in it is real, but the machines are namespaces.

[cluster]
name     = "{cluster}"
takeover = "normal"

[[node]]
name      = "lx4"
addresses = ["10.77.0.4", "10.78.0.4"]

[[node]]
name      = "lx5"
addresses = ["10.77.0.5", "10.78.0.5"]

[[witness]]
name      = "wit"
addresses = ["10.77.0.3", "10.78.0.3"]

# The lab's power switch: what may be written to by two is taken over only when the owner is off.
[[fence]]
name  = "power"
agent = "{FENCE_AGENT}"
nodes = ["lx4", "lx5"]

[[group]]
name   = "{GROUP}"
nodes  = ["lx4", "lx5"]
policy = "cascading"

  [[group.filesystem]]
  device = "{DEFAULT_DEVICE}"
  mount  = "/srv/ledger"
  type   = "ext4"

  [[group.address]]
  address = "{SERVICE}/24"

  [[group.application]]
  name       = "ledger"
  start      = "exec regent lab ledger serve --listen {SERVICE}:{LEDGER_PORT} --file /srv/ledger/ledger"
  foreground = true
"#
    )
}

/// What is to be built: the configuration's text, what is in it, and the lab for it.
pub(super) struct Plan {
    /// The text.
    pub(super) text: String,
    /// What is in it.
    pub(super) config: Config,
    /// The lab.
    pub(super) spec: LabSpec,
}

impl Plan {
    /// A lab for the configuration with that text; `path` is where it came from.
    ///
    /// # Errors
    /// When the text is no valid configuration, or this executable or the guard's cannot be found.
    pub(super) fn of(name: &str, text: String, path: &str) -> Result<Self> {
        let Some(config) = parse(&text).config else {
            return Err(Trouble::usage(format!("{path} is not valid; no lab was built"))
                .next(format!("regent verify {path}")));
        };
        let regent = own_executable()?;
        let mut spec = LabSpec::from_config(name, &config, &regent, &["lab"])?.daemon_command(&DAEMON);
        spec.programs.push(guard_beside(&regent)?);
        Ok(Self { text, config, spec })
    }
}

fn own_executable() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Trouble::refused(format!("cannot find this executable: {e}")))
}

fn guard_beside(regent: &Path) -> Result<PathBuf> {
    let guard = regent.with_file_name("regent-guard");
    if guard.is_file() {
        return Ok(guard);
    }
    Err(Trouble::refused(format!("the guard's executable is not there: {}", guard.display()))
        .next("install regent and regent-guard into one folder (cargo build --workspace builds both)"))
}

/// Makes one cluster of the lab's machines, by the commands that a user would type in them.
///
/// # Errors
/// What the command said that failed.
pub(super) fn form(lab: &Lab, plan: &Plan, mut tell: impl FnMut(&str) -> Result<()>) -> Result<Client> {
    let members: Vec<&MachineSpec> = plan.spec.machines.iter().filter(|m| m.role != Role::Client).collect();
    let Some((first, others)) = members.split_first() else {
        return Err(Trouble::refused("the lab has no node"));
    };
    let cluster = plan.config.cluster.to_string();
    type_in(lab, first, &["init", &cluster])?;
    let client = reach::in_lab(&lab.status()?, Some(&first.name))?;
    wait_for(&client).map_err(|t| with_console(t, lab, &first.name))?;
    tell(&format!("{} has begun the cluster {cluster}", first.name))?;
    for machine in others {
        let witness = machine.role == Role::Witness;
        let token = client::order(&client, &Request::Token { witness, minutes: None })?;
        type_in(lab, machine, &[if witness { "witness" } else { "join" }, token.trim()])?;
        let way = if witness { "as a witness" } else { "as a node" };
        tell(&format!("{} has joined {way}", machine.name))?;
    }
    client::order(&client, &Request::Apply { text: plan.text.clone(), dry_run: false })?;
    tell("the configuration is in force")?;
    Ok(client)
}

/// Runs `regent WORDS --node NAME --address A ...` in a machine.
fn type_in(lab: &Lab, machine: &MachineSpec, words: &[&str]) -> Result<()> {
    let mut line = vec!["regent".to_owned()];
    line.extend(words.iter().map(|w| (*w).to_owned()));
    line.extend(["--node".to_owned(), machine.name.clone()]);
    for network in 0..machine.addresses.len() {
        if let Some(address) = machine.address(network) {
            line.extend(["--address".to_owned(), address.to_string()]);
        }
    }
    let output = lab.output(&machine.name, &line)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("`regent {}` failed on {}: {}", words[0], machine.name, said.trim());
    Err(with_console(Trouble::refused(what), lab, &machine.name))
}

/// The trouble with what the machine printed last: its console may be gone with the lab when somebody reads this.
pub(super) fn with_console(mut trouble: Trouble, lab: &Lab, machine: &str) -> Trouble {
    let text = std::fs::read(lab.folder().console(machine)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n");
    if !last.is_empty() {
        let _writing_to_a_string_works =
            write!(trouble.what, "\n  the console of {machine}:\n{}", block(&last, "  | ").trim_end());
    }
    trouble
}

/// Waits until a daemon answers and has a majority.
fn wait_for(client: &Client) -> Result<()> {
    wait_until(client, "the daemon runs, but finds no majority", |status| status.quorate)
}

/// Waits until every node and witness is up and votes: until then the cluster cannot do without its founder. The second
/// of two gets no vote where nobody decides between them.
///
/// # Errors
/// When one does not in time.
pub(super) fn wait_for_votes(client: &Client) -> Result<()> {
    wait_until(client, "not every node has got its vote: regent lab status", |status| {
        let has_all = status.nodes.len() != 2 || status.arbiter.is_some();
        status.nodes.iter().all(|n| n.state == "up" && (n.voter || !has_all))
    })
}

fn wait_until(client: &Client, otherwise: &str, is_so: impl Fn(&Status) -> bool) -> Result<()> {
    let began = Instant::now();
    loop {
        let late = began.elapsed() > PATIENCE;
        match client::status(client) {
            Ok(status) if is_so(&status) => return Ok(()),
            Ok(_) if late => return Err(Trouble::unsettled(otherwise)),
            Err(trouble) if late => return Err(trouble),
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regent_model::config::Severity;

    #[test]
    fn the_default_cluster_is_valid_without_a_warning() {
        let parsed = parse(&default_config("lab"));
        assert_eq!(
            parsed.count(Severity::Error) + parsed.count(Severity::Warning),
            0,
            "{:?}",
            parsed.findings
        );
        let config = parsed.config.unwrap();
        assert_eq!(config.groups[0].name.as_str(), GROUP);
        assert_eq!(config.groups[0].addresses[0].address.to_string(), SERVICE);
        let lab = LabSpec::from_config("lab", &config, Path::new("/usr/bin/regent"), &["lab"]).unwrap();
        lab.check().unwrap();
        assert_eq!(
            lab.machines.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
            ["lx4", "lx5", "wit", "client"]
        );
    }
}
