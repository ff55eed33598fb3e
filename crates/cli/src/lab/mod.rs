//! `regent lab`: a whole cluster on this machine, from the command line.

mod cluster;
mod demo;
mod gaps;
mod show;
mod story;
mod switches;
mod up;

use regent_lab::{Folder, Lab};
use serde_json::json;

use crate::args::Global;
use crate::args_lab::{LabArgs, LabCommand};
use crate::reach;
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

pub use gaps::{Gaps, gap_line};
pub use show::{machines, machines_json};

/// The name of a lab that is given none.
pub const DEFAULT_NAME: &str = "lab";

/// Does what the words after `regent lab` say, and gives the exit code.
///
/// # Errors
/// What went wrong, and what to type next.
pub fn run(screen: &Screen, global: &Global, args: &LabArgs) -> Result<u8> {
    let name = args.name.clone().or_else(|| global.lab.clone().filter(|l| !l.is_empty()));
    let name = name.as_deref();
    let lab = || reach::attach(name);
    match &args.verb {
        LabCommand::Up { file, put, disk, arbiter_disk } => {
            let more = up::More { put, disk, arbiter_disk: arbiter_disk.as_deref() };
            up::up(screen, name, file.as_deref(), &more)?;
        }
        LabCommand::Down { all } => down(screen, name, *all)?,
        LabCommand::Run { machine, command } => {
            let code = lab()?.run(machine, command)?;
            return Ok(u8::try_from(code).unwrap_or(Exit::Refused as u8));
        }
        LabCommand::Probe(probe) => gaps::probe(&lab()?, screen, probe)?,
        LabCommand::Status => show::status(&lab()?, screen)?,
        LabCommand::List => show::list(screen)?,
        LabCommand::Demo { keep } => demo::demo(screen, name, *keep)?,
        switch => switches::work(&lab()?, screen, switch)?,
    }
    Ok(Exit::Done as u8)
}

/// Ends one lab, or all; one whose processes are gone is cleared away.
fn down(screen: &Screen, name: Option<&str>, all: bool) -> Result<()> {
    let labs = regent_lab::all_labs();
    let names = if all { labs } else { vec![reach::lab_name(name, &labs)?] };
    let mut failed = None;
    for name in &names {
        match Folder::of(name).and_then(|folder| regent_lab::down(&folder)) {
            Ok(()) => screen.say(&format!("the lab {name} is gone; nothing of it is left\n"))?,
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    if names.is_empty() {
        screen.say("there is no lab on this machine\n")?;
    }
    screen.value(&json!({ "down": names }))
}

/// Labs need root: namespaces, mounts, loop devices.
fn need_root() -> Result<()> {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = text.lines().find_map(|l| l.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if user == Some("0") {
        return Ok(());
    }
    Err(Trouble::refused("a lab needs root: it makes namespaces, mounts and loop devices")
        .next("the same with sudo in front"))
}

/// The words with which the user names this lab elsewhere.
fn option(lab: &Lab) -> String {
    let name = lab.folder().path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if regent_lab::all_labs().len() == 1 { "--lab".to_owned() } else { format!("--lab={name}") }
}
