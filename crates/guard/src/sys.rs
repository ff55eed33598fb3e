//! The system calls that neither the standard library nor rustix makes safely: scheduling, who is at the other end of a
//! local stream, and watchdog devices.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use rustix::ioctl::{Getter, NoArg, Updater, ioctl, opcode};

/// Not in every C library's headers.
const SCHED_RESET_ON_FORK: i32 = 0x4000_0000;

/// Round-robin scheduling for the calling thread, not inherited by what it makes.
pub(crate) fn schedule_round_robin(priority: i32) -> io::Result<()> {
    let wanted = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_RR | SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads one sched_param from a pointer that is valid for the call; thread 0 is the calling
    // one. The direct call is used because some C libraries refuse this function.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const wanted) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Who is at the other end, as it was when it connected. The process number is 0 for a process of another PID
/// namespace, which is why the type that rustix has for this cannot hold it.
pub(crate) fn peer(stream: &UnixStream) -> io::Result<libc::ucred> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut bytes = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: the kernel writes at most `bytes` bytes into `who`, which has so many; both pointers are valid for the
    // call, and every bit pattern is a ucred.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut bytes,
        )
    };
    if done == 0 { Ok(who) } else { Err(io::Error::last_os_error()) }
}

/// `struct watchdog_info` of the kernel.
#[repr(C)]
struct WatchdogInfo {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

/// What the driver of a watchdog device can do: its `WDIOF_` flags.
pub(crate) fn watchdog_options(device: &impl AsFd) -> io::Result<u32> {
    // SAFETY: WDIOC_GETSUPPORT fills one watchdog_info, which is what the type says; every bit pattern is one.
    let info: WatchdogInfo =
        unsafe { ioctl(device, Getter::<{ opcode::read::<WatchdogInfo>(b'W', 0) }, _>::new())? };
    let WatchdogInfo { options, firmware_version: _, identity: _ } = info;
    Ok(options)
}

/// Sets the timeout in seconds; the driver says which it took.
pub(crate) fn watchdog_timeout(device: &impl AsFd, seconds: i32) -> io::Result<i32> {
    let mut seconds = seconds;
    // SAFETY: WDIOC_SETTIMEOUT reads one int and writes it back, and the reference is valid for the call.
    unsafe { ioctl(device, Updater::<{ opcode::read_write::<i32>(b'W', 6) }, _>::new(&mut seconds))? };
    Ok(seconds)
}

/// Feeds the device.
pub(crate) fn watchdog_feed(device: &impl AsFd) -> io::Result<()> {
    // SAFETY: WDIOC_KEEPALIVE ignores its argument.
    unsafe { ioctl(device, NoArg::<{ opcode::read::<i32>(b'W', 5) }>::new())? };
    Ok(())
}
