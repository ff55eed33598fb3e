//! Something slow that many ask for: one does it at a time, and each gets what was begun after it asked. What was begun
//! before may not have seen what the asker has just changed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who asks, and whose turn it is. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<(Mutex<Count>, Condvar)>);

#[derive(Default)]
struct Count {
    begun: u64,
    ended: u64,
    /// When the last one began.
    since: Option<Instant>,
}

/// A turn. It is over when this is dropped.
pub(crate) struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.count().ended += 1;
        self.0.0.1.notify_all();
    }
}

impl Turns {
    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a turn is over that began after this was called: `begin` begins it, unless somebody else did.
    /// Whoever waits does so no longer than `within`, and not at all for a turn that hangs since longer than that.
    ///
    /// # Errors
    /// Those of `begin`, whose turn is over then.
    pub(crate) fn next(
        &self,
        within: Duration,
        begin: impl FnOnce(Turn) -> io::Result<()>,
    ) -> io::Result<()> {
        let until = Instant::now() + within;
        let mut count = self.count();
        let wanted = count.begun + 1;
        let mut begin = Some(begin);
        while count.ended < wanted {
            if count.begun == count.ended
                && let Some(begin) = begin.take()
            {
                count.begun += 1;
                count.since = Some(Instant::now());
                drop(count);
                begin(Turn(self.clone()))?;
                count = self.count();
                continue;
            }
            let hangs = count.since.map_or(until, |since| since + within);
            let left = hangs.min(until).saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            count = self.0.1.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn who_asks_while_somebody_looks_gets_what_was_begun_after_it_asked() {
        let (turns, thing) = (Turns::default(), Arc::new(AtomicU32::new(1)));
        // A look that has seen the thing, and has not told yet.
        let (mut first, early) = (None, thing.load(Ordering::SeqCst));
        turns
            .next(Duration::ZERO, |turn| {
                first = Some(turn);
                Ok(())
            })
            .unwrap();
        thing.store(2, Ordering::SeqCst);
        let (tell, told) = channel();
        let askers: Vec<_> = (0..3)
            .map(|_| {
                let (turns, thing, tell) = (turns.clone(), thing.clone(), tell.clone());
                thread::spawn(move || {
                    let look = |turn| {
                        tell.send(thing.load(Ordering::SeqCst)).unwrap();
                        drop(turn);
                        Ok(())
                    };
                    turns.next(LONG, look).unwrap();
                })
            })
            .collect();
        drop(tell);
        assert!(told.recv_timeout(SHORT).is_err(), "one at a time");
        drop(first);
        askers.into_iter().for_each(|asker| asker.join().unwrap());
        let seen: Vec<u32> = told.iter().collect();
        assert!((1..=3).contains(&seen.len()) && seen.iter().all(|s| *s > early), "{seen:?}");
    }

    #[test]
    fn a_turn_that_hangs_is_waited_for_once_and_no_other_is_begun_beside_it() {
        const PATIENCE: Duration = Duration::from_secs(1);
        let (turns, mut hanging) = (Turns::default(), None);
        let hang = |turn| {
            hanging = Some(turn);
            Ok(())
        };
        turns.next(PATIENCE, hang).unwrap();
        let asked = Instant::now();
        turns.next(PATIENCE, |_| unreachable!("one hangs")).unwrap();
        assert!(asked.elapsed() < PATIENCE, "who came first has waited for it");
        drop(hanging);
        let mut begun = false;
        let begin = |_| {
            begun = true;
            Ok(())
        };
        turns.next(LONG, begin).unwrap();
        assert!(begun);
    }

    #[test]
    fn a_turn_that_could_not_be_begun_is_over() {
        let turns = Turns::default();
        assert!(turns.next(LONG, |_| Err(io::Error::other("no thread"))).is_err());
        turns.next(LONG, |_| Ok(())).unwrap();
    }
}
