//! Unmounting until the device is shown to be free.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::holders::{self, Elsewhere, Holders};
use crate::mountinfo::{self, DeviceNumber, Mount};
use crate::{device, place};

/// A holder on its way out is given this long before anybody looks for it.
const PATIENCE: Duration = Duration::from_millis(20);
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// The kernel finishes some unmounts after the call has returned.
const FINISHING: Duration = Duration::from_millis(50);

/// The topmost mount of `device` at `point`, if it is mounted there. A device that has vanished is known by
/// its name.
pub(crate) fn find_ours(device: &Path, point: &Path) -> Result<Option<Mount>, String> {
    let place = place::resolve(point)?;
    let number = device::number(device).ok();
    let mounts = mountinfo::own()?;
    let found = mountinfo::at(&mounts, &place).filter(|m| match number {
        Some(number) => place::is_from(m, device, number),
        None => m.source == device || place::is_same_path(&m.source, device),
    });
    Ok(found.cloned())
}

/// Unmounts `mount` once, never lazily. A mount that is gone already is unmounted.
pub(crate) fn once(mount: &Mount) -> Result<(), Errno> {
    match rustix::mount::unmount(&mount.point, UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Unmounts what is mounted on `top`, the deepest first, and says what would not go.
pub(crate) fn nested(top: &Mount) -> Result<(), String> {
    let mounts = mountinfo::own()?;
    for mount in mountinfo::nested(&mounts, top).into_iter().rev() {
        once(mount).map_err(|e| format!("{} on it: {e}", mount.point.display()))?;
    }
    Ok(())
}

/// Sends `signal` to everyone in `holders` but this process and the first process; says to how many.
pub(crate) fn signal_all(holders: &Holders, signal: Signal) -> usize {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let others = holders.processes.iter().filter(|h| h.who.pid != own && h.who.pid != 1);
    others.filter(|h| h.who.signal(signal)).count()
}

/// Shows that the device is free. Wherever it is still mounted, here or in another mount namespace, it is
/// unmounted, and who keeps it busy there is killed: a copy of a mount writes like the mount itself.
///
/// # Errors
/// Who still has it at `until`.
pub(crate) fn show_free(
    device: &Path,
    point: &Path,
    number: Option<DeviceNumber>,
    until: Instant,
) -> Result<(), String> {
    let now = Instant::now();
    let Err(first) = device::wait_free(device, number, until.min(now + FINISHING)) else { return Ok(()) };
    let Some(number) = number.or_else(|| device::number(device).ok()) else {
        // No such device, and nothing of that name is mounted anywhere: there is nothing to let go of.
        return if holders::is_mounted_anywhere(device) { Err(first) } else { Ok(()) };
    };
    loop {
        let holders = holders::find(number, point);
        let mut refusals = unmount_here(number, &holders);
        refusals.extend(holders.elsewhere.iter().filter_map(|e| unmount_in(e).err()));
        let pause = until.min(Instant::now() + FINISHING);
        match device::wait_free(device, Some(number), pause) {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < until => {}
            Err(still) => {
                refusals.insert(0, format!("{still}:\n{holders}"));
                return Err(refusals.join("\n"));
            }
        }
    }
}

/// Unmounts every mount of the device in this namespace, the last made first; says which would not go.
fn unmount_here(number: DeviceNumber, holders: &Holders) -> Vec<String> {
    let mounts = mountinfo::own().unwrap_or_default();
    let ours = mounts.iter().rev().filter(|m| m.device == number);
    ours.filter_map(|mount| {
        let error = once(mount).err()?;
        signal_all(holders, Signal::KILL);
        Some(format!("unmounting {}: {error}", mount.point.display()))
    })
    .collect()
}

/// See [`super::release`].
pub(crate) fn release(device: &Path, point: &Path, deadline: Instant) -> Result<(), String> {
    let mut number = device::number(device).ok();
    let find = || {
        let found = find_ours(device, point)?;
        number = found.as_ref().map(|mount| mount.device).filter(|n| n.0 != 0).or(number);
        Ok(found)
    };
    until_gone(point, find, |mount| holders::find(mount.device, &mount.point), deadline)?;
    show_free(device, point, number, deadline).map_err(|what| not_released(point, &what))
}

/// Unmounts what `find` finds until that is nothing. Who keeps it busy, by `held_by`, is killed.
pub(super) fn until_gone(
    point: &Path,
    mut find: impl FnMut() -> Result<Option<Mount>, String>,
    held_by: impl Fn(&Mount) -> Holders,
    deadline: Instant,
) -> Result<(), String> {
    let mut busy_since = None;
    while let Some(mount) = find()? {
        match once(&mount) {
            Ok(()) => {}
            Err(Errno::BUSY) => {
                let since = *busy_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= PATIENCE {
                    let holders = held_by(&mount);
                    signal_all(&holders, Signal::KILL);
                    let left_on_top = nested(&mount);
                    if Instant::now() >= deadline {
                        let on_top = left_on_top.err().map(|e| format!("\n{e}")).unwrap_or_default();
                        return Err(not_released(point, &format!("it is busy:\n{holders}{on_top}")));
                    }
                } else if Instant::now() >= deadline {
                    return Err(not_released(point, "it is busy"));
                }
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(e) => return Err(not_released(point, &e.to_string())),
        }
    }
    Ok(())
}

fn not_released(point: &Path, what: &str) -> String {
    format!("{} is not released: {what}", point.display())
}

/// Unmounts the device in the namespace of another process, on a thread that goes there and does not return.
fn unmount_in(there: &Elsewhere) -> Result<(), String> {
    let (pid, points) = (there.pid, there.points.clone());
    let go = move || -> Result<(), String> {
        let say = |e: Errno| format!("unmounting it in the mount namespace of process {pid} failed: {e}");
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        let namespace =
            rustix::fs::open(format!("/proc/{pid}/ns/mnt"), flags, rustix::fs::Mode::empty()).map_err(say)?;
        crate::sys::own_file_system_view().map_err(say)?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Mount))
            .map_err(say)?;
        // The points as that process sees them; the /proc over there may be another one, or none.
        for point in points.iter().rev() {
            match rustix::mount::unmount(point, UnmountFlags::NOFOLLOW) {
                Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
                Err(e) => return Err(say(e)),
            }
        }
        Ok(())
    };
    let thread = std::thread::Builder::new().name("regent-unmount".into()).spawn(go);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(format!("unmounting it in the namespace of process {pid} failed")),
        Err(e) => Err(format!("no thread could be made to unmount it in another namespace: {e}")),
    }
}
