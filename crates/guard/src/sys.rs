//! The system calls that neither the standard library nor rustix makes: scheduling, and signals as a file.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

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

/// Blocks these signals for the calling thread and for all that it makes from now on, and gives a file that is
/// readable when one has come.
pub(crate) fn signals_as_file(signals: &[i32]) -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set that the calls after it read and write; all pointers are valid for
    // the calls. The descriptor that signalfd returns is new and nobody else's.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        let blocked = libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}
