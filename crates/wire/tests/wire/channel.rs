//! The channel between nodes: handshake and frames.

use proptest::prelude::*;
use regent_model::NodeId;
use regent_wire::channel::{ChannelError, HELLO_BYTES, Handshake, MESSAGE_MAX, Refusal, Session, Stranger};
use regent_wire::invite::{MachineSecret, TokenSecret};
use regent_wire::{ClusterKey, KeyRing};

const CALLER: NodeId = NodeId(1);
const CALLED: NodeId = NodeId(2);

fn key(byte: u8) -> ClusterKey {
    ClusterKey::from_bytes([byte; 32])
}

fn side(node: NodeId) -> Handshake {
    Handshake::new(&key(42), node)
}

fn sessions() -> (Session, Session) {
    let (initiator, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
    let (responder, reply) = side(CALLED).respond(&hello).unwrap();
    let (confirmation, caller) = initiator.finish(&reply).unwrap();
    (caller, responder.finish(&confirmation).unwrap())
}

#[test]
fn both_sides_know_each_other_and_speak_in_both_directions() {
    let (mut caller, mut called) = sessions();
    assert_eq!((caller.peer(), called.peer()), (CALLED, CALLER));
    for round in 0..100_u8 {
        called.push(&caller.seal(&[round; 100]).unwrap());
        assert_eq!(called.open().unwrap(), Some(vec![round; 100]));
        caller.push(&called.seal(&[round]).unwrap());
        caller.push(&called.seal(&[]).unwrap());
        assert_eq!(caller.open().unwrap(), Some(vec![round]));
        assert_eq!(caller.open().unwrap(), Some(vec![]));
        assert_eq!(caller.open().unwrap(), None);
    }
}

proptest! {
    #[test]
    fn messages_arrive_whole_and_in_order_however_the_stream_cuts_them(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
        cuts in prop::collection::vec(1_usize..300, 1..40),
    ) {
        let (mut caller, mut called) = sessions();
        let stream: Vec<u8> = messages.iter().flat_map(|message| caller.seal(message).unwrap()).collect();
        let (mut rest, mut received) = (&stream[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*cut));
            called.push(now);
            while let Some(message) = called.open().unwrap() {
                received.push(message);
            }
            rest = later;
            if rest.is_empty() { break; }
        }
        prop_assert_eq!(received, messages);
    }

    #[test]
    fn a_changed_lost_repeated_or_reordered_frame_ends_the_channel(
        bit in any::<prop::sample::Index>(), fault in 0..4_usize
    ) {
        let (mut caller, mut called) = sessions();
        let (first, second) = (caller.seal(b"first").unwrap(), caller.seal(b"second").unwrap());
        let stream = match fault {
            0 => second.clone(),
            1 => [&second[..], &first[..]].concat(),
            2 => [&first[..], &first[..]].concat(),
            _ => {
                let mut changed = [&first[..], &second[..]].concat();
                let bit = bit.index(changed.len() * 8);
                changed[bit / 8] ^= 1 << (bit % 8);
                changed
            }
        };
        called.push(&stream);
        let mut genuine = vec![b"second".to_vec(), b"first".to_vec()];
        let end = loop {
            match called.open() {
                Ok(Some(message)) => prop_assert_eq!(Some(message), genuine.pop()),
                // A length made larger waits for bytes that the seal will refuse.
                Ok(None) => called.push(&[0; 1000]),
                Err(error) => break error,
            }
        };
        let ended = matches!(end, ChannelError::Tampered | ChannelError::TooLarge { .. });
        prop_assert!(ended, "{end:?}");
        called.push(&first);
        prop_assert!(matches!(called.open(), Err(ChannelError::Broken)));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_open_nothing(
        bytes in prop::collection::vec(any::<u8>(), HELLO_BYTES), magic in any::<bool>(), what in 0..4_u8
    ) {
        let mut hello = [0; HELLO_BYTES];
        hello.copy_from_slice(&bytes);
        if magic {
            hello[..5].copy_from_slice(&[b'R', b'G', b'C', b'H', what]);
            (hello[5], hello[6]) = (1, 1);
        }
        prop_assert!(side(CALLED).respond(&hello).is_err());
        let (initiator, _) = side(CALLER).initiate(None).unwrap();
        prop_assert!(initiator.finish(&hello).is_err());
        let (_, mut called) = sessions();
        called.push(&bytes);
        prop_assert!(!matches!(called.open(), Ok(Some(_))));
    }
}

#[test]
fn every_changed_bit_of_the_handshake_is_refused() {
    let (_, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
    for bit in 0..hello.len() * 8 {
        let mut changed = hello;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(side(CALLED).respond(&changed).is_err(), "hello, bit {bit}");
    }
    for bit in 0..hello.len() * 8 {
        let (initiator, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
        let (_, mut reply) = side(CALLED).respond(&hello).unwrap();
        reply[bit / 8] ^= 1 << (bit % 8);
        assert!(initiator.finish(&reply).is_err(), "reply, bit {bit}");
    }
    for bit in 0..32 * 8 {
        let (initiator, hello) = side(CALLER).initiate(None).unwrap();
        let (responder, reply) = side(CALLED).respond(&hello).unwrap();
        let (mut confirmation, _) = initiator.finish(&reply).unwrap();
        confirmation[bit / 8] ^= 1 << (bit % 8);
        let end = responder.finish(&confirmation);
        assert!(matches!(end, Err(ChannelError::Unconfirmed)), "confirmation, bit {bit}");
    }
}

#[test]
fn a_foreign_key_is_seen_by_both_sides() {
    let (initiator, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
    let rejected = Handshake::new(&key(43), CALLED).respond(&hello).unwrap_err();
    assert!(matches!(rejected.error, ChannelError::ForeignKey));
    let refusal = rejected.refusal.unwrap().try_into().unwrap();
    let error = initiator.finish(&refusal).unwrap_err();
    assert!(matches!(error, ChannelError::Refused(Refusal::ForeignKey)));
}

#[test]
fn a_replayed_hello_opens_nothing() {
    let (initiator, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
    let (responder, reply) = side(CALLED).respond(&hello).unwrap();
    let (confirmation, _) = initiator.finish(&reply).unwrap();
    responder.finish(&confirmation).unwrap();
    let (second, _) = side(CALLED).respond(&hello).unwrap();
    assert!(matches!(second.finish(&confirmation), Err(ChannelError::Unconfirmed)));
}

#[test]
fn a_reply_to_another_call_is_refused() {
    let (_, recorded) = side(CALLER).initiate(Some(CALLED)).unwrap();
    let (_, reply) = side(CALLED).respond(&recorded).unwrap();
    let (initiator, _) = side(CALLER).initiate(Some(CALLED)).unwrap();
    assert!(matches!(initiator.finish(&reply), Err(ChannelError::ForeignKey)));
}

#[test]
fn a_hello_sent_back_to_its_caller_is_refused() {
    let (initiator, hello) = side(CALLER).initiate(None).unwrap();
    assert!(matches!(initiator.finish(&hello), Err(ChannelError::Malformed(_))));
}

#[test]
fn the_wrong_node_is_noticed_by_whoever_is_called_and_by_the_caller() {
    let (initiator, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
    let rejected = side(NodeId(3)).respond(&hello).unwrap_err();
    assert!(matches!(rejected.error, ChannelError::Misdirected { called: CALLED }));
    let refusal = rejected.refusal.unwrap().try_into().unwrap();
    let error = initiator.finish(&refusal).unwrap_err();
    assert!(matches!(error, ChannelError::Refused(Refusal::Misdirected)));
}

#[test]
fn a_newcomer_calls_whoever_answers_by_its_token_and_by_nothing_else() {
    let (token, other) = (TokenSecret::generate().unwrap(), TokenSecret::generate().unwrap());
    let host = side(CALLED).inviting([(3, other.verifier()), (7, token.verifier())]);
    let (initiator, hello) = Handshake::of_newcomer(&token).initiate(None).unwrap();
    let (responder, reply) = host.respond(&hello).unwrap();
    assert_eq!(responder.claimed_peer(), NodeId(0));
    let (confirmation, mut newcomer) = initiator.finish(&reply).unwrap();
    let mut session = responder.finish(&confirmation).unwrap();
    assert_eq!((session.peer(), session.stranger()), (NodeId(0), Some(Stranger::Newcomer(7))));
    session.push(&newcomer.seal(b"I am lx6").unwrap());
    assert_eq!(session.open().unwrap(), Some(b"I am lx6".to_vec()));

    // A token that is not known, and the cluster's key without a number, let nobody in.
    let (_, hello) = Handshake::of_newcomer(&token).initiate(None).unwrap();
    let unknown = side(CALLED).respond(&hello).unwrap_err();
    assert!(matches!(unknown.error, ChannelError::UnknownToken), "{unknown:?}");
    let refusal = unknown.refusal.unwrap().try_into().unwrap();
    let (initiator, _) = Handshake::of_newcomer(&token).initiate(None).unwrap();
    let told = initiator.finish(&refusal).unwrap_err();
    assert!(matches!(told, ChannelError::Refused(Refusal::UnknownToken)), "{told:?}");
    let (_, hello) = side(NodeId(0)).initiate(None).unwrap();
    assert!(matches!(host.respond(&hello).unwrap_err().error, ChannelError::UnknownToken));
}

#[test]
fn who_holds_a_token_cannot_call_as_a_node_nor_answer_as_one() {
    let token = TokenSecret::generate().unwrap();
    let host = side(CALLED).inviting([(1, token.verifier())]);
    // The hello of a newcomer with a number written into it.
    let (_, mut hello) = Handshake::of_newcomer(&token).initiate(None).unwrap();
    hello[8..16].copy_from_slice(&CALLER.0.to_le_bytes());
    assert!(matches!(host.respond(&hello).unwrap_err().error, ChannelError::ForeignKey));
    let false_node = Handshake::new(&ClusterKey::from_bytes(*token.expose()), CALLED);
    let (_, hello) = side(CALLER).initiate(Some(CALLED)).unwrap();
    assert!(matches!(false_node.respond(&hello).unwrap_err().error, ChannelError::ForeignKey));
}

#[test]
fn the_highest_common_version_is_spoken_or_both_say_what_they_speak() {
    let common = |ours: (u8, u8), theirs: (u8, u8)| {
        let (initiator, hello) = side(CALLER).with_versions(ours.0, ours.1).initiate(None).unwrap();
        let accepted = side(CALLED).with_versions(theirs.0, theirs.1).respond(&hello);
        let (responder, reply) = match accepted {
            Ok(accepted) => accepted,
            Err(rejected) => {
                let error = rejected.error;
                assert!(matches!(error, ChannelError::Version { .. }));
                let refusal = rejected.refusal.unwrap().try_into().unwrap();
                let seen = initiator.finish(&refusal).unwrap_err();
                assert!(
                    matches!(seen, ChannelError::Version { ours: o, theirs: t } if o == ours && t == theirs)
                );
                return None;
            }
        };
        let (confirmation, session) = initiator.finish(&reply).unwrap();
        let version = responder.finish(&confirmation).unwrap().version();
        assert_eq!(version, session.version());
        Some(version)
    };
    assert_eq!(common((1, 1), (1, 1)), Some(1));
    assert_eq!(common((1, 3), (2, 5)), Some(3));
    assert_eq!(common((2, 5), (1, 3)), Some(3));
    assert_eq!(common((1, 1), (2, 3)), None);
    assert_eq!(common((4, 6), (2, 3)), None);
}

#[test]
fn a_frame_beyond_the_limit_is_neither_sealed_nor_waited_for() {
    let (mut caller, mut called) = sessions();
    let largest = vec![1; MESSAGE_MAX];
    assert!(matches!(caller.seal(&[&largest[..], &[1]].concat()), Err(ChannelError::TooLarge { .. })));
    called.push(&caller.seal(&largest).unwrap());
    assert_eq!(called.open().unwrap(), Some(largest));
    called.push(&u32::MAX.to_le_bytes());
    assert!(matches!(called.open(), Err(ChannelError::TooLarge { .. })));
}

#[test]
fn a_side_answers_under_all_of_its_keys_and_a_retired_one_opens_no_channel() {
    let (old, new) = (ClusterKey::from_bytes([1; 32]), ClusterKey::from_bytes([2; 32]));
    let first = KeyRing::first(old);
    let both = first.with_next(new);
    let switched = both.using_newest();
    let alone = switched.current_alone();
    let opened = |calls: &KeyRing, answers: &KeyRing| {
        let (caller, hello) = Handshake::under(calls, CALLER).initiate(Some(CALLED)).ok()?;
        let (responder, reply) = Handshake::under(answers, CALLED).respond(&hello).ok()?;
        let (confirmation, session) = caller.finish(&reply).ok()?;
        let answered = responder.finish(&confirmation).ok()?;
        assert_eq!(session.key(), answered.key(), "both know which key it is");
        assert_eq!((session.stranger(), answered.stranger()), (None, None));
        Some(session.key())
    };
    for (calls, answers, key) in [
        (&first, &first, Some(0)),
        (&first, &both, Some(0)),
        (&both, &first, Some(0)),
        (&both, &switched, Some(0)),
        (&switched, &both, Some(1)),
        (&switched, &alone, Some(1)),
        (&alone, &switched, Some(1)),
        (&both, &alone, None),
        (&first, &alone, None),
        (&alone, &first, None),
    ] {
        assert_eq!(opened(calls, answers), key, "{calls:?} calls {answers:?}");
    }
}

#[test]
fn a_member_without_a_key_is_let_in_to_ask_and_as_nothing_else() {
    let (lx5, other) = (MachineSecret::generate().unwrap(), MachineSecret::generate().unwrap());
    let key = ClusterKey::from_bytes([2; 32]);
    let answers = Handshake::new(&key, CALLED).admitting([], [(NodeId(5), lx5.public())]);
    let (caller, hello) = Handshake::of_member(&lx5.public()).initiate(None).unwrap();
    let (responder, reply) = answers.respond(&hello).unwrap();
    let (confirmation, _) = caller.finish(&reply).unwrap();
    let session = responder.finish(&confirmation).unwrap();
    assert_eq!((session.peer(), session.stranger()), (NodeId(0), Some(Stranger::Member(NodeId(5)))));
    let (_, hello) = Handshake::of_member(&other.public()).initiate(None).unwrap();
    assert!(matches!(answers.respond(&hello).unwrap_err().error, ChannelError::UnknownToken));
    // It is no token, and no token is it.
    let token = TokenSecret::from_bytes(lx5.public());
    let (_, hello) = Handshake::of_newcomer(&token).initiate(None).unwrap();
    assert!(answers.respond(&hello).is_err());
}
