//! The cluster under torture: its configuration, its lab, and how its machines become one.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regent_lab::ledger::LEDGER_PORT;
use regent_lab::{CLIENT, Cidr, FENCE_AGENT, Lab, LabSpec, MachineSpec, Role};
use regent_model::config::parse;

use crate::Result;
use crate::plan::Head;
use crate::sabotage::{leave_off, needs};

/// A machine that belongs to nobody, on the same networks.
pub(crate) const STRANGER: &str = "stranger";
/// The witness of two nodes.
const WITNESS: &str = "wit";
/// What starts PostgreSQL, and makes its data first where there are none.
const PG_START: &str = "/usr/local/sbin/torture-pg";
const PATIENCE: Duration = Duration::from_secs(60);

/// What a group is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
    /// The number of its shared disk.
    pub(crate) device: Option<&'static str>,
}

/// Every load there is.
pub(crate) const LOADS: [Load; 3] = [
    Load { name: "front", address: Ipv4Addr::new(10, 77, 0, 100), device: None },
    Load { name: "ledger", address: Ipv4Addr::new(10, 77, 0, 101), device: Some("/dev/san0") },
    Load { name: "pg", address: Ipv4Addr::new(10, 77, 0, 102), device: Some("/dev/san1") },
];

/// The load of that name.
pub(crate) fn load(name: &str) -> Option<&'static Load> {
    LOADS.iter().find(|l| l.name == name)
}

/// Where PostgreSQL's programs are, if it is installed.
pub(crate) fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).filter(|b| b.join("postgres").exists()).max()
}

/// The loads that can run on this machine.
pub(crate) fn loads_here() -> Vec<String> {
    let there = LOADS.iter().filter(|l| l.name != "pg" || postgresql().is_some());
    there.map(|l| l.name.to_owned()).collect()
}

/// Whether these loads are known and installed.
///
/// # Errors
/// The first that is not.
pub(crate) fn check_loads(loads: &[String]) -> Result<()> {
    for name in loads {
        if load(name).is_none() {
            return Err(format!("there is no load {name}; use front, ledger, pg").into());
        }
        if !loads_here().contains(name) {
            return Err(format!("{name} is not installed here: cargo xtask setup").into());
        }
    }
    Ok(())
}

/// The names of the nodes.
pub(crate) fn nodes(head: &Head) -> Vec<String> {
    (1..=head.nodes).map(|n| format!("lx{n}")).collect()
}

/// The nodes and the witness, if there is one.
pub(crate) fn members(head: &Head) -> Vec<String> {
    let witness = (head.nodes == 2).then(|| WITNESS.to_owned());
    nodes(head).into_iter().chain(witness).collect()
}

/// The configuration. Editions differ in what can be changed while everything runs.
pub(crate) fn config(head: &Head, edition: u64) -> String {
    let nodes = nodes(head);
    let mut text =
        format!("# edition {edition}\n[cluster]\nname     = \"torture\"\ntakeover = \"{}\"\n", head.takeover);
    for (number, name) in members(head).iter().enumerate() {
        let (what, host) = if name == WITNESS { ("witness", 3) } else { ("node", 11 + number) };
        let _ = write!(
            text,
            "\n[[{what}]]\nname      = \"{name}\"\naddresses = [\"10.77.0.{host}\", \"10.78.0.{host}\"]\n"
        );
    }
    let quoted = |names: &[String]| names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    let _ = write!(
        text,
        "\n[[fence]]\nname  = \"power\"\nagent = \"{FENCE_AGENT}\"\nnodes = [{}]\n",
        quoted(&nodes)
    );
    for (number, name) in head.loads.iter().enumerate() {
        let Some(load) = load(name) else { continue };
        // Every group prefers another node.
        let mut list = nodes.clone();
        list.rotate_left(number % nodes.len());
        let policy = if (edition + number as u64).is_multiple_of(2) { "cascading" } else { "rotating" };
        let _ = write!(
            text,
            "\n[[group]]\nname   = \"{name}\"\nnodes  = [{}]\npolicy = \"{policy}\"",
            quoted(&list)
        );
        if load.device.is_some() {
            text += needs(head.sabotage.as_deref());
        }
        text.push('\n');
        if let Some(device) = load.device {
            let _ = write!(
                text,
                "\n  [[group.filesystem]]\n  device = \"{device}\"\n  mount  = \"/srv/{name}\"\n  type   = \"ext4\"\n"
            );
        }
        let _ = write!(text, "\n  [[group.address]]\n  address = \"{}/24\"\n", load.address);
        text += &application(load);
    }
    text
}

fn application(load: &Load) -> String {
    let address = load.address;
    match load.name {
        "ledger" => format!(
            "\n  [[group.application]]\n  name       = \"ledger\"\n  start      = \"exec regent lab ledger serve \
             --listen {address}:{LEDGER_PORT} --file /srv/ledger/ledger\"\n  foreground = true\n"
        ),
        "pg" => format!(
            "\n  [[group.application]]\n  name       = \"postgresql\"\n  \
             start      = \"exec {PG_START} {address}\"\n  stop       = \"runuser -u postgres -- {bin}/pg_ctl -D /srv/pg/data/db -m fast -w stop\"\n  \
             status     = \"{bin}/pg_isready -q -h {address}\"\n  \
             monitor    = {{ interval = \"2s\", timeout = \"5s\", failures = 3 }}\n  foreground = true\n",
            bin = postgresql().unwrap_or_default().display()
        ),
        _ => String::new(),
    }
}

fn pg_start() -> String {
    let bin = postgresql().unwrap_or_default();
    // The pid file of another node's server says nothing here; the proof that came with this ownership does.
    format!(
        "#!/bin/sh\nset -e\ndata=/srv/pg/data/db\nif [ ! -e $data/made ]; then\n  rm -rf $data\n  \
         mkdir -p /srv/pg/data\n  chown postgres /srv/pg/data\n  \
         runuser -u postgres -- {bin}/initdb -D $data -k -A trust >/dev/null\n  \
         echo 'host all all 10.77.0.0/24 trust' >> $data/pg_hba.conf\n  sync -f $data\n  touch $data/made\n  \
         sync -f $data\nfi\nrm -f $data/postmaster.pid\n\
         exec setpriv --reuid=postgres --regid=postgres --init-groups \\\n  \
         {bin}/postgres -D $data -c listen_addresses=$1 -c unix_socket_directories=\n",
        bin = bin.display()
    )
}

/// The lab for it: nodes, witness, client, and a stranger.
///
/// # Errors
/// When the configuration is wrong or the programs are not there.
pub(crate) fn spec(head: &Head, name: &str) -> Result<LabSpec> {
    let text = config(head, 0);
    let parsed = parse(&text);
    let config = parsed.config.ok_or_else(|| format!("the configuration is wrong: {:?}", parsed.findings))?;
    let own = std::env::current_exe()?;
    let beside = |name: &str| -> Result<PathBuf> {
        let path = own.with_file_name(name);
        let missing = || format!("{} is not there: use `cargo xtask torture`", path.display());
        if path.is_file() { Ok(path) } else { Err(missing().into()) }
    };
    let mut spec = LabSpec::from_config(name, &config, &beside("regent")?, &["lab"])?
        .daemon_command(&["regent", "node", "run"])
        .file(PG_START, 0o755, pg_start());
    spec.programs.push(beside("regent-guard")?);
    spec.programs.push(own.clone());
    let at = |net: u8| vec![Cidr { address: Ipv4Addr::new(10, net, 0, 201).into(), prefix: 24 }];
    if let Some(rule) = &head.sabotage {
        spec = leave_off(spec, rule);
    }
    spec.machines.push(MachineSpec::new(STRANGER, Role::Client, vec![at(77), at(78)]));
    Ok(spec)
}

/// Makes one cluster of the machines, by the commands that a user types in them.
///
/// # Errors
/// What the command said that failed.
pub(crate) fn form(lab: &Lab, spec: &LabSpec, head: &Head) -> Result<()> {
    let members = members(head);
    let machine = |name: &str| spec.machine(name).ok_or("no such machine");
    member(lab, machine(&members[0])?, &["init", "torture"])?;
    let end = Instant::now() + PATIENCE;
    while said(lab, &members[0], &["regent", "status", "--json"]).is_err() {
        if Instant::now() > end {
            return Err("the first node does not become a cluster".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    for name in &members[1..] {
        join(lab, machine(name)?, &members[0])?;
    }
    Ok(())
}

/// Has a machine join, with a token of that member.
///
/// # Errors
/// What the command said that failed.
pub(crate) fn join(lab: &Lab, machine: &MachineSpec, by: &str) -> Result<()> {
    let witness = machine.role == Role::Witness;
    let words: &[&str] = if witness { &["regent", "token", "--witness"] } else { &["regent", "token"] };
    let told = said(lab, by, words)?;
    let token = told.split_ascii_whitespace().find(|w| w.starts_with("regent-token-")).unwrap_or(told.trim());
    member(lab, machine, &[if witness { "witness" } else { "join" }, token])
}

fn member(lab: &Lab, machine: &MachineSpec, words: &[&str]) -> Result<()> {
    let mut line: Vec<String> =
        std::iter::once("regent").chain(words.iter().copied()).map(str::to_owned).collect();
    line.extend(["--node".to_owned(), machine.name.clone()]);
    for address in (0..machine.addresses.len()).filter_map(|network| machine.address(network)) {
        line.extend(["--address".to_owned(), address.to_string()]);
    }
    said(lab, &machine.name, &line).map(|_| ())
}

/// Runs a command in a machine that must succeed, and gives what it printed.
///
/// # Errors
/// What it said.
pub(crate) fn said(lab: &Lab, machine: &str, words: &[impl AsRef<str>]) -> Result<String> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let output = lab.output(machine, &words)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` failed on {machine}: {}", words.join(" "), why.trim()).into())
}

/// Every machine with processes of the cluster or of its clients.
pub(crate) fn machines(head: &Head) -> Vec<String> {
    members(head).into_iter().chain([CLIENT.to_owned(), STRANGER.to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use regent_model::config::Severity;

    #[test]
    fn every_site_and_edition_is_valid_without_a_warning() {
        for nodes in 2..=5 {
            let loads = LOADS.iter().map(|l| l.name.to_owned()).collect();
            let head = Head { seed: 1, nodes, takeover: "normal".into(), loads, sabotage: None };
            for edition in 0..2 {
                let parsed = parse(&config(&head, edition));
                let wrong = parsed.count(Severity::Error) + parsed.count(Severity::Warning);
                assert_eq!(wrong, 0, "{nodes} nodes: {:?}", parsed.findings);
            }
        }
    }
}
