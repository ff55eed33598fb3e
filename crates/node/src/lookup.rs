//! Looking users and groups up without being held up by a directory service that does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long the machine's database of users may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(3);
/// Lookups at the same time: as many as there are places for clients. Those that hang keep theirs.
const AT_ONCE: usize = 64;

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What this finds, if it finds it in time. It is not ended when it does not: a call into the C library cannot be.
pub(crate) fn in_time<T: Send + 'static>(
    within: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let busy = UNDER_WAY.fetch_add(1, Ordering::Relaxed);
    let place = Place;
    if busy >= AT_ONCE {
        return None;
    }
    let (sender, found) = sync_channel(1);
    let work = move || {
        let _until_it_is_done = place;
        let _nobody_waits_any_more = sender.try_send(look());
    };
    std::thread::Builder::new().name("lookup".into()).spawn(work).ok()?;
    found.recv_timeout(within).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_not_waited_for_and_hinders_nobody_else() {
        let (end, wait) = sync_channel::<()>(0);
        let hangs = move || wait.recv().is_ok();
        assert_eq!(in_time(Duration::from_millis(10), hangs), None);
        assert_eq!(in_time(Duration::from_secs(30), || 7), Some(7));
        drop(end);
    }
}
