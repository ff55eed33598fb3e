//! Links between two nodes on real sockets.

use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use regent_model::journal::Entry;
use regent_wire::ClusterKey;
use regent_wire::handover::Asker;
use regent_wire::invite::MachineSecret;

use super::*;
use regent_wire::channel::{ChannelError, Link};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

struct End {
    links: Links,
    heard: Receiver<(NodeId, PeerMessage)>,
    beside: Receiver<(NodeId, Vec<u8>)>,
    foreigners: Receiver<()>,
}

/// The machine that gives keys away, as text; nobody does if there is none.
static GIVER: Mutex<Option<String>> = Mutex::new(None);

impl Drop for End {
    fn drop(&mut self) {
        self.links.close();
    }
}

fn end(key: &ClusterKey, me: NodeId, session: u64, open: bool) -> End {
    end_of(Speaks::THIS, key, me, session, open)
}

fn end_of(speaks: Speaks, key: &ClusterKey, me: NodeId, session: u64, open: bool) -> End {
    let (sender, heard) = channel();
    let sender = Mutex::new(sender);
    let deliver = Box::new(move |from, message| {
        let _test_is_over = lock(&sender).send((from, message));
    });
    let (sender, beside) = channel();
    let sender = Mutex::new(sender);
    let side = Box::new(move |from, text| {
        let _test_is_over = lock(&sender).send((from, text));
    });
    let join = Box::new(|ticket: TicketId, ask: JoinAsk| {
        JoinAnswer::without_key(regent_api::Answer::Done(format!("welcome {} by {ticket}", ask.name)))
    });
    let (teller, foreigners) = channel();
    let teller = Mutex::new(teller);
    let foreign = Box::new(move || {
        let _test_is_over = lock(&teller).send(());
    });
    let keys = Box::new(|ask: &KeyAsk| {
        let machine = MachineSecret::parse(&GIVER.lock().unwrap().clone()?).ok()?;
        ask.give(&KeyRing::first(ClusterKey::from_bytes([9; 32])), B, &machine).ok()
    });
    End {
        foreigners,
        links: Links::new(
            &KeyRing::first(key.clone()),
            me,
            speaks,
            session,
            open,
            Ears { deliver, side, join, refused: Box::new(|_| false), keys, foreign },
        ),
        heard,
        beside,
    }
}

fn message(number: u64) -> PeerMessage {
    PeerMessage::JournalAfter(number)
}

fn addresses(last: u8) -> Vec<IpAddr> {
    vec![[127, 0, 20, last].into(), [127, 0, 21, last].into()]
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn connections(links: &Links, to: NodeId) -> usize {
    lock(&links.inner.roster).peers.get(&to).map_or(0, |peer| peer.connections.len())
}

fn pair(port: u16) -> (ClusterKey, End, End) {
    let key = ClusterKey::generate().unwrap();
    let (one, two) = (end(&key, A, 1, false), end(&key, B, 1, false));
    for (end, own, other, theirs) in [(&one, 1, B, 2), (&two, 2, A, 1)] {
        end.links.set_own(&addresses(own), port);
        end.links.set_peers(&BTreeMap::from([(other, addresses(theirs))]), &BTreeMap::new());
    }
    wait("both networks", || connections(&one.links, B) == 2 && connections(&two.links, A) == 2);
    (key, one, two)
}

#[test]
fn a_message_is_sent_on_both_networks_and_delivered_once_in_order() {
    let (_key, one, two) = pair(17_501);
    for number in 1..=500 {
        one.links.send(B, &message(number));
        two.links.send(A, &message(1_000 + number));
    }
    for (end, from, base) in [(&two, A, 0), (&one, B, 1_000)] {
        for number in 1..=500 {
            let got = end.heard.recv_timeout(Duration::from_secs(10)).unwrap();
            assert_eq!(got, (from, message(base + number)));
        }
        assert!(end.heard.recv_timeout(Duration::from_millis(50)).is_err());
    }
}

#[test]
fn one_network_is_enough_and_a_lost_connection_comes_back() {
    let (_key, one, two) = pair(17_502);
    for _ in 0..3 {
        lock(&two.links.inner.roster).peers[&A].connections[&0].close();
        one.links.send(B, &message(1));
        assert_eq!(two.heard.recv_timeout(Duration::from_secs(10)).unwrap(), (A, message(1)));
        wait("the lost connection", || connections(&one.links, B) == 2 && connections(&two.links, A) == 2);
    }
}

#[test]
fn a_restarted_daemon_begins_a_new_session_and_is_heard() {
    let (key, one, two) = pair(17_503);
    one.links.send(B, &message(1));
    assert_eq!(two.heard.recv_timeout(Duration::from_secs(10)).unwrap(), (A, message(1)));
    one.links.close();
    let again = end(&key, A, 2, false);
    again.links.set_own(&addresses(1), 17_503);
    again.links.set_peers(&BTreeMap::from([(B, addresses(2))]), &BTreeMap::new());
    wait("the new session", || connections(&again.links, B) > 0);
    again.links.send(B, &message(2));
    assert_eq!(two.heard.recv_timeout(Duration::from_secs(10)).unwrap(), (A, message(2)));
}

#[test]
fn a_stranger_with_the_key_is_not_heard_and_one_without_it_gets_no_channel() {
    let (key, _one, two) = pair(17_504);
    let stranger = end(&key, A, 9, false);
    let foreign = end(&ClusterKey::generate().unwrap(), A, 9, false);
    two.links.set_peers(&BTreeMap::new(), &BTreeMap::new());
    for caller in [&stranger, &foreign] {
        caller.links.set_own(&addresses(3), 17_504);
        caller.links.set_peers(&BTreeMap::from([(B, addresses(2))]), &BTreeMap::new());
        for _ in 0..20 {
            caller.links.send(B, &message(1));
            std::thread::sleep(Duration::from_millis(10));
        }
        caller.links.close();
    }
    assert!(two.heard.try_recv().is_err());
    assert!(lock(&two.links.inner.roster).peers.is_empty());
}

#[test]
fn a_node_that_joins_knows_nobody_and_is_called_by_those_who_know_it() {
    let key = ClusterKey::generate().unwrap();
    let (member, newcomer) = (end(&key, A, 1, false), end(&key, B, 1, true));
    member.links.set_own(&addresses(4), 17_505);
    newcomer.links.set_own(&addresses(5), 17_505);
    member.links.set_peers(&BTreeMap::from([(B, addresses(5))]), &BTreeMap::new());
    wait("the call", || connections(&newcomer.links, A) == 2);
    newcomer.links.send(A, &message(7));
    assert_eq!(member.heard.recv_timeout(Duration::from_secs(10)).unwrap(), (B, message(7)));
    newcomer.links.set_peers(&BTreeMap::from([(A, addresses(4))]), &BTreeMap::new());
    assert_eq!(connections(&newcomer.links, A), 2);
}

#[test]
fn a_peer_that_does_not_read_delays_nobody() {
    let key = ClusterKey::generate().unwrap();
    let one = end(&key, A, 1, false);
    one.links.set_own(&addresses(6), 17_506);
    let deaf = Link::accept;
    let listener = std::net::TcpListener::bind((addresses(7)[0], 17_506)).unwrap();
    one.links.set_peers(&BTreeMap::from([(B, addresses(7)[..1].to_vec())]), &BTreeMap::new());
    let (stream, _) = listener.accept().unwrap();
    let _link = deaf(stream, &Handshake::new(&key, B), Duration::from_secs(5)).unwrap();
    wait("the connection", || connections(&one.links, B) == 1);
    let entry = Entry {
        node: regent_model::NodeName::new("a").unwrap(),
        number: 1,
        at: regent_model::Moment(0),
        wall_ms: 0,
        level: regent_model::journal::Level::Step,
        kind: String::new(),
        group: None,
        resource: None,
        epoch: None,
        index: None,
        event: None,
        text: "x".repeat(1 << 20),
        took: None,
        evidence: String::new(),
    };
    let large = PeerMessage::Journal { after: 0, entries: vec![entry] };
    let mut longest = Duration::ZERO;
    for _ in 0..64 {
        let begun = Instant::now();
        one.links.send(B, &large);
        longest = longest.max(begun.elapsed());
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    wait("the end of the connection", || connections(&one.links, B) == 0);
}

#[test]
fn callers_that_say_nothing_do_not_keep_a_peer_out() {
    let key = ClusterKey::generate().unwrap();
    let two = end(&key, B, 1, false);
    two.links.set_own(&addresses(9), 17_507);
    two.links.set_peers(&BTreeMap::from([(A, addresses(8))]), &BTreeMap::new());
    let door = (addresses(9)[0], 17_507);
    wait("the door", || TcpStream::connect(door).is_ok());
    let mute: Vec<_> = (0..200).filter_map(|_| TcpStream::connect(door).ok()).collect();
    assert!(mute.len() > 100, "{}", mute.len());
    let one = end(&key, A, 1, false);
    one.links.set_own(&addresses(8), 17_507);
    one.links.set_peers(&BTreeMap::from([(B, addresses(9))]), &BTreeMap::new());
    let began = Instant::now();
    wait("the peer", || connections(&two.links, A) == 2);
    assert!(
        began.elapsed() < OPEN_WITHIN,
        "it had to wait until the others were let go: {:?}",
        began.elapsed()
    );
    drop(mute);
}

#[test]
fn newcomers_that_ask_nothing_hold_no_more_calls_than_others_that_are_being_opened() {
    let key = ClusterKey::generate().unwrap();
    let two = end(&key, B, 1, false);
    two.links.set_own(&addresses(7), 17_551);
    let token = regent_wire::invite::TokenSecret::generate().unwrap();
    two.links.set_admitted(&[(TicketId(3), token.verifier())], &[]);
    let door = (addresses(7)[0], 17_551);
    wait("the door", || TcpStream::connect(door).is_ok());
    let call = || {
        Link::connect(TcpStream::connect(door).unwrap(), &Handshake::of_newcomer(&token), None, OPEN_WITHIN)
    };
    wait("a place", || call().is_ok());
    // Each is given up after some seconds; on a busy machine the first go while the next ones come.
    let held: Vec<_> = (0..60).map_while(|_| call().ok()).collect();
    assert!(held.len() < 60, "they count until they are answered");
    drop(held);
    wait("a place again", || call().is_ok());
}

#[test]
fn what_is_none_of_the_engines_comes_through_once_and_in_its_own_way() {
    let (_key, one, two) = pair(17_531);
    one.links.send_beside(B, b"{}");
    one.links.send(B, &message(1));
    let within = Duration::from_secs(10);
    assert_eq!(two.beside.recv_timeout(within).unwrap(), (A, b"{}".to_vec()));
    assert_eq!(two.heard.recv_timeout(within).unwrap(), (A, message(1)));
    one.links.send_beside(B, &vec![0; regent_wire::channel::MESSAGE_MAX]);
    one.links.send_beside(B, b"last");
    assert_eq!(two.beside.recv_timeout(within).unwrap().1, b"last", "what is too large is not sent");
    assert!(two.beside.try_recv().is_err());
    assert_eq!(one.links.peers(), [B]);
}

#[test]
fn daemons_of_two_releases_speak_the_older_format_and_none_below_the_one_in_force() {
    let next = Speaks { oldest: 1, newest: 2 };
    let key = ClusterKey::generate().unwrap();
    let within = Duration::from_secs(30);
    for (port, theirs, format) in [(17_541, Speaks { oldest: 1, newest: 1 }, 1), (17_542, next, 2)] {
        let (one, two) = (end_of(theirs, &key, A, 1, false), end_of(next, &key, B, 1, false));
        for (end, own, other, theirs) in [(&one, 1, B, 2), (&two, 2, A, 1)] {
            end.links.set_own(&addresses(own), port);
            end.links.set_peers(&BTreeMap::from([(other, addresses(theirs))]), &BTreeMap::new());
        }
        wait("both networks", || connections(&one.links, B) == 2 && connections(&two.links, A) == 2);
        assert!(lock(&two.links.inner.roster).peers[&A].connections.values().all(|c| c.format == format));
        one.links.send(B, &message(1));
        two.links.send(A, &message(2));
        assert_eq!(two.heard.recv_timeout(within).unwrap(), (A, message(1)));
        assert_eq!(one.heard.recv_timeout(within).unwrap(), (B, message(2)));
        // Format 2 is in force from now on: who does not speak it is not called, and not let in.
        two.links.set_oldest(2);
        let connection = |network| lock(&two.links.inner.roster).peers[&A].connections[&network].close();
        [0, 1].into_iter().for_each(connection);
        if format == 2 {
            wait("both networks again", || connections(&two.links, A) == 2);
        } else {
            wait("the end of both", || connections(&two.links, A) == 0);
            assert!(matches!(two.links.inner.handshake().respond(&hello(&key)), Err(rejected)
                if rejected.error.to_string().contains("no common version")));
        }
    }
}

/// What a daemon calls with that speaks format 1 alone.
fn hello(key: &ClusterKey) -> [u8; regent_wire::channel::HELLO_BYTES] {
    Handshake::new(key, A).with_versions(1, 1).initiate(Some(B)).unwrap().1
}

fn keys_of(links: &Links, to: NodeId) -> Vec<u32> {
    lock(&links.inner.roster).peers[&to].connections.values().map(|c| c.key).collect()
}

#[test]
fn channels_go_over_to_the_next_key_without_losing_a_message_and_the_old_key_opens_none_any_more() {
    let (key, one, two) = pair(17_561);
    let both = KeyRing::first(key.clone()).with_next(ClusterKey::generate().unwrap());
    let mut number = 0;
    let mut say = || {
        for _ in 0..200 {
            number += 1;
            one.links.send(B, &message(number));
            let got = two.heard.recv_timeout(Duration::from_secs(30)).unwrap();
            assert_eq!(got, (A, message(number)), "nothing is lost or doubled at any step");
        }
    };
    for end in [&one, &two] {
        end.links.set_ring(&both);
        say();
    }
    assert_eq!(keys_of(&one.links, B), [0, 0], "what is only heard is not used yet");
    for end in [&two, &one] {
        end.links.set_ring(&both.using_newest());
        say();
    }
    wait("channels under the new key", || {
        keys_of(&one.links, B) == [1, 1] && keys_of(&two.links, A) == [1, 1]
    });
    say();
    for end in [&one, &two] {
        end.links.set_ring(&both.using_newest().current_alone());
        say();
    }
    assert_eq!((connections(&one.links, B), connections(&two.links, A)), (2, 2), "none had to be closed");
    // Whoever has the old key alone gets nothing, and both sides see why.
    one.links.close();
    let thief = end(&key, A, 9, false);
    thief.links.set_own(&addresses(1), 17_561);
    thief.links.set_peers(&BTreeMap::from([(B, addresses(2))]), &BTreeMap::new());
    thief.foreigners.recv_timeout(Duration::from_secs(30)).unwrap();
    two.foreigners.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(connections(&thief.links, B), 0);
}

#[test]
fn a_channel_under_a_key_that_is_retired_is_closed() {
    let (key, one, two) = pair(17_562);
    let next = KeyRing::first(key).with_next(ClusterKey::generate().unwrap()).using_newest();
    two.links.set_ring(&next.current_alone());
    wait("the end of the old channels", || connections(&one.links, B) == 0);
    one.links.set_ring(&next);
    wait("new ones", || connections(&one.links, B) == 2 && connections(&two.links, A) == 2);
}

#[test]
fn a_member_is_given_keys_without_having_one_and_a_machine_that_the_log_does_not_know_gets_no_channel() {
    let (_key, _one, two) = pair(17_563);
    let (lx4, giver, stranger) = (
        MachineSecret::generate().unwrap(),
        MachineSecret::generate().unwrap(),
        MachineSecret::generate().unwrap(),
    );
    two.links.set_admitted(&[], &[(A, lx4.public())]);
    // The places for calls are counted for the whole process: another test may have them all for a moment.
    let call = |public: &[u8; 32]| loop {
        let stream = TcpStream::connect((addresses(2)[0], 17_563)).unwrap();
        match Link::connect(stream, &Handshake::of_member(public), None, Duration::from_secs(20)) {
            Err(ChannelError::Closed { .. }) => std::thread::sleep(Duration::from_millis(20)),
            answered => return answered,
        }
    };
    let refused = call(&stranger.public()).unwrap_err();
    assert!(matches!(refused, ChannelError::Refused(_)), "{refused}");
    let ask = |asker: &Asker| {
        let (mut reader, mut writer) = call(&lx4.public()).unwrap().split().unwrap();
        writer.send(&serde_json::to_vec(asker.ask()).unwrap()).unwrap();
        serde_json::from_slice::<Option<KeysGiven>>(&reader.recv().unwrap()).unwrap()
    };
    let asker = Asker::new("w", A, &lx4).unwrap();
    assert_eq!(ask(&asker), None, "nobody gives any");
    *GIVER.lock().unwrap() = Some(giver.to_text());
    let another = Asker::new("w", NodeId(7), &lx4).unwrap();
    assert_eq!(ask(&another), None, "the question names another member than the call");
    let given = ask(&asker).unwrap();
    let ring = asker.take(&given, &giver.public()).unwrap();
    assert_eq!(ring, KeyRing::first(ClusterKey::from_bytes([9; 32])));
}

#[test]
fn a_channel_whose_key_was_retired_while_it_was_being_opened_is_told_from_one_of_a_stranger() {
    let key = ClusterKey::generate().unwrap();
    let end = end(&key, A, 1, false);
    end.links.set_peers(&BTreeMap::from([(B, addresses(2))]), &BTreeMap::new());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let attach = |from: NodeId, key: u32| {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        end.links.inner.attach(from, 0, stream, Speaks::THIS.newest, key).err()
    };
    assert_eq!(attach(B, 0), None);
    assert_eq!(attach(B, 1), Some(Stranger::OldKey));
    assert_eq!(attach(NodeId(9), 0), Some(Stranger::NoMember));
}
