//! One resource is in one hand at a time: changes exclude each other, and checks give way to changes.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use regent_model::action::{Failure, Hand, How, Op, Run};
use regent_model::{GroupName, ResourceName};

use crate::job::Job;
use crate::sync::{lock, wait_until};

/// A check that was called off and does not end hangs in the kernel; a change does not wait longer for it.
const CHECK_ENDS_WITHIN: Duration = Duration::from_millis(500);

/// A resource of a group.
pub(crate) type Key = (GroupName, ResourceName);

pub(crate) fn key(run: &Run) -> Key {
    (run.group.clone(), run.resource.name().clone())
}

#[derive(Default)]
struct State {
    change: Option<(u8, Arc<Job>)>,
    /// Checks of different monitors do not wait for each other; one monitor has one at a time.
    checks: Vec<(How, Arc<Job>)>,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

/// The slots of all resources.
#[derive(Default)]
pub(crate) struct Slots(Mutex<HashMap<Key, Arc<Slot>>>);

/// The right to work on a resource; given back on drop.
pub(crate) struct Entered {
    slot: Arc<Slot>,
    job: Arc<Job>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = lock(&self.slot.state);
        if state.change.as_ref().is_some_and(|(_, job)| Arc::ptr_eq(job, &self.job)) {
            state.change = None;
        }
        state.checks.retain(|(_, job)| !Arc::ptr_eq(job, &self.job));
        self.slot.changed.notify_all();
    }
}

impl Slots {
    /// Waits until `op` may work on the resource. A release calls off an acquire and a check in progress;
    /// work of the same kind is waited for.
    ///
    /// # Errors
    /// Earlier work hangs: nothing may be done to the resource, and nothing may be said about it.
    pub(crate) fn enter(&self, key: Key, op: Op, how: How, job: &Arc<Job>) -> Result<Entered, Failure> {
        let slot = lock(&self.0).entry(key).or_default().clone();
        match op {
            Op::Acquire | Op::Release | Op::Swap => slot.enter_change(weight(op, how), job)?,
            Op::Probe | Op::Monitor => slot.enter_check(how, job)?,
        }
        Ok(Entered { slot, job: job.clone() })
    }
}

impl Slot {
    fn enter_change(&self, weight: u8, job: &Arc<Job>) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        while let Some((other, earlier)) = state.change.clone() {
            if weight > other {
                earlier.call_off("given up, because its release was asked for");
            }
            still_possible(job, &earlier)?;
            state = wait_until(&self.changed, state, Some(job.soft_deadline()));
        }
        state.change = Some((weight, job.clone()));
        let patience = job.until(CHECK_ENDS_WITHIN);
        while !state.checks.is_empty() {
            for (_, check) in &state.checks {
                check.call_off("given up, because the resource is about to change");
            }
            if Instant::now() >= patience {
                break;
            }
            state = wait_until(&self.changed, state, Some(patience));
        }
        Ok(())
    }

    fn enter_check(&self, how: How, job: &Arc<Job>) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        loop {
            let same = state.checks.iter().find(|(of, _)| *of == how).map(|(_, job)| job);
            if let Some(hanging) = same.filter(|check| check.is_abandoned()) {
                return Err(hangs(hanging));
            }
            let earlier = state.change.as_ref().map(|(_, job)| job).or(same).cloned();
            let Some(earlier) = earlier else { break };
            still_possible(job, &earlier)?;
            state = wait_until(&self.changed, state, Some(job.soft_deadline()));
        }
        state.checks.push((how, job.clone()));
        Ok(())
    }
}

/// Of two changes the heavier one calls the other off: a release whatever it finds, by hand or not.
fn weight(op: Op, how: How) -> u8 {
    match (op, how) {
        (Op::Release, How::ByHand(Hand::Stop)) => 1,
        (Op::Release, How::ByHand(_)) => 2,
        (Op::Release, _) => 3,
        _ => 0,
    }
}

fn still_possible(job: &Job, earlier: &Job) -> Result<(), Failure> {
    job.check().map_err(|failure| if failure.timed_out { hangs(earlier) } else { failure })
}

fn hangs(earlier: &Job) -> Failure {
    Failure {
        reason: format!(
            "the earlier {}, begun {:.1} s ago, does not end: {}",
            earlier.what,
            earlier.begun.elapsed().as_secs_f64(),
            earlier.doing()
        ),
        evidence: String::new(),
        timed_out: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        (GroupName::new("g").unwrap(), ResourceName::new("r").unwrap())
    }

    fn job(ms: u64) -> Arc<Job> {
        Arc::new(Job::new("test".into(), Duration::from_millis(ms)))
    }

    #[test]
    fn two_changes_exclude_each_other_and_the_second_says_what_it_waited_for() {
        let slots = Slots::default();
        let first = job(5000);
        first.now_doing("mounting");
        let _held = slots.enter(key(), Op::Acquire, How::Plain, &first).unwrap();
        let failure = slots.enter(key(), Op::Acquire, How::Plain, &job(60)).err().unwrap();
        assert!(failure.timed_out && failure.reason.contains("mounting"), "{failure:?}");
        assert!(!first.is_called_off());
    }

    #[test]
    fn a_release_calls_off_an_acquire_and_gets_its_place() {
        let slots = Arc::new(Slots::default());
        let acquire = job(5000);
        let held = slots.enter(key(), Op::Acquire, How::Plain, &acquire).unwrap();
        let waiting = acquire.clone();
        let worker = std::thread::spawn(move || {
            while waiting.check().is_ok() {
                std::thread::yield_now();
            }
            drop(held);
        });
        assert!(slots.enter(key(), Op::Release, How::Plain, &job(5000)).is_ok());
        worker.join().unwrap();
    }

    #[test]
    fn a_check_that_hangs_neither_blocks_a_release_nor_collects_others_behind_it() {
        let slots = Slots::default();
        let check = job(5000);
        let _hanging = slots.enter(key(), Op::Monitor, How::Plain, &check).unwrap();
        check.abandon();
        assert!(slots.enter(key(), Op::Monitor, How::Plain, &job(5000)).err().unwrap().timed_out);
        assert!(slots.enter(key(), Op::Monitor, How::Watch(0), &job(5000)).is_ok(), "another monitor");
        assert!(slots.enter(key(), Op::Release, How::Plain, &job(5000)).is_ok());
    }
}
