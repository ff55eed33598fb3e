//! Channels to the other members: one per peer and network, every message on all of them, delivered once.
//!
//! The node with the smaller number dials, both accept. What the daemon has to say is never waited for: a
//! connection that does not keep up is closed and made anew, because the engine repeats whatever matters.

mod connection;
mod dial;
mod door;
mod message;
mod queue;
mod window;

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regent_engine::PeerMessage;
use regent_model::NodeId;
use regent_model::format::{Format, Speaks};
use regent_model::state::TicketId;
use regent_wire::KeyRing;
use regent_wire::channel::Handshake;
use regent_wire::handover::{KeyAsk, KeysGiven};

use connection::Connection;
use dial::Line;
use door::Door;
use window::Window;

pub(crate) use door::{JoinAnswer, JoinAsk};

/// The time a new connection may take to open.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// A stream on which nothing is acknowledged for so long is dead, at the least.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// Before each message: its kind, the sender's session, and its number.
const HEADER_BYTES: usize = 17;
/// A message between engines in format 1.
const KIND_MESSAGE: u8 = 1;
/// Questions between daemons that are none of the engine's.
const KIND_SIDE: u8 = 2;
/// A message between engines in a later format, after its number.
const KIND_NUMBERED: u8 = 3;

/// Gives a member the cluster's keys, if it has shown who it is.
pub(crate) type GiveKeys = dyn Fn(&KeyAsk) -> Option<KeysGiven> + Send + Sync;

/// What the links do with what they hear.
pub(crate) struct Ears {
    /// A peer says something. Must not block.
    pub(crate) deliver: Box<dyn Fn(NodeId, PeerMessage) + Send + Sync>,
    /// A peer's daemon asks or answers beside the engine. Must not block.
    pub(crate) side: Box<dyn Fn(NodeId, Vec<u8>) + Send + Sync>,
    /// A call was refused, for this reason. Says whether it is worth a line in the log.
    pub(crate) refused: Box<dyn Fn(&str) -> bool + Send + Sync>,
    /// A machine wants to join. May take long.
    pub(crate) join: Box<dyn Fn(TicketId, JoinAsk) -> JoinAnswer + Send + Sync>,
    /// A member asks for the cluster's keys; nothing for one that has not shown who it is.
    pub(crate) keys: Box<GiveKeys>,
    /// A peer has not got the key that was used, or used one that is not known here. Must not block.
    pub(crate) foreign: Box<dyn Fn() + Send + Sync>,
}

/// The channels of this node.
#[derive(Clone)]
pub(crate) struct Links {
    inner: Arc<Inner>,
}

struct Inner {
    me: NodeId,
    speaks: Speaks,
    session: u64,
    handshake: Mutex<Handshake>,
    /// The number of the key that is used.
    uses: AtomicU32,
    ears: Ears,
    roster: Mutex<Roster>,
    next_connection: AtomicU64,
}

#[derive(Default)]
struct Roster {
    own: Vec<IpAddr>,
    port: u16,
    patience: Duration,
    /// Nobody is known yet: whoever has the key may call.
    open: bool,
    /// The numbers of the keys that are good.
    opens: Vec<u32>,
    peers: BTreeMap<NodeId, Peer>,
    lines: BTreeMap<(NodeId, usize), Line>,
    doors: Vec<Door>,
}

struct Peer {
    addresses: Vec<IpAddr>,
    /// It was a member, and is to hear that it is none any more.
    former: bool,
    /// The number of the last message to it.
    sent: u64,
    window: Arc<Mutex<Window>>,
    connections: BTreeMap<usize, Connection>,
}

impl Peer {
    fn new(addresses: Vec<IpAddr>) -> Self {
        let window = Arc::new(Mutex::new(Window::new()));
        Self { addresses, former: false, sent: 0, window, connections: BTreeMap::new() }
    }

    fn close(&mut self) {
        std::mem::take(&mut self.connections).into_values().for_each(|c| c.close());
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Links {
    /// The channels of node `me`, none yet. `session` is larger than any before. Where `open`, whoever has the
    /// cluster's key may call until [`Links::set_peers`] is called: a node that joins knows nobody.
    pub(crate) fn new(
        ring: &KeyRing,
        me: NodeId,
        speaks: Speaks,
        session: u64,
        open: bool,
        ears: Ears,
    ) -> Self {
        let opens = ring.keys().map(|(number, _)| number).collect();
        let roster = Roster { open, opens, patience: PATIENCE_MIN, ..Roster::default() };
        let inner = Inner {
            me,
            speaks,
            session,
            handshake: Mutex::new(Handshake::under(ring, me).with_versions(speaks.oldest, speaks.newest)),
            uses: AtomicU32::new(ring.using()),
            ears,
            roster: Mutex::new(roster),
            next_connection: AtomicU64::new(1),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes the own addresses, one per network, and begins to listen there.
    pub(crate) fn set_own(&self, own: &[IpAddr], port: u16) {
        let mut roster = lock(&self.inner.roster);
        if roster.own == own && roster.port == port {
            return;
        }
        roster.own = own.to_vec();
        roster.port = port;
        roster.doors.drain(..).for_each(|door| door.close());
        for (network, address) in own.iter().enumerate() {
            roster.doors.push(Door::open(&self.inner, network, (*address, port).into()));
        }
        self.inner.follow_lines(&mut roster);
    }

    /// Takes the members to keep channels to, with their addresses. Nobody else may call from now on but `former` members,
    /// who are called now and then: the engine tells them that they are none any more, and nothing else is heard of them.
    pub(crate) fn set_peers(
        &self,
        peers: &BTreeMap<NodeId, Vec<IpAddr>>,
        former: &BTreeMap<NodeId, Vec<IpAddr>>,
    ) {
        let mut roster = lock(&self.inner.roster);
        roster.open = false;
        roster.peers.retain(|id, peer| {
            peers.contains_key(id) || former.contains_key(id) || {
                peer.close();
                false
            }
        });
        let with = |all: &BTreeMap<NodeId, Vec<IpAddr>>, is_former: bool, roster: &mut Roster| {
            for (id, addresses) in all {
                let peer = roster.peers.entry(*id).or_insert_with(|| Peer::new(Vec::new()));
                peer.addresses.clone_from(addresses);
                peer.former = is_former;
            }
        };
        with(former, true, &mut roster);
        with(peers, false, &mut roster);
        self.inner.follow_lines(&mut roster);
    }

    /// Calls, and lets in, nobody who does not speak this format or a newer one: it is in force.
    pub(crate) fn set_oldest(&self, oldest: Format) {
        let mut handshake = lock(&self.inner.handshake);
        let Speaks { oldest: least, newest } = self.inner.speaks;
        *handshake = handshake.clone().with_versions(oldest.max(least), newest);
    }

    /// Lets machines in that show one of these tokens, the number of each and its verifier; and members that ask for the
    /// cluster's keys, each known by the public key of its machine. Nobody else without a key of the cluster.
    pub(crate) fn set_admitted(&self, tokens: &[(TicketId, [u8; 32])], machines: &[(NodeId, [u8; 32])]) {
        let mut handshake = lock(&self.inner.handshake);
        let tokens = tokens.iter().map(|(id, verifier)| (id.0, *verifier));
        *handshake = handshake.clone().admitting(tokens, machines.iter().copied());
    }

    /// Calls under the key that the ring uses from now on, and answers under all of its keys and no others. A channel
    /// under an older key is replaced by one under the key that is used, and then closed; one under a key that is not in
    /// the ring is closed at once.
    pub(crate) fn set_ring(&self, ring: &KeyRing) {
        {
            let mut handshake = lock(&self.inner.handshake);
            *handshake = handshake.clone().with_keys(ring);
        }
        self.inner.uses.store(ring.using(), Ordering::Release);
        let mut roster = lock(&self.inner.roster);
        roster.opens = ring.keys().map(|(number, _)| number).collect();
        let Roster { peers, lines, opens, .. } = &mut *roster;
        for peer in peers.values_mut() {
            peer.connections.retain(|_, connection| {
                let stays = opens.contains(&connection.key);
                if !stays {
                    connection.close();
                }
                stays
            });
        }
        lines.values().for_each(Line::renew);
    }

    /// How quickly a dead stream is to be noticed. Connections made from now on obey.
    pub(crate) fn set_heartbeat(&self, heartbeat: Duration) {
        lock(&self.inner.roster).patience = (heartbeat * 4).max(PATIENCE_MIN);
    }

    /// Sends to a peer on all networks that are up. Does not wait, and promises nothing.
    pub(crate) fn send(&self, to: NodeId, message: &PeerMessage) {
        self.send_frame(to, KIND_MESSAGE, |format, limit, frame| message::put(message, format, limit, frame));
    }

    /// The same for what is none of the engine's.
    pub(crate) fn send_beside(&self, to: NodeId, text: &[u8]) {
        self.send_frame(to, KIND_SIDE, |_, limit, frame| {
            if text.len() > limit {
                return Err(format!("it has {} bytes, and at most {limit} can be sent", text.len()));
            }
            frame.extend_from_slice(text);
            Ok(())
        });
    }

    /// Everybody with whom there is to be a channel.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        let roster = lock(&self.inner.roster);
        roster.peers.iter().filter(|(_, peer)| !peer.former).map(|(id, _)| *id).collect()
    }

    /// To how many of them there is a channel now.
    pub(crate) fn connected(&self) -> usize {
        let roster = lock(&self.inner.roster);
        roster.peers.values().filter(|peer| !peer.former && !peer.connections.is_empty()).count()
    }

    fn send_frame(
        &self,
        to: NodeId,
        kind: u8,
        encode: impl FnOnce(Format, usize, &mut Vec<u8>) -> Result<(), String>,
    ) {
        let mut frame = Vec::with_capacity(256);
        frame.push(kind);
        frame.extend_from_slice(&self.inner.session.to_le_bytes());
        let mut roster = lock(&self.inner.roster);
        let Some(peer) = roster.peers.get_mut(&to) else { return };
        // The same bytes go over all of them, and one may still lead to a daemon of the release before.
        let Some(format) = peer.connections.values().map(|c| c.format).min() else { return };
        frame.extend_from_slice(&(peer.sent + 1).to_le_bytes());
        let limit = regent_wire::channel::MESSAGE_MAX - HEADER_BYTES;
        if let Err(error) = encode(format, limit, &mut frame) {
            tracing::error!(%to, %error, "a message to a peer is not sent");
            return;
        }
        peer.sent += 1;
        let frame: Arc<[u8]> = frame.into();
        peer.connections.retain(|network, connection| {
            let taken = connection.queue.push(&frame);
            if !taken {
                tracing::warn!(peer = %to, network, "a channel does not keep up; opening it anew");
                connection.close();
            }
            taken
        });
    }

    /// Ends every channel, and lets nobody in any more.
    pub(crate) fn close(&self) {
        let mut roster = lock(&self.inner.roster);
        roster.doors.drain(..).for_each(|door| door.close());
        std::mem::take(&mut roster.lines).into_values().for_each(|line| line.close());
        roster.peers.values_mut().for_each(Peer::close);
    }
}

impl Inner {
    /// Dials whom this node is to dial, and nobody else.
    fn follow_lines(self: &Arc<Self>, roster: &mut Roster) {
        let mut wanted = BTreeMap::new();
        for (id, peer) in roster.peers.range(self.me.next()..) {
            for (network, (from, to)) in roster.own.iter().zip(&peer.addresses).enumerate() {
                wanted.insert((*id, network), (*from, std::net::SocketAddr::new(*to, roster.port)));
            }
        }
        let Roster { lines, peers, .. } = roster;
        lines.retain(|key, line| {
            let stays = wanted.get(key) == Some(&line.course());
            if !stays {
                line.close();
                let connections = peers.get_mut(&key.0).map(|peer| &mut peer.connections);
                connections.and_then(|c| c.remove(&key.1)).into_iter().for_each(|c| c.close());
            }
            stays
        });
        for ((id, network), (from, to)) in wanted {
            lines.entry((id, network)).or_insert_with(|| Line::open(self, id, network, from, to));
        }
    }

    /// Takes a connection to a peer into use, in place of an older one on the same network.
    fn attach(
        &self,
        from: NodeId,
        network: usize,
        stream: TcpStream,
        format: Format,
        key: u32,
    ) -> Result<Attached, Stranger> {
        let mut roster = lock(&self.roster);
        if roster.open {
            roster.peers.entry(from).or_insert_with(|| Peer::new(Vec::new()));
        }
        if !roster.opens.contains(&key) {
            return Err(Stranger::OldKey);
        }
        let peer = roster.peers.get_mut(&from).ok_or(Stranger::NoMember)?;
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::new(number, stream, format, key);
        let queue = connection.queue.clone();
        if let Some(older) = peer.connections.insert(network, connection) {
            if older.key == key { older.close() } else { older.replaced() }
        }
        Ok(Attached { number, queue, window: peer.window.clone() })
    }

    fn detach(&self, from: NodeId, network: usize, number: u64) {
        let mut roster = lock(&self.roster);
        let Some(peer) = roster.peers.get_mut(&from) else { return };
        if peer.connections.get(&network).is_some_and(|c| c.number == number) {
            peer.connections.remove(&network).into_iter().for_each(|c| c.close());
        }
    }

    /// This node's side of a handshake that begins now.
    fn handshake(&self) -> Handshake {
        lock(&self.handshake).clone()
    }

    /// Whether it was a member and is none any more.
    fn is_former(&self, peer: NodeId) -> bool {
        lock(&self.roster).peers.get(&peer).is_some_and(|peer| peer.former)
    }

    /// Whether channels under an older key are being replaced.
    fn is_changing_keys(&self) -> bool {
        lock(&self.roster).opens.len() > 1
    }

    fn patience(&self) -> Duration {
        lock(&self.roster).patience
    }
}

/// Why a link that is open is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stranger {
    /// Its key was retired while it was being opened: the other side calls again.
    OldKey,
    NoMember,
}

/// What a connection's threads need.
struct Attached {
    number: u64,
    queue: Arc<queue::Queue>,
    window: Arc<Mutex<Window>>,
}

#[cfg(test)]
mod tests;
