//! The floor's hand on a node: makes the bare system calls that a takeover cannot do without, one per word that it
//! reads, and nothing else. No cluster decides anything here.

use std::io::{BufRead, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use regent_agents::acts;
use regent_model::holding::{Act, Holding};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::Result;
use crate::service::{DEVICE, INTERFACE, MOUNT, PREFIX, SERVICE, ledger_words};

const PATIENCE: Duration = Duration::from_secs(10);

/// Reads words from standard input until it ends, obeys each, and answers each with `ok` or with why not.
///
/// # Errors
/// When standard output is gone.
pub(crate) fn work() -> Result<()> {
    let mut ledger: Option<Child> = None;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let done = line?.split(' ').try_for_each(|word| obey(word, &mut ledger));
        match done {
            Ok(()) => writeln!(out, "ok")?,
            Err(why) => writeln!(out, "{}", why.to_string().replace('\n', " "))?,
        }
        out.flush()?;
    }
    Ok(())
}

fn obey(word: &str, ledger: &mut Option<Child>) -> Result<()> {
    let address = IpAddr::V4(SERVICE);
    match word {
        "address" => {
            acts::perform(&Act::add_address(INTERFACE, address, PREFIX))?;
            Ok(acts::announce(INTERFACE, address)?)
        }
        "no-address" => {
            let holding = Holding::address(INTERFACE, address, PREFIX);
            acts::release(&holding, Instant::now() + PATIENCE)?;
            Ok(())
        }
        "mount" => {
            std::fs::create_dir_all(MOUNT)?;
            Ok(mount(DEVICE, MOUNT, "ext4", MountFlags::empty(), c"")?)
        }
        "no-mount" => Ok(unmount(MOUNT, UnmountFlags::empty())?),
        "ledger" => {
            let words = ledger_words(&PathBuf::from(MOUNT));
            *ledger = Some(Command::new(&words[0]).args(&words[1..]).spawn()?);
            Ok(())
        }
        "no-ledger" => {
            if let Some(mut child) = ledger.take() {
                child.kill()?;
                child.wait()?;
            }
            Ok(())
        }
        other => Err(format!("what is {other:?}?").into()),
    }
}
