//! The fence devices of a node, operated by hand: through the agents and the options of the configuration in force.
//!
//! As when Regent fences: what an agent reports is not believed, the device itself has to say that the power is off; and a
//! level with several devices is off only when each of them says so after the last one has cut.

use std::time::{Duration, Instant};

use regent_model::NodeName;
use regent_model::config::{Config, FenceConfig, FenceLevel};

use super::agent::call;
use crate::trouble::{Result, Trouble};

/// What `status` exits with when the power is off.
const IS_OFF: i32 = 2;
const PAUSE: Duration = Duration::from_millis(200);

/// What a device says about a node's power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Power {
    /// It is on.
    On,
    /// It is off.
    Off,
    /// It cannot tell; why.
    Unknown(String),
}

/// The levels of devices that can cut a node's power, in the order in which they are tried. Those that cut off from disks are
/// not for hands: nobody could see what that proves, and a node registers itself.
///
/// # Errors
/// When there is none.
pub fn levels<'a>(config: &'a Config, node: &NodeName) -> Result<Vec<FenceLevel<'a>>> {
    let mut levels = config.fence_levels(node);
    let all = levels.len();
    levels.retain(|level| !level.is_storage());
    if levels.is_empty() && all > 0 {
        let what = format!(
            "{node} has no fence device but such that cut it off from its disks: Regent alone operates them"
        );
        return Err(
            Trouble::refused(what).next(format!("regent fence status {node} shows whether it is registered"))
        );
    }
    if levels.is_empty() {
        return Err(Trouble::refused(format!("no fence device can cut the power of {node}"))
            .next("add a [[fence]] that names it; in a lab, `regent drill --lab` needs none"));
    }
    Ok(levels)
}

/// The devices of a level in words.
#[must_use]
pub fn words(level: &FenceLevel<'_>) -> String {
    let names: Vec<&str> = level.devices.iter().map(|device| device.name.as_str()).collect();
    names.join(" and ")
}

/// Cuts the power of a node by the first of its levels that confirms it.
///
/// # Errors
/// When none does.
pub fn off(config: &Config, node: &NodeName) -> Result<String> {
    let mut failed = Vec::new();
    for level in levels(config, node)? {
        match cut(&level, node).and_then(|()| confirm(&level, node)) {
            Ok(()) => return Ok(format!("the power of {node} is cut, confirmed by {}", words(&level))),
            Err(trouble) => failed.push(trouble.what),
        }
    }
    Err(Trouble::refused(failed.join("; "))
        .next("look at the devices; the node may run on, and the cluster still has it"))
}

/// Tells every device of a level to cut the power of a node, at the same time, and waits until each says that it is off.
///
/// # Errors
/// When one of them does not say so in time.
pub fn cut(level: &FenceLevel<'_>, node: &NodeName) -> Result<()> {
    std::thread::scope(|scope| {
        let works: Vec<_> = level.devices.iter().map(|device| scope.spawn(|| cut_by(device, node))).collect();
        let panicked = || Err(Trouble::refused("a fence device was not operated to the end"));
        works.into_iter().try_for_each(|work| work.join().unwrap_or_else(|_| panicked()))
    })
}

fn cut_by(device: &FenceConfig, node: &NodeName) -> Result<()> {
    let said = call(device, node, "off")?;
    let until = Instant::now() + device.timeout;
    loop {
        let status = call(device, node, "status")?;
        if status.code == Some(IS_OFF) {
            return Ok(());
        }
        if Instant::now() >= until {
            let what = format!("{} does not say that {node} is off", device.name);
            let evidence = format!("off: {}; status: {}", said.in_words(), status.in_words());
            return Err(Trouble::refused(format!("{what}: {evidence}")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks every device of a level once more.
///
/// # Errors
/// When one does not say that the power is off.
pub fn confirm(level: &FenceLevel<'_>, node: &NodeName) -> Result<()> {
    for device in &level.devices {
        if power(device, node)? != Power::Off {
            return Err(Trouble::refused(format!("{} says no more that {node} is off", device.name)));
        }
    }
    Ok(())
}

/// Gives a node its power back, by every device that says it is off.
///
/// # Errors
/// When a device refuses.
pub fn on(config: &Config, node: &NodeName) -> Result<String> {
    let mut done = Vec::new();
    for level in levels(config, node)? {
        // A management board may have no power itself until the feeds are on.
        let off = |device: &&&std::sync::Arc<FenceConfig>| power(device, node).is_ok_and(|p| p == Power::Off);
        let devices: Vec<_> = level.devices.iter().filter(off).collect();
        for device in devices {
            switch_on(device, node)?;
            done.push(device.name.as_str());
        }
    }
    if done.is_empty() {
        return Ok(format!("{node} has power already"));
    }
    let have = if done.len() > 1 { "have" } else { "has" };
    Ok(format!("{} {have} switched {node} on", done.join(" and ")))
}

/// Tells one device to give a node its power back.
///
/// # Errors
/// When it refuses.
pub fn switch_on(device: &FenceConfig, node: &NodeName) -> Result<()> {
    let said = call(device, node, "on")?;
    if said.code == Some(0) {
        return Ok(());
    }
    Err(Trouble::refused(format!("{} does not switch {node} on: {}", device.name, said.in_words()))
        .next(format!("switch {node} on by hand; it returns when it boots")))
}

/// Whether every device of a node's first level can say something about it.
///
/// # Errors
/// When one cannot.
pub fn answers(config: &Config, node: &NodeName) -> Result<()> {
    for device in levels(config, node)?.first().into_iter().flat_map(|level| &level.devices) {
        let why = match power(device, node)? {
            Power::On => continue,
            Power::Off => "it says off".to_owned(),
            Power::Unknown(why) => why,
        };
        let what = format!("the fence device {} does not say that {node} has power: {why}", device.name);
        return Err(Trouble::refused(what)
            .next("mend that first: without it the node could neither be failed nor returned"));
    }
    Ok(())
}

/// Asks a device whether a node has power.
///
/// # Errors
/// When its agent cannot be run.
pub fn power(device: &FenceConfig, node: &NodeName) -> Result<Power> {
    let said = call(device, node, "status")?;
    Ok(match said.code {
        Some(0) => Power::On,
        Some(IS_OFF) => Power::Off,
        _ => Power::Unknown(said.in_words()),
    })
}
