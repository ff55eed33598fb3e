//! The cluster under torture: its configuration, its lab, and how its machines become one.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use regent_lab::{CLIENT, Cidr, FENCE_AGENT, Lab, LabSpec, MachineSpec, Role, STORAGE_AGENT};
use regent_model::config::parse;

use crate::Result;
use crate::fault::Edit;
use crate::loads::{self, load};
use crate::plan::Head;
use crate::sabotage;

/// A machine that belongs to nobody, on the same networks.
pub(crate) const STRANGER: &str = "stranger";
/// The witness of two nodes.
const WITNESS: &str = "wit";
/// The disk that decides between two nodes, and its area.
pub(crate) const ARBITER_DISK: &str = "/dev/san9";
const AREA: &str = "7f3a9d0c51e24b6886b1c0de93a4f217";
const PATIENCE: Duration = Duration::from_secs(60);

/// The names of the nodes.
pub(crate) fn nodes(head: &Head) -> Vec<String> {
    (1..=head.nodes).map(|n| format!("lx{n}")).collect()
}

/// The nodes and the witness, if there is one.
pub(crate) fn members(head: &Head) -> Vec<String> {
    let witness = (head.nodes == 2 && !head.arbiter_disk).then(|| WITNESS.to_owned());
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
    if head.arbiter_disk {
        let _ = write!(text, "\n[arbiter]\ndisk = \"{ARBITER_DISK}\"\narea = \"{AREA}\"\n");
    }
    let quoted = |names: &[String]| names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ");
    for (name, agent, more) in fences(head) {
        let _ = write!(
            text,
            "\n[[fence]]\nname  = \"{name}\"\nagent = \"{agent}\"\nnodes = [{}]\n{more}",
            quoted(&nodes)
        );
    }
    for (number, name) in head.loads.iter().enumerate() {
        let Some(load) = load(name) else { continue };
        // Every group prefers another node.
        let mut list = nodes.clone();
        list.rotate_left(number % nodes.len());
        // Not more of them than there are nodes: each of those that rotate starts on a node of its own.
        let rotates = !(edition + number as u64).is_multiple_of(2) && number < 4;
        let policy = if rotates { "rotating" } else { "cascading" };
        let _ = write!(
            text,
            "\n[[group]]\nname   = \"{name}\"\nnodes  = [{}]\npolicy = \"{policy}\"",
            quoted(&list)
        );
        if load.device.is_some() {
            text += needs(head);
        }
        text.push('\n');
        if let Some(device) = load.device {
            let _ = write!(
                text,
                "\n  [[group.filesystem]]\n  device = \"{device}\"\n  mount  = \"/srv/{name}\"\n  type   = \"ext4\"\n"
            );
        }
        let _ = write!(text, "\n  [[group.address]]\n  address = \"{}/24\"\n", load.address);
        if let Some(six) = load.six {
            let _ =
                write!(text, "\n  [[group.address]]\n  address   = \"{six}/64\"\n  interface = \"eth0\"\n");
        }
        text += &loads::application(load);
    }
    for name in &head.loads {
        text += loads::instance(name);
    }
    text
}

/// The configuration after it was edited.
pub(crate) fn edited(head: &Head, edition: u64, edit: &Edit) -> String {
    match edit {
        Edit::Next => config(head, edition),
        Edit::Takeover(time) => config(&Head { takeover: time.clone(), ..head.clone() }, edition),
        Edit::Swapped => {
            let [one, two] = ["front", "ledger"]
                .map(|name| load(name).map_or_else(String::new, |l| l.address.to_string()));
            config(head, edition).replace(&one, "IN BETWEEN").replace(&two, &one).replace("IN BETWEEN", &two)
        }
    }
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
        .daemon_command(&["regent", "node", "run"]);
    for (path, text) in loads::files() {
        spec = spec.file(path, 0o755, text);
    }
    spec.programs.push(beside("regent-guard")?);
    spec.programs.push(own.clone());
    let at = |net: u8| vec![Cidr { address: Ipv4Addr::new(10, net, 0, 201).into(), prefix: 24 }];
    spec = sabotage::leave_off(spec, head);
    spec.machines.push(MachineSpec::new(STRANGER, Role::Client, vec![at(77), at(78)]));
    with_six(&mut spec);
    Ok(spec)
}

/// Gives every machine but the witness an IPv6 address on the first network, which reads like its IPv4 one.
fn with_six(spec: &mut LabSpec) {
    for machine in spec.machines.iter_mut().filter(|m| m.role != Role::Witness) {
        let Some(IpAddr::V4(four)) = machine.address(0) else { continue };
        let six: Option<Ipv6Addr> = format!("fd77::{}", four.octets()[3]).parse().ok();
        machine.addresses[0].extend(six.map(|six| Cidr { address: six.into(), prefix: 64 }));
    }
}

/// The fence devices: names, agents, and what else is said of them.
fn fences(head: &Head) -> Vec<(&'static str, &'static str, String)> {
    if head.storage_fence {
        let disks = head.loads.iter().filter_map(|name| load(name)?.device);
        let disks = disks.map(|d| format!("\"{d}\"")).collect::<Vec<_>>().join(", ");
        return vec![("san", STORAGE_AGENT, format!("kind  = \"storage\"\ndisks = [{disks}]\n"))];
    }
    sabotage::fences(head).iter().map(|(name, agent, more)| (*name, *agent, (*more).to_owned())).collect()
}

/// What a group with a disk is content with.
fn needs(head: &Head) -> &'static str {
    match (head.storage_fence, fences(head).is_empty()) {
        (true, _) => "\nneeds  = [\"lease-ended\", \"storage\"]",
        (_, true) => "\nneeds  = [\"lease-ended\"]",
        _ => "",
    }
}

/// The agent of the fence device that may be broken or slow.
pub(crate) fn agent(head: &Head) -> &'static str {
    if head.storage_fence { STORAGE_AGENT } else { FENCE_AGENT }
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
    use crate::generate;
    use regent_model::config::Severity;

    #[test]
    fn every_site_and_edition_is_valid_without_a_warning() {
        for (nodes, number) in (2..=5).flat_map(|nodes| (0..8).map(move |number| (nodes, number))) {
            let loads = loads::LOADS.iter().map(|l| l.name.to_owned()).collect();
            let head = generate::head(1, nodes, loads);
            let (arbiter_disk, storage_fence) = (nodes == 2 && number & 1 != 0, number & 2 != 0);
            let head = Head { takeover: "normal".into(), arbiter_disk, storage_fence, ..head };
            let parsed = parse(&config(&head, number >> 2));
            let wrong = parsed.count(Severity::Error) + parsed.count(Severity::Warning);
            assert_eq!(wrong, 0, "{nodes} nodes: {:?}", parsed.findings);
        }
    }
}
