//! Two nodes and a disk that decides between them: stories of what they can lose, and that whoever is left goes on.

use regent_api::Request;
use regent_lease::holder::Right;
use regent_model::config::Arbiter;
use regent_model::ids::NodeId;
use regent_model::state::{Phase, Tenure};

use crate::event::Event;
use crate::faults::Fault;
use crate::net::{NETWORKS, Way};
use crate::sim::Sim;
use crate::time::{MS, Ns, S};

/// A machine that a person keeps off is given its power again when everything was put right so long ago.
const BROUGHT_UP_AFTER: Ns = 20 * S;

/// What is left of two nodes when everything else is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lonely {
    /// Both are there, and not yet parted.
    NotYet,
    /// The other one has no power.
    Left(NodeId),
    /// Nothing passes between the two.
    Parted,
    /// They were alone, and are together again.
    Over,
}

fn word_about(node: String) -> Request {
    let (who, why) = ("operator".to_owned(), "I pulled its plug".to_owned());
    Request::ConfirmDead { node, who, why, minutes: Some(1) }
}

impl Sim {
    pub(crate) fn variant_is_pair(&self) -> bool {
        self.config.arbiter.is_some()
    }

    fn ways_of_the_pair(&self) -> Vec<Way> {
        let nodes = self.nodes();
        let pairs = nodes.iter().flat_map(|a| nodes.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b);
        pairs.flat_map(|(a, b)| (0..NETWORKS).map(move |n| (a, b, n))).collect()
    }

    /// The two are parted, or one is lost; before it is well again the other may lose something, too.
    pub(crate) fn pair_plot(&mut self) -> Ns {
        let nodes = self.nodes();
        let node = *self.rng.pick(&nodes);
        let other = nodes.iter().copied().find(|id| *id != node).unwrap_or(node);
        let lasts = self.tenths_of_lease(4, 60);
        let ways = self.ways_of_the_pair();
        match self.rng.below(8) {
            6 | 7 => return self.one_comes_back_alone(node, other),
            0 | 1 => self.for_a_while(0, Fault::Block(ways), lasts),
            2 => self.for_a_while(0, Fault::PowerCut(node), lasts),
            3 => {
                // It is decided, and who was named is lost, or whoever else.
                self.for_a_while(0, Fault::Block(ways), lasts);
                let at = self.tenths_of_lease(3, 12);
                self.for_a_while(at, Fault::PowerCut(node), lasts);
            }
            4 => {
                // One after the other is alone: generation after generation.
                let mut at = 0;
                for who in [node, other, node] {
                    let gone = self.tenths_of_lease(10, 40);
                    self.for_a_while(at, Fault::PowerCut(who), gone);
                    at += gone + self.tenths_of_lease(5, 60);
                }
                return at;
            }
            _ => {
                let back = self.rng.skewed(10, 2_000) * MS;
                self.for_a_while(0, Fault::Block(ways), lasts);
                let at = self.tenths_of_lease(2, 12);
                self.after(at, Event::Fault(Fault::KillDaemon(node, back)));
            }
        }
        // The disk: as it should be, slow, or refusing something now and then.
        self.area.fails = if self.rng.chance(300) { self.rng.between(20, 300) } else { 0 };
        self.area.slow = if self.rng.chance(200) { self.rng.between(2, 60) } else { 1 };
        if self.rng.chance(300) {
            let hidden = *self.rng.pick(&nodes);
            let at = self.tenths_of_lease(0, 10);
            let gone = self.tenths_of_lease(5, 40);
            self.for_a_while(at, Fault::SanOff(hidden), gone);
        }
        2 * lasts
    }

    /// Both lose their power, and one gets it again; the disk may be hidden from it. A person says that the other one is
    /// off, which comes later.
    fn one_comes_back_alone(&mut self, node: NodeId, other: NodeId) -> Ns {
        let (gone, later) = (self.tenths_of_lease(5, 30), self.tenths_of_lease(40, 120));
        let apart = self.tenths_of_lease(0, 20);
        if self.rng.chance(600) {
            self.for_a_while(0, Fault::SanOff(node), gone + later);
        }
        if self.rng.chance(300) {
            let ways = self.ways_of_the_pair();
            self.for_a_while(0, Fault::Block(ways), gone + later);
        }
        self.for_a_while(0, Fault::PowerCut(other), gone + later);
        self.for_a_while(apart, Fault::PowerCut(node), gone);
        for at in [20, 35, 50] {
            let at = apart + gone + self.tenths_of_lease(at, at + 10);
            self.after(at, Event::Asks(node, Box::new(word_about(self.name(other)))));
        }
        gone + later
    }

    /// Whether a person would say that: of two nodes, the other one is off, and did nothing that this one has not got. What it
    /// did then would be lost, as the person is told.
    pub(crate) fn may_give_its_word(&mut self, asked: NodeId, request: &Request) -> bool {
        let Request::ConfirmDead { node, .. } = request else { return true };
        let (Some(about), true) = (self.id(node), self.variant_is_pair()) else { return true };
        let is_off = self.machines.get(&about).is_some_and(|m| !m.power);
        let truth = self.judge.truth.as_ref().map_or(0, |(_, truth)| truth.generation);
        let known = self.machines[&asked].daemon.as_ref().map_or(0, |d| d.engine.state().generation);
        let before = self.area.worded.is_some_and(|(first, ..)| first != asked);
        // Nor was it about to: named, and alone, and nothing of that is applied yet.
        let term = self.machines[&asked].daemon.as_ref().map_or(0, |d| d.engine.term());
        if !is_off || truth > known || before || self.judge.has_led_after(about, term) {
            return false;
        }
        self.area.worded = Some((asked, about, self.now));
        true
    }

    /// A machine gets power, unless a person keeps it off.
    pub(crate) fn power_on(&mut self, node: NodeId) {
        if self.stays_off(node) {
            self.after(100 * MS, Event::PowerOn(node));
        } else {
            self.gets_power(node);
        }
    }

    /// Whether a person keeps this machine off, having said so.
    pub(crate) fn stays_off(&mut self, node: NodeId) -> bool {
        let Some((asked, about, at)) = self.area.worded.filter(|(_, about, _)| *about == node) else {
            return false;
        };
        let Some(machine) = self.machines.get(&asked).filter(|_| self.machines.contains_key(&about)) else {
            self.area.worded = None;
            return false;
        };
        let thawed = machine.frozen.is_none();
        let daemon = machine.daemon.as_ref().filter(|d| d.frozen.is_none() && thawed);
        let is_over = daemon
            .is_some_and(|d| !d.engine.has_a_word() && !d.engine.is_to_wait() && !d.engine.rests_on_a_word());
        let went_on = daemon.is_some_and(|d| d.engine.goes_on_alone());
        let asks = |a: &crate::operator::Asked| a.node == asked && a.words.starts_with("node confirm-dead");
        let waits = self.asked.values().any(asks);
        // When everything is put right, it hears the other one as soon as it is up: what the advice is to who is refused.
        let is_brought_up = self.peace && self.now > self.peace_began + BROUGHT_UP_AFTER;
        if is_brought_up || (is_over && !waits && self.now > at + S) {
            self.area.worded = None;
            if went_on {
                self.marks.hit("a person's word let one of two go on alone");
            }
            return false;
        }
        true
    }

    /// A word is good for one life: who came up again since is given another one.
    pub(crate) fn words_again(&mut self) {
        let Some((asked, about, _)) = self.area.worded else { return };
        let waits = self.machines.get(&asked).and_then(|m| m.daemon.as_ref());
        if waits.is_some_and(|d| d.engine.is_to_wait()) {
            self.ask(asked, word_about(self.name(about)));
        }
    }

    /// Everything is well: now one of the two is lost, or both networks are.
    pub(crate) fn begin_lonely(&mut self) {
        let nodes = self.nodes();
        let node = *self.rng.pick(&nodes);
        self.settled_since = None;
        self.peace_began = self.now;
        if self.rng.chance(500) {
            self.trace.world(self.now, "both are well; now nothing passes between them");
            let ways = self.ways_of_the_pair();
            self.net.block(&ways, crate::net::Stopped::All);
            self.lonely = Lonely::Parted;
        } else {
            let left = nodes.iter().copied().find(|id| *id != node).unwrap_or(node);
            let words = format!("both are well; now the power of {} fails for good", self.name(node));
            self.trace.world(self.now, words);
            self.power_off(node);
            if let Some(machine) = self.machines.get_mut(&node) {
                machine.wanted = false;
            }
            self.lonely = Lonely::Left(left);
        }
    }

    /// Without a disk, who is left and came up again can ask nobody: a person says that the other one is off.
    pub(crate) fn word_for_who_is_left(&mut self) {
        let Lonely::Left(left) = self.lonely else { return };
        let daemon = self.machines.get(&left).and_then(|m| m.daemon.as_ref());
        if self.is_by_fence()
            && daemon.is_some_and(|d| !d.engine.is_current())
            && let Some(other) = self.nodes().into_iter().find(|id| *id != left)
        {
            self.ask(left, word_about(self.name(other)));
        }
    }

    fn is_by_fence(&self) -> bool {
        matches!(self.config.arbiter, Some(Arbiter::Fence { .. }))
    }

    /// Whether both were up again without having met: the one that had turned the other off was reset because it could not
    /// let go in time. Then nobody may turn the other off any more.
    fn waits_for_a_person(&self) -> bool {
        let has_begun = |id: &NodeId| {
            let daemon = self.machines.get(id).and_then(|m| m.daemon.as_ref());
            daemon.is_some_and(|d| !d.engine.is_current())
        };
        self.is_by_fence() && self.lonely == Lonely::Parted && self.nodes().iter().all(has_begun)
    }

    /// They are together again.
    pub(crate) fn end_lonely(&mut self) {
        self.marks.hit("of two nodes exactly one went on");
        self.lonely = Lonely::Over;
        self.settled_since = None;
        self.peace_began = self.now;
        self.net.heal();
        self.resume_channels();
        for node in self.nodes() {
            if let Some(machine) = self.machines.get_mut(&node) {
                machine.wanted = true;
            }
            self.power_on(node);
        }
    }

    /// Whether not exactly one goes on: it leads, and has everything.
    pub(crate) fn lonely_problem(&self) -> Option<String> {
        let Some((_, truth)) = &self.judge.truth else { return Some("nothing was ever committed".into()) };
        let goes_on = |id: &NodeId| {
            let machine = &self.machines[id];
            let leads = machine.daemon.as_ref().is_some_and(|d| d.engine.leads());
            let valid = machine.guard.as_ref().is_some_and(|g| g.core.right() == Right::Valid);
            machine.power && leads && valid
        };
        let on: Vec<NodeId> = self.nodes().into_iter().filter(goes_on).collect();
        if on.is_empty() && self.waits_for_a_person() {
            return None;
        }
        let [one] = on.as_slice() else {
            return Some(format!("{} of two nodes go on alone", on.len()));
        };
        if let Lonely::Left(left) = self.lonely
            && left != *one
        {
            return Some("the one that is left does not go on".to_owned());
        }
        let elsewhere = truth.groups.iter().find(|(_, g)| {
            g.held.is_none()
                && !matches!(&g.tenure, Tenure::Owned(o) if o.owner.node == *one && o.phase == Phase::Online)
        });
        elsewhere
            .map(|(name, group)| format!("{name} does not run on {}: {:?}", self.name(*one), group.tenure))
    }
}
