//! The one system call that neither the standard library nor rustix makes safely: scheduling.

use std::io;

/// First-in-first-out scheduling for the calling thread and for the threads that it starts.
pub(crate) fn schedule_at_once(priority: i32) -> io::Result<()> {
    let wanted = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads one sched_param from a pointer that is valid for the call; thread 0 is the calling
    // one. The direct call is used because some C libraries refuse this function.
    let done = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const wanted) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
