//! The ladder of letting go: addresses first and all at once, then processes, then mounts, those first that
//! stand on others.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use regent_model::holding::{Held, Holding};

use crate::realtime;

/// What could not be let go is tried again after this.
const AGAIN: Duration = Duration::from_millis(5);

/// How it went for one holding.
pub(crate) type Released = (Held, Result<Duration, String>);

/// Lets go of everything in `held`, rung by rung, and reports each holding once. A rung that hangs gives way to
/// the next one after a part of the time that is left: that an address cannot be deleted is no reason to let
/// processes write. Returns when everything is reported; threads that hang in the kernel stay behind.
pub(crate) fn let_go(
    held: Vec<Held>,
    deadline: Instant,
    release: fn(&Holding, Instant) -> Result<Duration, String>,
    report: &dyn Fn(Released),
) {
    let (done, results) = channel();
    let mut open = 0;
    for rung in Held::rungs(held) {
        let mut on_this_rung = 0;
        for held in rung {
            match begin(held, deadline, release, &done) {
                Ok(()) => on_this_rung += 1,
                Err(here) => report((here.clone(), persist(&here.holding, deadline, release))),
            }
        }
        open += on_this_rung;
        let left = deadline.saturating_duration_since(Instant::now());
        let until = Instant::now() + left / 3;
        let open_before = open - on_this_rung;
        while open > open_before {
            let Ok(result) = results.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                break;
            };
            open -= 1;
            report(result);
        }
    }
    drop(done);
    results.iter().for_each(report);
}

/// Begins on a thread of its own; gives the holding back where there is none to be had.
fn begin(
    held: Held,
    deadline: Instant,
    release: fn(&Holding, Instant) -> Result<Duration, String>,
    done: &Sender<Released>,
) -> Result<(), Held> {
    let (done, own) = (done.clone(), held.clone());
    let work = move || {
        realtime::elevate(realtime::RELEASE);
        let result = persist(&own.holding, deadline, release);
        let _nobody_waits_any_more = done.send((own, result));
    };
    std::thread::Builder::new().name("release".into()).spawn(work).map(drop).map_err(|_| held)
}

/// Tries until it works or the time is over.
fn persist(
    holding: &Holding,
    deadline: Instant,
    release: fn(&Holding, Instant) -> Result<Duration, String>,
) -> Result<Duration, String> {
    let begun = Instant::now();
    loop {
        match release(holding, deadline) {
            Ok(_) => return Ok(begun.elapsed()),
            Err(why) if Instant::now() + AGAIN >= deadline => return Err(why),
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use regent_model::{Epoch, GroupName};

    use super::*;

    fn held(holding: Holding) -> Held {
        Held { group: GroupName::new("g").unwrap(), epoch: Epoch(1), holding }
    }

    fn address(last: u8) -> Held {
        held(Holding::address("eth0", [10, 0, 0, last].into(), 24))
    }

    fn cgroup(path: &str) -> Held {
        held(Holding::Cgroup { path: path.into(), grace: Duration::ZERO })
    }

    fn mount(path: &str) -> Held {
        held(Holding::Mount { device: "/dev/x".into(), mount: path.into() })
    }

    fn run(
        what: Vec<Held>,
        within: Duration,
        release: fn(&Holding, Instant) -> Result<Duration, String>,
    ) -> Vec<Released> {
        let reports = Mutex::new(Vec::new());
        let_go(what, Instant::now() + within, release, &|result| reports.lock().unwrap().push(result));
        reports.into_inner().unwrap()
    }

    #[test]
    fn addresses_go_first_then_processes_then_mounts_the_innermost_first() {
        let what = vec![mount("/a"), cgroup("/c"), mount("/a/b"), address(1), address(2), mount("/z")];
        let order = Held::rungs(what);
        assert_eq!(order[0], [address(1), address(2)]);
        assert_eq!(order[1], [cgroup("/c")]);
        assert_eq!(order[2], [mount("/a/b")]);
        assert_eq!(order[3], [mount("/a"), mount("/z")]);
        let reports = run(order.concat(), Duration::from_secs(5), |_, _| Ok(Duration::ZERO));
        let last: Vec<_> = reports[4..].iter().map(|(held, _)| held.clone()).collect();
        assert!(reports.iter().all(|(_, result)| result.is_ok()));
        assert!(last.contains(&mount("/a")) && last.contains(&mount("/z")) && reports.len() == 6);
    }

    #[test]
    fn an_address_that_hangs_does_not_keep_processes_alive() {
        static KILLED: Mutex<Option<Instant>> = Mutex::new(None);
        let begun = Instant::now();
        let reports =
            run(
                vec![address(1), cgroup("/c")],
                Duration::from_millis(300),
                |holding, deadline| match holding {
                    Holding::Address { .. } => {
                        std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                        Err("stuck".into())
                    }
                    _ => {
                        *KILLED.lock().unwrap() = Some(Instant::now());
                        Ok(Duration::ZERO)
                    }
                },
            );
        let killed = KILLED.lock().unwrap().unwrap() - begun;
        assert!(killed < Duration::from_millis(250), "{killed:?}");
        assert_eq!(reports[0], (cgroup("/c"), reports[0].1.clone()));
        assert_eq!(reports[1], (address(1), Err("stuck".into())));
    }

    #[test]
    fn a_passing_failure_is_tried_again_until_the_deadline() {
        static TRIES: Mutex<u32> = Mutex::new(0);
        let reports = run(vec![address(1)], Duration::from_secs(2), |_, _| {
            let mut tries = TRIES.lock().unwrap();
            *tries += 1;
            if *tries < 4 { Err("busy".into()) } else { Ok(Duration::ZERO) }
        });
        assert!(reports[0].1.is_ok() && *TRIES.lock().unwrap() == 4);
    }
}
