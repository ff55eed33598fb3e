//! Sealed datagrams and the windows against replay.

use std::collections::BTreeSet;

use crate::sys::allocations;
use proptest::prelude::*;
use regent_model::NodeId;
use regent_wire::datagram::{
    DATAGRAM_MAX, HEADER_BYTES, MESSAGE_MAX, NETWORKS_MAX, Opener, Receiver, Reject, SENDERS_MAX, SealError,
    Sealer, WINDOW, kind,
};
use regent_wire::{ClusterKey, KeyRing};

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
/// The receiver's session.
const LIFE: u64 = 77;
/// The receiver, as one who has heard it sees it.
const HERE: Receiver = Receiver { node: ME, session: Some(LIFE) };

fn key() -> ClusterKey {
    ClusterKey::from_bytes([42; 32])
}

fn opener() -> Opener {
    let mut opener = Opener::new(&key(), ME, LIFE);
    opener.set_known(&BTreeSet::from([ME, PEER, NodeId(3)]));
    opener
}

fn sealed(sealer: &mut Sealer, network: u8, message: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    sealer.seal_into(kind::LEASE, network, HERE, message, &mut datagram).unwrap();
    datagram
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        message in prop::collection::vec(any::<u8>(), 0..1000),
        network in 0..NETWORKS_MAX as u8,
        kind in any::<u8>(),
        session in any::<u64>(),
    ) {
        let mut datagram = Vec::new();
        let mut sealer = Sealer::new(&key(), PEER, session);
        sealer.seal_into(kind, network, HERE, &message, &mut datagram).unwrap();
        prop_assert!(!message.windows(8).any(|part| datagram.windows(8).any(|seen| seen == part && part != [0; 8])));
        let mut opener = opener();
        let opened = opener.open(&mut datagram).unwrap();
        prop_assert_eq!((opened.sender, opened.session, opened.number), (PEER, session, 1));
        prop_assert_eq!((opened.network, opened.kind), (network, kind));
        prop_assert_eq!(opened.decode::<Vec<u8>>().unwrap(), message);
        prop_assert_eq!(opener.counts().accepted, 1);
        prop_assert_eq!(opener.session_of(PEER), Some(session));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_are_counted(mut bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        let mut opener = opener();
        prop_assert!(opener.open(&mut bytes).is_err());
        prop_assert_eq!((opener.counts().accepted, opener.counts().refused()), (0, 1));
    }

    #[test]
    fn arbitrary_headers_before_a_genuine_seal_never_open(
        header in any::<[u8; HEADER_BYTES]>(), keep in any::<[bool; HEADER_BYTES]>()
    ) {
        let genuine = sealed(&mut Sealer::new(&key(), PEER, 5), 0, b"message");
        let mut forged = genuine.clone();
        for ((byte, forged_byte), keep) in forged.iter_mut().zip(header).zip(keep) {
            if !keep { *byte = forged_byte; }
        }
        if forged != genuine {
            prop_assert!(opener().open(&mut forged).is_err());
        }
    }

    #[test]
    fn each_datagram_is_accepted_once_in_any_order_within_the_window(
        order in Just((0..200_usize).collect::<Vec<_>>()).prop_shuffle(),
        repeats in prop::collection::vec(any::<prop::sample::Index>(), 50),
    ) {
        let (mut sealer, mut opener) = (Sealer::new(&key(), PEER, 5), opener());
        let datagrams: Vec<_> =
            (0..200_u8).map(|n| sealed(&mut sealer, n % 3, &[n])).collect();
        for &at in &order {
            let opened = opener.open(&mut datagrams[at].clone()).map(|opened| opened.number);
            prop_assert_eq!(opened, Ok(at as u64 + 1));
        }
        for repeat in repeats {
            let again = opener.open(&mut datagrams[repeat.index(200)].clone()).map(|opened| opened.number);
            prop_assert_eq!(again, Err(Reject::Replayed));
        }
        prop_assert_eq!((opener.counts().accepted, opener.counts().replayed), (200, 50));
    }
}

#[test]
fn every_changed_bit_is_refused_and_leaves_the_genuine_datagram_acceptable() {
    let mut opener = opener();
    let genuine = sealed(&mut Sealer::new(&key(), PEER, 5), 0, b"let go by 120 ms");
    for bit in 0..genuine.len() * 8 {
        let mut changed = genuine.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(opener.open(&mut changed).is_err(), "bit {bit}");
    }
    for length in 0..genuine.len() {
        assert!(opener.open(&mut genuine[..length].to_vec()).is_err(), "length {length}");
    }
    assert_eq!(opener.session_of(PEER), None);
    assert!(opener.open(&mut genuine.clone()).is_ok());
}

#[test]
fn a_foreign_key_is_told_from_replay_age_version_and_stranger() {
    let mut opener = opener();
    let foreign = ClusterKey::from_bytes([43; 32]);
    let open = |opener: &mut Opener, mut datagram: Vec<u8>| opener.open(&mut datagram).map(|o| o.number);
    let theirs = sealed(&mut Sealer::new(&foreign, PEER, 5), 0, b"x");
    assert_eq!(open(&mut opener, theirs), Err(Reject::ForeignKey));
    let stranger = sealed(&mut Sealer::new(&key(), NodeId(9), 5), 0, b"x");
    assert_eq!(open(&mut opener, stranger), Err(Reject::UnknownSender));
    let mine = sealed(&mut Sealer::new(&key(), ME, 5), 0, b"x");
    assert_eq!(open(&mut opener, mine), Err(Reject::UnknownSender), "reflected");
    let mut newer = sealed(&mut Sealer::new(&key(), PEER, 5), 0, b"x");
    newer[2] = 200;
    assert_eq!(open(&mut opener, newer), Err(Reject::Version { theirs: 200 }));
    let mut other = Vec::new();
    Sealer::new(&key(), PEER, 5)
        .seal_into(kind::LEASE, 0, Receiver { node: NodeId(3), ..HERE }, b"x", &mut other)
        .unwrap();
    assert_eq!(open(&mut opener, other), Err(Reject::Misdirected));
    assert_eq!(open(&mut opener, vec![0; 63]), Err(Reject::TooShort));
    assert_eq!(open(&mut opener, vec![0; 64]), Err(Reject::Magic));
    let counts = opener.counts();
    assert_eq!((counts.foreign_key, counts.unknown_sender, counts.version), (1, 2, 1));
    assert_eq!((counts.misdirected, counts.too_short, counts.magic), (1, 1, 1));
    assert_eq!((counts.accepted, counts.refused()), (0, 7));
}

#[test]
fn a_newer_session_ends_the_older_one_for_good() {
    let mut opener = opener();
    let (mut old, mut new) = (Sealer::new(&key(), PEER, 5), Sealer::new(&key(), PEER, 6));
    let recorded: Vec<_> = (0..10).map(|_| sealed(&mut old, 0, b"old")).collect();
    assert!(opener.open(&mut recorded[0].clone()).is_ok());
    assert!(opener.open(&mut sealed(&mut new, 0, b"new")).is_ok());
    for datagram in recorded {
        assert_eq!(opener.open(&mut datagram.clone()), Err(Reject::TooOld));
    }
    assert_eq!(opener.session_of(PEER), Some(6));
}

fn sealed_for(sealer: &mut Sealer, session: Option<u64>) -> Vec<u8> {
    let mut datagram = Vec::new();
    sealer.seal_into(kind::LEASE, 0, Receiver { node: ME, session }, b"x", &mut datagram).unwrap();
    datagram
}

#[test]
fn what_was_recorded_before_the_receiver_restarted_says_nothing_after_it() {
    let mut sealer = Sealer::new(&key(), PEER, 5);
    let recorded: Vec<_> = (0..20).map(|_| sealed(&mut sealer, 0, b"I live")).collect();
    let mut before = opener();
    assert!(recorded.iter().all(|datagram| before.open(&mut datagram.clone()).is_ok()));

    let mut after = Opener::new(&key(), ME, LIFE + 1);
    after.set_known(&BTreeSet::from([PEER]));
    for datagram in &recorded {
        assert_eq!(after.open(&mut datagram.clone()), Err(Reject::OtherLife));
    }
    let counts = after.counts();
    assert_eq!((counts.accepted, counts.other_life), (0, 20));
    assert_eq!(after.session_of(PEER), Some(5), "so much is taken from it");
    assert!(
        after.open(&mut sealed_for(&mut sealer, Some(LIFE + 1))).is_ok(),
        "the peer has heard of this life"
    );
}

#[test]
fn two_nodes_that_have_just_begun_find_each_other_by_their_second_datagrams() {
    let mut ours = (Opener::new(&key(), ME, LIFE), Sealer::new(&key(), ME, LIFE));
    let mut theirs = (Opener::new(&key(), PEER, 5), Sealer::new(&key(), PEER, 5));
    ours.0.set_known(&BTreeSet::from([PEER]));
    theirs.0.set_known(&BTreeSet::from([ME]));
    let say = |from: &mut (Opener, Sealer), to: &mut (Opener, Sealer), node| {
        let (mut datagram, receiver) = (Vec::new(), Receiver { node, session: from.0.session_of(node) });
        from.1.seal_into(kind::LEASE, 0, receiver, b"x", &mut datagram).unwrap();
        to.0.open(&mut datagram).is_ok()
    };
    assert!(!say(&mut ours, &mut theirs, PEER), "it has not been heard yet");
    assert!(say(&mut theirs, &mut ours, ME), "it answers to whom it heard");
    assert!(say(&mut ours, &mut theirs, PEER));
}

#[test]
fn a_datagram_for_no_life_is_none_for_the_first_one_and_a_forged_life_breaks_the_seal() {
    let (mut sealer, mut opener) = (Sealer::new(&key(), PEER, 5), opener());
    assert_eq!(opener.open(&mut sealed_for(&mut sealer, None)), Err(Reject::OtherLife));
    let mut forged = sealed_for(&mut sealer, Some(LIFE - 1));
    forged[40..48].copy_from_slice(&LIFE.to_le_bytes());
    assert_eq!(opener.open(&mut forged), Err(Reject::ForeignKey));
}

#[test]
fn each_network_has_its_own_window() {
    let (mut sealer, mut opener) = (Sealer::new(&key(), PEER, 5), opener());
    let slow = sealed(&mut sealer, 1, b"on the slow network");
    for _ in 0..2 * WINDOW {
        assert!(opener.open(&mut sealed(&mut sealer, 0, b"on the fast one")).is_ok());
    }
    let opened = opener.open(&mut slow.clone()).map(|opened| opened.network);
    assert_eq!(opened, Ok(1), "late on its own network means nothing to another");
    assert!(opener.open(&mut sealed(&mut sealer, 1, b"next")).is_ok());
    assert_eq!(opener.open(&mut slow.clone()), Err(Reject::TooOld));
}

#[test]
fn members_that_leave_are_forgotten_those_that_stay_keep_their_windows_and_memory_is_bounded() {
    let (mut sealer, mut opener) = (Sealer::new(&key(), PEER, 5), opener());
    let datagram = sealed(&mut sealer, 0, b"x");
    assert!(opener.open(&mut datagram.clone()).is_ok());
    opener.set_known(&BTreeSet::from([PEER]));
    assert_eq!(opener.open(&mut datagram.clone()), Err(Reject::Replayed));
    opener.set_known(&BTreeSet::from([NodeId(3)]));
    assert_eq!(opener.open(&mut datagram.clone()), Err(Reject::UnknownSender));

    let many: BTreeSet<_> = (2..2 + 2 * SENDERS_MAX as u64).map(NodeId).collect();
    opener.set_known(&many);
    let known = many.iter().filter(|node| {
        let mut sealer = Sealer::new(&key(), **node, 9);
        opener.open(&mut sealed(&mut sealer, 0, b"x")).is_ok()
    });
    assert_eq!(known.count(), SENDERS_MAX);
}

#[test]
fn a_message_of_another_kind_or_type_is_malformed() {
    let (mut sealer, mut opener) = (Sealer::new(&key(), PEER, 5), opener());
    let mut datagram = Vec::new();
    sealer.seal_into(kind::ENGINE, 2, HERE, &7_u64, &mut datagram).unwrap();
    assert_eq!(opener.open_as::<u64>(kind::LEASE, &mut datagram), Err(Reject::Malformed));
    sealer.seal_into(kind::LEASE, 2, HERE, "text", &mut datagram).unwrap();
    assert_eq!(opener.open_as::<bool>(kind::LEASE, &mut datagram), Err(Reject::Malformed));
    sealer.seal_into(kind::LEASE, 2, HERE, &7_u64, &mut datagram).unwrap();
    assert_eq!(opener.open_as::<u64>(kind::LEASE, &mut datagram), Ok((PEER, 2, 7)));
    assert_eq!(opener.counts().malformed, 2);
}

#[test]
fn a_message_that_does_not_fit_uses_no_number() {
    let mut sealer = Sealer::new(&key(), PEER, 5);
    let mut datagram = Vec::new();
    let too_long = vec![0_u8; MESSAGE_MAX];
    let result = sealer.seal_into(kind::LEASE, 0, HERE, &too_long, &mut datagram);
    assert!(matches!(result, Err(SealError::Codec(_))));
    assert!(datagram.is_empty());
    let network = sealer.seal_into(kind::LEASE, 8, HERE, &1_u8, &mut datagram);
    assert_eq!(network, Err(SealError::Network(8)));
    sealer.seal_into(kind::LEASE, 0, HERE, &too_long[..MESSAGE_MAX - 2], &mut datagram).unwrap();
    assert_eq!(datagram.len(), DATAGRAM_MAX);
    assert_eq!(opener().open(&mut datagram).unwrap().number, 1);
}

#[test]
fn a_buffer_that_is_used_again_does_not_grow() {
    let mut sealer = Sealer::new(&key(), PEER, 5);
    let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
    let place = datagram.as_ptr();
    for round in 0..1000_u64 {
        sealer.seal_into(kind::LEASE, 0, HERE, &round, &mut datagram).unwrap();
    }
    assert_eq!((datagram.as_ptr(), datagram.capacity()), (place, DATAGRAM_MAX));
}

#[test]
fn sealing_and_opening_allocate_nothing_once_warm() {
    let (mut sealer, mut opener) = (Sealer::new(&key(), PEER, 5), opener());
    let mut datagram = Vec::with_capacity(DATAGRAM_MAX);
    let before = allocations();
    for round in 0..1000_u64 {
        sealer.seal_into(kind::LEASE, 0, HERE, &round, &mut datagram).unwrap();
        let opened = opener.open_as::<u64>(kind::LEASE, &mut datagram);
        assert_eq!(opened, Ok((PEER, 0, round)));
        assert_eq!(opener.open(&mut datagram), Err(Reject::Replayed));
    }
    assert_eq!(allocations() - before, 0);
    drop(vec![1]);
    assert_eq!(allocations() - before, 1, "the counter counts");
}

#[test]
fn a_session_goes_on_under_the_next_key_and_what_was_sealed_under_a_retired_one_is_refused() {
    let (old, new) = (ClusterKey::from_bytes([1; 32]), ClusterKey::from_bytes([2; 32]));
    let first = KeyRing::first(old);
    let both = first.with_next(new);
    let switched = both.using_newest();
    let (mut sealer, mut opener) = (Sealer::under(&first, PEER, 7), Opener::under(&first, ME, LIFE));
    opener.set_known(&BTreeSet::from([PEER]));
    let seal = |sealer: &mut Sealer| {
        let mut datagram = Vec::new();
        sealer.seal_into(kind::LEASE, 0, HERE, &5_u8, &mut datagram).unwrap();
        datagram
    };
    let recorded = seal(&mut sealer);
    assert!(opener.open(&mut recorded.clone()).is_ok());
    let kept_back = seal(&mut sealer);
    // One side has the new key and the other does not use it yet: everything is heard.
    opener.use_keys(&both);
    assert!(opener.open(&mut seal(&mut sealer)).is_ok());
    sealer.use_key(&switched);
    let under_new = seal(&mut sealer);
    assert!(opener.open(&mut under_new.clone()).is_ok());
    opener.use_keys(&switched);
    assert_eq!(
        opener.open(&mut under_new.clone()).unwrap_err(),
        Reject::Replayed,
        "one window for both keys"
    );
    assert_eq!(opener.open(&mut recorded.clone()).unwrap_err(), Reject::Replayed);
    opener.use_keys(&switched.current_alone());
    assert_eq!(opener.open(&mut kept_back.clone()).unwrap_err(), Reject::ForeignKey, "it was never opened");
    assert!(opener.open(&mut seal(&mut sealer)).is_ok());
    // Who has the old key alone says nothing any more, whatever he says of its number.
    let mut thief = Sealer::under(&first, PEER, 8);
    let mut forged = seal(&mut thief);
    assert_eq!(opener.open(&mut forged.clone()).unwrap_err(), Reject::ForeignKey);
    forged[5] = 1;
    assert_eq!(opener.open(&mut forged).unwrap_err(), Reject::ForeignKey);
    assert!(opener.open(&mut seal(&mut sealer)).is_ok(), "what was refused has changed nothing");
}
