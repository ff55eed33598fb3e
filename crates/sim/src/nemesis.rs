//! Faults that belong together: each story aims at one condition of the lease, at the moments at which it matters.

use regent_api::{GroupVerb, Request};
use regent_model::ids::NodeId;
use regent_model::state::Tenure;

use crate::event::Event;
use crate::faults::Fault;
use crate::guardian::nanoseconds;
use crate::net::{NETWORKS, Way};
use crate::pairs::Lonely;
use crate::sim::Sim;
use crate::time::{MS, Ns};

/// A story of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plot {
    /// An owner is silent to one voter after the other, while daemons stand still.
    SilenceGoesRound,
    /// A daemon stands still in the middle of acquiring, until long after its lease.
    LateHands,
    /// Acknowledgements come just about too late.
    LateAcknowledgements,
    /// An owner is cut off, and a voter restarts.
    OwnerAndVoterLost,
    /// An owner is cut off, and cannot let go before its lease has ended.
    OwnerCutOff,
    /// An owner stands still until long after its lease, and its kernel goes on.
    OwnerFrozen,
    /// The same as being cut off, on the slowest clock allowed among the fastest.
    ClocksApart,
    /// The last voter that hears an owner restarts its guard, and hears it no more.
    VoterRestarts,
    /// A voter that has promised loses power, and hears the owner again when it is back.
    VoterForgets,
    /// A voter's daemon is away while its guard promises, hears the owner again, and hears it no more.
    PromiseStoredLate,
    /// A voter has promised and hears the owner again, while its daemon stands still.
    HeardAgain,
    /// An owner was silent to one voter and forgiven, and is silent to the other now.
    SilentAgain,
    /// A voter's daemon dies in the moment of a withdrawal, is alone until it has promised anew, and is told then.
    WithdrawnTwice,
    /// The lease becomes shorter while an owner's daemon does not listen.
    LeaseChanges,
    /// An owner's guard dies, and its daemon cannot tell anybody.
    GuardDies,
    /// A node has its lease only after the log has ended its life.
    LateLease,
    /// A node is stopped by force, and others can promise that its lease has ended.
    ForcedStop,
    /// A node is stopped by force before the log hears that its group is online.
    ForcedStopWhileAcquiring,
    /// What was left without lease is adopted, and guard and daemon die in that moment.
    AdoptedAndLost,
    /// Daemon and disk of a node stand still in the middle of acquiring, while acknowledgements are late.
    LateLife,
    /// Witnesses join while an owner does not listen, and then do not hear it.
    VotersJoin,
    /// Witnesses join as an owner's daemon falls silent, all ready at once.
    VotersJoinTogether,
    /// A node that hardly anybody hears is given a group, while witnesses join.
    GivenToTheUnheard,
    /// What one group has is another's in the next configuration, and both run.
    HandedOver,
    /// A machine stands still, and one of the devices that could cut it fails.
    OneFeedFails,
    /// An owner's daemon begins anew, and its machine stands still before what that has set going is through.
    KeyComesLate,
    /// An owner misses what the others commit, and then meets the one of them alone whose disk was put back.
    PutBack,
}

impl Plot {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::SilenceGoesRound,
        Self::LateHands,
        Self::LateAcknowledgements,
        Self::OwnerAndVoterLost,
        Self::OwnerCutOff,
        Self::OwnerFrozen,
        Self::ClocksApart,
        Self::VoterRestarts,
        Self::VoterForgets,
        Self::PromiseStoredLate,
        Self::HeardAgain,
        Self::SilentAgain,
        Self::WithdrawnTwice,
        Self::LeaseChanges,
        Self::GuardDies,
        Self::LateLease,
        Self::ForcedStop,
        Self::ForcedStopWhileAcquiring,
        Self::AdoptedAndLost,
        Self::LateLife,
        Self::VotersJoin,
        Self::VotersJoinTogether,
        Self::GivenToTheUnheard,
        Self::HandedOver,
        Self::OneFeedFails,
        Self::PutBack,
        Self::KeyComesLate,
    ];

    /// Those that are told of every cluster.
    fn anywhere() -> &'static [Self] {
        &Self::ALL[..26]
    }
}

/// Who is who in a story.
#[derive(Debug, Clone)]
pub(crate) struct Cast {
    /// It owns a group.
    pub(crate) owner: NodeId,
    /// A voter.
    pub(crate) v: NodeId,
    /// The other one, or another one.
    pub(crate) w: NodeId,
    /// One of the others that does not lead, and the one that does or could.
    pub(crate) follower: NodeId,
    pub(crate) leader: NodeId,
    /// All but the owner.
    pub(crate) others: Vec<NodeId>,
}

impl Sim {
    /// Begins one of the stories; says how long it lasts.
    pub(crate) fn plot(&mut self) -> Ns {
        if self.lonely != Lonely::Over {
            return self.pair_plot();
        }
        let Some(cast) = self.cast() else { return 0 };
        // Newcomers can join only once.
        let may_grow = self.machines.len() == 3 && self.strangers().len() == 2 && self.rng.chance(400);
        let voters_change = [Plot::VotersJoin, Plot::VotersJoinTogether, Plot::GivenToTheUnheard];
        let any = if may_grow { *self.rng.pick(&voters_change) } else { *self.rng.pick(Plot::anywhere()) };
        let any = if self.tells_of_keys() { Plot::KeyComesLate } else { any };
        let owner = cast.owner;
        match self.only.unwrap_or(any) {
            Plot::SilenceGoesRound => self.silence_goes_round(owner),
            Plot::LateHands => self.late_hands(owner),
            Plot::LateAcknowledgements => self.late_acknowledgements(owner),
            Plot::OwnerAndVoterLost => self.owner_and_voter_lost(owner),
            Plot::OwnerCutOff => self.owner_cut_off(&cast),
            Plot::OwnerFrozen => self.owner_frozen(&cast),
            Plot::ClocksApart => self.clocks_apart(&cast),
            Plot::VoterRestarts => self.voter_restarts(&cast),
            Plot::VoterForgets => self.voter_forgets(&cast),
            Plot::PromiseStoredLate => self.promise_stored_late(&cast),
            Plot::HeardAgain => self.heard_again(&cast),
            Plot::SilentAgain => self.silent_again(&cast),
            Plot::WithdrawnTwice => self.withdrawn_twice(&cast),
            Plot::LeaseChanges => self.lease_changes(&cast),
            Plot::GuardDies => self.guard_dies(&cast),
            Plot::LateLease => self.late_lease(&cast),
            Plot::ForcedStop => self.forced_stop(&cast),
            Plot::ForcedStopWhileAcquiring => self.forced_stop_while_acquiring(&cast),
            Plot::AdoptedAndLost => self.adopted_and_lost(&cast),
            Plot::LateLife => self.late_life(&cast),
            Plot::VotersJoin => self.voters_join(&cast, false),
            Plot::VotersJoinTogether => self.voters_join(&cast, true),
            Plot::GivenToTheUnheard => self.given_to_the_unheard(&cast),
            Plot::HandedOver => self.handed_over(&cast),
            Plot::OneFeedFails => self.one_feed_fails(&cast),
            Plot::PutBack => self.voter_put_back(&cast),
            Plot::KeyComesLate => self.key_comes_late(&cast),
        }
    }

    fn cast(&mut self) -> Option<Cast> {
        let owner = self.any_owner()?;
        let mut others: Vec<NodeId> = self.nodes().into_iter().filter(|id| *id != owner).collect();
        if others.len() < 2 {
            return None;
        }
        let at = usize::try_from(self.rng.below(others.len() as u64)).unwrap_or(0);
        others.rotate_left(at);
        let leads = |sim: &Self, id| sim.machines[&id].daemon.as_ref().is_some_and(|d| d.engine.leads());
        let leader = others.iter().copied().find(|id| leads(self, *id));
        let follower = others.iter().copied().find(|id| Some(*id) != leader).unwrap_or(others[0]);
        Some(Cast {
            owner,
            v: others[0],
            w: others[1],
            follower,
            leader: leader.unwrap_or(others[1]),
            others,
        })
    }

    fn any_owner(&mut self) -> Option<NodeId> {
        let (_, truth) = self.judge.truth.as_ref()?;
        let owners: Vec<NodeId> = truth
            .groups
            .values()
            .filter_map(|g| if let Tenure::Owned(o) = &g.tenure { Some(o.owner.node) } else { None })
            .collect();
        (!owners.is_empty()).then(|| *self.rng.pick(&owners))
    }

    /// A part of the lease, in tenths.
    pub(crate) fn tenths_of_lease(&mut self, low: u64, high: u64) -> Ns {
        let lease = nanoseconds(self.config.timers.lease);
        self.rng.between(lease * low / 10, lease * high / 10)
    }

    fn ways_between(&mut self, a: NodeId, b: NodeId) -> Vec<Way> {
        let both = self.rng.chance(500);
        let ways = (0..NETWORKS).flat_map(|n| [Some((a, b, n)), both.then_some((b, a, n))]);
        ways.flatten().collect()
    }

    /// The owner is silent to one voter after the other, so that each promises, but never to a majority at once:
    /// no promise may be held against it that was overtaken by an acknowledgement. Meanwhile the daemons that
    /// could have the promises withdrawn stand still.
    fn silence_goes_round(&mut self, owner: NodeId) -> Ns {
        let voters: Vec<NodeId> = self.nodes().into_iter().filter(|id| *id != owner).collect();
        let deaf = self.rng.chance(600);
        let cut = |ways| if deaf { Fault::Deafen(ways) } else { Fault::Block(ways) };
        let mut at = 0;
        for round in 0..self.rng.between(2, 4) {
            for voter in &voters {
                let lasts = self.tenths_of_lease(8, 20);
                let ways = self.ways_between(owner, *voter);
                self.for_a_while(at, cut(ways), lasts);
                if self.rng.chance(500) {
                    let begins = at + self.rng.below(lasts);
                    let still = self.tenths_of_lease(5, 40);
                    self.for_a_while(begins, Fault::FreezeDaemon(*voter), still);
                }
                let overlap = self.tenths_of_lease(0, 4);
                let back = if self.rng.chance(500) { 0 } else { overlap };
                at += lasts + overlap - back.min(lasts) - back.min(overlap);
            }
            if round > 0 && self.rng.chance(300) {
                let voter = *self.rng.pick(&voters);
                let back = self.rng.skewed(10, 300) * MS;
                let begins = at;
                self.after(begins, Event::Fault(Fault::KillDaemon(voter, back)));
            }
        }
        at
    }

    /// A group comes to a node; in the middle of bringing it up its daemon stands still while the node is cut off,
    /// until long after its lease has ended. What its hands were about to do comes late.
    fn late_hands(&mut self, owner: NodeId) -> Ns {
        let groups: Vec<(String, Vec<String>)> = self
            .config
            .groups
            .iter()
            .map(|g| (g.name.to_string(), g.nodes.iter().map(ToString::to_string).collect()))
            .collect();
        let (group, nodes) = self.rng.pick(&groups).clone();
        let names: Vec<String> = nodes.into_iter().filter(|n| self.id(n) != Some(owner)).collect();
        if names.is_empty() {
            return 0;
        }
        let to = self.rng.pick(&names).clone();
        let Some(target) = self.id(&to) else { return 0 };
        let verb = GroupVerb::Move { to };
        self.ask(owner, Request::Group { group, verb });
        let begins = self.rng.between(5, 120) * MS;
        let still = self.tenths_of_lease(12, 40);
        self.for_a_while(begins, Fault::FreezeDaemon(target), still);
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|id| *id != target).collect();
        let cut: Vec<Way> = others
            .iter()
            .flat_map(|o| (0..NETWORKS).flat_map(|n| [(target, *o, n), (*o, target, n)]))
            .collect();
        let late = begins + self.tenths_of_lease(0, 4);
        let lasts = self.tenths_of_lease(10, 40);
        self.for_a_while(late, Fault::Block(cut), lasts);
        (begins + still).max(late + lasts)
    }

    /// Acknowledgements come just about too late, while groups move: a lease lapses with some of them on their way.
    fn late_acknowledgements(&mut self, owner: NodeId) -> Ns {
        let lasts = self.tenths_of_lease(20, 80);
        let slow = self.sluggish();
        self.for_a_while(0, slow, lasts);
        let names: Vec<String> = self.config.nodes.iter().map(|n| n.name.to_string()).collect();
        let groups: Vec<String> = self.config.groups.iter().map(|g| g.name.to_string()).collect();
        for _ in 0..self.rng.between(1, 4) {
            let group = self.rng.pick(&groups).clone();
            let verb = if self.rng.chance(500) {
                GroupVerb::Restart
            } else {
                GroupVerb::Move { to: self.rng.pick(&names).clone() }
            };
            self.ask(owner, Request::Group { group, verb });
        }
        lasts
    }

    /// The owner is cut off; when the others have promised, or nearly, one of them restarts, and the owner is back.
    fn owner_and_voter_lost(&mut self, owner: NodeId) -> Ns {
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|id| *id != owner).collect();
        let voter = *self.rng.pick(&others);
        let lasts = self.tenths_of_lease(7, 14);
        let ways: Vec<Way> = others.iter().flat_map(|o| self.ways_between(owner, *o)).collect();
        self.for_a_while(0, Fault::Block(ways), lasts);
        let begins = self.rng.below(lasts + lasts / 2);
        let back = self.rng.skewed(1, 400) * MS;
        let fault = match self.rng.below(4) {
            0 => Fault::KillGuard(voter, self.rng.between(1, 8) * MS),
            1 => Fault::Freeze(voter),
            2 => Fault::PowerCut(voter),
            _ => Fault::KillDaemon(voter, back),
        };
        self.for_a_while(begins, fault, back);
        lasts.max(begins + back)
    }
}
