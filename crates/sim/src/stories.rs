//! Stories that aim at one condition of the lease each: with the condition, they show nothing; without it, two owners.
//! Times are in hundredths of the lease, from the beginning of the story.

use regent_api::{GroupVerb, NodeVerb, Request};
use regent_model::ids::NodeId;
use regent_model::state::StopMode;

use crate::event::Event;
use crate::faults::Fault;
use crate::guardian::nanoseconds;
use crate::nemesis::Cast;
use crate::net::{NETWORKS, Way};
use crate::sim::Sim;
use crate::time::{MS, Ns, S};
use crate::traps::Trap;

/// All ways from one node to some others.
fn from(node: NodeId, to: &[NodeId]) -> Vec<Way> {
    to.iter().flat_map(|to| (0..NETWORKS).map(|n| (node, *to, n))).collect()
}

/// All ways between one node and some others.
fn between(node: NodeId, others: &[NodeId]) -> Vec<Way> {
    let back = others.iter().flat_map(|o| (0..NETWORKS).map(|n| (*o, node, n)));
    from(node, others).into_iter().chain(back).collect()
}

impl Sim {
    /// So many hundredths of the lease.
    fn part(&self, hundredths: u64) -> Ns {
        nanoseconds(self.config.timers.lease) * hundredths / 100
    }

    fn during(&mut self, begins: u64, ends: u64, fault: Fault) {
        let (begins, ends) = (self.part(begins), self.part(ends));
        self.for_a_while(begins, fault, ends - begins);
    }

    fn ask_at(&mut self, at: Ns, node: NodeId, request: Request) {
        self.after(at, Event::Asks(node, Box::new(request)));
    }

    fn restart_any_group(&mut self, asked: NodeId) {
        let groups: Vec<String> = self.config.groups.iter().map(|g| g.name.to_string()).collect();
        let group = self.rng.pick(&groups).clone();
        self.ask(asked, Request::Group { group, verb: GroupVerb::Restart });
    }

    pub(crate) fn owner_cut_off(&mut self, cast: &Cast) -> Ns {
        let lasts = 150 + self.rng.below(60);
        let mut begins = 0;
        if self.only.is_none() && self.rng.chance(800) {
            // In the middle of bringing up what it owns.
            begins = 20;
            self.during(0, lasts, Fault::SlowAgents);
            self.restart_any_group(cast.owner);
        }
        self.during(begins, lasts, Fault::Block(between(cast.owner, &cast.others)));
        self.during(begins, lasts, Fault::ReleaseHangs);
        self.part(lasts)
    }

    pub(crate) fn owner_frozen(&mut self, cast: &Cast) -> Ns {
        let begins = self.rng.below(40);
        let lasts = begins + 180 + self.rng.below(200);
        self.during(begins, lasts, Fault::Freeze(cast.owner));
        self.part(lasts)
    }

    pub(crate) fn one_feed_fails(&mut self, cast: &Cast) -> Ns {
        let mut devices: Vec<String> = self.config.fences.iter().map(|f| f.name.clone()).collect();
        devices.truncate(2);
        if let Some(at) = devices.len().checked_sub(1) {
            let at = self.rng.between(0, at as u64);
            self.weather.fence_broken = usize::try_from(at).ok().and_then(|at| devices.get(at).cloned());
        }
        self.weather.fences_lie = 500;
        // Longer than it takes the devices to fail.
        let lasts = 500 + self.rng.below(300);
        self.during(0, lasts, Fault::Freeze(cast.owner));
        let at = self.part(lasts + 10);
        self.after(at, Event::Heals(Fault::BadFence));
        at
    }

    /// The others end the owner's lease and one of them takes over, which the owner does not hear but for how far their memory
    /// goes. Then the other's disk is put back to before that, and those two are alone.
    pub(crate) fn voter_put_back(&mut self, cast: &Cast) -> Ns {
        let (v, heir) = match self.machines.get(&cast.w).is_some_and(|m| self.config.is_witness(&m.name)) {
            true => (cast.w, cast.v),
            false => (cast.v, cast.w),
        };
        self.fault(&Fault::Copy(v));
        self.during(1, 400, Fault::Block(between(cast.owner, &[heir])));
        self.during(1, 165, Fault::Deafen(between(cast.owner, &[v])));
        let back = self.rng.between(5, 60) * MS;
        let at = self.part(160);
        self.for_a_while(at, Fault::PutBack(v, back), 0);
        self.during(160, 400, Fault::Block(between(v, &[heir])));
        self.during(160, 400, Fault::ReleaseHangs);
        self.part(400)
    }

    pub(crate) fn clocks_apart(&mut self, cast: &Cast) -> Ns {
        self.fault(&Fault::ClockRate(cast.owner, -1000));
        for other in cast.others.clone() {
            self.fault(&Fault::ClockRate(other, 1000));
        }
        self.owner_cut_off(cast)
    }

    /// The other voter has promised long before.
    pub(crate) fn voter_restarts(&mut self, cast: &Cast) -> Ns {
        let restarts = 120 + self.rng.below(50);
        self.during(0, restarts + 200, Fault::Block(between(cast.owner, &[cast.w])));
        self.during(restarts, restarts + 200, Fault::Block(between(cast.owner, &[cast.v])));
        self.during(restarts, restarts + 200, Fault::ReleaseHangs);
        let back = self.rng.between(1, 8) * MS;
        let at = self.part(restarts);
        self.for_a_while(at, Fault::KillGuard(cast.v, back), 0);
        self.part(restarts + 200)
    }

    pub(crate) fn voter_forgets(&mut self, cast: &Cast) -> Ns {
        self.during(0, 130, Fault::Block(between(cast.owner, &[cast.v])));
        let (at, off) = (self.part(125), self.rng.between(20, 60) * MS);
        self.for_a_while(at, Fault::PowerCut(cast.v), off);
        let back = self.part(130) + 1_800 * MS;
        let lasts = self.part(180);
        self.for_a_while(back, Fault::Block(between(cast.owner, &[cast.w])), lasts);
        back + lasts
    }

    pub(crate) fn promise_stored_late(&mut self, cast: &Cast) -> Ns {
        let back = self.part(220);
        self.fault(&Fault::KillDaemon(cast.v, back));
        self.during(0, 85, Fault::Deafen(from(cast.owner, &[cast.v])));
        self.during(90, 380, Fault::Block(between(cast.owner, &[cast.w])));
        self.during(210, 380, Fault::Block(between(cast.owner, &[cast.v])));
        self.part(380)
    }

    pub(crate) fn heard_again(&mut self, cast: &Cast) -> Ns {
        let thaws = 240 + self.rng.below(60);
        self.during(0, 115, Fault::Deafen(from(cast.owner, &[cast.follower])));
        self.during(108, thaws, Fault::FreezeDaemon(cast.follower));
        self.during(120, thaws + 120, Fault::Deafen(from(cast.owner, &[cast.leader])));
        self.during(190, thaws + 120, Fault::ReleaseHangs);
        self.part(thaws + 120)
    }

    pub(crate) fn silent_again(&mut self, cast: &Cast) -> Ns {
        let again = 190 + self.rng.below(60);
        self.during(0, 115, Fault::Deafen(from(cast.owner, &[cast.v])));
        self.during(again, again + 200, Fault::Block(between(cast.owner, &[cast.w])));
        self.part(again + 200)
    }

    /// The log has withdrawn the voter's promise, and its store does not know: the disk hangs. Its guard promises
    /// again, and then its daemon dies. Alone, the next one stores the new promise; with the others again, they learn
    /// of that promise, and it learns of the withdrawal: of the first one.
    pub(crate) fn withdrawn_twice(&mut self, cast: &Cast) -> Ns {
        let (v, w, owner) = (cast.follower, cast.leader, cast.owner);
        self.during(0, 115, Fault::Deafen(from(owner, &[v])));
        let back = self.rng.between(20, 60) * MS;
        let part = |hundredths| self.part(hundredths);
        let strikes = vec![
            (0, Fault::DiskHangs(v, part(97)), 0),
            (0, Fault::Block(between(v, &[owner])), part(160)),
            (part(94), Fault::Block(between(v, &[w])), part(36)),
            (part(95), Fault::KillDaemon(v, back), 0),
            (part(180), Fault::Block(between(owner, &[w])), part(200)),
        ];
        let until = self.now + self.part(250);
        self.traps.push(Trap { node: v, kind: "withdrawn", words: "", until, strikes });
        self.part(500)
    }

    pub(crate) fn lease_changes(&mut self, cast: &Cast) -> Ns {
        let text = self.file.clone();
        let shorter = crate::variant::with_takeover(&text, "fast");
        let apply = |text| Request::Apply { text, dry_run: false };
        self.during(0, 300, Fault::FreezeDaemon(cast.owner));
        let at = self.part(10);
        self.ask_at(at, cast.v, apply(shorter));
        let away = 60 + self.rng.below(60);
        self.during(away, away + 150, Fault::Block(between(cast.owner, &cast.others)));
        self.during(away, away + 150, Fault::ReleaseHangs);
        let at = self.part(300) + S;
        self.ask_at(at, cast.v, apply(text));
        at + S
    }

    pub(crate) fn guard_dies(&mut self, cast: &Cast) -> Ns {
        let back = self.rng.between(1, 8) * MS;
        let lasts = 150 + self.rng.below(100);
        self.during(0, lasts, Fault::Mute(between(cast.owner, &cast.others)));
        self.fault(&Fault::KillGuard(cast.owner, back));
        self.part(lasts)
    }

    /// The node is away for a moment and given its group back while nobody's acknowledgements reach it; cut off
    /// wholly, its life is ended; heard again but told nothing, it must not be acknowledged any more.
    pub(crate) fn late_lease(&mut self, cast: &Cast) -> Ns {
        let given = 3 * S + self.part(200);
        let off = self.rng.between(20, 80) * MS;
        let deaf: Vec<Way> =
            cast.others.iter().flat_map(|o| (0..NETWORKS).map(|n| (*o, cast.owner, n))).collect();
        self.begin(Fault::PowerCut(cast.owner), off);
        let ended = self.part(140);
        self.begin(Fault::Deafen(deaf), given + ended);
        self.for_a_while(given, Fault::Block(between(cast.owner, &cast.others)), ended);
        let (told_nothing, lasts) = (given + self.part(130), self.part(200));
        self.for_a_while(told_nothing, Fault::Mute(between(cast.owner, &cast.others)), lasts);
        told_nothing + lasts
    }

    /// The addresses of two groups change places in the file; then one of them is brought up anew.
    pub(crate) fn handed_over(&mut self, cast: &Cast) -> Ns {
        let Some(request) = self.addresses_handed_over() else { return 0 };
        self.ask(cast.v, request);
        let groups: Vec<String> = self.config.groups.iter().map(|g| g.name.to_string()).collect();
        let group = self.rng.pick(&groups).clone();
        let at = self.rng.between(100, 400) * MS;
        self.ask_at(at, cast.w, Request::Group { group, verb: GroupVerb::Restart });
        let text = self.file.clone();
        self.ask_at(3 * S, cast.v, Request::Apply { text, dry_run: false });
        4 * S
    }

    pub(crate) fn forced_stop(&mut self, cast: &Cast) -> Ns {
        self.ask(cast.owner, Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Forced) });
        5 * S
    }

    /// The log stands still for the moment in which both are said to it, in this order.
    pub(crate) fn forced_stop_while_acquiring(&mut self, cast: &Cast) -> Ns {
        self.restart_any_group(cast.owner);
        if self.only.is_none() && self.rng.chance(500) {
            self.for_a_while(0, Fault::SlowAgents, 3 * S);
        }
        let at = self.rng.between(15, 90) * MS;
        for other in cast.others.clone() {
            let hangs = self.rng.between(80, 160) * MS;
            self.for_a_while(at, Fault::DiskHangs(other, hangs), 0);
        }
        let stop = Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Forced) };
        self.ask_at(at + MS, cast.owner, stop);
        5 * S
    }

    pub(crate) fn adopted_and_lost(&mut self, cast: &Cast) -> Ns {
        self.ask(cast.owner, Request::Node { node: None, verb: NodeVerb::Stop(StopMode::Forced) });
        let away = self.part(180);
        let strikes = vec![
            (0, Fault::Block(between(cast.owner, &cast.others)), away),
            (0, Fault::KillDaemon(cast.owner, away), 0),
            (0, Fault::KillGuard(cast.owner, 5 * MS), 0),
        ];
        let until = self.now + 8 * S;
        self.traps.push(Trap { node: cast.owner, kind: "assigned", words: "proof: adopted", until, strikes });
        8 * S
    }

    /// A group comes to another node; in the middle of it the daemon there stands still and the disk hangs, while
    /// acknowledgements come so late that the lease lapses. What its hands do then is done by no life at all.
    pub(crate) fn late_life(&mut self, cast: &Cast) -> Ns {
        let groups = self.config.groups.clone();
        let group = self.rng.pick(&groups).clone();
        let owner = self.name(cast.owner);
        let to = group.nodes.iter().find(|n| n.as_str() != owner).map(ToString::to_string);
        let Some((to, target)) = to.and_then(|to| Some((to.clone(), self.id(&to)?))) else { return 0 };
        let verb = GroupVerb::Move { to };
        self.ask(cast.owner, Request::Group { group: group.name.to_string(), verb });
        let begins = self.rng.between(25, 110) * MS;
        let still = self.tenths_of_lease(9, 20);
        let hangs = still + self.rng.between(3, 30) * MS;
        self.for_a_while(begins, Fault::FreezeDaemon(target), still);
        self.for_a_while(begins, Fault::DiskHangs(target, hangs), 0);
        self.for_a_while(begins, Fault::Sluggish(44, 50), hangs + 10 * MS);
        let lasts = hangs + self.part(300);
        let from = begins + self.part(85);
        self.for_a_while(from, Fault::ReleaseHangs, lasts);
        from + lasts
    }
}

/// Stories about voters that change. Newcomers begin at the same time, and are quick.
impl Sim {
    /// Lets all strangers join, one after the other; false if they have, or cannot.
    fn all_join(&mut self) -> bool {
        let strangers = self.strangers();
        if strangers.len() < 2 || self.machines.len() != 3 {
            return false;
        }
        self.newcomers_begin = self.now + 900 * MS;
        for (name, at) in strangers.into_iter().zip(0..) {
            self.after(at * 150 * MS, Event::Joins(name));
        }
        true
    }

    /// The other node that may own what the owner owns.
    fn partner(&self, cast: &Cast) -> Option<NodeId> {
        let names = self.config.nodes.iter().map(|n| n.name.as_str());
        names.filter_map(|name| self.id(name)).find(|id| *id != cast.owner)
    }

    /// All but these two, with those that are about to join.
    fn all_but(&self, a: NodeId, b: NodeId) -> Vec<NodeId> {
        let known = self.nodes().into_iter().chain([NodeId(4), NodeId(5)]);
        known.filter(|id| *id != a && *id != b).collect()
    }

    /// The newcomers vote before the owner's lease is valid with their votes.
    pub(crate) fn voters_join(&mut self, cast: &Cast, together: bool) -> Ns {
        let Some(friend) = self.partner(cast) else { return 0 };
        if !self.all_join() {
            return 0;
        }
        let mut begins = 300 * MS;
        if together {
            // It says that its lease is valid with the newcomers known; that they vote comes too late for it.
            for other in cast.others.clone() {
                let at = self.rng.between(1_055, 1_085) * MS;
                self.for_a_while(at, Fault::DiskHangs(other, 260 * MS), 0);
            }
            begins = 1_220 * MS;
        }
        self.for_a_while(begins, Fault::FreezeDaemon(cast.owner), 4_500 * MS);
        let unheard = self.all_but(cast.owner, friend);
        self.for_a_while(2_000 * MS, Fault::Block(between(cast.owner, &unheard)), 3_200 * MS);
        6 * S
    }

    /// The standby is heard by the owner alone; the newcomers vote at once, since it owns nothing. Then the group
    /// comes to it, and before the others have proven it to be gone, it hears nothing any more.
    pub(crate) fn given_to_the_unheard(&mut self, cast: &Cast) -> Ns {
        let Some(to) = self.partner(cast) else { return 0 };
        if !self.all_join() {
            return 0;
        }
        let begins = self.rng.between(590, 650) * MS;
        let unheard = self.all_but(to, cast.owner);
        self.for_a_while(begins, Fault::Deafen(between(to, &unheard)), 4 * S);
        let verb = GroupVerb::Move { to: self.name(to) };
        let group = self.config.groups[0].name.to_string();
        let given = self.rng.between(1_080, 1_200) * MS;
        self.ask_at(given, cast.owner, Request::Group { group, verb });
        let others: Vec<NodeId> = unheard.into_iter().chain([cast.owner]).collect();
        let silent = given + self.rng.between(150, 250) * MS;
        self.for_a_while(silent, Fault::Mute(between(to, &others)), 3 * S);
        6 * S
    }
}
