//! The raw system calls that make a node act for a group, and those that end it.
//!
//! Only the guard performs ([`perform`]), because only it knows at every instant whether the lease is valid.
//! Releasing is never dangerous: the guard does it at the end of a lease, and the daemon in an orderly stop.
//! Everything here works in the network, mount and PID namespaces of the calling thread, and may take as long
//! as the kernel takes: a caller that must go on calls from a thread of its own.

mod address;
pub(crate) mod bind;
mod mount;
mod options;
mod route;
pub(crate) mod unmount;

use std::time::{Duration, Instant};

use regent_model::holding::{Act, Holding};

pub(crate) use address::{is_unusable, put_up};

pub use crate::announce::announce;

/// Performs an act. Doing it again when it is done already changes nothing and is no error.
///
/// # Errors
/// Why it could not be done, in the kernel's own words where it has any. Nothing of the act is left behind.
pub fn perform(act: &Act) -> Result<(), String> {
    match act {
        Act::AddAddress { interface, address, prefix, broadcast, label, replaces, from, leads } => {
            address::Addition {
                interface,
                address: *address,
                prefix: *prefix,
                broadcast: *broadcast,
                label: label.as_deref(),
                replaces: *replaces,
                from: from.as_ref(),
                leads: *leads,
            }
            .perform()
        }
        Act::Mount { device, mount, fstype, options } => mount::mount(device, mount, fstype, options),
        Act::Bind { folder, mount, options } => bind::bind(folder, mount, options),
    }
}

/// Lets go of a holding and shows that it is gone; says how long that took. What is not there is let go of
/// already.
///
/// - An address is deleted, and seen to be gone. A boot address whose place it took comes back before; if that
///   fails, the address goes all the same.
/// - A control group's processes get `SIGTERM` and the holding's grace (none = none), then `cgroup.kill`; its
///   folders are removed once the kernel says that they are empty.
/// - A file system is unmounted, never lazily. Whoever keeps it busy, the calling process excepted, is
///   killed: the end of a lease leaves only that or a reset of the machine. Then the device is claimed for a
///   moment, which shows that no mount is left; where one is, at another point or in another mount namespace,
///   it is unmounted too.
/// - A folder that was put elsewhere is unmounted there; who works in it there is killed. The file system that holds
///   it is another holding.
///
/// # Errors
/// What is still there at `deadline`, and why. What was let go of until then stays let go.
pub fn release(holding: &Holding, deadline: Instant) -> Result<Duration, String> {
    let begun = Instant::now();
    match holding {
        Holding::Address { interface, address, prefix, replaces } => {
            address::remove(interface, *address, *prefix, *replaces)?;
        }
        Holding::Cgroup { path, grace } => crate::cgroup::end(path, *grace, deadline)?,
        Holding::Mount { device, mount } => unmount::release(device, mount, deadline)?,
        Holding::Bind { folder, mount } => bind::release(folder, mount, deadline)?,
    }
    Ok(begun.elapsed())
}
