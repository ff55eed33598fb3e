//! The switches of a lab: power, networks, freezing, disks.

use regent_lab::{Direction, DiskState, Lab, Power};
use serde_json::json;

use crate::args_lab::{DiskWord, LabCommand, Way};
use crate::screen::Screen;
use crate::trouble::{Result, Trouble};

/// Works one switch, and says what it did.
///
/// # Errors
/// What the lab says.
pub(super) fn work(lab: &Lab, screen: &Screen, verb: &LabCommand) -> Result<()> {
    let (at, words) = match verb {
        LabCommand::Off { machine } => {
            if lab.status()?.machine(machine).is_some_and(|m| m.power == Power::Off) {
                return Err(Trouble::refused(format!("{machine} is off already"))
                    .next(format!("regent lab on {machine}")));
            }
            (lab.off(machine)?, format!("{machine} has no power"))
        }
        LabCommand::On { machine } => (lab.on(machine)?, format!("{machine} has booted")),
        LabCommand::Cut { machine, network, interface, direction } => {
            let (number, which) = network_of(*network)?;
            let which = interface.clone().unwrap_or(which);
            let (direction, way) = match direction {
                Way::Both => (Direction::Both, "neither hears nor is heard"),
                Way::In => (Direction::In, "hears nothing"),
                Way::Out => (Direction::Out, "is not heard"),
                Way::Cable => (Direction::Cable, "has no carrier"),
            };
            let at = match interface {
                Some(interface) => lab.cut_interface(machine, interface, direction)?,
                None => lab.cut_direction(machine, number, direction)?,
            };
            (at, format!("{machine} {way} on {which}"))
        }
        LabCommand::Lossy { machine, percent, network } => {
            let (number, which) = network_of(*network)?;
            (lab.lossy(machine, number, *percent)?, format!("{machine} loses {percent} % on {which}"))
        }
        LabCommand::Heal { machine, network, interface } => {
            let (number, which) = network_of(*network)?;
            let which = interface.clone().unwrap_or(which);
            let at = match interface {
                Some(interface) => lab.heal_interface(machine, interface)?,
                None => lab.heal(machine, number)?,
            };
            (at, format!("{machine} is connected on {which}"))
        }
        LabCommand::Pause { machine, answering } => {
            let how = if *answering {
                "its kernel, which is this machine's, still answers ARP and TCP for it"
            } else {
                "its network ports are silent too"
            };
            (lab.pause(machine, !answering)?, format!("{machine} is frozen; {how}"))
        }
        LabCommand::Resume { machine } => (lab.resume(machine)?, format!("{machine} goes on")),
        LabCommand::Disk { machine, state, delay, own } => {
            let (state, words) = match state {
                DiskWord::Ok => (DiskState::Ok, "are served".to_owned()),
                DiskWord::Slow => {
                    let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    (DiskState::Slow(ms), format!("take {ms} ms longer each"))
                }
                DiskWord::Hang => (DiskState::Hang, "hang".to_owned()),
                DiskWord::Error => (DiskState::Error, "are refused".to_owned()),
            };
            let (at, disk) = match own {
                true => (lab.own_disk(machine, state)?, "its own disk"),
                false => (lab.disk(machine, state)?, "the shared disk"),
            };
            (at, format!("the requests of {machine} to {disk} {words}"))
        }
        other => return Err(Trouble::usage(format!("{other:?} is no switch of a lab"))),
    };
    screen.value(&json!({ "done": words, "monotonic_ns": at }))?;
    screen.say(&format!("{words}\n"))
}

/// The lab counts networks from 0; people, and `regent status`, from 1.
fn network_of(number: Option<usize>) -> Result<(Option<usize>, String)> {
    match number {
        None => Ok((None, "every network".to_owned())),
        Some(0) => Err(Trouble::usage("networks are counted from 1").next("regent lab status shows them")),
        Some(n) => Ok((Some(n - 1), format!("network {n}"))),
    }
}
