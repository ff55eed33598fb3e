//! The test stand: one lab with one contestant in it.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_lab::{CLIENT, Lab, LabSpec, Power, Role};

use crate::contestant::Contestant;
use crate::service::{Kind, service_at};
use crate::watch::node_of;
use crate::{Result, interrupt};

/// How long a contestant may take until all is well, at the beginning and after a fault.
const PATIENCE: Duration = Duration::from_secs(150);
/// All is well only after it has been so long.
const HOLD: Duration = Duration::from_millis(1_000);

/// What a node runs when it boots.
const BOOT: &str = "/usr/local/sbin/bench-boot";

/// A lab with a contestant in it. Dropping it takes the lab down.
pub(crate) struct Stand<'a> {
    pub(crate) lab: Lab,
    pub(crate) contestant: &'a dyn Contestant,
}

impl Drop for Stand<'_> {
    fn drop(&mut self) {
        interrupt::current(None);
    }
}

/// An empty lab: two nodes, a witness, a client, a shared disk, and the programs.
pub(crate) fn empty_lab() -> Result<LabSpec> {
    let own = std::env::current_exe()?;
    let beside = |name: &str| -> Result<PathBuf> {
        let path = own.with_file_name(name);
        let missing = || format!("{} is not there: use `cargo xtask bench takeover`", path.display());
        if path.is_file() { Ok(path) } else { Err(missing().into()) }
    };
    let name = format!("bench-{}", std::process::id());
    let mut spec = LabSpec::default_two_nodes(&name, &beside("regent")?, &["lab"]);
    spec.programs = vec![beside("regent-guard")?, own];
    Ok(spec)
}

/// Has the machines of a role run a shell script at every boot.
pub(crate) fn at_boot(spec: &mut LabSpec, role: Role, script: &str) {
    for machine in spec.machines.iter_mut().filter(|m| m.role == role) {
        machine.command = vec![BOOT.to_owned()];
        machine.files.push(regent_lab::SeedFile {
            path: BOOT.into(),
            mode: 0o755,
            content: format!("#!/bin/sh\n{script}").into_bytes(),
        });
    }
}

/// The line that starts what answers on both nodes all the time, where the group is an address only.
pub(crate) fn answering(kind: Kind) -> String {
    let at = service_at();
    if kind == Kind::Address { format!("regent-bench answer {at} &\n") } else { String::new() }
}

impl<'a> Stand<'a> {
    /// Builds the lab, forms the cluster, and waits until all is well.
    ///
    /// # Errors
    /// What kept it from coming up, with what the nodes printed last.
    pub(crate) fn up(contestant: &'a dyn Contestant) -> Result<Self> {
        let mut spec = empty_lab()?;
        contestant.prepare(&mut spec);
        interrupt::current(Some(regent_lab::Folder::of(&spec.name)?));
        let lab = Lab::up_leashed(&spec)?;
        let stand = Self { lab, contestant };
        contestant.form(&stand.lab).and_then(|()| stand.settle()).map_err(|why| {
            let consoles = stand.consoles();
            format!("{why}{consoles}")
        })?;
        Ok(stand)
    }

    fn consoles(&self) -> String {
        let mut text = String::new();
        for machine in ["lx4", "lx5", "wit"] {
            let said = std::fs::read(self.lab.folder().console(machine)).unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(12)..].join("\n  | ");
            if !last.is_empty() {
                text += &format!("\n  the console of {machine}:\n  | {last}");
            }
        }
        text
    }

    /// Waits until all has been well for a while.
    ///
    /// # Errors
    /// When that does not come true.
    pub(crate) fn settle(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut well: Option<Instant> = None;
        while Instant::now() < end {
            if self.contestant.is_steady(&self.lab) && self.who_answers().is_some() {
                if well.get_or_insert_with(Instant::now).elapsed() >= HOLD {
                    return Ok(());
                }
            } else {
                well = None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("it does not settle".into())
    }

    /// The node that answers the client now.
    pub(crate) fn who_answers(&self) -> Option<String> {
        let asked = self.lab.thread_on(CLIENT, "ask", || {
            let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
            socket.set_read_timeout(Some(Duration::from_millis(250))).ok()?;
            socket.send_to(b"0", service_at()).ok()?;
            let mut heard = [0; 200];
            let length = socket.recv(&mut heard).ok()?;
            Some(node_of(&String::from_utf8_lossy(&heard[..length])).to_owned())
        });
        asked.ok()?.join().ok()??
    }

    /// Boots a node unless a fence device has done so already.
    ///
    /// # Errors
    /// When it does not boot.
    pub(crate) fn power_on(&self, node: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let status = self.lab.status()?;
            match status.machine(node).map(|m| m.power) {
                Some(Power::Off) => {
                    // A fence device may be quicker: then it is on, which is what is wanted.
                    let _seen_in_the_next_round = self.lab.on(node);
                }
                Some(Power::On) => break,
                _ if Instant::now() > end => return Err(format!("{node} does not boot").into()),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        self.contestant.booted(&self.lab, node)
    }

    /// Heals every network of a node. One that is just being fenced has no ports for a moment. Gives the time.
    ///
    /// # Errors
    /// When it cannot be healed.
    pub(crate) fn heal(&self, node: &str) -> Result<u64> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            match self.lab.heal(node, None) {
                Ok(at) => return Ok(at),
                Err(why) if Instant::now() > end => return Err(why.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Every process of a machine: its number on the host, and its command line.
    pub(crate) fn processes(&self, machine: &str) -> Result<Vec<(u32, String)>> {
        let status = self.lab.status()?;
        let group = &status.machine(machine).ok_or("no such machine")?.cgroup;
        let mut found = Vec::new();
        collect(group, &mut found);
        Ok(found)
    }
}

fn collect(group: &Path, found: &mut Vec<(u32, String)>) {
    let numbers = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for number in numbers.lines().filter_map(|l| l.parse().ok()) {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ");
        found.push((number, words));
    }
    let Ok(entries) = std::fs::read_dir(group) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        collect(&entry.path(), found);
    }
}
