//! The local socket: one line of JSON asks, one line answers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use regent_api::{Answer, MESSAGE_BYTES_MAX, Request, Role, roles};
use regent_guard::release;
use regent_model::NodeName;
use regent_model::action::Notice;

use crate::access::{self, Person, Trace};
use crate::clients;
use crate::os::Caller;
use crate::refusals::{Port, Refusals};

/// Clients at the same time.
const CLIENTS_MAX: usize = 64;
/// Of these, from users who are not root: root is never kept out by them.
const OTHERS_MAX: usize = 48;
/// Of these, from one user: nor is another one.
const PER_USER_MAX: usize = 16;
/// A client that says nothing for so long is let go.
const QUIET_MAX: Duration = Duration::from_secs(600);
/// The same for a user who may do nothing.
const STRANGER_QUIET_MAX: Duration = Duration::from_secs(5);
/// A request that has begun is there within this.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// A client that does not take its answer within this is let go.
const TAKE_WITHIN: Duration = Duration::from_secs(10);

/// Answers requests, from many threads at once, and keeps the daemon alive until the answer has been sent.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Answers one; `send` hands the answer to the client.
    fn serve(&self, request: Request, send: &mut dyn FnMut(&Answer));

    /// Keeps a record of who ordered what.
    fn record(&self, ordered: Notice);

    /// Who answers.
    fn node(&self) -> NodeName;
}

/// Serves requests at `path` from now on. Every user of this machine may connect: what he may ask is judged by the
/// kernel's word on who he is.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn start(path: &Path, answers: Arc<dyn Answers>, refusals: Arc<Refusals>) -> io::Result<()> {
    let listener = clients::socket(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let house = House { answers, refusals, others: Arc::default() };
    clients::take_in(listener, "api-client", CLIENTS_MAX, move |stream, is_full| {
        serve(stream, is_full, &house)
    })
}

/// What every client needs.
#[derive(Clone)]
struct House {
    answers: Arc<dyn Answers>,
    refusals: Arc<Refusals>,
    /// How many clients there are of each user who is not root.
    others: Arc<Mutex<BTreeMap<u32, usize>>>,
}

/// One of the places for users who are not root.
struct Seat<'h>(&'h House, u32);

impl<'h> Seat<'h> {
    /// None if there are too many.
    fn take(house: &'h House, uid: u32) -> Option<Self> {
        let mut others = house.others.lock().unwrap_or_else(PoisonError::into_inner);
        let own = others.get(&uid).copied().unwrap_or(0);
        if own >= PER_USER_MAX || others.values().sum::<usize>() >= OTHERS_MAX {
            return None;
        }
        others.insert(uid, own + 1);
        Some(Self(house, uid))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut others = self.0.others.lock().unwrap_or_else(PoisonError::into_inner);
        match others.get_mut(&self.1) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(others.remove(&self.1)),
        }
    }
}

/// Reads a client's requests, each of which must be there in time once it has begun.
struct Patient<'s> {
    stream: &'s UnixStream,
    quiet_max: Duration,
    began: Option<Instant>,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = match self.began {
            None => self.quiet_max,
            Some(began) => REQUEST_WITHIN.saturating_sub(began.elapsed()),
        };
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let read = self.stream.read(buffer)?;
        self.began.get_or_insert_with(Instant::now);
        Ok(read)
    }
}

fn serve(stream: &UnixStream, is_full: bool, house: &House) -> io::Result<()> {
    stream.set_write_timeout(Some(TAKE_WITHIN))?;
    let caller = Caller::of(stream)?;
    let seat = if caller.is_root() { None } else { Seat::take(house, caller.uid) };
    if is_full || (seat.is_none() && !caller.is_root()) {
        let reason = format!(
            "{CLIENTS_MAX} clients are connected to this node's daemon already, or {PER_USER_MAX} of one user"
        );
        return send(stream, &Answer::refused(reason, "try again in a moment"));
    }
    let limit = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    let stranger = access::role(&caller).is_none();
    let quiet_max = if stranger { STRANGER_QUIET_MAX } else { QUIET_MAX };
    let mut reader = BufReader::new(Patient { stream, quiet_max, began: None });
    let mut line = Vec::new();
    loop {
        line.clear();
        reader.get_mut().began = if reader.buffer().is_empty() { None } else { Some(Instant::now()) };
        let read = (&mut reader).take(limit + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if read > MESSAGE_BYTES_MAX {
            let reason = format!("a request of more than {MESSAGE_BYTES_MAX} bytes");
            house.refusals.note(Port::Requests, 1, &reason);
            return send(stream, &Answer::refused(reason, "make the file smaller"));
        }
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => judge(stream, &caller, request, house)?,
            Err(error) => {
                let answer = not_understood(&error);
                if let Answer::Refused(refusal) = &answer {
                    house.refusals.note(Port::Requests, 1, &refusal.reason);
                }
                send(stream, &answer)?;
            }
        }
    }
}

/// Answers one request, if who asks may ask it, and keeps a record of it if it is an order.
fn judge(stream: &UnixStream, caller: &Caller, request: Request, house: &House) -> io::Result<()> {
    let (needed, order) = (request.role(), request.order());
    // Asked anew each time: a group may have been made meanwhile.
    let role = access::role(caller);
    if request == Request::Access {
        let (node, who) = (house.answers.node(), Person::of(caller).words());
        return send(stream, &Answer::Access { node, who, role });
    }
    if let Some(needed) = needed.filter(|needed| !access::may(role, Some(*needed))) {
        let person = Person::of(caller);
        let (reason, advice) = person.refusal(needed);
        let answer = Answer::refused(reason.clone(), advice);
        if house.refusals.note(Port::Requests, 1, &reason) {
            tracing::warn!(pid = caller.pid, uid = caller.uid, "a client has no right to ask: {reason}");
        }
        // Whoever has no role could else fill the record with them, until nothing else is in it.
        let on_record = |_: &String| role.is_some() || house.refusals.ordered_by_stranger(caller.uid);
        if let Some(order) = order.filter(on_record) {
            house.answers.record(ordered(&person, &order, &answer));
        }
        return send(stream, &answer);
    }
    // Who it is, before it is done: the process may end before the answer. Names are looked up when it is done: that may
    // take a while, and what is ordered must not wait for it.
    let recorded = order.map(|order| (Trace::of(caller), order));
    let all = role == Some(Role::Admin);
    let mut result = Ok(());
    house.answers.serve(request, &mut |answer| {
        if let Some((trace, order)) = &recorded {
            house.answers.record(ordered(&Person::named(trace.clone()), order, answer));
        }
        result = match answer {
            Answer::Config { text, serial } if !all => {
                send(stream, &Answer::Config { text: access::without_secrets(text), serial: *serial })
            }
            answer => send(stream, answer),
        };
    });
    result
}

/// The record of an order.
fn ordered(person: &Person, order: &str, answer: &Answer) -> Notice {
    let (outcome, words) = match answer {
        // What is made for one pair of eyes is in no record.
        Answer::Done(_) if order.starts_with("token for") => ("done", String::new()),
        Answer::Done(words) => ("done", roles::plain_words(words)),
        Answer::Refused(refusal) => ("refused", roles::plain_words(&refusal.reason)),
        _ => ("done", String::new()),
    };
    let after = if words.is_empty() { String::new() } else { format!(": {words}") };
    let text = format!("{}: {order}: {outcome}{after}", person.words());
    let record = format!("{}order={order}\noutcome={outcome}\n", person.record());
    Notice::Ordered { text, record }
}

fn not_understood(error: &serde_json::Error) -> Answer {
    // Without the list of everything that it would understand.
    let error = error.to_string();
    let error = error.split(", expected").next().unwrap_or(&error);
    let release = release::version();
    let reason = format!("the daemon, of Regent {release}, does not understand the request: {error}");
    let advice = "if regent --version says another one, let the daemon begin anew: systemctl restart regent, or: regent \
                  node stop --takeover, and regent node start";
    Answer::refused(reason, advice)
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

    #[derive(Default)]
    struct Echo(Mutex<Vec<Notice>>);

    impl Answers for Echo {
        fn record(&self, ordered: Notice) {
            self.0.lock().unwrap().push(ordered);
        }

        fn node(&self) -> NodeName {
            NodeName::new("lx4").unwrap()
        }

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
        start(&path, Arc::new(Echo::default()), refusals).unwrap();
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
        let deep = [&[b'['; 100_000][..], b"\n"].concat();
        let deeper = "{\"nodes\":".repeat(20_000) + "\n";
        for nonsense in [&b"hello\n"[..], b"{}\n", b"\xff\xfe\n", b"\n", &deep, deeper.as_bytes()] {
            assert!(matches!(ask(&stream, nonsense), Answer::Refused(_)), "{nonsense:?}");
        }
        let Answer::Refused(refusal) = ask(&stream, b"{\"of_tomorrow\":{}}\n") else { panic!() };
        assert!(refusal.reason.contains(release::version()), "{refusal:?}");
        assert!(refusal.reason.ends_with("unknown variant `of_tomorrow`"), "{refusal:?}");
        assert!(refusal.advice.contains("regent --version"), "{refusal:?}");
        assert_eq!(ask(&stream, b"\"status\"\n"), Answer::Done("Status".into()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
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

    /// What a user without any right is answered.
    fn as_nobody(path: &Path, line: &str) -> String {
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                      s.sendall((sys.argv[2]+chr(10)).encode()); print(s.makefile().readline())";
        as_nobody_runs(path, script, line)
    }

    /// Runs what a user without any right would run: the test itself runs as root.
    fn as_nobody_runs(path: &Path, script: &str, line: &str) -> String {
        let _all_may_pass = fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755));
        let who = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "python3", "-c", script];
        let mut command = std::process::Command::new("setpriv");
        // Not one that only root may run.
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = command.args(who).arg(path).arg(line).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    #[test]
    fn who_has_no_role_is_told_so_and_what_he_wanted_is_on_record() {
        let folder = Folder::new("api-nobody");
        let path = folder.path().join("api.sock");
        let echo = Arc::new(Echo::default());
        start(&path, echo.clone(), Arc::new(Refusals::new(crate::inbox::inbox().0))).unwrap();
        let status = as_nobody(&path, "\"status\"");
        assert!(status.contains("needs the role viewer") && status.contains("uid 65534"), "{status}");
        assert!(status.contains("regent access"), "{status}");
        assert!(as_nobody(&path, "\"access\"").contains("\"role\":null"));
        assert!(echo.0.lock().unwrap().is_empty(), "who only looks leaves no record");
        let stop = as_nobody(&path, "{\"group\":{\"group\":\"web\",\"verb\":\"disable\"}}");
        assert!(stop.contains("needs the role operator"), "{stop}");
        let record = echo.0.lock().unwrap().pop();
        let Some(Notice::Ordered { text, record }) = record else { panic!("no record") };
        assert!(text.contains("(uid 65534") && text.contains("group disable web: refused"), "{text}");
        assert!(record.contains("uid=65534\n") && record.contains("role=none\n"), "{record}");
    }

    #[test]
    fn a_stranger_does_not_fill_the_record_and_forges_no_line_of_it() {
        let folder = Folder::new("api-flood");
        let path = folder.path().join("api.sock");
        let echo = Arc::new(Echo::default());
        let (inbox, inputs) = crate::inbox::inbox();
        start(&path, echo.clone(), Arc::new(Refusals::new(inbox))).unwrap();
        let name = format!("1\\nroot (uid 0): {}", "x".repeat(1 << 20));
        fs::write(folder.path().join("order"), format!("{{\"revoke_token\":{{\"id\":\"{name}\"}}}}\n"))
            .unwrap();
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                      f=s.makefile(); order=open(sys.argv[2],'rb').read(); s.sendall(order); print(f.readline()); \
                      small=b'{\"revoke_token\":{\"id\":\"2\"}}\\n'; \
                      print(sum('role admin' in (s.sendall(small),f.readline())[1] for i in range(1000)))";
        let order = folder.path().join("order");
        let said = as_nobody_runs(&path, script, order.to_str().unwrap());
        assert!(said.trim_end().ends_with("1000"), "{said}");
        let records = echo.0.lock().unwrap();
        let [Notice::Ordered { text, record }] = records.as_slice() else { panic!("{}", records.len()) };
        assert!(text.len() < 800 && record.len() < 800, "{} {}", text.len(), record.len());
        assert!(text.contains("token revoke 1\\nroot") && !text.contains('\n'), "{text}");
        assert!(record.contains("\norder=token revoke 1\\nroot"), "{record}");
        assert_eq!(std::iter::from_fn(|| inputs.waiting().ok()).count(), 1, "that it goes on is told once");
    }

    #[test]
    fn an_order_of_root_is_on_record_with_its_outcome_and_a_token_is_not() {
        let folder = Folder::new("api-root");
        let path = folder.path().join("api.sock");
        let echo = Arc::new(Echo::default());
        start(&path, echo.clone(), Arc::new(Refusals::new(crate::inbox::inbox().0))).unwrap();
        let stream = UnixStream::connect(&path).unwrap();
        ask(&stream, b"{\"group\":{\"group\":\"web\",\"verb\":\"enable\"}}\n");
        ask(&stream, b"{\"token\":{\"witness\":false}}\n");
        let records: Vec<Notice> = echo.0.lock().unwrap().drain(..).collect();
        let texts: Vec<&String> = records
            .iter()
            .map(|n| if let Notice::Ordered { text, .. } = n { text } else { panic!() })
            .collect();
        assert!(texts[0].contains("group enable web: done: Group"), "{texts:?}");
        assert!(texts[1].ends_with("token for a node, good for 60 min: done"), "{texts:?}");
    }

    #[test]
    fn one_user_takes_a_part_of_the_places_and_not_those_of_others_or_of_root() {
        let refusals = Arc::new(Refusals::new(crate::inbox::inbox().0));
        let house = House { answers: Arc::new(Echo::default()), refusals, others: Arc::default() };
        let mut seats: Vec<Seat<'_>> = (0..PER_USER_MAX).map(|_| Seat::take(&house, 7).unwrap()).collect();
        assert!(Seat::take(&house, 7).is_none());
        for uid in 8..10 {
            seats.extend((0..PER_USER_MAX).map(|_| Seat::take(&house, uid).unwrap()));
        }
        assert!(Seat::take(&house, 10).is_none(), "the rest is root's");
        seats.clear();
        assert!(Seat::take(&house, 7).is_some() && house.others.lock().unwrap().is_empty());
    }

    #[test]
    fn a_request_that_comes_byte_by_byte_is_not_waited_for_for_ever() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let Some(long_ago) = Instant::now().checked_sub(REQUEST_WITHIN) else { return };
        let mut patient = Patient { stream: &stream, quiet_max: QUIET_MAX, began: Some(long_ago) };
        assert_eq!(patient.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
