//! Accepting calls on one own address: from peers, and from machines that want to join.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Weak};
use std::time::Duration;

use regent_api::{Answer, roles};
use regent_model::NodeId;
use regent_model::state::TicketId;
use regent_wire::channel::{ChannelError, Link, Stranger};
use regent_wire::handover::KeyAsk;
use regent_wire::invite::{PUBLIC_BYTES, TokenSecret};
use regent_wire::key::KEY_BYTES;
use serde::{Deserialize, Serialize};

use super::{Inner, OPEN_WITHIN, connection, lock};
use crate::os;

/// Calls that are being opened at the same time; more are not accepted for the moment.
const OPENING_MAX: usize = 64;
/// Of these, from one address: whoever calls and says nothing must not keep the peers out.
const OPENING_PER_CALLER_MAX: usize = 8;
const AGAIN: Duration = Duration::from_millis(500);
/// How long a machine that wants to join may take to say so.
const ASK_WITHIN: Duration = Duration::from_secs(5);

static OPENING: Mutex<BTreeMap<IpAddr, usize>> = Mutex::new(BTreeMap::new());

/// A call that is being opened.
struct Opening(IpAddr);

impl Opening {
    /// Unless there are too many.
    fn begin(caller: IpAddr) -> Option<Self> {
        let mut opening = lock(&OPENING);
        let own = opening.get(&caller).copied().unwrap_or(0);
        if own >= OPENING_PER_CALLER_MAX || opening.values().sum::<usize>() >= OPENING_MAX {
            return None;
        }
        opening.insert(caller, own + 1);
        Some(Self(caller))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut opening = lock(&OPENING);
        match opening.get_mut(&self.0) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(opening.remove(&self.0)),
        }
    }
}

/// What a machine that wants to join says.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JoinAsk {
    /// The secret of its token: only its hash was needed for the call.
    pub(crate) secret: [u8; KEY_BYTES],
    /// The public key of the machine.
    pub(crate) machine: [u8; PUBLIC_BYTES],
    /// By that key, over [`JoinAsk::signed`].
    pub(crate) signature: Vec<u8>,
    /// Its name.
    pub(crate) name: String,
    /// Its addresses, one per network.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether it will only vote.
    pub(crate) witness: bool,
    /// Its version.
    pub(crate) version: String,
}

impl JoinAsk {
    /// What the machine signs: that it wants to join under this name, with this token.
    pub(crate) fn signed(secret: &TokenSecret, name: &str) -> Vec<u8> {
        [b"regent join 1 ", &secret.verifier()[..], name.as_bytes()].concat()
    }
}

/// What it is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct JoinAnswer {
    /// The answer to [`regent_api::Request::Join`].
    pub(crate) answer: Answer,
    /// The cluster's key as text, if it may join.
    pub(crate) key: Option<String>,
}

impl JoinAnswer {
    /// Without the key: it may not.
    pub(crate) fn without_key(answer: Answer) -> Self {
        Self { answer, key: None }
    }
}

/// One own address at which calls are accepted.
pub(super) struct Door {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    listener: Mutex<Option<TcpListener>>,
}

impl Door {
    pub(super) fn open(inner: &Arc<Inner>, network: usize, address: SocketAddr) -> Self {
        let state = Arc::new(State::default());
        // A door must not keep the links alive: they close their doors when they go.
        let (inner, own) = (Arc::downgrade(inner), state.clone());
        let wait = move || wait_for_calls(&inner, &own, network, address);
        if let Err(error) = std::thread::Builder::new().name("link-door".into()).spawn(wait) {
            tracing::error!(%address, %error, "cannot make a thread: nobody can call");
        }
        Self { state }
    }

    pub(super) fn close(&self) {
        self.state.closed.store(true, Ordering::Relaxed);
        if let Some(listener) = lock(&self.state.listener).take() {
            // Ends the thread that waits in it.
            let _has_ended_already = rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Both);
        }
    }
}

fn wait_for_calls(inner: &Weak<Inner>, state: &State, network: usize, address: SocketAddr) {
    let mut told = false;
    while !state.closed.load(Ordering::Relaxed) {
        match os::listen_at(address).and_then(|l| Ok((l.try_clone()?, l))) {
            Ok((second, listener)) => {
                *lock(&state.listener) = Some(second);
                let ended = accept(inner, state, network, &listener);
                if let Err(error) = ended
                    && !state.closed.load(Ordering::Relaxed)
                {
                    tracing::warn!(%address, %error, "cannot accept calls for the moment");
                }
                *lock(&state.listener) = None;
            }
            Err(error) if !told => {
                told = true;
                tracing::error!(%address, %error, "cannot listen for other nodes; trying again");
            }
            Err(_) => {}
        }
        std::thread::sleep(AGAIN);
    }
}

fn accept(inner: &Weak<Inner>, state: &State, network: usize, listener: &TcpListener) -> std::io::Result<()> {
    while !state.closed.load(Ordering::Relaxed) {
        let (stream, caller) = listener.accept()?;
        let Some(inner) = inner.upgrade().filter(|_| !state.closed.load(Ordering::Relaxed)) else {
            return Ok(());
        };
        let Some(opening) = Opening::begin(caller.ip()) else {
            refused(&inner, caller, "too many calls at once");
            continue;
        };
        let answer = move || answer(&inner, network, stream, caller, opening);
        // Without a thread the caller sees its connection closed.
        let _too_many_threads = std::thread::Builder::new().name("link-answer".into()).spawn(answer);
    }
    Ok(())
}

fn answer(inner: &Inner, network: usize, stream: TcpStream, caller: SocketAddr, opening: Opening) {
    let opened = connection::prepare(inner, &stream).map_err(|error| error.to_string()).and_then(|second| {
        let link = Link::accept(stream, &inner.handshake(), OPEN_WITHIN);
        if let Err(ChannelError::ForeignKey) = &link {
            (inner.ears.foreign)();
        }
        Ok((second, link.map_err(|error| error.to_string())?))
    });
    match opened {
        // It counts until it is answered: who holds one token could else hold as many threads as it likes.
        Ok((_, link)) if link.peer() == NodeId(0) => {
            match link.stranger() {
                Some(Stranger::Newcomer(ticket)) => welcome(inner, link, TicketId(ticket), caller),
                Some(Stranger::Member(member)) => give_keys(inner, link, member, caller),
                None => {}
            }
            drop(opening);
        }
        Ok((second, link)) => {
            drop(opening);
            connection::serve(inner, network, second, link);
        }
        Err(why) => {
            drop(opening);
            refused(inner, caller, &why);
        }
    }
}

/// Whoever scans ports or floods them must not fill the disk with lines about it.
fn refused(inner: &Inner, caller: SocketAddr, why: &str) {
    if (inner.ears.refused)(&format!("{}: {why}", caller.ip())) {
        tracing::warn!(%caller, "a call was not accepted: {why}; more of the kind are only counted");
    }
}

/// A machine without a number: it wants to join.
fn welcome(inner: &Inner, link: Link<TcpStream>, ticket: TicketId, caller: SocketAddr) {
    let Ok((mut reader, mut writer)) = link.split() else { return };
    let answer = match reader.recv_within(ASK_WITHIN) {
        Ok(ask) => match serde_json::from_slice::<JoinAsk>(&ask) {
            Ok(ask) => {
                let (name, version) = (roles::plain_words(&ask.name), roles::plain_words(&ask.version));
                tracing::info!(%caller, name, version, "a machine wants to join");
                (inner.ears.join)(ticket, ask)
            }
            Err(_) => JoinAnswer::without_key(Answer::refused(
                "the member does not understand the newcomer",
                "install the same version of Regent on both machines",
            )),
        },
        Err(error) => {
            refused(inner, caller, &format!("a machine without a number said nothing: {error}"));
            return;
        }
    };
    let sent = serde_json::to_vec(&answer).map_err(|e| e.to_string());
    if let Err(error) = sent.and_then(|bytes| writer.send(&bytes).map_err(|e| e.to_string())) {
        tracing::warn!(%caller, "the answer to a machine that joins was not sent: {error}");
    }
}

/// Somebody who says that he is this member, and asks for the cluster's keys.
fn give_keys(inner: &Inner, link: Link<TcpStream>, member: NodeId, caller: SocketAddr) {
    let Ok((mut reader, mut writer)) = link.split() else { return };
    let asked = reader.recv_within(ASK_WITHIN).map_err(|error| error.to_string());
    let ask = asked.and_then(|ask| serde_json::from_slice::<KeyAsk>(&ask).map_err(|error| error.to_string()));
    let given = match ask {
        Ok(ask) if ask.member == member => (inner.ears.keys)(&ask),
        Ok(_) => None,
        Err(why) => {
            return refused(inner, caller, &format!("who asked for the cluster's keys said nothing: {why}"));
        }
    };
    if given.is_none() {
        refused(
            inner,
            caller,
            "who asked for the cluster's keys has not shown that it is a member's machine",
        );
    }
    let sent = serde_json::to_vec(&given).map_err(|e| e.to_string());
    if let Err(error) = sent.and_then(|bytes| writer.send(&bytes).map_err(|e| e.to_string())) {
        tracing::warn!(%caller, "the answer to a member that asks for keys was not sent: {error}");
    }
}
