//! Who was cut off from its disk, and lives: what it writes later is refused, and it comes back to the disk in another life.

use std::time::{Duration, Instant};

use super::scenes::{Act, Scene, Wrong};
use super::stage::{BOUND, Stage};
use super::stray::Stray;

/// So many refusals are waited for.
const REFUSALS: usize = 10;

/// Lets the old owner go on, sees what the array does with its writes, and brings it back.
pub(super) fn afterwards(scene: &Scene, stage: &mut Stage, stray: &Stray) -> Result<String, Wrong> {
    let kept = stray.on_disk()?;
    let since = Instant::now();
    let hangs = matches!(scene.act, Act::Shell(_));
    if matches!(scene.act, Act::Qemu(_)) {
        stage.machines[0].power.tell("cont")?;
    }
    let wanted = if hangs { 0 } else { REFUSALS };
    let counted = stray.refused(wanted, Duration::from_secs(60))?;
    let on_disk = stray.on_disk()?;
    if counted.refused < wanted {
        return Err(Wrong::Violation(format!("what it writes late is not refused: {counted:?}")));
    }
    if counted.written_after > 0 || on_disk != kept {
        return Err(Wrong::Violation(format!(
            "what it wrote late is on the disk of another: {counted:?}, write {on_disk} after {kept}"
        )));
    }
    match scene.act {
        Act::Cable => stage.machines[0].lan(&stage.site, true)?,
        // A person sees it, and switches it off and on.
        Act::Shell(_) => stage.machines[0].power.cut(),
        Act::Qemu(_) | Act::Power => {}
    }
    stage.settle()?;
    both_are_registered(stage)?;
    let how = match stage.machines[0].event_after("RESET", since) {
        _ if hangs => "after another boot by hand it is registered again",
        Some(_) => "it reset itself, and is registered again",
        None => "it let go of all that it held, and is registered again",
    };
    let refused = if hangs {
        String::new()
    } else {
        format!("{} late writes refused, none written; ", counted.refused)
    };
    Ok(format!("; {refused}{how}"))
}

fn both_are_registered(stage: &mut Stage) -> Result<(), Wrong> {
    let until = Instant::now() + BOUND;
    loop {
        let said = stage.machines[1].insist("regent fence status; true", Duration::from_secs(60))?;
        if said.matches(" registered").count() == 2 {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Wrong::Violation(format!("not both nodes are registered at the disk again: {said}")));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}
