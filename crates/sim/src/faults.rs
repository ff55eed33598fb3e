//! What goes wrong, when and for how long.

use regent_model::ids::NodeId;

use crate::event::Event;
use crate::guardian::nanoseconds;
use crate::net::{Manners, NETWORKS, Stopped, Way};
use crate::rng::Rng;
use crate::sim::{Sim, Weather};
use crate::time::{MS, Ns};

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The power of a machine fails.
    PowerCut(NodeId),
    /// The power of all machines fails.
    Blackout,
    /// A daemon is killed; it comes back after so long.
    KillDaemon(NodeId, Ns),
    /// A guard process is killed; the next one begins after so long.
    KillGuard(NodeId, Ns),
    /// A whole machine stands still; its clock goes on.
    Freeze(NodeId),
    /// A daemon stands still.
    FreezeDaemon(NodeId),
    /// Nothing passes on these ways.
    Block(Vec<Way>),
    /// Keepalives do not pass on these ways; the channels do.
    Deafen(Vec<Way>),
    /// The channels between daemons do not pass on these ways; keepalives do.
    Mute(Vec<Way>),
    /// Datagrams take from so long to so long, in hundredths of the time that an owner waits for acknowledgements.
    Sluggish(u64, u64),
    /// A network cable is pulled.
    Unplug(NodeId, usize),
    /// All networks behave badly.
    BadNetworks,
    /// The disk with the state hangs.
    DiskHangs(NodeId, Ns),
    /// A machine loses its way to the shared storage.
    SanOff(NodeId),
    /// Every application on a machine dies.
    AppsDie(NodeId),
    /// Somebody removes every service address from a machine.
    AddressesVanish(NodeId),
    /// Agents fail and hang.
    BadAgents,
    /// Agents take long to begin with what they do.
    SlowAgents,
    /// The fence device fails, or is slow.
    BadFence,
    /// A clock changes its rate.
    ClockRate(NodeId, i64),
    /// Nothing can be let go of in time.
    ReleaseHangs,
    /// A machine is lost with its state; another one takes its place after so long.
    Wipe(NodeId, Ns),
    /// The disks of a machine are copied, as for a backup.
    Copy(NodeId),
    /// A machine goes down and comes back after so long with what the copy of its disks holds.
    PutBack(NodeId, Ns),
    /// The disks forget who is registered at them.
    ArrayForgets,
    /// Somebody takes the key of a machine away from its disks.
    KeyLost(NodeId),
}

/// How many kinds of faults [`Sim::choose_fault`] chooses from, each as often as it has numbers there.
const KINDS: u32 = 42;

/// The kinds of faults that a run is made of. What hides behind one kind shows where that is missing, and what needs
/// one kind again and again shows where others are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Mix {
    /// Every kind.
    pub(crate) const ALL: Self = Self((1 << KINDS) - 1);

    /// Every kind, or some of them.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        if rng.chance(400) {
            return Self::ALL;
        }
        let each = rng.between(50, 500);
        let some = (0..KINDS).filter(|_| rng.chance(each)).fold(0, |mix, kind| mix | 1 << kind);
        if some == 0 { Self::ALL } else { Self(some) }
    }

    /// One of them.
    fn choose(self, rng: &mut Rng) -> u32 {
        let kinds: Vec<u32> = (0..KINDS).filter(|kind| self.0 >> kind & 1 == 1).collect();
        *rng.pick(&kinds)
    }
}

impl Sim {
    /// Chooses the next fault, how long it lasts, and when the one after it comes.
    pub(crate) fn choose_fault(&mut self) {
        if self.peace {
            return;
        }
        if self.only.is_none() {
            let next = self.rng.skewed(100, 8_000) * MS;
            self.after(next, Event::ChooseFault);
        }
        if self.only.is_some() || self.rng.chance(250) {
            let next = self.plot().max(300 * MS);
            if self.only.is_some() {
                let pause = self.rng.between(700, 2_500) * MS;
                self.after(next + pause, Event::ChooseFault);
            }
            return;
        }
        if let Some(fault) = self.array_fault() {
            return self.begin(fault, 0);
        }
        let nodes = self.nodes();
        let node = *self.rng.pick(&nodes);
        let short = self.rng.skewed(5, 1_000) * MS;
        let long = self.rng.skewed(50, 8_000) * MS;
        let (fault, lasts) = match self.mix.choose(&mut self.rng) {
            0..=3 => (Fault::PowerCut(node), self.rng.skewed(20, 8_000) * MS),
            4 => (Fault::Blackout, long),
            5..=8 => (Fault::KillDaemon(node, self.rng.skewed(30, 8_000) * MS), 0),
            9 => (Fault::KillGuard(node, self.rng.between(1, 8) * MS), 0),
            10..=12 => (Fault::Freeze(node), long),
            13..=15 => (Fault::FreezeDaemon(node), long),
            16..=18 => (Fault::Block(self.any_partition(node)), long),
            19 => (Fault::Deafen(self.any_partition(node)), long),
            20 => (self.sluggish(), long),
            21 => (self.flapping(node), short),
            22 => (Fault::Unplug(node, usize::from(self.rng.chance(500))), long),
            23..=24 => (Fault::BadNetworks, long),
            25 => (Fault::DiskHangs(node, short.max(50 * MS)), 0),
            26 => (Fault::SanOff(node), long),
            27..=28 => (Fault::AppsDie(node), 0),
            29 => (Fault::AddressesVanish(node), 0),
            30..=31 => (Fault::BadAgents, long),
            32 => (Fault::BadFence, long),
            33 => (Fault::Mute(self.any_partition(node)), long),
            34 => (Fault::ReleaseHangs, long),
            35 => (Fault::Wipe(node, long), 0),
            36 => (Fault::Block(self.cut_in_two()), long),
            37 => (self.dying_again_and_again(node), 0),
            38 => (self.fenced_in_vain(node), 9_000 * MS),
            39 => (Fault::SlowAgents, long),
            40 => (self.backup(node), 0),
            _ => (Fault::ClockRate(node, i64::try_from(self.rng.below(2001)).unwrap_or(0) - 1000), 0),
        };
        self.begin(fault, lasts);
    }

    /// A fault begins now and ends after so long, if it ends at all.
    pub(crate) fn begin(&mut self, fault: Fault, lasts: Ns) {
        if lasts > 0 {
            self.after(lasts, Event::Heals(fault.clone()));
        }
        self.fault(&fault);
    }

    /// Ways that are cut: around one node, or any.
    fn any_partition(&mut self, node: NodeId) -> Vec<Way> {
        let nodes = self.nodes();
        let kind = self.rng.below(6);
        let network = usize::from(self.rng.chance(500));
        let other = *self.rng.pick(&nodes);
        let any = self.rng.draw();
        let mut ways = Vec::new();
        for from in &nodes {
            for to in nodes.iter().filter(|to| *to != from) {
                for n in 0..NETWORKS {
                    let cut = match kind {
                        // Cut off on all networks; only outwards; only inwards.
                        0 | 1 => *from == node || *to == node,
                        2 => *from == node,
                        3 => *to == node,
                        // One network of one node; two nodes from each other.
                        4 if other == node => n == network && (*from == node || *to == node),
                        4 => (*from, *to) == (node, other) || (*from, *to) == (other, node),
                        _ => {
                            any.rotate_left(u32::try_from(from.0 * 7 + to.0 * 3).unwrap_or(0) + n as u32) & 1
                                == 1
                        }
                    };
                    if cut {
                        ways.push((*from, *to, n));
                    }
                }
            }
        }
        ways
    }

    pub(crate) fn sluggish(&mut self) -> Fault {
        let high = self.rng.between(30, 60);
        Fault::Sluggish(high / 2, high)
    }

    /// Applications that die as often as they are brought up.
    fn dying_again_and_again(&mut self, node: NodeId) -> Fault {
        let mut at = 0;
        for _ in 0..self.rng.between(3, 8) {
            at += self.rng.between(200, 2_000) * MS;
            self.after(at, Event::Fault(Fault::AppsDie(node)));
        }
        Fault::AppsDie(node)
    }

    /// A copy of a machine's disks, which is put back later.
    fn backup(&mut self, node: NodeId) -> Fault {
        let at = self.rng.skewed(200, 6_000) * MS;
        let back = self.rng.skewed(20, 4_000) * MS;
        self.after(at, Event::Fault(Fault::PutBack(node, back)));
        Fault::Copy(node)
    }

    /// A node is cut off from the others, and the device that could end it fails.
    fn fenced_in_vain(&mut self, node: NodeId) -> Fault {
        self.begin(Fault::BadFence, 8_000 * MS);
        self.weather.fences_fail = 700;
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|id| *id != node).collect();
        let ways = others.iter().flat_map(|o| (0..NETWORKS).flat_map(|n| [(node, *o, n), (*o, node, n)]));
        Fault::Block(ways.collect())
    }

    /// Every node is on one side or the other, and there are some on both.
    fn cut_in_two(&mut self) -> Vec<Way> {
        let nodes = self.nodes();
        let sides = self.rng.between(1, (1 << nodes.len()) - 2);
        let (left, right): (Vec<_>, Vec<_>) =
            nodes.iter().enumerate().partition(|(at, _)| sides >> at & 1 == 1);
        let mut ways = Vec::new();
        for (a, b) in left.iter().flat_map(|(_, a)| right.iter().map(|(_, b)| (**a, **b))) {
            ways.extend((0..NETWORKS).flat_map(|n| [(a, b, n), (b, a, n)]));
        }
        ways
    }

    /// A partition that comes again some times.
    fn flapping(&mut self, node: NodeId) -> Fault {
        let ways = self.any_partition(node);
        let mut at = 0;
        for _ in 0..self.rng.between(2, 8) {
            at += self.rng.between(20, 400) * MS;
            self.after(at, Event::Fault(Fault::Block(ways.clone())));
            at += self.rng.between(20, 400) * MS;
            self.after(at, Event::Heals(Fault::Block(ways.clone())));
        }
        Fault::Block(ways)
    }

    /// A fault begins.
    pub(crate) fn fault(&mut self, fault: &Fault) {
        let name = |node: &NodeId| self.name(*node);
        let words = match fault {
            Fault::PowerCut(node) => format!("the power of {} fails", name(node)),
            Fault::Blackout => "the power of all machines fails".into(),
            Fault::KillDaemon(node, back) => {
                format!("the daemon of {} is killed, back in {} ms", name(node), back / MS)
            }
            Fault::KillGuard(node, back) => {
                format!("the guard of {} is killed, back in {} ms", name(node), back / MS)
            }
            Fault::Freeze(node) => format!("{} stands still", name(node)),
            Fault::FreezeDaemon(node) => format!("the daemon of {} stands still", name(node)),
            Fault::Block(ways) => format!("nothing passes any more: {}", self.ways_in_words(ways)),
            Fault::Deafen(ways) => format!("keepalives do not pass any more: {}", self.ways_in_words(ways)),
            Fault::Mute(ways) => format!("channels do not pass any more: {}", self.ways_in_words(ways)),
            Fault::Sluggish(..) => "the networks turn slow".into(),
            Fault::Unplug(node, network) => format!("network {network} of {} is unplugged", name(node)),
            Fault::BadNetworks => "the networks turn bad".into(),
            Fault::DiskHangs(node, time) => {
                format!("the state's disk of {} hangs for {} ms", name(node), time / MS)
            }
            Fault::SanOff(node) => format!("{} loses its way to the shared storage", name(node)),
            Fault::AppsDie(node) => format!("the applications of {} die", name(node)),
            Fault::AddressesVanish(node) => format!("the service addresses of {} are removed", name(node)),
            Fault::BadAgents => "agents begin to fail".into(),
            Fault::SlowAgents => "agents begin to be slow".into(),
            Fault::BadFence => "the fence device begins to fail".into(),
            Fault::ClockRate(node, rate) => {
                format!("the clock of {} is {rate} ppm off from now on", name(node))
            }
            Fault::ReleaseHangs => "nothing can be let go of in time any more".into(),
            Fault::Wipe(node, _) => format!("{} is lost with its state", name(node)),
            Fault::Copy(node) => format!("the disks of {} are copied", name(node)),
            Fault::PutBack(node, _) => format!("the disks of {} are put back to their copy", name(node)),
            Fault::ArrayForgets => "the disks forget who is registered at them".into(),
            Fault::KeyLost(node) => format!("somebody takes the key of {} away from its disks", name(node)),
        };
        if matches!(fault, Fault::Wipe(..)) && !self.may_wipe()
            || matches!(fault, Fault::PutBack(node, _) if !self.may_put_back(*node))
        {
            return;
        }
        self.trace.world(self.now, words);
        let before = self.connections();
        self.fault_happens(fault);
        let parted = self.connections() < before;
        if parted && matches!(fault, Fault::Block(_) | Fault::Unplug(..)) {
            self.partitions += 1;
            self.marks.hit("nodes were parted");
        }
        self.look();
    }

    /// How many pairs of nodes can talk to each other.
    fn connections(&self) -> usize {
        let nodes = self.nodes();
        let pairs = nodes.iter().flat_map(|a| nodes.iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| a < b && self.net.connects(*a, *b)).count()
    }

    fn fault_happens(&mut self, fault: &Fault) {
        match fault {
            Fault::PowerCut(node) => self.power_off(*node),
            Fault::Blackout => self.nodes().into_iter().for_each(|node| self.power_off(node)),
            Fault::KillDaemon(node, back) => self.kill_daemon(*node, *back),
            Fault::KillGuard(node, back) => self.kill_guard(*node, Some(*back)),
            Fault::Freeze(node) => self.freeze(*node),
            Fault::FreezeDaemon(node) => self.freeze_daemon(*node),
            Fault::Block(ways) => {
                self.net.keeps = self.rng.chance(500);
                self.net.block(ways, Stopped::All);
            }
            Fault::Deafen(ways) => self.net.block(ways, Stopped::Keepalives),
            Fault::Mute(ways) => {
                self.net.keeps = self.rng.chance(500);
                self.net.block(ways, Stopped::Channels);
            }
            Fault::Sluggish(low, high) => {
                let patience = nanoseconds(self.config.timers.release_begins);
                let (delay_min, delay_max) = (patience * low / 100, patience * high / 100);
                self.net.manners = Manners { delay_min, delay_max, ..self.net.manners };
            }
            Fault::Unplug(node, network) => self.net.plug(*node, *network, false),
            Fault::BadNetworks => {
                self.net.manners = Manners {
                    delay_max: self.rng.between(1, 30) * MS,
                    late_permille: self.rng.below(50),
                    late_max: 200 * MS,
                    loss_permille: self.rng.between(20, 400),
                    twice_permille: self.rng.below(200),
                    ..self.net.manners
                };
            }
            Fault::DiskHangs(node, time) => {
                let until = self.now + time;
                if let Some(machine) = self.machines.get_mut(node) {
                    machine.disk_hangs_until = until;
                }
            }
            Fault::SanOff(node) => {
                if let Some(machine) = self.machines.get_mut(node) {
                    machine.san = false;
                }
            }
            Fault::AppsDie(node) => {
                let apps = self.machines.get(node).map(|m| m.body.apps.clone()).unwrap_or_default();
                apps.iter().for_each(|key| self.app_goes(*node, key, true));
            }
            Fault::AddressesVanish(node) => self.body(*node, |body| body.addresses.clear()),
            Fault::BadAgents => {
                self.weather.agents_fail = self.rng.between(20, 400);
                self.weather.agents_hang = self.rng.between(0, 150);
            }
            Fault::SlowAgents => self.weather.agents_slow = true,
            Fault::BadFence => {
                self.weather.fences_fail = self.rng.between(100, 1000);
                self.weather.fence_slow = self.rng.between(1, 30);
                self.weather.fences_lie = self.rng.between(0, 1000);
            }
            Fault::ReleaseHangs => self.weather.release_hangs = true,
            Fault::Wipe(node, back) => self.wipe(*node, *back),
            Fault::Copy(node) => self.copy(*node),
            Fault::PutBack(node, back) => self.put_back(*node, *back),
            Fault::ArrayForgets | Fault::KeyLost(_) => self.keys_lost(fault),
            Fault::ClockRate(node, rate) => {
                let now = self.now;
                if let Some(machine) = self.machines.get_mut(node) {
                    machine.clock = machine.clock.at_rate(now, *rate);
                }
            }
        }
    }

    /// A daemon is killed; its supervisor brings it back.
    pub(crate) fn kill_daemon(&mut self, node: NodeId, back_after: Ns) {
        let Some(machine) = self.machines.get(&node).filter(|m| m.daemon.is_some()) else { return };
        let boot = machine.boot;
        self.end_daemon(node, false);
        self.after(back_after, Event::DaemonStarts(node, boot));
    }

    /// A fault ends.
    pub(crate) fn heals(&mut self, fault: &Fault) {
        if self.peace {
            return;
        }
        let name = |node: &NodeId| self.name(*node);
        let words = match fault {
            Fault::Freeze(node) => format!("{} goes on", name(node)),
            Fault::FreezeDaemon(node) => format!("the daemon of {} goes on", name(node)),
            Fault::Block(ways) => format!("it passes again: {}", self.ways_in_words(ways)),
            Fault::Deafen(ways) => format!("keepalives pass again: {}", self.ways_in_words(ways)),
            Fault::Mute(ways) => format!("channels pass again: {}", self.ways_in_words(ways)),
            Fault::Sluggish(..) => "the networks are quick again".into(),
            Fault::ReleaseHangs => "things can be let go of again".into(),
            Fault::Unplug(node, network) => format!("network {network} of {} is plugged in", name(node)),
            Fault::BadNetworks => "the networks are good again".into(),
            Fault::SanOff(node) => format!("{} has its way to the shared storage again", name(node)),
            Fault::BadAgents => "agents do their work again".into(),
            Fault::SlowAgents => "agents are quick again".into(),
            Fault::BadFence => "the fence device works again".into(),
            _ => String::new(),
        };
        if !words.is_empty() {
            self.trace.world(self.now, words);
        }
        match fault {
            Fault::PowerCut(node) => self.power_on(*node),
            Fault::Blackout => self.nodes().into_iter().for_each(|node| {
                let delay = self.rng.skewed(1, 3_000) * MS;
                self.after(delay, Event::PowerOn(node));
            }),
            Fault::Freeze(node) => self.thaw(*node),
            Fault::FreezeDaemon(node) => self.thaw_daemon(*node),
            Fault::Block(ways) => {
                self.net.unblock(ways, Stopped::All);
                self.resume_channels();
            }
            Fault::Deafen(ways) => self.net.unblock(ways, Stopped::Keepalives),
            Fault::Mute(ways) => {
                self.net.unblock(ways, Stopped::Channels);
                self.resume_channels();
            }
            Fault::ReleaseHangs => self.weather.release_hangs = false,
            Fault::Unplug(node, network) => {
                self.net.plug(*node, *network, true);
                self.resume_channels();
            }
            Fault::BadNetworks | Fault::Sluggish(..) => self.net.manners = Manners::any(&mut self.rng),
            Fault::SanOff(node) => {
                if let Some(machine) = self.machines.get_mut(node) {
                    machine.san = true;
                }
            }
            Fault::SlowAgents => self.weather.agents_slow = false,
            Fault::BadAgents | Fault::BadFence => {
                let calm = Weather::calm();
                self.weather.agents_fail = calm.agents_fail;
                self.weather.agents_hang = calm.agents_hang;
                self.weather.fences_fail = calm.fences_fail;
                self.weather.fence_slow = calm.fence_slow;
                self.weather.fences_lie = calm.fences_lie;
                self.weather.fence_broken = calm.fence_broken;
            }
            _ => {}
        }
        self.look();
    }

    pub(crate) fn resume_channels(&mut self) {
        for (from, to) in self.net.resumable() {
            let delay = self.rng.between(1, 300) * MS;
            self.after(delay, Event::ChannelResumes(from, to));
        }
    }

    fn ways_in_words(&self, ways: &[Way]) -> String {
        let way = |(from, to, network): &Way| format!("{}>{}/{network}", self.name(*from), self.name(*to));
        ways.iter().map(way).collect::<Vec<_>>().join(" ")
    }
}
