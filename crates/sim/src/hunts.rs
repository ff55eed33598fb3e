//! Every condition of the lease switched off, one at a time: in which story and cluster its absence makes two owners.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::{Condition, Options, Plot, Report, Variant, run};

/// A condition to be switched off, and where its absence shows.
#[derive(Debug, Clone, Copy)]
pub struct Hunt {
    /// What is switched off.
    pub condition: Condition,
    /// The story in which it matters.
    pub plot: Plot,
    /// The cluster.
    pub variant: Variant,
}

const fn hunt_for(condition: Condition, plot: Plot, variant: Variant) -> Hunt {
    Hunt { condition, plot, variant }
}

/// The conditions whose absence the simulator must find.
pub const HUNTS: [Hunt; 29] = [
    hunt_for(Condition::L1RestartWait, Plot::VoterRestarts, Variant::AddressNormal),
    hunt_for(Condition::L1DurablePromise, Plot::VoterForgets, Variant::AddressNormal),
    hunt_for(Condition::L2StopBeforeStoring, Plot::PromiseStoredLate, Variant::AddressNormal),
    hunt_for(Condition::L2PromiseEndsAcks, Plot::HeardAgain, Variant::AddressNormal),
    hunt_for(Condition::L3Stretch, Plot::ClocksApart, Variant::AddressSlow),
    hunt_for(Condition::L3BothClocks, Plot::ClocksApart, Variant::AddressSlow),
    hunt_for(Condition::L3OwnLease, Plot::LeaseChanges, Variant::AddressNormal),
    hunt_for(Condition::L4FinishInTime, Plot::OwnerCutOff, Variant::AddressNormal),
    hunt_for(Condition::L5OnlyTheLogWithdraws, Plot::HeardAgain, Variant::AddressNormal),
    hunt_for(Condition::L5Round, Plot::WithdrawnTwice, Variant::AddressNormal),
    hunt_for(Condition::L5CitedWithdrawn, Plot::SilentAgain, Variant::AddressNormal),
    hunt_for(Condition::L6Adopt, Plot::GuardDies, Variant::AddressNormal),
    hunt_for(Condition::L7OwnVote, Plot::SilentAgain, Variant::AddressNormal),
    hunt_for(Condition::L8CurrentVoters, Plot::GivenToTheUnheard, Variant::Growing),
    hunt_for(Condition::L8OneAtATime, Plot::VotersJoinTogether, Variant::Growing),
    hunt_for(Condition::L8Barrier, Plot::VotersJoin, Variant::Growing),
    hunt_for(Condition::L9DeadStayDead, Plot::LateLease, Variant::AddressNormal),
    hunt_for(Condition::L10NothingMoreGiven, Plot::ForcedStopWhileAcquiring, Variant::AddressNormal),
    hunt_for(Condition::L10AdoptedStaysSo, Plot::AdoptedAndLost, Variant::AddressNormal),
    hunt_for(Condition::L10NoLeaseProof, Plot::ForcedStop, Variant::AddressNormal),
    hunt_for(Condition::L11LapseIsFinal, Plot::LateLife, Variant::Rotating),
    hunt_for(Condition::L12Gate, Plot::LateHands, Variant::Rotating),
    hunt_for(Condition::KernelEndsAddresses, Plot::OwnerFrozen, Variant::AddressNormal),
    hunt_for(Condition::RebootAfterRelease, Plot::OwnerCutOff, Variant::Reboots),
    hunt_for(Condition::FenceWholeLevel, Plot::OneFeedFails, Variant::Levels),
    hunt_for(Condition::RegistersOnce, Plot::KeyComesLate, Variant::Storage),
    hunt_for(Condition::CutOffAfterLease, Plot::OwnerCutOff, Variant::Storage),
    hunt_for(Condition::DefinitionInForce, Plot::HandedOver, Variant::Mutual),
    hunt_for(Condition::MemoryGoesOn, Plot::PutBack, Variant::AddressSlow),
];

/// Conditions that other parts of the engine guard a second time, so that no run can miss them alone; what does.
/// The exhaustive model of the lease (`crates/lease/tests/exhaustive`) misses them: its log and daemons do nothing
/// but what the four rules ask.
pub const KEPT_TWICE: [(Condition, &str); 3] = [
    (
        Condition::L6StillCurrent,
        "an adopt entry names a life, and that life has let go and is over before another can have the group",
    ),
    (
        Condition::L10OwnWord,
        "what a life is told late is told to it before it is given anything, and then it is given nothing",
    ),
    (
        Condition::RemovedWhenOver,
        "what a removed member owned is its own for ever then, for nobody can prove anything about it any more",
    ),
];

/// What a hunt brought.
struct Caught {
    /// The first seed with two owners, and what they had.
    first: Option<(u64, Report)>,
    /// The first of the same seeds that shows two owners though every condition holds.
    innocent: Option<u64>,
    seconds: f64,
}

impl Hunt {
    /// What is run.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            mutant: Some(self.condition),
            plot: Some(self.plot),
            variant: Some(self.variant),
            hunts: true,
            ..Options::default()
        }
    }

    /// Goes through the seeds until one shows two owners; and through the same seeds with the condition kept.
    fn go(&self, seeds: u64) -> Caught {
        let began = Instant::now();
        let shows = |seed, options: &Options| {
            let report = run(seed, options);
            report.violations.iter().any(|v| v.two_owners).then_some(report)
        };
        let options = self.options();
        let first = (1..=seeds).find_map(|seed| Some((seed, shows(seed, &options)?)));
        let tried = first.as_ref().map_or(seeds, |(seed, _)| *seed);
        let kept = Options { mutant: None, ..options };
        let innocent = (1..=tried).find(|seed| shows(*seed, &kept).is_some());
        Caught { first, innocent, seconds: began.elapsed().as_secs_f64() }
    }
}

/// Goes on all hunts, and prints a line for each. True if each found two owners, and none without cause.
///
/// # Errors
/// When nobody reads the output.
pub fn hunt(seeds: u64, out: &mut impl Write) -> std::io::Result<bool> {
    writeln!(
        out,
        "each condition switched off, alone, until a seed shows two owners; then the same seeds with it"
    )?;
    writeln!(out, "{:<22} {:<25} {:<15} {:>5}  violated", "condition", "story", "cluster", "seed")?;
    let mut all = true;
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(hunt) = HUNTS.get(at) else { break };
                    if sender.send((at, hunt.go(seeds))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // In the order of the list, whichever is ready first.
        let mut ready = BTreeMap::new();
        let mut shown = 0;
        for (at, caught) in results {
            all &= caught.first.is_some() && caught.innocent.is_none();
            ready.insert(at, caught);
            while let Some(caught) = ready.remove(&shown) {
                show(&HUNTS[shown], &caught, seeds, out)?;
                shown += 1;
            }
        }
        Ok::<(), std::io::Error>(())
    })?;
    for (condition, why) in KEPT_TWICE {
        writeln!(out, "{:<22} the model's alone: {why}", format!("{condition:?}"))?;
    }
    Ok(all)
}

fn show(hunt: &Hunt, caught: &Caught, seeds: u64, out: &mut impl Write) -> std::io::Result<()> {
    let (condition, plot) = (format!("{:?}", hunt.condition), format!("{:?}", hunt.plot));
    let (seed, what) = match &caught.first {
        Some((seed, report)) => (seed.to_string(), report.violations[0].to_string()),
        None => ("none".to_owned(), format!("NOT FOUND in {seeds} seeds")),
    };
    let seconds = caught.seconds;
    writeln!(out, "{condition:<22} {plot:<25} {:<15} {seed:>5}  {what} ({seconds:.1} s)", hunt.variant)?;
    if let Some(seed) = caught.innocent {
        writeln!(out, "{:<22} but seed {seed} shows two owners with the condition kept, too", "")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_condition_is_hunted_or_said_to_be_kept_twice() {
        let hunted = HUNTS.into_iter().map(|hunt| hunt.condition);
        let all: Vec<Condition> =
            hunted.chain(KEPT_TWICE.into_iter().map(|(condition, _)| condition)).collect();
        assert_eq!(all.len(), Condition::ALL.len());
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(Condition::ALL));
    }

    #[test]
    fn of_every_one_of_the_twelve_at_least_one_part_is_hunted() {
        let hunted: Vec<String> = HUNTS.into_iter().map(|hunt| format!("{:?}", hunt.condition)).collect();
        for number in 1..=12 {
            let is_of = |name: &String| {
                let digits: String = name[1..].chars().take_while(char::is_ascii_digit).collect();
                digits == number.to_string()
            };
            assert!(hunted.iter().any(is_of), "L{number}");
        }
    }
}
