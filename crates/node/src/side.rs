//! Questions to the daemons of all nodes, beside the log: how each is equipped, what it is prepared with, what of a group
//! is on it. Nothing of it is decided here, remembered, or waited for by the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use regent_api::{NodeWord, NodesAnswer, NodesAsk};
use regent_guard::release;
use regent_model::config::{self, Config};
use regent_model::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::equipment;
use crate::links::Links;
use crate::registry::Registrar;

/// How long a node may take to say how it is equipped: a disk that hangs takes its time.
const SURVEY_WITHIN: Duration = Duration::from_secs(20);
/// How long for what needs no disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Questions that a node works on at the same time.
const AT_ONCE: usize = 4;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Ask { number: u64, config: String, ask: NodesAsk },
    Answer { number: u64, node: NodeName, word: NodeWord },
}

/// What every release says of a question, also of one that this one does not know.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    Ask { number: u64 },
}

/// The side channel of a daemon.
pub(crate) struct Side {
    me: NodeName,
    links: OnceLock<Links>,
    /// Where this node keeps evidence.
    evidence: OnceLock<PathBuf>,
    next: AtomicU64,
    busy: AtomicUsize,
    waiting: Mutex<BTreeMap<u64, Sender<(NodeName, NodeWord)>>>,
    registrar: OnceLock<Registrar>,
}

impl Side {
    pub(crate) fn new(me: NodeName, session: u64) -> Arc<Self> {
        // An answer to the daemon before this one must not be taken for one to this.
        let next = AtomicU64::new(session << 32 | 1);
        Arc::new(Self {
            me,
            links: OnceLock::new(),
            evidence: OnceLock::new(),
            next,
            busy: AtomicUsize::new(0),
            waiting: Mutex::default(),
            registrar: OnceLock::new(),
        })
    }

    /// Who looks at the instances here.
    pub(crate) fn use_registrar(&self, registrar: Registrar) {
        let _only_the_first = self.registrar.set(registrar);
    }

    /// Who looks at the instances here, unless this node can hold nothing.
    pub(crate) fn registrar(&self) -> Option<&Registrar> {
        self.registrar.get()
    }

    /// The channels to talk over.
    pub(crate) fn use_links(&self, links: Links) {
        let _only_the_first = self.links.set(links);
    }

    /// Where this node keeps the evidence that it tells of.
    pub(crate) fn use_evidence(&self, folder: PathBuf) {
        let _only_the_first = self.evidence.set(folder);
    }

    /// What this node answers.
    fn word(&self, config: &Config, ask: &NodesAsk) -> NodeWord {
        match ask {
            NodesAsk::Evidence { .. } | NodesAsk::EvidenceText { .. } => match self.evidence.get() {
                Some(folder) => equipment::evidence(folder, ask),
                None => NodeWord::Unable("it keeps no evidence".to_owned()),
            },
            _ => equipment::word(&self.me, config, ask, self.registrar()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Sender<(NodeName, NodeWord)>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer says something. Does not block.
    pub(crate) fn heard(self: &Arc<Self>, from: NodeId, text: &[u8]) {
        match serde_json::from_slice(text) {
            Ok(Message::Answer { number, node, word }) => {
                if let Some(sender) = self.lock().get(&number) {
                    let _nobody_waits_any_more = sender.send((node, word));
                }
            }
            Ok(Message::Ask { number, config, ask }) => self.work_for(from, number, config, ask),
            Err(error) => {
                tracing::warn!(peer = %from, %error, "a question was not understood; is the peer of another version?");
                if let Some(answer) = self.to_unknown(text) {
                    self.send(from, &answer);
                }
            }
        }
    }

    /// The answer to a question that only a later release knows: whoever asks must not wait for one that cannot come.
    fn to_unknown(&self, text: &[u8]) -> Option<Message> {
        let Unknown::Ask { number } = serde_json::from_slice(text).ok()?;
        let word =
            NodeWord::Unable(format!("Regent {} runs there, which does not know this", release::version()));
        Some(Message::Answer { number, node: self.me.clone(), word })
    }

    fn work_for(self: &Arc<Self>, from: NodeId, number: u64, config: String, ask: NodesAsk) {
        let busy = self.busy.fetch_add(1, Ordering::Relaxed) >= AT_ONCE;
        let side = self.clone();
        let work = move || {
            let word = if busy {
                NodeWord::Unable(format!("it is working on {AT_ONCE} such questions already"))
            } else {
                match config::parse(&config).config {
                    Some(config) => side.word(&config, &ask),
                    None => NodeWord::Unable("it does not understand the configuration".to_owned()),
                }
            };
            side.busy.fetch_sub(1, Ordering::Relaxed);
            side.send(from, &Message::Answer { number, node: side.me.clone(), word });
        };
        if let Err(error) = std::thread::Builder::new().name("equipment".into()).spawn(work) {
            self.busy.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!(%error, "cannot make a thread to answer a peer");
        }
    }

    fn send(&self, to: NodeId, message: &Message) {
        match (self.links.get(), serde_json::to_vec(message)) {
            (Some(links), Ok(text)) => links.send_beside(to, &text),
            (_, Err(error)) => tracing::error!(%error, "a question to a peer cannot be written"),
            (None, _) => {}
        }
    }

    /// Asks all nodes of the configuration, this one included, and waits until each has answered or it has taken too
    /// long.
    pub(crate) fn ask(&self, text: &str, config: &Config, ask: &NodesAsk) -> NodesAnswer {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = channel();
        self.lock().insert(number, sender);
        let message = Message::Ask { number, config: text.to_owned(), ask: ask.clone() };
        for peer in self.links.get().map(Links::peers).unwrap_or_default() {
            self.send(peer, &message);
        }
        let asks_disks = matches!(ask, NodesAsk::Survey | NodesAsk::Disk { .. } | NodesAsk::Arbiter);
        let within = if asks_disks { SURVEY_WITHIN } else { ANSWER_WITHIN };
        // Evidence is looked for, and the arbiter, when a node is down: who has no channel to here is not waited for.
        let who_is_there =
            matches!(ask, NodesAsk::Evidence { .. } | NodesAsk::EvidenceText { .. } | NodesAsk::Arbiter);
        let enough = if who_is_there { self.links.get().map_or(0, Links::connected) + 1 } else { usize::MAX };
        let until = Instant::now() + within;
        let mut answer = NodesAnswer::default();
        let expected: Vec<NodeName> = config.nodes.iter().map(|n| n.name.clone()).collect();
        if expected.contains(&self.me) {
            let mut own = self.word(config, ask);
            compare_clocks(&mut own);
            answer.told.insert(self.me.clone(), own);
        }
        while answer.told.len() < enough && expected.iter().any(|node| !answer.told.contains_key(node)) {
            match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((node, mut word)) if expected.contains(&node) => {
                    compare_clocks(&mut word);
                    answer.told.entry(node).or_insert(word);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.lock().remove(&number);
        answer.silent = expected.into_iter().filter(|node| !answer.told.contains_key(node)).collect();
        answer
    }
}

/// What a node said of its clock, as the difference to this one's: too small by the time that the answer was under way.
fn compare_clocks(word: &mut NodeWord) {
    if let NodeWord::Surveyed(survey) = word {
        survey.clock_ahead_ms -= equipment::wall_ms();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_a_later_release_is_answered_with_the_release_that_does_not_know_it() {
        let side = Side::new(NodeName::new("lx4").unwrap(), 1);
        let later = br#"{"ask":{"number":7,"config":"","urgent":true,"ask":{"of_tomorrow":{"group":"g"}}}}"#;
        let Some(Message::Answer { number: 7, node, word: NodeWord::Unable(why) }) = side.to_unknown(later)
        else {
            panic!("it is left without an answer");
        };
        assert!(node.as_str() == "lx4" && why.contains(release::version()), "{why}");
        assert!(side.to_unknown(br#"{"answer":{"number":7}}"#).is_none());
        assert!(side.to_unknown(b"nonsense").is_none());
    }
}
