//! The hands that do what a plan says, and undo it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regent_lab::{DiskState, Power};

use crate::Result;
use crate::fault::{Device, Edit, Fault, Ill, Victim};
use crate::loads;
use crate::operator;
use crate::site::{self, ARBITER_DISK, STRANGER};
use crate::stage::Stage;

/// How long a command of an operator waits for its effect, and how long it may take in all.
const ORDER_WAITS: &str = "20s";
pub(crate) const ORDER_PATIENCE: Duration = Duration::from_secs(110);
/// How long a script in a machine may take.
const SCRIPT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a machine may take to boot or to be off.
const POWER_PATIENCE: Duration = Duration::from_secs(60);

/// Sends a signal to every process whose command line begins so.
fn signal(number: &str, beginnings: &[&str]) -> String {
    let patterns = beginnings.join("|");
    format!(
        "pids=; for p in /proc/[0-9]*; do if tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -Eq '^({patterns})'; \
         then pids=\"$pids ${{p#/proc/}}\"; fi; done; [ -n \"$pids\" ] && kill -{number} $pids"
    )
}

const DAEMON: &str = "[^ ]*regent node daemon";
const GUARD: &str = "[^ ]*regent-guard";

/// Fills the disk of the node's own state, to the last block.
const FILL: &str = "cd /var/lib/regent && { dd if=/dev/zero of=torture.a bs=64k; dd if=/dev/zero of=torture.b bs=512; }; true";
const EMPTY: &str = "rm -f /var/lib/regent/torture.a /var/lib/regent/torture.b";

/// Cuts off the last part of every file of the log, as a disk does that lied about what it had written.
const TEAR: &str = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^[^ ]*regent node daemon' && \
     kill -STOP ${p#/proc/}; done; cd /var/lib/regent/log && for f in *; do s=$(stat -c %s $f); \
     truncate -s $((s - s / 8 - 17)) $f; done; sync -f .";

/// Where the arbiter's disk is while it is hidden.
const HIDDEN: &str = "/dev/.hidden";
/// How long everybody hears a node after its disk was copied.
const HEARD: Duration = Duration::from_secs(1);

fn unhide() -> String {
    format!("[ ! -e {HIDDEN} ] || mv {HIDDEN} {ARBITER_DISK}")
}

/// What came of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// It happened.
    Yes,
    /// It could not happen, mostly because another fault had been quicker.
    Not(String),
    /// An operator's command ended like this.
    Answered { code: i32, words: String },
    /// It did not end.
    Unanswered,
}

/// Does it.
pub(crate) fn begin(stage: &Stage, fault: &Fault) -> Done {
    match try_begin(stage, fault) {
        Ok(done) => done,
        Err(why) => Done::Not(why.to_string()),
    }
}

fn try_begin(stage: &Stage, fault: &Fault) -> Result<Done> {
    let lab = &stage.lab;
    let script = |node: &str, text: &str| {
        let code = stage.script(node, text, SCRIPT_PATIENCE);
        Ok(if code == Some(0) { Done::Yes } else { Done::Not(format!("exit code {code:?}")) })
    };
    match fault {
        Fault::Power(node) => lab.off(node)?,
        Fault::Reset(node) => {
            // It ends with the machine.
            stage.script(node, "exec regent lab reset-line", SCRIPT_PATIENCE);
            return Ok(Done::Yes);
        }
        Fault::Kill(node, victim) => return script(node, &signal("KILL", victims(*victim))),
        Fault::Stop(node, victim) => return script(node, &signal("STOP", victims(*victim))),
        Fault::Blackout => {
            for member in site::members(&stage.head) {
                lab.off(&member)?;
            }
            return Ok(Done::Yes);
        }
        Fault::Freeze(node) => lab.pause(node, false)?,
        Fault::Pause(node) => lab.pause(node, true)?,
        Fault::Cut(node, network, way) => lab.cut_direction(node, *network, *way)?,
        Fault::Flap(node, network) => lab.cut(node, Some(*network))?,
        Fault::Loss(node, percent) => lab.lossy(node, None, *percent)?,
        Fault::Split(nodes) => lab.split(nodes, &[regent_lab::CLIENT, STRANGER])?,
        Fault::Apart(node, others) => {
            let heard = site::machines(&stage.head).into_iter().filter(|m| m != node && !others.contains(m));
            lab.split(&[node], &heard.collect::<Vec<_>>())?
        }
        Fault::San(_, Ill::Error) if may_fail(stage).is_empty() => {
            return Ok(Done::Not("no service here minds errors of its disk".into()));
        }
        Fault::San(node, Ill::Error) => those_that_may_fail(stage, node, DiskState::Error)?,
        Fault::San(node, ill) => lab.disk(node, state(*ill))?,
        Fault::ArbiterDisk(node, None) => return script(node, &format!("mv {ARBITER_DISK} {HIDDEN}")),
        Fault::ArbiterDisk(node, Some(ill)) => lab.single_disk(node, ARBITER_DISK.as_ref(), state(*ill))?,
        Fault::StateDisk(node, ill) => lab.own_disk(node, state(*ill))?,
        Fault::PutBack(node) => lab.put_own_disk_back(node, &stage.copy_of(node))?,
        Fault::FullDisk(node) => return script(node, FILL),
        Fault::Torn(node) => {
            let torn = stage.script(node, TEAR, SCRIPT_PATIENCE);
            lab.off_and_wait(node)?;
            return Ok(if torn == Some(0) { Done::Yes } else { Done::Not(format!("exit code {torn:?}")) });
        }
        Fault::Duplicate(group) => return script(STRANGER, &duplicate(group, "add")),
        Fault::DuplicateSix(group) => return script(STRANGER, &duplicate_six(group, "add")),
        Fault::Fence(device) => return Ok(fence(stage, Some(*device))),
        Fault::KillApplication(group) => return kill_application(stage, group),
        Fault::Order(node, words) => return Ok(order(stage, node, words)),
        Fault::Join(node) => return Ok(join(stage, node)),
        Fault::Apply(node, edit) => return Ok(apply(stage, node, edit)),
    };
    Ok(Done::Yes)
}

/// The disks of services that mind errors, and the one that decides.
fn may_fail(stage: &Stage) -> Vec<&'static str> {
    let arbiter = stage.head.arbiter_disk.then_some(ARBITER_DISK);
    loads::may_fail(&stage.head.loads).chain(arbiter).collect()
}

/// Sets the switch on the way to each of those disks; when the last was set.
fn those_that_may_fail(stage: &Stage, node: &str, state: DiskState) -> Result<u64> {
    let set = |_, disk: &str| Ok(stage.lab.single_disk(node, disk.as_ref(), state)?);
    may_fail(stage).into_iter().try_fold(0, set)
}

fn victims(victim: Victim) -> &'static [&'static str] {
    match victim {
        Victim::Daemon => &[DAEMON],
        Victim::Guard => &[GUARD],
        Victim::Both => &[DAEMON, GUARD],
    }
}

fn state(ill: Ill) -> DiskState {
    match ill {
        Ill::Slow => DiskState::Slow(120),
        Ill::Hang => DiskState::Hang,
        Ill::Error => DiskState::Error,
    }
}

fn duplicate(group: &str, verb: &str) -> String {
    let address = loads::load(group).map_or_else(String::new, |l| l.address.to_string());
    format!("exec ip addr {verb} {address}/32 dev eth0")
}

fn duplicate_six(group: &str, verb: &str) -> String {
    let six = loads::load(group).and_then(|l| l.six);
    let nodad = if verb == "add" { " nodad" } else { "" };
    six.map_or_else(String::new, |six| format!("exec ip addr {verb} {six}/128 dev eth0{nodad}"))
}

/// Keeps a copy of the disk of every node that this round puts back, has something decided that the copy does not know, and
/// leaves time to hear that everywhere.
///
/// # Errors
/// When the copy cannot be made.
pub(crate) fn copy(stage: &Stage, faults: &mut dyn Iterator<Item = &Fault>) -> Result<()> {
    let mut made = false;
    for fault in faults {
        if let Fault::PutBack(node) = fault {
            stage.lab.copy_own_disk(node, &stage.copy_of(node))?;
            made = true;
        }
    }
    if made {
        let edition = stage.edition.load(std::sync::atomic::Ordering::SeqCst) + 1;
        stage.apply(&site::nodes(&stage.head)[0], edition)?;
        std::thread::sleep(HEARD);
    }
    Ok(())
}

/// What stands for the fence agent on every node while the device is not well; without a word, the agent itself.
fn fence(stage: &Stage, device: Option<Device>) -> Done {
    let agent = site::agent(&stage.head);
    let text = match device {
        Some(Device::Broken) => "echo 'Connection timed out' >&2\nexit 1\n".to_owned(),
        Some(Device::Slow) => format!("sleep 4\nexec {agent}.well\n"),
        None => String::new(),
    };
    // The agent itself is put aside once in a boot, and never moved: several such faults may overlap.
    let script = match device {
        Some(_) => format!(
            "[ -e {agent}.well ] || cp -p {agent} {agent}.well; printf '%s' {} > {agent}.new; \
             chmod 755 {agent}.new; mv {agent}.new {agent}",
            quoted(&format!("#!/bin/sh\n{text}"))
        ),
        None => {
            format!("[ ! -e {agent}.well ] || {{ cp -p {agent}.well {agent}.old; mv {agent}.old {agent}; }}")
        }
    };
    let mut failed = Vec::new();
    for node in site::members(&stage.head) {
        if stage.script(&node, &script, Duration::from_secs(5)) != Some(0) {
            failed.push(node);
        }
    }
    if failed.is_empty() { Done::Yes } else { Done::Not(format!("not on {}", failed.join(", "))) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn kill_application(stage: &Stage, group: &str) -> Result<Done> {
    let status = stage.status().ok_or("nobody knows who owns it")?;
    let owner = status.groups.iter().find(|g| g.name.as_str() == group).and_then(|g| g.owner.clone());
    let owner = owner.ok_or("nobody owns it")?;
    let text = format!(
        "for f in \"${{REGENT_CGROUP_ROOT:-/sys/fs/cgroup}}\"/regent/{group}/*/cgroup.kill; do echo 1 > $f; done"
    );
    let code = stage.script(owner.as_str(), &text, SCRIPT_PATIENCE);
    Ok(if code == Some(0) { Done::Yes } else { Done::Not(format!("exit code {code:?} on {owner}")) })
}

fn order(stage: &Stage, node: &str, words: &[String]) -> Done {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["--wait", ORDER_WAITS]);
    if words.starts_with(&["node", "remove"]) {
        // It goes on also when its command was not told so.
        stage.removed.store(true, std::sync::atomic::Ordering::SeqCst);
        words.push("--yes");
    }
    answered(stage.regent(node, &words, ORDER_PATIENCE))
}

/// Brings a member in again that was removed, if it was.
fn join(stage: &Stage, node: &str) -> Done {
    let is_member = stage.status().is_none_or(|s| s.nodes.iter().any(|n| n.name.as_str() == node));
    match is_member {
        true => Done::Not("it is a member, or nobody knows".into()),
        false if operator::start_by_hand(stage, node, &mut |_| {}) => Done::Yes,
        false => Done::Not("it does not start".into()),
    }
}

fn apply(stage: &Stage, node: &str, edit: &Edit) -> Done {
    let edition = stage.edition.load(std::sync::atomic::Ordering::SeqCst) + 1;
    let file = stage.folder.join(format!("edition-{edition}.toml"));
    if let Err(why) = std::fs::write(&file, site::edited(&stage.head, edition, edit)) {
        return Done::Not(why.to_string());
    }
    stage.edition.store(edition, std::sync::atomic::Ordering::SeqCst);
    let words = ["apply", &file.to_string_lossy(), "--wait", ORDER_WAITS];
    answered(stage.regent(node, &words, ORDER_PATIENCE))
}

fn answered(said: crate::stage::Said) -> Done {
    let words = format!("{}{}", said.out, said.err).trim().to_owned();
    said.code.map_or(Done::Unanswered, |code| Done::Answered { code, words })
}

/// Undoes it.
pub(crate) fn end(stage: &Stage, fault: &Fault) {
    let lab = &stage.lab;
    // Another fault may have been in between; peace makes everything whole again in any case.
    let _made_whole_at_the_end = match fault {
        Fault::Power(node) | Fault::Torn(node) | Fault::PutBack(node) => power_on(stage, node).map(|()| 0),
        Fault::Blackout => {
            let powered = site::members(&stage.head).iter().try_for_each(|member| power_on(stage, member));
            powered.map(|()| 0)
        }
        Fault::Stop(node, victim) => {
            stage.script(node, &signal("CONT", victims(*victim)), SCRIPT_PATIENCE);
            Ok(0)
        }
        Fault::Freeze(node) | Fault::Pause(node) => lab.resume(node).map_err(Into::into),
        Fault::Cut(node, network, _) => lab.heal(node, *network).map_err(Into::into),
        Fault::Flap(node, network) => lab.heal(node, Some(*network)).map_err(Into::into),
        Fault::Loss(node, _) => lab.lossy(node, None, 0).map_err(Into::into),
        Fault::Split(_) | Fault::Apart(..) => lab.join().map_err(Into::into),
        Fault::San(node, Ill::Error) => those_that_may_fail(stage, node, DiskState::Ok),
        Fault::San(node, _) => lab.disk(node, DiskState::Ok).map_err(Into::into),
        Fault::ArbiterDisk(node, None) => {
            stage.script(node, &unhide(), SCRIPT_PATIENCE);
            Ok(0)
        }
        Fault::ArbiterDisk(node, _) => {
            lab.single_disk(node, ARBITER_DISK.as_ref(), DiskState::Ok).map_err(Into::into)
        }
        Fault::StateDisk(node, _) => lab.own_disk(node, DiskState::Ok).map_err(Into::into),
        Fault::FullDisk(node) => {
            stage.script(node, EMPTY, SCRIPT_PATIENCE);
            Ok(0)
        }
        Fault::Duplicate(group) => {
            stage.script(STRANGER, &duplicate(group, "del"), SCRIPT_PATIENCE);
            Ok(0)
        }
        Fault::DuplicateSix(group) => {
            stage.script(STRANGER, &duplicate_six(group, "del"), SCRIPT_PATIENCE);
            Ok(0)
        }
        Fault::Fence(_) => {
            fence(stage, None);
            Ok(0)
        }
        _ => Ok::<u64, Box<dyn std::error::Error + Send + Sync>>(0),
    };
}

/// One beat of a network that flaps.
pub(crate) fn beat(stage: &Stage, node: &str, network: usize, cut: bool) {
    let _its_machine_may_be_off = match cut {
        true => stage.lab.cut(node, Some(network)),
        false => stage.lab.heal(node, Some(network)),
    };
}

/// Gives a machine power, if it has none.
///
/// # Errors
/// When it does not boot in time.
pub(crate) fn power_on(stage: &Stage, node: &str) -> Result<()> {
    let end = Instant::now() + POWER_PATIENCE;
    loop {
        let power = stage.lab.status()?.machine(node).map(|m| m.power);
        match power {
            Some(Power::On) => return Ok(()),
            Some(Power::Off) => {
                let _somebody_may_have_been_quicker = stage.lab.on(node);
            }
            _ => {}
        }
        if Instant::now() >= end {
            return Err(format!("{node} does not boot").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lifts every fault that there is, of machines, cables, disks and devices.
pub(crate) fn lift(stage: &Stage) {
    let lab = &stage.lab;
    let _peace_looks_again = lab.join();
    for machine in site::machines(&stage.head) {
        let _off = lab.resume(&machine);
        let _off = lab.heal(&machine, None);
    }
    for member in site::members(&stage.head) {
        let _off = lab.own_disk(&member, DiskState::Ok);
        let _off_or_no_disk = lab.disk(&member, DiskState::Ok);
        let _off_or_no_disk = those_that_may_fail(stage, &member, DiskState::Ok);
        let _off = power_on(stage, &member);
        let mut mend = format!("{}; {EMPTY}", signal("CONT", &[DAEMON, GUARD]));
        if stage.head.arbiter_disk {
            mend += &format!("; {}", unhide());
        }
        stage.script(&member, &mend, SCRIPT_PATIENCE);
    }
    for group in &stage.head.loads {
        let both = format!("{}; {}", duplicate(group, "del"), duplicate_six(group, "del"));
        stage.script(STRANGER, &format!("{} 2>/dev/null; true", both.replace("exec ", "")), SCRIPT_PATIENCE);
    }
    fence(stage, None);
}

/// Starts a command in the client that goes on by itself, with its output in a file.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn in_the_client(
    stage: &Stage,
    script: &str,
    out: &std::path::Path,
) -> Result<regent_lab::Running> {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(std::fs::File::create(out)?);
    Ok(stage.lab.spawn(regent_lab::CLIENT, command)?)
}
