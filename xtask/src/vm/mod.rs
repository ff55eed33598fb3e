//! `cargo xtask vm`: two machines with kernels of their own, their watchdogs and a shared disk.
//!
//! What the lab cannot show, because its nodes share the host's kernel: that a machine whose guard is frozen or dead, or
//! whose kernel hangs, is reset by its watchdog before its lease ends, and that a fence device that cuts a real machine
//! is believed. A third machine is an array: its kernel's iSCSI target keeps SCSI-3 reservations, and the unchanged
//! `fence_scsi` cuts a lost owner off there. QEMU computes every instruction (no virtualisation is needed), so it is slow, and nothing for CI.
//!
//! The run lives in namespaces of its own (network, processes, mounts): whatever it started ends with it, however it
//! ends. Downloads and logs are in `vm` of the build folder.

mod guest;
mod journal;
mod ledger;
mod machine;
mod packages;
mod scenes;
mod stage;
mod storage;
mod stray;

use std::fs;
use std::process::Command;

use stage::Disk;

use crate::needs;
use crate::run::{self, cargo, target};

/// What `cargo xtask vm` ends with after a violation, as `cargo xtask torture` does.
const VIOLATION: i32 = 3;

/// In this order: each has machines of its own.
const DISKS: [Disk; 2] = [Disk::Shared, Disk::Array];

const HELP: &str = "\
cargo xtask vm [--only SCENE]...    scenes: ";

/// Plays the scenes.
///
/// # Errors
/// When it cannot run. After a violation the process ends with code 3.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let mut only = Vec::new();
    let mut rest = args.iter();
    let mut inside = None;
    while let Some(arg) = rest.next() {
        match *arg {
            "--inside" => inside = rest.next().copied(),
            "--only" => only.push(rest.next().copied().unwrap_or_default()),
            _ => return Err(help()),
        }
    }
    if only.iter().any(|name| !scenes::NAMES.contains(name)) {
        return Err(help());
    }
    if let Some(word) = inside {
        let disk = DISKS.into_iter().find(|disk| disk.word() == word).ok_or_else(help)?;
        let violations = play(disk, &only)?;
        if violations > 0 {
            std::process::exit(VIOLATION);
        }
        return Ok(());
    }
    needs::install(&needs::VM)?;
    run::step("building", &cargo(), &["build", "--workspace", "--bins"])?;
    packages::Packages::have(&target().join("vm"))?;
    let mut violated = false;
    for disk in DISKS.into_iter().filter(|disk| scenes::of(*disk, &only).next().is_some()) {
        violated |= enter(disk, args)?;
    }
    if violated {
        std::process::exit(VIOLATION);
    }
    Ok(())
}

fn help() -> String {
    format!("{HELP}{}", scenes::NAMES.join(", "))
}

/// The same again for the scenes with this disk, in namespaces that end with this process, and everything in them too. Whether
/// there was a violation.
fn enter(disk: Disk, args: &[&str]) -> Result<bool, String> {
    let own = std::env::current_exe().map_err(|e| format!("cannot find this executable: {e}"))?;
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc"])
        .args(["--kill-child=KILL", "--"])
        .arg(own)
        .args(["vm", "--inside", disk.word()])
        .args(args)
        .status()
        .map_err(|e| format!("setpriv could not be started: {e}"))?;
    match status.code() {
        Some(0) => Ok(false),
        Some(VIOLATION) => Ok(true),
        _ => Err(format!("the machines could not be run ({status})")),
    }
}

fn play(disk: Disk, only: &[&str]) -> Result<usize, String> {
    let folder = target().join("vm/run").join(disk.word());
    let _nothing_from_before = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut stage = stage::Stage::build(&folder, disk)?;
    let report = scenes::play(&mut stage, disk, only);
    stage.end();
    let report = report?;
    println!("\n== report");
    for line in &report.lines {
        println!("   {line}");
    }
    match report.violations {
        0 => println!("   0 violations"),
        n => println!("   {n} VIOLATIONS; everything is in {}", folder.display()),
    }
    Ok(report.violations)
}
