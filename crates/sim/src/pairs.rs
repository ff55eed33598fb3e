//! Two nodes and a disk that decides between them: stories of what they can lose, and that whoever is left goes on.

use regent_lease::holder::Right;
use regent_model::ids::NodeId;
use regent_model::state::{Phase, Tenure};

use crate::event::Event;
use crate::faults::Fault;
use crate::net::{NETWORKS, Way};
use crate::sim::Sim;
use crate::time::{MS, Ns};

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
        match self.rng.below(6) {
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
