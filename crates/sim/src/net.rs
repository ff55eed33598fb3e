//! The networks between the nodes: delays, losses, partitions; and the channels that run over them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regent_engine::PeerMessage;
use regent_model::NodeId;

use crate::rng::Rng;
use crate::time::{MS, Ns, US};

/// How many networks every node is on.
pub(crate) const NETWORKS: usize = 2;

/// How many messages a broken channel may keep for later.
const HELD_BACK_MAX: usize = 400;

/// How a network behaves when nothing in particular is wrong with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    pub(crate) delay_min: Ns,
    pub(crate) delay_max: Ns,
    /// How many datagrams of a thousand are much later than that.
    pub(crate) late_permille: u64,
    pub(crate) late_max: Ns,
    pub(crate) loss_permille: u64,
    pub(crate) twice_permille: u64,
}

impl Manners {
    /// A quiet local network.
    pub(crate) fn calm() -> Self {
        Self {
            delay_min: 80 * US,
            delay_max: 300 * US,
            late_permille: 0,
            late_max: 0,
            loss_permille: 0,
            twice_permille: 0,
        }
    }

    /// Something between a quiet network and a bad one.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        let rough = rng.below(3);
        Self {
            delay_min: rng.between(50, 200) * US,
            delay_max: rng.between(200, [400, 1_000, 3_000][rough as usize]) * US,
            late_permille: rng.below(1 + 5 * rough),
            late_max: rng.between(5, 20) * MS,
            loss_permille: rng.below(1 + 10 * rough),
            twice_permille: rng.below(1 + 5 * rough),
        }
    }
}

/// A way from one node to another on one network.
pub(crate) type Way = (NodeId, NodeId, usize);

/// What does not pass on a way that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stopped {
    /// Nothing passes.
    All,
    /// Keepalives do not pass: a filter for their port, say.
    Keepalives,
    /// The channels between daemons do not.
    Channels,
}

/// The channel from one node to another.
#[derive(Debug, Default)]
struct Channel {
    last: Ns,
    held_back: VecDeque<PeerMessage>,
}

/// All networks.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) manners: Manners,
    /// Ways that are cut, and by how many faults: two faults on one way heal apart.
    cut: BTreeMap<(Way, Stopped), u32>,
    /// Links of nodes that are down.
    unplugged: BTreeSet<(NodeId, usize)>,
    channels: BTreeMap<(NodeId, NodeId), Channel>,
    /// Whether broken channels keep messages for later (and deliver them very late) or drop them.
    pub(crate) keeps: bool,
}

impl Net {
    pub(crate) fn new(manners: Manners) -> Self {
        Self {
            manners,
            cut: BTreeMap::new(),
            unplugged: BTreeSet::new(),
            channels: BTreeMap::new(),
            keeps: false,
        }
    }

    /// Lets this not pass on these ways any more.
    pub(crate) fn block(&mut self, ways: &[Way], stopped: Stopped) {
        for way in ways {
            *self.cut.entry((*way, stopped)).or_insert(0) += 1;
        }
    }

    pub(crate) fn unblock(&mut self, ways: &[Way], stopped: Stopped) {
        for way in ways {
            let Some(count) = self.cut.get_mut(&(*way, stopped)) else { continue };
            *count -= 1;
            if *count == 0 {
                self.cut.remove(&(*way, stopped));
            }
        }
    }

    pub(crate) fn plug(&mut self, node: NodeId, network: usize, plugged: bool) {
        if plugged {
            self.unplugged.remove(&(node, network));
        } else {
            self.unplugged.insert((node, network));
        }
    }

    pub(crate) fn is_plugged(&self, node: NodeId, network: usize) -> bool {
        !self.unplugged.contains(&(node, network))
    }

    /// Everything is whole again.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.unplugged.clear();
    }

    fn passes(&self, (from, to, network): Way, what: Stopped) -> bool {
        let cut = |stopped| self.cut.contains_key(&((from, to, network), stopped));
        self.is_plugged(from, network)
            && self.is_plugged(to, network)
            && (self.cut.is_empty() || !cut(Stopped::All) && !cut(what))
    }

    /// A channel works when some network lets both directions pass.
    pub(crate) fn connects(&self, a: NodeId, b: NodeId) -> bool {
        let passes = |way| self.passes(way, Stopped::Channels);
        (0..NETWORKS).any(|n| passes((a, b, n)) && passes((b, a, n)))
    }

    fn delay(&self, rng: &mut Rng) -> Ns {
        let m = &self.manners;
        if rng.chance(m.late_permille) {
            rng.between(m.delay_max, m.late_max.max(m.delay_max))
        } else {
            rng.between(m.delay_min, m.delay_max)
        }
    }

    /// When a datagram sent now arrives: never, once or twice.
    pub(crate) fn datagram(&self, rng: &mut Rng, now: Ns, way: Way) -> [Option<Ns>; 2] {
        let passes = self.passes(way, Stopped::Keepalives);
        if !passes || rng.chance(self.manners.loss_permille) {
            return [None, None];
        }
        let first = now + self.delay(rng);
        let second = rng.chance(self.manners.twice_permille).then(|| now + self.delay(rng));
        [Some(first), second]
    }

    /// When a message given to the channel now arrives, after all before it; `None` if the channel is broken.
    pub(crate) fn message(
        &mut self,
        rng: &mut Rng,
        now: Ns,
        from: NodeId,
        to: NodeId,
        message: PeerMessage,
    ) -> Option<(Ns, PeerMessage)> {
        let connected = self.connects(from, to);
        let mut at = now + self.delay(rng);
        if rng.chance(self.manners.loss_permille) {
            // A lost segment is sent again.
            at += rng.between(5, 40) * MS;
        }
        let keeps = self.keeps;
        let channel = self.channels.entry((from, to)).or_default();
        if !connected || !channel.held_back.is_empty() {
            if keeps && channel.held_back.len() < HELD_BACK_MAX {
                channel.held_back.push_back(message);
            }
            return None;
        }
        channel.last = channel.last.max(at);
        Some((channel.last, message))
    }

    /// The channels that could go on: they hold something back, and are whole again.
    pub(crate) fn resumable(&self) -> Vec<(NodeId, NodeId)> {
        let waiting = self.channels.iter().filter(|(_, c)| !c.held_back.is_empty());
        waiting.map(|(pair, _)| *pair).filter(|(from, to)| self.connects(*from, *to)).collect()
    }

    /// What a channel held back.
    pub(crate) fn take_held_back(&mut self, from: NodeId, to: NodeId) -> VecDeque<PeerMessage> {
        if !self.connects(from, to) {
            return VecDeque::new();
        }
        self.channels.get_mut(&(from, to)).map(|c| std::mem::take(&mut c.held_back)).unwrap_or_default()
    }

    /// Everything that a node's channels hold back is lost with it.
    pub(crate) fn forget(&mut self, node: NodeId) {
        for ((from, to), channel) in &mut self.channels {
            if *from == node || *to == node {
                channel.held_back.clear();
            }
        }
    }
}
