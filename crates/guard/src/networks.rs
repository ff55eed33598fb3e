//! Datagrams between guards: one socket per own address, each message sealed anew for every network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use regent_lease::Frame;
use regent_lease::frame::{Ack, Keepalive};
use regent_model::{Incarnation, Moment, NodeId};
use regent_wire::KeyRing;
use regent_wire::datagram::{Counts, DATAGRAM_MAX, NETWORKS_MAX, Opener, Receiver, Reject, Sealer, kind};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// A socket that could not be bound is tried again after this.
const BIND_AGAIN: Duration = Duration::from_secs(1);
/// Datagrams taken from one socket before the others have their turn.
pub(crate) const TURN: usize = 64;
/// Network control, for switches and routers that care.
const PRECEDENCE: u8 = 0xC0;

struct Network {
    address: IpAddr,
    socket: Option<UdpSocket>,
    bind_at: Moment,
}

/// A keepalive that so many later ones have overtaken is of no use to anybody: its lease has ended. What was kept
/// back on one network must not make a peer look alive when it has died since.
const OVERTAKEN_BY_MAX: u64 = 16;

#[derive(Default)]
struct Peer {
    addresses: Vec<IpAddr>,
    heard: Vec<Option<Moment>>,
    /// The newest keepalive that was heard on any network.
    newest: (Incarnation, u64),
    /// The last acknowledgement that was heard on any network.
    acknowledged: Option<Ack>,
}

/// What a frame is beside those that came from the same peer before.
enum Fresh {
    New,
    /// Another network was faster.
    Copy,
    Overtaken,
}

impl Peer {
    /// Takes note of a frame, and says whether it is worth to be looked at.
    fn judge(&mut self, frame: &Frame) -> Fresh {
        match frame {
            Frame::Keepalive(keepalive) => self.judge_keepalive(keepalive),
            Frame::Ack(ack) if self.acknowledged == Some(*ack) => Fresh::Copy,
            Frame::Ack(ack) => {
                self.acknowledged = Some(*ack);
                Fresh::New
            }
        }
    }

    fn judge_keepalive(&mut self, keepalive: &Keepalive) -> Fresh {
        let Keepalive { incarnation, number, .. } = *keepalive;
        let (newest, highest) = self.newest;
        if incarnation < newest || (incarnation == newest && number + OVERTAKEN_BY_MAX < highest) {
            return Fresh::Overtaken;
        }
        if (incarnation, number) == self.newest {
            return Fresh::Copy;
        }
        self.newest = self.newest.max((incarnation, number));
        Fresh::New
    }
}

/// All networks of this node, and who is on them.
pub(crate) struct Networks {
    port: u16,
    sealer: Sealer,
    opener: Opener,
    own: Vec<Network>,
    peers: BTreeMap<NodeId, Peer>,
    /// The silence after which a network counts as dead.
    patience: Duration,
    told: Option<BTreeMap<NodeId, Vec<bool>>>,
    datagram: Vec<u8>,
    unsent: u64,
}

impl Networks {
    /// The networks of node `me`; `session` is larger than any before, durably.
    pub(crate) fn new(
        ring: &KeyRing,
        me: NodeId,
        session: u64,
        port: u16,
        own: &[IpAddr],
        now: Moment,
    ) -> Self {
        let mut networks = Self {
            port,
            sealer: Sealer::under(ring, me, session),
            opener: Opener::under(ring, me, session),
            own: Vec::new(),
            peers: BTreeMap::new(),
            patience: Duration::from_secs(1),
            told: None,
            datagram: Vec::with_capacity(DATAGRAM_MAX),
            unsent: 0,
        };
        networks.set_own(own, now);
        networks
    }

    /// Takes these own addresses; sockets of addresses that stay in their place stay too.
    pub(crate) fn set_own(&mut self, own: &[IpAddr], now: Moment) {
        let own = &own[..own.len().min(NETWORKS_MAX)];
        if self.own.iter().map(|n| n.address).eq(own.iter().copied()) {
            return;
        }
        let mut before = std::mem::take(&mut self.own);
        for address in own {
            let kept = before.iter().position(|n| n.address == *address).map(|at| before.swap_remove(at));
            self.own.push(kept.unwrap_or(Network { address: *address, socket: None, bind_at: now }));
        }
        // Closes what is not used any more before its port may be bound again.
        drop(before);
        self.bind_missing(now);
    }

    /// Knows exactly these peers from now on; what was heard of those who stay is kept.
    pub(crate) fn set_peers(&mut self, peers: &BTreeMap<NodeId, Vec<IpAddr>>) {
        self.opener.set_known(&peers.keys().copied().collect::<BTreeSet<_>>());
        self.peers.retain(|id, _| peers.contains_key(id));
        for (id, addresses) in peers {
            let peer = self.peers.entry(*id).or_default();
            peer.addresses.clone_from(addresses);
            peer.heard.resize(addresses.len(), None);
        }
    }

    /// Says under the key that the ring uses from now on, and hears all of its keys and no others.
    pub(crate) fn set_keys(&mut self, ring: &KeyRing) {
        self.opener.use_keys(ring);
        self.sealer.use_key(ring);
    }

    /// A network on which a peer was not heard for `patience` counts as dead.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Makes the sockets that are missing and due. An address that is not there yet can be bound already: it
    /// begins to work when it appears.
    pub(crate) fn bind_missing(&mut self, now: Moment) {
        for network in self.own.iter_mut().filter(|n| n.socket.is_none() && n.bind_at <= now) {
            match open(SocketAddr::new(network.address, self.port)) {
                Ok(socket) => network.socket = Some(socket),
                Err(error) => {
                    tracing::warn!(address = %network.address, port = self.port, %error, "cannot listen for keepalives");
                    network.bind_at = now + BIND_AGAIN;
                }
            }
        }
    }

    /// The sockets to wait for, each with its number.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let numbered = self.own.iter().enumerate();
        numbered.filter_map(|(number, network)| Some((number, network.socket.as_ref()?.as_fd())))
    }

    /// Takes one datagram from a socket, if there is one. `Some(None)` is one that was refused and counted, or the
    /// copy of one that was faster on another network: that one was answered, on every network.
    pub(crate) fn receive(&mut self, number: usize, now: Moment) -> Option<Option<(NodeId, Frame)>> {
        let socket = self.own.get(number)?.socket.as_ref()?;
        let mut bytes = [0; DATAGRAM_MAX + 1];
        let received = match socket.recv_from(&mut bytes) {
            Ok((received, _)) => received,
            // An error that an earlier datagram met elsewhere is reported here once; the next call goes on.
            Err(error) => return (error.kind() != std::io::ErrorKind::WouldBlock).then_some(None),
        };
        let opened = self.opener.open_as::<Frame>(kind::LEASE, &mut bytes[..received]);
        let Ok((from, network, frame)) = opened else { return Some(None) };
        let Some(peer) = self.peers.get_mut(&from) else { return Some(Some((from, frame))) };
        let fresh = peer.judge(&frame);
        if let Fresh::Overtaken = fresh {
            self.opener.count(Reject::TooOld);
            return Some(None);
        }
        if let Some(heard) = peer.heard.get_mut(usize::from(network)) {
            *heard = Some(now);
        }
        if let Fresh::Copy = fresh {
            return Some(None);
        }
        Some(Some((from, frame)))
    }

    /// Sends to a peer on every network that both have. What the kernel does not take at once is lost.
    pub(crate) fn send(&mut self, to: NodeId, frame: &Frame) {
        let Some(peer) = self.peers.get(&to) else { return };
        let receiver = Receiver { node: to, session: self.opener.session_of(to) };
        for (number, (network, address)) in self.own.iter().zip(&peer.addresses).enumerate() {
            let Some(socket) = &network.socket else { continue };
            let Ok(number) = u8::try_from(number) else { break };
            let sealed = self.sealer.seal_into(kind::LEASE, number, receiver, frame, &mut self.datagram);
            let sent = sealed.is_ok()
                && socket.send_to(&self.datagram, SocketAddr::new(*address, self.port)).is_ok();
            self.unsent += u64::from(!sent);
        }
    }

    /// On which networks each peer is heard, if that changed since it was last asked for.
    pub(crate) fn changed(&mut self, now: Moment) -> Option<BTreeMap<NodeId, Vec<bool>>> {
        let lively = |heard: &Option<Moment>| heard.is_some_and(|at| now.since(at) < self.patience);
        let as_told = |(id, peer): (&NodeId, &Peer)| {
            let told = self.told.as_ref().and_then(|told| told.get(id));
            told.is_some_and(|told| peer.heard.iter().map(lively).eq(told.iter().copied()))
        };
        if self.told.as_ref().is_some_and(|t| t.len() == self.peers.len()) && self.peers.iter().all(as_told) {
            return None;
        }
        let now_heard: BTreeMap<_, Vec<_>> =
            self.peers.iter().map(|(id, peer)| (*id, peer.heard.iter().map(lively).collect())).collect();
        self.told = Some(now_heard.clone());
        Some(now_heard)
    }

    /// The next call of [`Networks::changed`] tells everything.
    pub(crate) fn tell_again(&mut self) {
        self.told = None;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.opener.counts()
    }

    pub(crate) fn unsent(&self) -> u64 {
        self.unsent
    }

    pub(crate) fn bound(&self) -> Vec<bool> {
        self.own.iter().map(|network| network.socket.is_some()).collect()
    }
}

fn open(address: SocketAddr) -> Result<UdpSocket, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
        let _only_a_wish = sockopt::set_ip_tos(&socket, PRECEDENCE);
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
        let _only_a_wish = sockopt::set_ipv6_tclass(&socket, u32::from(PRECEDENCE));
    }
    bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

#[cfg(test)]
mod tests {
    use regent_lease::frame::Keepalive;
    use regent_model::Incarnation;
    use regent_wire::ClusterKey;

    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn frame(number: u64) -> Frame {
        let (incarnation, lease) = (Incarnation(1), Duration::from_millis(600));
        Frame::Keepalive(Keepalive { node: A, incarnation, number, lease, renews: true })
    }

    fn pair(port: u16) -> (Networks, Networks) {
        let key = KeyRing::first(ClusterKey::generate().unwrap());
        let (a, b): ([IpAddr; 2], [IpAddr; 2]) =
            ([[127, 0, 7, 1].into(), [127, 0, 8, 1].into()], [[127, 0, 7, 2].into(), [127, 0, 8, 2].into()]);
        let mut one = Networks::new(&key, A, 1, port, &a, Moment(0));
        let mut two = Networks::new(&key, B, 1, port, &b, Moment(0));
        one.set_peers(&BTreeMap::from([(B, b.to_vec())]));
        two.set_peers(&BTreeMap::from([(A, a.to_vec())]));
        acquaint(&mut one, &mut two);
        (one, two)
    }

    /// Each has heard of the other's life.
    fn acquaint(one: &mut Networks, two: &mut Networks) {
        two.send(A, &frame(0));
        await_refusal(one, |counts| counts.other_life == 2);
        one.send(B, &frame(0));
        await_refusal(two, |counts| counts.accepted == 2);
    }

    /// Takes what comes until the counts are as expected.
    fn await_refusal(networks: &mut Networks, is_so: impl Fn(Counts) -> bool) {
        for _ in 0..400 {
            if is_so(networks.counts()) {
                return;
            }
            if (0..2).all(|number| networks.receive(number, Moment(0)).is_none()) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        panic!("{:?}", networks.counts());
    }

    fn drain(networks: &mut Networks, number: usize, now: Moment) -> Vec<(NodeId, Frame)> {
        let mut found = Vec::new();
        for _ in 0..200 {
            match networks.receive(number, now) {
                Some(Some(one)) => found.push(one),
                Some(None) => {}
                None if !found.is_empty() => return found,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        found
    }

    #[test]
    fn a_frame_counts_once_and_the_networks_on_which_it_was_heard_are_told_when_they_change() {
        let (mut one, mut two) = pair(17_411);
        let at = Moment::from_millis(5000);
        assert_eq!(two.changed(at), Some(BTreeMap::from([(A, vec![false, false])])));
        one.send(B, &frame(1));
        assert_eq!(drain(&mut two, 0, at), [(A, frame(1))]);
        assert_eq!(two.changed(at), Some(BTreeMap::from([(A, vec![true, false])])));
        assert_eq!(drain(&mut two, 1, at), [], "it was answered when the first copy came");
        assert_eq!(two.changed(at), Some(BTreeMap::from([(A, vec![true, true])])));
        assert_eq!(two.changed(at + Duration::from_millis(999)), None);
        let silent = BTreeMap::from([(A, vec![false, false])]);
        assert_eq!(two.changed(at + Duration::from_millis(1000)), Some(silent.clone()));
        two.tell_again();
        assert_eq!(two.changed(at + Duration::from_millis(1000)), Some(silent));
    }

    #[test]
    fn what_is_not_a_known_peers_is_counted_and_dropped() {
        let (mut one, mut two) = pair(17_412);
        two.set_peers(&BTreeMap::new());
        one.send(B, &frame(1));
        await_refusal(&mut two, |counts| counts.unknown_sender == 2 && counts.accepted == 2);
    }

    #[test]
    fn datagrams_recorded_in_an_earlier_life_of_the_receiver_are_not_heard_in_its_next() {
        let (key, port) = (KeyRing::first(ClusterKey::generate().unwrap()), 17_414);
        let (a, b): (IpAddr, IpAddr) = ([127, 0, 7, 3].into(), [127, 0, 7, 4].into());
        let peers = |id, address| BTreeMap::from([(id, vec![address])]);
        let mut one = Networks::new(&key, A, 1, port, &[a], Moment(0));
        let mut two = Networks::new(&key, B, 7, port, &[b], Moment(0));
        one.set_peers(&peers(B, b));
        two.set_peers(&peers(A, a));
        two.send(A, &frame(0));
        await_refusal(&mut one, |counts| counts.other_life == 1);
        // What the network carries to the second node is recorded on the way.
        one.send(B, &frame(1));
        let recorded = one.datagram.clone();
        await_refusal(&mut two, |counts| counts.accepted == 1);
        drop((one, two));

        let mut next = Networks::new(&key, B, 8, port, &[b], Moment(0));
        next.set_peers(&peers(A, a));
        UdpSocket::bind((a, 0)).unwrap().send_to(&recorded, (b, port)).unwrap();
        await_refusal(&mut next, |counts| counts.other_life == 1 && counts.accepted == 0);
        assert_eq!(next.changed(Moment(0)), Some(BTreeMap::from([(A, vec![false])])));
    }

    #[test]
    fn a_keepalive_that_was_kept_back_on_one_network_is_not_heard_after_later_ones() {
        let (mut one, mut two) = pair(17_415);
        one.send(B, &frame(40));
        assert_eq!(drain(&mut two, 1, Moment(0)), [(A, frame(40))]);
        assert_eq!(drain(&mut two, 0, Moment(0)), []);
        one.send(B, &frame(40 - OVERTAKEN_BY_MAX));
        assert_eq!(drain(&mut two, 0, Moment(0)).len(), 1, "a little late is as good as on time");
        one.send(B, &frame(39 - OVERTAKEN_BY_MAX));
        let before = two.counts().too_old;
        await_refusal(&mut two, |counts| counts.too_old == before + 2);
    }

    #[test]
    fn an_address_that_is_not_there_yet_is_bound_and_a_taken_one_is_tried_again() {
        let key = KeyRing::first(ClusterKey::generate().unwrap());
        let absent: IpAddr = [198, 51, 100, 7].into();
        let taken: IpAddr = [127, 0, 9, 1].into();
        let squatter = UdpSocket::bind((taken, 17_413)).unwrap();
        let mut networks = Networks::new(&key, A, 1, 17_413, &[absent, taken], Moment(0));
        assert_eq!(networks.bound(), [true, false]);
        drop(squatter);
        networks.bind_missing(Moment(0));
        assert_eq!(networks.bound(), [true, false]);
        networks.bind_missing(Moment::from_millis(1000));
        assert_eq!(networks.bound(), [true, true]);
    }
}
