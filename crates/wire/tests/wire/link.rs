//! The channel over real sockets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use regent_model::NodeId;
use regent_wire::ClusterKey;
use regent_wire::channel::{ChannelError, Handshake, Link, Refusal, Stream};

const WITHIN: Duration = Duration::from_secs(20);

fn side(key: u8, node: u64) -> Handshake {
    Handshake::new(&ClusterKey::from_bytes([key; 32]), NodeId(node))
}

fn linked() -> (Link<UnixStream>, Link<UnixStream>) {
    let (here, there) = UnixStream::pair().unwrap();
    let caller = thread::spawn(move || Link::connect(here, &side(1, 1), Some(NodeId(2)), WITHIN).unwrap());
    let called = Link::accept(there, &side(1, 2), WITHIN).unwrap();
    (caller.join().unwrap(), called)
}

#[test]
fn two_threads_each_send_and_receive_at_once_over_a_real_socket() {
    let (caller, called) = linked();
    let talk = |link: Link<UnixStream>| {
        let (mut reader, mut writer) = link.split().unwrap();
        reader.stream().limit_reads(Some(WITHIN)).unwrap();
        writer.stream().limit_writes(Some(WITHIN)).unwrap();
        let sender = thread::spawn(move || {
            for n in 0..2000_u32 {
                writer.send(&n.to_le_bytes().repeat(1 + (n as usize * 7) % 500)).unwrap();
            }
            writer
        });
        let receiver = thread::spawn(move || {
            for n in 0..2000_u32 {
                let message = reader.recv().unwrap();
                assert_eq!(message, n.to_le_bytes().repeat(1 + (n as usize * 7) % 500));
            }
            reader
        });
        (sender, receiver)
    };
    let threads = [talk(caller), talk(called)];
    for (sender, receiver) in threads {
        sender.join().unwrap();
        receiver.join().unwrap();
    }
}

#[test]
fn a_link_works_over_tcp_and_its_end_reaches_a_waiting_reader() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let caller = thread::spawn(move || {
        let stream = TcpStream::connect(address).unwrap();
        Link::connect(stream, &side(1, 1), Some(NodeId(2)), WITHIN).unwrap()
    });
    let called = Link::accept(listener.accept().unwrap().0, &side(1, 2), WITHIN).unwrap();
    assert_eq!((called.peer(), called.version()), (NodeId(1), 1));
    let (_, mut writer) = caller.join().unwrap().split().unwrap();
    let (mut reader, own_writer) = called.split().unwrap();
    writer.send(b"hello").unwrap();
    assert_eq!(reader.recv().unwrap(), b"hello");
    let waiting = thread::spawn(move || reader.recv());
    own_writer.stream().end().unwrap();
    assert!(matches!(waiting.join().unwrap(), Err(ChannelError::Closed { .. })));
    let end = Instant::now() + WITHIN;
    while writer.send(b"nobody hears this").is_ok() {
        assert!(Instant::now() < end, "a closed link must fail to send");
    }
    assert!(matches!(writer.send(b"x"), Err(ChannelError::Broken)));
}

#[test]
fn a_time_limit_loses_nothing_that_was_half_received() {
    let (caller, called) = linked();
    let (_caller_reader, mut writer) = caller.split().unwrap();
    let (mut reader, _called_writer) = called.split().unwrap();
    reader.stream().limit_reads(Some(Duration::from_millis(5))).unwrap();
    assert!(reader.recv().unwrap_err().is_time_limit());
    writer.send(b"late").unwrap();
    assert_eq!(reader.recv().unwrap(), b"late");
    assert!(reader.recv().unwrap_err().is_time_limit());
}

#[test]
fn a_foreign_cluster_is_refused_with_words_on_both_sides() {
    let (here, there) = UnixStream::pair().unwrap();
    let caller = thread::spawn(move || Link::connect(here, &side(1, 1), None, WITHIN).map(drop));
    assert!(matches!(Link::accept(there, &side(9, 2), WITHIN), Err(ChannelError::ForeignKey)));
    let error = caller.join().unwrap().unwrap_err();
    assert!(matches!(error, ChannelError::Refused(Refusal::ForeignKey)));
    assert!(error.to_string().contains("another cluster key"), "{error}");
}

#[test]
fn a_stranger_a_silent_and_a_dripping_caller_are_all_let_go_in_time() {
    let (mut stranger, here) = UnixStream::pair().unwrap();
    stranger.write_all(&[b'G'; 200]).unwrap();
    assert!(matches!(Link::accept(here, &side(1, 2), WITHIN), Err(ChannelError::NotRegent)));

    let within = Duration::from_millis(100);
    let (_silent, here) = UnixStream::pair().unwrap();
    let start = Instant::now();
    assert!(Link::accept(here, &side(1, 2), within).unwrap_err().is_time_limit());
    assert!(start.elapsed() >= within && start.elapsed() < WITHIN);

    let (mut dripping, here) = UnixStream::pair().unwrap();
    let drip = thread::spawn(move || {
        while dripping.write_all(b"R").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert!(Link::accept(here, &side(1, 2), within).unwrap_err().is_time_limit());
    drip.join().unwrap();
}

#[test]
fn a_link_cut_within_a_frame_is_told_from_one_that_was_closed() {
    let (caller, called) = linked();
    let (_, writer) = caller.split().unwrap();
    let (mut reader, _own) = called.split().unwrap();
    let mut raw = writer.stream().duplicate().unwrap();
    raw.write_all(&[50, 0, 0, 0, 1, 2, 3]).unwrap();
    raw.end().unwrap();
    let error = reader.recv().unwrap_err();
    assert!(matches!(error, ChannelError::Closed { doing: "receiving a frame" }), "{error}");
    let mut nothing = Vec::new();
    assert_eq!(raw.read_to_end(&mut nothing).unwrap(), 0);
}

#[test]
fn a_message_that_comes_byte_by_byte_is_waited_for_no_longer_than_one_that_does_not_come() {
    let (here, there) = UnixStream::pair().unwrap();
    let mut slow = here.try_clone().unwrap();
    let caller = thread::spawn(move || Link::connect(here, &side(1, 1), Some(NodeId(2)), WITHIN).unwrap());
    let called = Link::accept(there, &side(1, 2), WITHIN).unwrap();
    let caller = caller.join().unwrap();
    let trickle = thread::spawn(move || {
        // The beginning of a large frame, as fast as to keep every single read from its limit.
        slow.write_all(&100_000_u32.to_le_bytes()).unwrap();
        while slow.write_all(&[0]).is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let (mut reader, writer) = called.split().unwrap();
    assert!(reader.recv_within(Duration::from_millis(200)).unwrap_err().is_time_limit());
    drop((reader, writer, caller));
    trickle.join().unwrap();
}
