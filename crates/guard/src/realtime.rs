//! Being on time on a busy machine: priority, memory, and staying alive when memory runs out.

use std::fs;

use rustix::mm::{MlockAllFlags, mlockall};

use crate::sys;

/// The priority of the thread that keeps the lease.
pub const KEEPER: i32 = 50;
/// The priority of threads that let go at the end of a lease.
pub const RELEASE: i32 = 45;
/// The priority of the daemon's engine, storage and channels.
pub const ENGINE: i32 = 20;

/// Gives the calling thread round-robin scheduling at `priority`; threads and processes that it makes begin as
/// ordinary ones. Says whether the kernel allowed it: without it everything works, less punctually.
pub fn elevate(priority: i32) -> bool {
    let done = sys::schedule_round_robin(priority);
    if let Err(error) = &done {
        tracing::debug!(priority, %error, "no real-time scheduling");
    }
    done.is_ok()
}

/// Locks every page of this process into memory when it is first used, so that none is ever waited for again.
/// Says whether the kernel allowed it.
pub fn lock_memory() -> bool {
    let done = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT);
    if let Err(error) = &done {
        tracing::warn!(%error, "memory is not locked");
    }
    done.is_ok()
}

/// Asks the kernel to look elsewhere when memory runs out. -1000 exempts the process altogether.
pub fn spare_from_oom(score: i32) {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string()) {
        tracing::debug!(%error, "oom_score_adj is as it was");
    }
}
