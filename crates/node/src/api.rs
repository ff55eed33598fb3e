//! The local socket: one line of JSON asks, one line answers.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regent_api::{Answer, MESSAGE_BYTES_MAX, Request};
use regent_guard::release;

use crate::clients;
use crate::os::{self, Caller};
use crate::refusals::{Port, Refusals};

/// Whose members may order besides root.
pub(crate) const GROUP: &str = "regent";
/// Clients at the same time.
const CLIENTS_MAX: usize = 64;
/// A client that says nothing for so long is let go.
const QUIET_MAX: Duration = Duration::from_secs(600);
/// A client that does not take its answer within this is let go.
const TAKE_WITHIN: Duration = Duration::from_secs(10);

/// Answers requests, from many threads at once, and keeps the daemon alive until the answer has been sent.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers one; `send` hands the answer to the client.
    fn serve(&self, request: Request, send: &mut dyn FnMut(&Answer));
}

/// Serves requests at `path` from now on.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn start(path: &Path, answers: Arc<dyn Answers>, refusals: Arc<Refusals>) -> io::Result<()> {
    let group = os::group_named(GROUP);
    let listener = clients::socket(path)?;
    if let Some(group) = group {
        chown(path, None, Some(group))?;
    }
    // Last: until then nobody but root gets through.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    let house = House { group, answers, refusals };
    clients::take_in(listener, "api-client", CLIENTS_MAX, move |stream, is_full| {
        serve(stream, is_full, &house)
    })
}

/// What every client needs.
#[derive(Clone)]
struct House {
    /// Whose members may order besides root.
    group: Option<u32>,
    answers: Arc<dyn Answers>,
    refusals: Arc<Refusals>,
}

fn serve(stream: &UnixStream, is_full: bool, house: &House) -> io::Result<()> {
    stream.set_read_timeout(Some(QUIET_MAX))?;
    stream.set_write_timeout(Some(TAKE_WITHIN))?;
    let caller = Caller::of(stream)?;
    let refused = |why: &str| house.refusals.note(Port::Requests, 1, why);
    if !caller.may_order(house.group) {
        if refused(&format!("user {} has no right to ask", caller.uid)) {
            tracing::warn!(pid = caller.pid, uid = caller.uid, "a client has no right to ask");
        }
        let answer = Answer::refused(
            format!("user {} may not ask this node's daemon", caller.uid),
            format!("as root, or as a member of the group {GROUP}: usermod -aG {GROUP} NAME"),
        );
        return send(stream, &answer);
    }
    if is_full {
        let reason = format!("{CLIENTS_MAX} clients are connected to this node's daemon already");
        return send(stream, &Answer::refused(reason, "try again in a moment"));
    }
    let limit = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(limit + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if read > MESSAGE_BYTES_MAX {
            let reason = format!("a request of more than {MESSAGE_BYTES_MAX} bytes");
            refused(&reason);
            return send(stream, &Answer::refused(reason, "make the file smaller"));
        }
        let mut result = Ok(());
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => house.answers.serve(request, &mut |answer| result = send(stream, answer)),
            Err(error) => {
                // Without the list of everything that it would understand.
                let error = error.to_string();
                let error = error.split(", expected").next().unwrap_or(&error);
                let release = release::version();
                let reason =
                    format!("the daemon, of Regent {release}, does not understand the request: {error}");
                refused(&reason);
                let advice = "if regent --version says another one, let the daemon begin anew: systemctl restart \
                              regent, or: regent node stop --takeover, and regent node start";
                result = send(stream, &Answer::refused(reason, advice));
            }
        }
        result?;
    }
}

fn send(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    if line.len() >= MESSAGE_BYTES_MAX {
        let reason = format!("the answer has {} bytes, more than {MESSAGE_BYTES_MAX}", line.len());
        line = serde_json::to_vec(&Answer::refused(reason, "ask for less: regent events --last N"))?;
    }
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    struct Echo;

    impl Answers for Echo {
        fn serve(&self, request: Request, send: &mut dyn FnMut(&Answer)) {
            match request {
                Request::Apply { text, .. } => send(&Answer::Done(text)),
                Request::Config => send(&Answer::Done("x".repeat(MESSAGE_BYTES_MAX))),
                other => send(&Answer::Done(format!("{other:?}"))),
            }
        }
    }

    fn served(name: &str) -> (Folder, std::path::PathBuf) {
        let folder = Folder::new(name);
        let path = folder.path().join("api.sock");
        let refusals = Arc::new(Refusals::new(crate::inbox::inbox().0));
        start(&path, Arc::new(Echo), refusals).unwrap();
        (folder, path)
    }

    fn ask(stream: &UnixStream, line: &[u8]) -> Answer {
        let mut stream = stream;
        stream.write_all(line).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    #[test]
    fn one_connection_serves_many_requests_and_nonsense_is_answered_too() {
        let (_folder, path) = served("api-many");
        let stream = UnixStream::connect(&path).unwrap();
        assert_eq!(ask(&stream, b"\"status\"\n"), Answer::Done("Status".into()));
        for nonsense in [&b"hello\n"[..], b"{}\n", b"\xff\xfe\n", b"\n"] {
            assert!(matches!(ask(&stream, nonsense), Answer::Refused(_)), "{nonsense:?}");
        }
        let Answer::Refused(refusal) = ask(&stream, b"{\"of_tomorrow\":{}}\n") else { panic!() };
        assert!(refusal.reason.contains(release::version()), "{refusal:?}");
        assert!(refusal.reason.ends_with("unknown variant `of_tomorrow`"), "{refusal:?}");
        assert!(refusal.advice.contains("regent --version"), "{refusal:?}");
        assert_eq!(ask(&stream, b"\"status\"\n"), Answer::Done("Status".into()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    }

    #[test]
    fn a_request_or_an_answer_without_end_is_refused() {
        let (_folder, path) = served("api-large");
        let stream = UnixStream::connect(&path).unwrap();
        let writer = stream.try_clone().unwrap();
        let flood = std::thread::spawn(move || {
            let chunk = vec![b'x'; 1 << 16];
            while (&writer).write_all(&chunk).is_ok() {}
        });
        let mut answer = Vec::new();
        let _reset_by_peer = BufReader::new(&stream).read_until(b'\n', &mut answer);
        flood.join().unwrap();
        let answer: Answer = serde_json::from_slice(&answer).unwrap();
        assert!(matches!(answer, Answer::Refused(_)));
        let stream = UnixStream::connect(&path).unwrap();
        assert!(matches!(ask(&stream, b"\"config\"\n"), Answer::Refused(r) if r.advice.contains("--last")));
    }

    #[test]
    fn too_many_clients_are_told_so_and_places_become_free() {
        let (_folder, path) = served("api-full");
        let many: Vec<UnixStream> = (0..CLIENTS_MAX).map(|_| UnixStream::connect(&path).unwrap()).collect();
        for stream in &many {
            assert_eq!(ask(stream, b"\"status\"\n"), Answer::Done("Status".into()));
        }
        let mut answer = String::new();
        BufReader::new(UnixStream::connect(&path).unwrap()).read_line(&mut answer).unwrap();
        assert!(answer.contains("64 clients"), "{answer}");
        drop(many);
        let free = || {
            let stream = UnixStream::connect(&path).unwrap();
            (&stream).write_all(b"\"status\"\n").unwrap();
            let mut answer = String::new();
            BufReader::new(&stream).read_line(&mut answer).unwrap();
            answer.contains("Status")
        };
        assert!((0..200).any(|_| free() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }));
    }
}
