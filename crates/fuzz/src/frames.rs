//! What comes over a network or a socket: datagrams between guards, the handshake and the frames of the channel between
//! nodes, the line between daemon and guard.

use std::collections::BTreeSet;
use std::time::Duration;

use regent_lease::frame::{Ack, Frame, Keepalive};
use regent_lease::guard::Guard;
use regent_lease::io::{ClusterView, FromDaemon, Input, ToDaemon};
use regent_model::{BootId, Incarnation, Moment, NodeId, Round, config};
use regent_wire::ClusterKey;
use regent_wire::channel::{CONFIRMATION_BYTES, HELLO_BYTES, Handshake, REPLY_BYTES};
use regent_wire::codec;
use regent_wire::datagram::{Opener, Receiver, Sealer, kind};
use regent_wire::ipc::{IpcReader, IpcWriter};

use crate::world::{LX4, LX5, WIT, life, voters};

const KEY: ClusterKey = ClusterKey::from_bytes([7; 32]);
const SESSION: u64 = 9;

/// The bytes are a datagram from anywhere; and, sealed or not, the message of one, which a guard takes to heart.
pub(crate) fn datagram(bytes: &[u8]) {
    let mut opener = Opener::new(&KEY, LX5, SESSION);
    opener.set_known(&voters());
    let _refused_or_not = opener.open(&mut bytes.to_vec());
    let Ok(frame) = codec::decode::<Frame>(bytes) else { return };
    let mut guard = attached();
    let mut now = Moment(10_000_000_000);
    for from in [LX4, WIT, LX5, NodeId(99)] {
        now = now + Duration::from_millis(1);
        guard.step(now, Input::Frame { from, frame });
    }
    guard.step(now + Duration::from_secs(30), Input::Tick);
    assert!(guard.held().is_empty(), "nobody holds anything by a frame");
}

/// The guard of lx5, which knows its cluster.
fn attached() -> Guard {
    let timers = config::parse(crate::world::WARD7).config.map(|config| config.timers);
    let timers = timers.unwrap_or_else(|| panic!("the example is accepted"));
    let view = ClusterView {
        applied: 1,
        voters: voters(),
        peers: BTreeSet::from([LX4, WIT]),
        largest_lease: timers.lease,
        timers,
        registered: [LX4, LX5, WIT].map(life).into(),
        dead: BTreeSet::new(),
    };
    let mut guard = Guard::new(LX5, Incarnation(7), BootId("boot".into()), Vec::new(), Moment(1_000_000_000));
    let attach = FromDaemon::Attach { promises: Vec::new(), next_round: Round(1), cluster: view };
    guard.step(Moment(2_000_000_000), Input::Daemon(attach));
    guard
}

pub(crate) fn datagrams() -> Vec<Vec<u8>> {
    let keepalive = Keepalive {
        node: LX4,
        incarnation: Incarnation(7),
        number: 5,
        lease: Duration::from_millis(600),
        renews: true,
    };
    let ack = Ack { voter: WIT, node: LX5, incarnation: Incarnation(7), number: 1 };
    let frames = [Frame::Keepalive(keepalive), Frame::Ack(ack)];
    let plain = frames.iter().filter_map(|frame| codec::encode(frame, 1400).ok());
    let mut sealer = Sealer::new(&KEY, LX4, 3);
    let sealed = frames.iter().map(|frame| {
        let (mut datagram, to) = (Vec::new(), Receiver { node: LX5, session: Some(SESSION) });
        let _fits = sealer.seal_into(kind::LEASE, 0, to, frame, &mut datagram);
        datagram
    });
    plain.chain(sealed).collect()
}

/// Both sides of a handshake read what the other one is to have said.
pub(crate) fn handshake(bytes: &[u8]) {
    let (lx4, lx5) = (Handshake::new(&KEY, LX4), Handshake::new(&KEY, LX5));
    if let Some(hello) = bytes.first_chunk::<HELLO_BYTES>()
        && let Ok((responder, _)) = lx5.respond(hello)
        && let Some(confirmation) =
            bytes.get(HELLO_BYTES..).and_then(<[u8]>::first_chunk::<CONFIRMATION_BYTES>)
    {
        assert!(responder.finish(confirmation).is_err(), "confirmed without knowing what was replied");
    }
    if let Some(reply) = bytes.first_chunk::<REPLY_BYTES>()
        && let Ok((initiator, _)) = lx4.initiate(Some(LX5))
    {
        assert!(initiator.finish(reply).is_err(), "a reply to another hello was taken");
    }
}

pub(crate) fn handshakes() -> Vec<Vec<u8>> {
    let hello = Handshake::new(&KEY, LX4).initiate(Some(LX5)).map(|(_, hello)| hello.to_vec());
    let mut all: Vec<Vec<u8>> = hello.into_iter().collect();
    let replies = all.iter().filter_map(|hello| hello.first_chunk::<HELLO_BYTES>()).filter_map(|hello| {
        let (_, reply) = Handshake::new(&KEY, LX5).respond(hello).ok()?;
        Some(reply.to_vec())
    });
    let replies: Vec<Vec<u8>> = replies.collect();
    all.extend(replies);
    all
}

/// Frames that arrive in pieces on a channel that stands.
pub(crate) fn channel(bytes: &[u8]) {
    let (lx4, lx5) = (Handshake::new(&KEY, LX4), Handshake::new(&KEY, LX5));
    let sessions = || {
        let (initiator, hello) = lx4.initiate(Some(LX5)).ok()?;
        let (responder, reply) = lx5.respond(&hello).ok()?;
        let (confirmation, caller) = initiator.finish(&reply).ok()?;
        Some((caller, responder.finish(&confirmation).ok()?))
    };
    let Some((mut caller, mut called)) = sessions() else { return };
    let cut = bytes.len() / 3;
    let frame = caller.seal(&bytes[..cut]).unwrap_or_else(|e| panic!("{e}"));
    for piece in frame.chunks(7) {
        called.push(piece);
    }
    let opened = called.open().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(opened.as_deref(), Some(&bytes[..cut]), "what was sealed is what is opened");
    for piece in bytes[cut..].chunks(13) {
        called.push(piece);
        match called.open() {
            Ok(None) => {}
            Ok(Some(message)) => panic!("{} bytes were taken that nobody sealed", message.len()),
            Err(_) => return assert!(called.open().is_err(), "a broken channel stays broken"),
        }
    }
}

pub(crate) fn channels() -> Vec<Vec<u8>> {
    vec![vec![0; 3], (0..=255).collect(), vec![255; 4000]]
}

/// Both ends of the line between daemon and guard.
pub(crate) fn guard_line(bytes: &[u8]) {
    let mut reader = IpcReader::new(bytes);
    while let Ok(Some(said)) = reader.recv::<FromDaemon>() {
        let again = codec::encode(&said, usize::MAX).ok().and_then(|b| codec::decode::<FromDaemon>(&b).ok());
        assert_eq!(again, Some(said));
    }
    let mut reader = IpcReader::new(bytes);
    while let Ok(Some(_)) = reader.recv::<ToDaemon>() {}
}

pub(crate) fn guard_lines() -> Vec<Vec<u8>> {
    let mut writer = IpcWriter::new(Vec::new());
    let said = [
        FromDaemon::Alive,
        FromDaemon::HeldWithoutLease { incarnation: Incarnation(7) },
        FromDaemon::Attach {
            promises: Vec::new(),
            next_round: Round(4),
            cluster: ClusterView {
                applied: 5,
                voters: voters(),
                peers: voters(),
                timers: regent_model::timers::Timers::normal(),
                largest_lease: Duration::from_secs(4),
                registered: [LX4, WIT].map(life).into(),
                dead: BTreeSet::new(),
            },
        },
    ];
    for message in &said {
        let _fits = writer.send(message);
    }
    vec![writer.stream().clone()]
}
