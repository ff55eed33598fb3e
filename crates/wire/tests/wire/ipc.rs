//! What daemon and guard say to each other.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;

use proptest::prelude::*;
use regent_model::holding::Held;
use regent_wire::ipc::{BACKLOG_MAX, IpcError, IpcReader, IpcWriter, MESSAGE_MAX};

const GREETING: [u8; 8] = *b"RGIP\x01\x01\0\0";

#[test]
fn two_threads_talk_in_both_directions_over_a_real_socket_pair() {
    let (daemon, guard) = UnixStream::pair().unwrap();
    let talk = |stream: UnixStream, factor: usize| {
        let (mut writer, mut reader) = (IpcWriter::new(stream.try_clone().unwrap()), IpcReader::new(stream));
        thread::spawn(move || {
            for n in 0..2000_usize {
                writer.send(&(n, vec![7_u8; n * factor % 3000])).unwrap();
                let (theirs, bytes) = reader.recv::<(usize, Vec<u8>)>().unwrap().unwrap();
                assert_eq!(theirs, n);
                assert!(bytes.iter().all(|byte| *byte == 7));
            }
            assert_eq!(reader.version(), Some(1));
        })
    };
    for thread in [talk(daemon, 13), talk(guard, 17)] {
        thread.join().unwrap();
    }
}

#[test]
fn a_non_blocking_stream_loses_nothing_in_either_direction() {
    let (here, there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    there.set_nonblocking(true).unwrap();
    let (mut writer, mut reader) = (IpcWriter::new(here), IpcReader::new(there));
    assert!(reader.recv::<Vec<u8>>().unwrap_err().is_time_limit());
    let (mut sent, mut received) = (0_u8, 0_u8);
    while received < 100 {
        if sent < 100 {
            if let Err(error) = writer.send(&vec![sent; 20_000]) {
                assert!(error.is_time_limit(), "{error}");
            }
            sent += 1;
        } else if writer.is_waiting() {
            let _ = writer.flush();
        }
        if sent % 20 == 0 {
            while let Ok(message) = reader.recv::<Vec<u8>>() {
                assert_eq!(message, Some(vec![received; 20_000]));
                received += 1;
            }
        }
    }
}

#[test]
fn a_reader_that_never_reads_fills_the_backlog_and_no_more() {
    let (here, _there) = UnixStream::pair().unwrap();
    here.set_nonblocking(true).unwrap();
    let mut writer = IpcWriter::new(here);
    let message = vec![1_u8; MESSAGE_MAX / 2];
    let sent = (0..100).take_while(|_| !matches!(writer.send(&message), Err(IpcError::Backlog))).count();
    assert!(sent * message.len() >= BACKLOG_MAX && sent < 20, "{sent}");
}

#[test]
fn a_newer_guard_a_stranger_and_a_cut_are_told_apart() {
    let read = |bytes: &[u8]| {
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(bytes).unwrap();
        drop(here);
        IpcReader::new(there).recv::<u64>()
    };
    assert!(matches!(read(b"RGIP\x02\x03\0\0"), Err(IpcError::Version { theirs: (2, 3), .. })));
    assert!(matches!(read(b"GET / HTTP/1.1\r\n"), Err(IpcError::NotRegent)));
    assert!(matches!(read(&GREETING), Ok(None)));
    assert!(matches!(read(b""), Ok(None)));
    assert!(matches!(read(&[&GREETING[..], &[1, 0, 0, 0]].concat()), Err(IpcError::Cut)));
    assert!(matches!(read(&[&GREETING[..], &[1, 0, 0, 0, 5]].concat()), Ok(Some(5))));
    assert!(matches!(read(&[&GREETING[..], &[2, 0, 0, 0, 5, 5]].concat()), Err(IpcError::Codec(_))));
    assert!(matches!(read(&[&GREETING[..], &[255; 4]].concat()), Err(IpcError::TooLarge { .. })));
}

#[test]
fn daemon_and_guard_of_two_releases_speak_the_newest_version_that_both_have() {
    let meet = |ours: (u8, u8), theirs: (u8, u8)| {
        let (here, there) = UnixStream::pair().unwrap();
        IpcWriter::new(there).with_versions(theirs).send(&5_u64).unwrap();
        let mut reader = IpcReader::new(here).with_versions(ours);
        reader.recv::<u64>().map(|said| (said, reader.version()))
    };
    assert_eq!(meet((1, 2), (1, 1)).unwrap(), (Some(5), Some(1)));
    assert_eq!(meet((1, 1), (1, 2)).unwrap(), (Some(5), Some(1)));
    assert_eq!(meet((1, 2), (1, 2)).unwrap(), (Some(5), Some(2)));
    let skipped = meet((2, 3), (1, 1)).unwrap_err();
    assert!(skipped.to_string().contains("this side speaks 2 to 3, the other 1 to 1"), "{skipped}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), greeted in any::<bool>()) {
        let stream = if greeted { [&GREETING[..], &bytes].concat() } else { bytes };
        let mut reader = IpcReader::new(&stream[..]);
        while let Ok(Some(_)) = reader.recv::<Vec<Held>>() {}
    }
}

#[test]
fn a_message_beyond_the_limit_is_refused_before_it_is_sent() {
    let mut sent = Vec::new();
    let mut writer = IpcWriter::new(&mut sent);
    assert!(matches!(writer.send(&vec![0_u8; MESSAGE_MAX + 1]), Err(IpcError::Codec(_))));
    writer.send(&5_u64).unwrap();
    drop(writer);
    assert_eq!(sent, [&GREETING[..], &[1, 0, 0, 0, 5]].concat());
}
