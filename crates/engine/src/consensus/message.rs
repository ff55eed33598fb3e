//! The log's messages in our own encoding: what a peer sends is never parsed by the library's decoder.

use raft::eraftpb;
pub use regent_arbiter::Noted;
use regent_model::NodeId;
use serde::{Deserialize, Serialize};

/// A message of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftMessage {
    kind: u8,
    to: u64,
    from: u64,
    term: u64,
    log_term: u64,
    index: u64,
    entries: Vec<Entry>,
    commit: u64,
    commit_term: u64,
    snapshot: Option<Snapshot>,
    request_snapshot: u64,
    reject: bool,
    reject_hint: u64,
    context: Vec<u8>,
    /// In which generation it is said.
    generation: Noted,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: u8,
    term: u64,
    index: u64,
    data: Vec<u8>,
    context: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    index: u64,
    term: u64,
    voters: Vec<u64>,
    learners: Vec<u64>,
    data: Vec<u8>,
}

/// The kinds of message that peers send to one another; the library's own local kinds are refused.
const KINDS: [eraftpb::MessageType; 12] = [
    eraftpb::MessageType::MsgAppend,
    eraftpb::MessageType::MsgAppendResponse,
    eraftpb::MessageType::MsgRequestVote,
    eraftpb::MessageType::MsgRequestVoteResponse,
    eraftpb::MessageType::MsgSnapshot,
    eraftpb::MessageType::MsgHeartbeat,
    eraftpb::MessageType::MsgHeartbeatResponse,
    eraftpb::MessageType::MsgTransferLeader,
    eraftpb::MessageType::MsgTimeoutNow,
    eraftpb::MessageType::MsgRequestPreVote,
    eraftpb::MessageType::MsgRequestPreVoteResponse,
    eraftpb::MessageType::MsgPropose,
];

impl RaftMessage {
    /// To whom.
    #[must_use]
    pub fn to(&self) -> NodeId {
        NodeId(self.to)
    }

    /// From whom it says it is; the channel knows better, and a difference is refused.
    #[must_use]
    pub fn from(&self) -> NodeId {
        NodeId(self.from)
    }

    /// Whether it carries the whole state.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.snapshot.is_some()
    }

    /// In which generation it is said.
    #[must_use]
    pub fn noted(&self) -> Noted {
        self.generation
    }

    pub(super) fn from_library(m: &eraftpb::Message, generation: Noted) -> Self {
        let kind = KINDS.iter().position(|k| *k == m.get_msg_type()).unwrap_or(usize::from(u8::MAX));
        let snapshot = m.has_snapshot().then(|| {
            let meta = m.get_snapshot().get_metadata();
            Snapshot {
                index: meta.index,
                term: meta.term,
                voters: meta.get_conf_state().voters.clone(),
                learners: meta.get_conf_state().learners.clone(),
                data: m.get_snapshot().get_data().to_vec(),
            }
        });
        Self {
            kind: u8::try_from(kind).unwrap_or(u8::MAX),
            to: m.to,
            from: m.from,
            term: m.term,
            log_term: m.log_term,
            index: m.index,
            entries: m.entries.iter().map(Entry::from_library).collect(),
            commit: m.commit,
            commit_term: m.commit_term,
            snapshot,
            request_snapshot: m.request_snapshot,
            reject: m.reject,
            reject_hint: m.reject_hint,
            context: m.context.to_vec(),
            generation,
        }
    }

    /// The library's form; an unknown kind becomes one that the library refuses as not meant for the network.
    pub(super) fn into_library(self) -> eraftpb::Message {
        let mut m = eraftpb::Message::default();
        let kind = KINDS.get(usize::from(self.kind)).copied().unwrap_or(eraftpb::MessageType::MsgHup);
        m.set_msg_type(kind);
        m.to = self.to;
        m.from = self.from;
        m.term = self.term;
        m.log_term = self.log_term;
        m.index = self.index;
        m.entries = self.entries.into_iter().map(Entry::into_library).collect::<Vec<_>>().into();
        m.commit = self.commit;
        m.commit_term = self.commit_term;
        if let Some(s) = self.snapshot {
            let mut snapshot = eraftpb::Snapshot { data: s.data.into(), ..eraftpb::Snapshot::default() };
            let meta = snapshot.mut_metadata();
            meta.index = s.index;
            meta.term = s.term;
            meta.mut_conf_state().voters = s.voters;
            meta.mut_conf_state().learners = s.learners;
            m.set_snapshot(snapshot);
        }
        m.request_snapshot = self.request_snapshot;
        m.reject = self.reject;
        m.reject_hint = self.reject_hint;
        m.context = self.context.into();
        m
    }
}

impl Entry {
    fn from_library(e: &eraftpb::Entry) -> Self {
        Self {
            kind: super::mirror::entry_kind(e.get_entry_type()),
            term: e.term,
            index: e.index,
            data: e.data.to_vec(),
            context: e.context.to_vec(),
        }
    }

    fn into_library(self) -> eraftpb::Entry {
        super::mirror::entry(self.kind, self.term, self.index, self.data, self.context)
    }
}
