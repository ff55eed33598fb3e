//! What is refused at this node's ports: counted, and told once per episode, however much of it comes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use regent_api::roles;
use regent_engine::Input;
use regent_guard::Health;
use regent_model::action::Notice;
use regent_wire::datagram::Counts;

use crate::inbox::Inbox;

/// After so long without another refusal an episode is over.
const QUIET: Duration = Duration::from_secs(60);
/// After so long without another order of a user without a role, the next one is on record again.
const STRANGER_QUIET: Duration = Duration::from_secs(600);
/// Users without a role whose orders are watched at the same time. Those of further ones are not on record.
const STRANGERS_MAX: usize = 32;
/// Datagrams between two reports of the guard that are no news: a peer that has just begun is known to nobody, and
/// networks may double a packet.
const USUAL_MAX: u64 = 20;
/// The same in the second report to a daemon: on a busy machine it takes a while until a guard that has just begun
/// knows everybody, and everybody it. At the shortest heartbeat two peers take a second on two networks for so many.
const USUAL_MAX_AT_FIRST: u64 = 200;

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    /// Datagrams sealed with another key, or by no member.
    Strangers,
    /// Datagrams that were recorded earlier and sent again.
    Replays,
    /// Datagrams that are none of Regent's.
    Garbage,
    /// Datagrams of another version.
    Versions,
    /// Calls of other nodes over TCP.
    Calls,
    /// Requests at the local socket.
    Requests,
}

struct Episode {
    count: u64,
    last: Instant,
    told: bool,
}

/// Orders of a user who may give none.
struct Stranger {
    /// Beyond the first.
    more: u64,
    last: Instant,
}

/// The episodes that are going on.
pub(crate) struct Refusals {
    inbox: Inbox,
    episodes: Mutex<BTreeMap<Port, Episode>>,
    /// By the number of the user.
    strangers: Mutex<BTreeMap<u32, Stranger>>,
}

impl Port {
    /// How many in one episode are no news: a node that joins is called before everybody knows it.
    fn usual(self) -> u64 {
        match self {
            Self::Calls => 5,
            Self::Requests => 2,
            _ => 0,
        }
    }

    fn topic(self) -> &'static str {
        match self {
            Self::Strangers => "strangers",
            Self::Replays => "replays",
            Self::Garbage => "garbage",
            Self::Versions => "versions",
            Self::Calls => "calls",
            Self::Requests => "requests",
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Strangers => (
                "keepalives sealed with another key, or of no member, are refused",
                "is another cluster on this network with the same port? Compare the fingerprints of the keys",
            ),
            Self::Replays => (
                "keepalives that were recorded earlier are sent to this node again, and refused",
                "find who sends them: tcpdump -ni any udp port 7410 shows their hardware addresses",
            ),
            Self::Garbage => (
                "packets that are none of Regent's come to the port for keepalives, and are refused",
                "find who sends them: tcpdump -ni any udp port 7410",
            ),
            Self::Versions => (
                "keepalives of another version of Regent are refused",
                "install the same version on every node: regent status shows them",
            ),
            Self::Calls => (
                "calls at the port for other nodes are refused",
                "is it another cluster, or a scan of ports? The daemon's log names the callers",
            ),
            Self::Requests => (
                "requests at the local socket are refused: no right to ask, or none that this version understands",
                "look at who uses the socket; regent --version must be the one in regent status",
            ),
        }
    }
}

impl Refusals {
    pub(crate) fn new(inbox: Inbox) -> Self {
        Self { inbox, episodes: Mutex::default(), strangers: Mutex::default() }
    }

    /// A user without any role ordered something. True if that is to be on record: the first of an episode is, those after
    /// it are counted.
    pub(crate) fn ordered_by_stranger(&self, uid: u32) -> bool {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stranger) = strangers.get_mut(&uid) {
            stranger.more += 1;
            stranger.last = Instant::now();
            return false;
        }
        if strangers.len() >= STRANGERS_MAX {
            return false;
        }
        strangers.insert(uid, Stranger { more: 0, last: Instant::now() });
        true
    }

    /// So many were refused just now; `example` says why. True for the first ones of an episode: the log tells those,
    /// and not the thousands after them.
    pub(crate) fn note(&self, port: Port, count: u64, example: &str) -> bool {
        if count == 0 {
            return false;
        }
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        let episode = episodes.entry(port).or_insert(Episode { count: 0, last: Instant::now(), told: false });
        episode.count += count;
        episode.last = Instant::now();
        let (beyond, few) = (episode.count > port.usual(), episode.count <= port.usual() + 1);
        let told = std::mem::replace(&mut episode.told, beyond);
        drop(episodes);
        if beyond && !told {
            let (what, advice) = port.words();
            let text = if example.is_empty() {
                what.to_owned()
            } else {
                format!("{what} ({})", roles::plain_words(example))
            };
            self.say(Notice::Trouble { topic: port.topic().to_owned(), text, advice: advice.to_owned() });
        }
        few
    }

    /// Ends the episodes in which nothing more came for a while.
    pub(crate) fn look(&self) {
        let mut episodes = self.episodes.lock().unwrap_or_else(PoisonError::into_inner);
        episodes.retain(|port, episode| {
            let goes_on = episode.last.elapsed() < QUIET;
            if !goes_on && episode.told {
                let text = format!("over: {}; {} in all", port.words().0, episode.count);
                self.say(Notice::Well { topic: port.topic().to_owned(), text });
            }
            goes_on
        });
        drop(episodes);
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.retain(|uid, stranger| {
            let goes_on = stranger.last.elapsed() < STRANGER_QUIET;
            if !goes_on && stranger.more > 0 {
                let text = format!("uid {uid}, who has no role: {} more orders were refused", stranger.more);
                let record = format!("uid={uid}\nrole=none\noutcome=refused\nmore={}\n", stranger.more);
                self.say(Notice::Ordered { text, record });
            }
            goes_on
        });
    }

    /// Takes note of what the guard has refused since its last report; `number` is how many it has sent to this daemon.
    pub(crate) fn datagrams(&self, number: u64, before: &Health, now: &Health) {
        // The guard may be another one than before: then its counts begin anew.
        let since =
            |count: fn(&Counts) -> u64| count(&now.datagrams).saturating_sub(count(&before.datagrams));
        let usual_max = match number {
            // The guard may be older than this daemon: when it counted these nobody knows.
            ..=1 => u64::MAX,
            2 => USUAL_MAX_AT_FIRST,
            _ => USUAL_MAX,
        };
        let beyond = |count: u64| if count > usual_max { count } else { 0 };
        let foreign = since(|c| c.foreign_key);
        let strange = beyond(since(|c| c.unknown_sender + c.misdirected));
        self.note(
            Port::Strangers,
            foreign + strange,
            &format!("{foreign} of another key, {strange} of no member"),
        );
        self.note(Port::Replays, beyond(since(|c| c.replayed + c.too_old + c.other_life)), "");
        self.note(Port::Garbage, since(|c| c.too_short + c.magic + c.malformed), "");
        self.note(Port::Versions, since(|c| c.version), "");
        self.look();
    }

    fn say(&self, notice: Notice) {
        self.inbox.push(Input::Notice(notice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::{Inputs, inbox};

    fn said(inputs: &Inputs) -> Vec<Notice> {
        let notice = |input| if let Input::Notice(notice) = input { notice } else { panic!() };
        std::iter::from_fn(|| inputs.waiting().ok()).map(notice).collect()
    }

    fn health(counts: Counts) -> Health {
        Health { datagrams: counts, ..Health::default() }
    }

    #[test]
    fn an_episode_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let (inbox, inputs) = inbox();
        let refusals = Refusals::new(inbox);
        (0..5).for_each(|_| assert!(refusals.note(Port::Calls, 1, "not yet a member")));
        assert_eq!(said(&inputs), [], "a few are no news, but for the log");
        assert!(refusals.note(Port::Calls, 1, "no hello"));
        (0..100_000).for_each(|_| assert!(!refusals.note(Port::Calls, 1, "no hello")));
        let told = said(&inputs);
        let [Notice::Trouble { topic, text, .. }] = told.as_slice() else { panic!("{told:?}") };
        assert!(topic == "calls" && text.contains("no hello"));
        refusals.look();
        assert_eq!(said(&inputs), []);
        refusals.episodes.lock().unwrap().values_mut().for_each(|e| e.last -= QUIET);
        refusals.look();
        let told = said(&inputs);
        assert!(
            matches!(&told[..], [Notice::Well { text, .. }] if text.contains("100006 in all")),
            "{told:?}"
        );
        refusals.note(Port::Calls, 9, "");
        assert_eq!(said(&inputs).len(), 1, "the next one is an episode of its own");
    }

    #[test]
    fn orders_without_a_role_are_on_record_once_per_episode_and_user_and_then_counted() {
        let (inbox, inputs) = inbox();
        let refusals = Refusals::new(inbox);
        assert!(refusals.ordered_by_stranger(7) && refusals.ordered_by_stranger(8));
        assert!((0..1000).all(|_| !refusals.ordered_by_stranger(7)));
        let recorded = (100..10_000).filter(|uid| refusals.ordered_by_stranger(*uid)).count();
        assert_eq!(recorded, STRANGERS_MAX - 2, "whoever may be many users is no more than some");
        refusals.look();
        assert_eq!(said(&inputs), []);
        refusals.strangers.lock().unwrap().values_mut().for_each(|s| s.last -= STRANGER_QUIET);
        refusals.look();
        let told = said(&inputs);
        let [Notice::Ordered { text, .. }] = told.as_slice() else { panic!("{told:?}") };
        assert!(text.starts_with("uid 7, ") && text.contains("1000 more"), "{text}");
        assert!(refusals.ordered_by_stranger(7), "an episode of its own");
    }

    #[test]
    fn what_a_user_wrote_is_told_on_one_short_line() {
        let (inbox, inputs) = inbox();
        let refusals = Refusals::new(inbox);
        refusals.note(Port::Requests, 9, &format!("unknown\n{}", "x".repeat(1 << 20)));
        let told = said(&inputs);
        let [Notice::Trouble { text, .. }] = told.as_slice() else { panic!("{}", told.len()) };
        assert!(text.len() < 500 && text.contains("unknown\\nxx"), "{}", text.len());
    }

    #[test]
    fn a_foreign_key_is_news_at_once_and_a_few_packets_of_a_beginning_are_not() {
        let (inbox, inputs) = inbox();
        let refusals = Refusals::new(inbox);
        let none = Counts::default();
        let [few, many, flood] = [20, 200, 201].map(|other_life| Counts { other_life, ..none });
        refusals.datagrams(1, &health(none), &health(Counts { unknown_sender: 5000, ..flood }));
        refusals.datagrams(2, &health(none), &health(many));
        refusals.datagrams(3, &health(none), &health(few));
        assert_eq!(said(&inputs), []);
        refusals.datagrams(1, &health(none), &health(Counts { foreign_key: 1, ..none }));
        refusals.datagrams(2, &health(none), &health(flood));
        assert_eq!(said(&inputs).len(), 2);
        refusals.datagrams(3, &health(flood), &health(none));
        assert_eq!(said(&inputs), [], "another guard counts from the beginning");
    }

    #[test]
    fn replays_at_a_guard_that_has_run_for_a_while_are_news_when_they_are_more_than_networks_double() {
        let (inbox, inputs) = inbox();
        let refusals = Refusals::new(inbox);
        let replayed = |replayed| health(Counts { replayed, ..Counts::default() });
        refusals.datagrams(3, &replayed(7), &replayed(27));
        assert_eq!(said(&inputs), []);
        refusals.datagrams(4, &replayed(27), &replayed(48));
        let told = said(&inputs);
        assert!(
            matches!(&told[..], [Notice::Trouble { text, .. }] if text.contains("recorded earlier")),
            "{told:?}"
        );
    }
}
