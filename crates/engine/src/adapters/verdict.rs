//! Whether a network is up for this node, and if not, whether the fault is its own: by what all nodes say they hear.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_model::{Moment, NodeId};
use serde::{Deserialize, Serialize};

/// What a node hears on one network, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearing {
    /// Whose keepalives it hears there.
    pub heard: BTreeSet<NodeId>,
    /// It hears no keepalive, but a neighbour has answered when it asked.
    pub reached: bool,
    /// Whether any of its interfaces there carries.
    pub carries: bool,
    /// What it makes of that, once that has lasted.
    pub word: NetworkWord,
}

/// What a network is for a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NetworkWord {
    /// Nobody can tell: this node hears nobody on any network.
    #[default]
    Unknown,
    /// It works.
    Up,
    /// This node has lost it, and others have not.
    Local,
    /// Nobody hears anybody on it.
    Global,
}

/// What the network is for the node that hears `own`. `peers` are those that it hears on any network at all: only
/// what they say is as new as what it hears itself.
pub(crate) fn judge(me: NodeId, own: &Hearing, peers: &BTreeMap<NodeId, &Hearing>) -> NetworkWord {
    if own.reached || (!own.heard.is_empty() && !is_unheard(me, peers)) {
        return NetworkWord::Up;
    }
    if peers.is_empty() {
        return NetworkWord::Unknown;
    }
    let hear_each_other = peers.values().any(|p| p.reached || p.heard.iter().any(|other| *other != me));
    if !own.heard.is_empty() {
        return if hear_each_other { NetworkWord::Local } else { NetworkWord::Up };
    }
    if hear_each_other || (!own.carries && peers.values().any(|p| p.carries)) {
        return NetworkWord::Local;
    }
    if own.carries && peers.values().all(|p| !p.carries) {
        // Whoever could be heard says that it is not connected: that is their fault, and no news of ours.
        return NetworkWord::Up;
    }
    NetworkWord::Global
}

/// Whether nobody hears this node, as far as its peers say: what it sends there is lost.
pub(crate) fn is_unheard(me: NodeId, peers: &BTreeMap<NodeId, &Hearing>) -> bool {
    !peers.is_empty() && peers.values().all(|p| !p.heard.contains(&me))
}

/// A verdict that holds once it has stood for a while: what the nodes say of each other is never quite as new as
/// what they hear, and a network that goes is noticed by one before the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) word: NetworkWord,
    coming: Option<(NetworkWord, Moment)>,
}

impl Settled {
    /// Takes the word of now; gives the word before when another one has settled.
    pub(crate) fn take(&mut self, now: Moment, word: NetworkWord, settle: Duration) -> Option<NetworkWord> {
        if word == self.word {
            self.coming = None;
            return None;
        }
        match self.coming {
            Some((coming, since)) if coming == word => {
                if now.since(since) < settle {
                    return None;
                }
                self.coming = None;
                Some(std::mem::replace(&mut self.word, word))
            }
            _ => {
                self.coming = Some((word, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ME: NodeId = NodeId(1);

    fn hears(who: &[u64]) -> Hearing {
        let heard = who.iter().map(|n| NodeId(*n)).collect();
        Hearing { heard, reached: false, carries: true, word: NetworkWord::Unknown }
    }

    fn judged(own: &Hearing, peers: &[(u64, Hearing)]) -> NetworkWord {
        judge(ME, own, &peers.iter().map(|(n, h)| (NodeId(*n), h)).collect())
    }

    #[test]
    fn a_network_on_which_others_hear_each_other_is_lost_by_this_node_alone() {
        let peers = [(2, hears(&[3])), (3, hears(&[2]))];
        assert_eq!(judged(&hears(&[]), &peers), NetworkWord::Local);
        assert_eq!(judged(&hears(&[2]), &[(2, hears(&[1, 3])), (3, hears(&[2]))]), NetworkWord::Up);
    }

    #[test]
    fn who_hears_the_others_and_is_heard_by_none_has_lost_the_network_too() {
        assert_eq!(judged(&hears(&[2, 3]), &[(2, hears(&[3])), (3, hears(&[2]))]), NetworkWord::Local);
        // Of two, it may as well be the other one that is deaf.
        assert_eq!(judged(&hears(&[2]), &[(2, hears(&[]))]), NetworkWord::Up);
    }

    #[test]
    fn a_network_on_which_nobody_hears_anybody_is_down_for_all() {
        assert_eq!(judged(&hears(&[]), &[(2, hears(&[])), (3, hears(&[]))]), NetworkWord::Global);
        assert_eq!(judged(&hears(&[]), &[(2, hears(&[]))]), NetworkWord::Global);
    }

    #[test]
    fn what_the_others_still_say_of_this_node_is_no_sign_that_they_hear_each_other() {
        // The peer has not noticed yet that this node is silent.
        assert_eq!(judged(&hears(&[]), &[(2, hears(&[1]))]), NetworkWord::Global);
    }

    #[test]
    fn an_answer_of_a_neighbour_shows_the_network_to_be_up_though_no_keepalive_comes() {
        let own = Hearing { reached: true, ..hears(&[]) };
        assert_eq!(judged(&own, &[(2, hears(&[3]))]), NetworkWord::Up);
        let peer = Hearing { reached: true, ..hears(&[]) };
        assert_eq!(judged(&hears(&[]), &[(2, peer)]), NetworkWord::Local);
    }

    #[test]
    fn of_two_nodes_the_one_without_a_carrier_has_lost_it() {
        let unplugged = Hearing { carries: false, ..hears(&[]) };
        assert_eq!(judged(&unplugged, &[(2, hears(&[]))]), NetworkWord::Local);
        assert_eq!(judged(&hears(&[]), &[(2, unplugged.clone())]), NetworkWord::Up);
        assert_eq!(judged(&unplugged, &[(2, unplugged.clone())]), NetworkWord::Global);
    }

    #[test]
    fn who_hears_nobody_on_any_network_can_tell_nothing() {
        assert_eq!(judged(&hears(&[]), &[]), NetworkWord::Unknown);
    }

    #[test]
    fn a_word_counts_when_it_has_stood_for_a_while_and_another_one_begins_anew() {
        let settle = Duration::from_secs(1);
        let at = |ms| Moment::from_millis(ms);
        let mut settled = Settled::default();
        assert_eq!(settled.take(at(0), NetworkWord::Up, settle), None);
        assert_eq!(settled.take(at(1000), NetworkWord::Up, settle), Some(NetworkWord::Unknown));
        // The whole network goes: for a moment it looks as if it were this node alone.
        assert_eq!(settled.take(at(1100), NetworkWord::Local, settle), None);
        assert_eq!(settled.take(at(1600), NetworkWord::Global, settle), None);
        assert_eq!(settled.take(at(2200), NetworkWord::Global, settle), None);
        assert_eq!(settled.take(at(2600), NetworkWord::Global, settle), Some(NetworkWord::Up));
        assert_eq!(settled.word, NetworkWord::Global);
    }

    proptest! {
        #[test]
        fn local_is_said_only_by_who_hears_nobody_while_somebody_else_is_better_off(
            own in proptest::collection::btree_set(1u64..5, 0..3), reached: bool, carries: bool,
            peers in proptest::collection::btree_map(
                2u64..5, (proptest::collection::btree_set(1u64..5, 0..3), any::<bool>(), any::<bool>()), 0..4)
        ) {
            let make = |heard: &BTreeSet<u64>, reached, carries| Hearing {
                heard: heard.iter().map(|n| NodeId(*n)).collect(), reached, carries, word: NetworkWord::Up,
            };
            let own = make(&own, reached, carries);
            let peers: BTreeMap<NodeId, Hearing> =
                peers.iter().map(|(n, (h, r, c))| (NodeId(*n), make(h, *r, *c))).collect();
            let word = judge(ME, &own, &peers.iter().map(|(n, h)| (*n, h)).collect());
            let deaf = own.heard.is_empty() && !own.reached;
            let mute = !own.reached && !peers.is_empty() && peers.values().all(|p| !p.heard.contains(&ME));
            let others = peers.values().any(|p| p.reached || p.heard.iter().any(|o| *o != ME));
            let plugged = peers.values().any(|p| p.carries && !own.carries);
            prop_assert_eq!(word == NetworkWord::Local, (deaf && (others || plugged)) || (mute && others));
            if word == NetworkWord::Global {
                prop_assert!(deaf && !peers.is_empty());
            }
        }
    }
}
