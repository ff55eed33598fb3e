//! What a batch of committed entries means does not depend on how they were batched.

use std::collections::BTreeSet;

use regent_model::timers::Timers;
use regent_model::{Moment, NodeId};
use regent_store::Recovered;

use super::{Committed, Consensus};

/// A leader without peers: whatever it proposes is committed when it is durable.
fn alone() -> Consensus {
    let voters = BTreeSet::from([NodeId(1)]);
    let (mut consensus, _) = Consensus::new(
        NodeId(1),
        1,
        &Recovered::default(),
        Some((&voters, Vec::new())),
        Timers::normal(),
        7,
        Moment(0),
    );
    while !consensus.leads_with_all_applied() {
        let now = consensus.next_tick();
        consensus.tick(now);
        settle(&mut consensus);
        assert!(now < Moment::from_millis(10_000), "it never leads");
    }
    consensus
}

/// Everything that is committed, with stores that take no time.
fn settle(consensus: &mut Consensus) -> Vec<Committed> {
    let mut committed = Vec::new();
    while let Some(output) = consensus.output() {
        committed.extend(output.committed);
        if let Some((number, _)) = output.persist {
            consensus.persisted(number);
        }
    }
    committed
}

#[test]
fn an_entry_is_judged_by_those_who_vote_where_it_stands_whatever_is_committed_with_it() {
    let mut consensus = alone();
    assert!(consensus.propose(b"before".to_vec()));
    assert!(consensus.change_member(NodeId(2), true));
    let committed = settle(&mut consensus);
    let [Committed::Proposal { data, voters, .. }, Committed::Members { .. }] = committed.as_slice() else {
        panic!("not one entry and one change: {committed:?}");
    };
    assert_eq!((data.as_slice(), voters), (&b"before"[..], &BTreeSet::from([NodeId(1)])));
    assert_eq!(consensus.voters(), BTreeSet::from([NodeId(1), NodeId(2)]));
}
