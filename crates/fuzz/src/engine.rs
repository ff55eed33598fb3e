//! One node's brain among members that may say anything: the bytes are a story of what is heard, and when.
//!
//! A piece of the story is a byte for what it is, two for its length, and so many bytes.

use std::time::Duration;

use regent_api::Request;
use regent_engine::{Effects, Engine, Identity, Input, PeerMessage, Restored};
use regent_lease::io::ToDaemon;
use regent_model::format::Speaks;
use regent_model::{Moment, NodeName};
use regent_store::Recovered;
use regent_wire::codec;

use crate::world::{LX4, LX5, WIT, state, voters};

const BEGAN: Moment = Moment(10_000_000_000);

pub(crate) fn run(bytes: &[u8]) {
    let mut listener = Listener::new();
    let mut rest = bytes;
    while let Some((&[what, low, high], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (piece, next) = after.split_at(length);
        listener.hears(what, piece);
        rest = next;
    }
    listener.step(Input::Tick);
    let _what_it_shows = listener.engine.status();
}

struct Listener {
    engine: Engine,
    now: Moment,
    requests: u64,
}

impl Listener {
    fn new() -> Self {
        let me = Identity {
            id: LX5,
            name: NodeName::new("lx5").unwrap_or_else(|e| panic!("{e}")),
            session: 2,
            version: "fuzz".into(),
            speaks: Speaks::THIS,
        };
        let founding = Some((state(), voters()));
        let restored = Restored { recovered: Recovered::default(), founding, journal: Vec::new() };
        let (engine, effects) = Engine::new(me, restored, 1, BEGAN, 0);
        let mut listener = Self { engine, now: BEGAN, requests: 0 };
        listener.keep(effects);
        listener
    }

    fn hears(&mut self, what: u8, piece: &[u8]) {
        let from = [LX4, WIT][usize::from(what & 1)];
        match what >> 1 {
            0 => {
                let ms = piece.iter().take(2).fold(0, |ms, byte| ms << 8 | u64::from(*byte));
                self.now = self.now + Duration::from_millis(ms);
                self.step(Input::Tick);
            }
            1 => {
                let Ok(message) = codec::decode::<PeerMessage>(piece) else { return };
                self.step(Input::Peer { from, message });
            }
            2 => {
                let Ok(request) = serde_json::from_slice::<Request>(piece) else { return };
                self.requests += 1;
                self.step(Input::Request { id: regent_engine::io::RequestId(self.requests), request });
            }
            _ => {
                let Ok(ToDaemon::PeerHeard(about)) = codec::decode::<ToDaemon>(piece) else { return };
                self.step(Input::Guard(ToDaemon::PeerHeard(about)));
            }
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.engine.step(self.now, 0, input);
        self.keep(effects);
    }

    /// Whatever is to be durable is so at once.
    fn keep(&mut self, effects: Effects) {
        let mut due: Vec<_> = effects.persist.into_iter().map(|(batch, _)| batch).collect();
        while let Some(batch) = due.pop() {
            let effects = self.engine.step(self.now, 0, Input::Persisted(batch));
            due.extend(effects.persist.into_iter().map(|(batch, _)| batch));
        }
    }
}

fn piece(what: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&[what], &length[..], bytes].concat()
}

pub(crate) fn starters() -> Vec<Vec<u8>> {
    let asked = include_str!("../../api/tests/releases/asked-1.jsonl").lines();
    let mut all: Vec<Vec<u8>> = asked.map(|line| piece(4, line.as_bytes())).collect();
    // A leader of the log is elected, and asked for the rest of a journal.
    let talk = [PeerMessage::JournalAfter(0)];
    let talk = talk.iter().filter_map(|message| codec::encode(message, usize::MAX).ok());
    all.extend(talk.map(|bytes| [piece(2, &bytes), piece(0, &[4, 0])].concat()));
    all.push([piece(0, &[0, 100]), piece(0, &[2, 0]), piece(0, &[8, 0])].concat());
    all
}
