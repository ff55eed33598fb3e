//! The talk with a node's daemon over its local socket: one question, one answer, one connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_api::{Answer, MESSAGE_BYTES_MAX, Request, Status};

use crate::trouble::{Result, Trouble};

/// What to do when command and daemon are of different releases.
const OTHER_RELEASE: &str = "if the daemon is of another release, let it begin anew with the one that is installed: \
                             systemctl restart regent, or: regent node stop --takeover, and regent node start";
/// How long an answer may take that needs nobody but the daemon.
const PATIENCE_LOOK: Duration = Duration::from_secs(5);
/// How long an answer may take that needs a majority; the daemon gives up earlier, and says so.
const PATIENCE_ORDER: Duration = Duration::from_secs(40);
/// The same for an instance: its own limit of time counts, and a database may recover for long.
const PATIENCE_INSTANCE: Duration = Duration::from_secs(24 * 3600);

/// Somebody who answers requests.
pub trait Asks {
    /// One question, one answer. A refusal is an answer here.
    ///
    /// # Errors
    /// When there is no answer.
    fn ask(&self, request: &Request) -> Result<Answer>;
}

/// Whose daemon it is: what to advise when it does not answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// This machine's.
    Local {
        /// Whether this machine belongs to a cluster.
        member: bool,
        /// Why its daemon does not run, if it refused to.
        refused: Option<String>,
        /// The labs that run on this machine.
        labs: Vec<String>,
    },
    /// A node's of a lab on this machine.
    Lab {
        /// The lab.
        lab: String,
        /// The node.
        node: String,
    },
}

/// The way to one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its socket.
    pub socket: PathBuf,
    /// Whose it is.
    pub whose: Whose,
}

impl Asks for Client {
    fn ask(&self, request: &Request) -> Result<Answer> {
        let patience = match request {
            Request::Status | Request::Events { .. } | Request::Config | Request::Simulate { .. } => {
                PATIENCE_LOOK
            }
            Request::Instance { .. } => PATIENCE_INSTANCE,
            _ => PATIENCE_ORDER,
        };
        talk(&self.socket, request, patience).map_err(|error| self.explain(&error, patience))
    }
}

impl Client {
    /// What to tell the operator about a failed talk.
    fn explain(&self, error: &io::Error, patience: Duration) -> Trouble {
        let what = match &self.whose {
            Whose::Local { .. } => "the daemon of this node".to_owned(),
            Whose::Lab { lab, node } => format!("the daemon of {node} in the lab {lab}"),
        };
        let at = self.socket.display();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                let refusal = |why: &String| Trouble::unreachable(format!("{what} refused to run: {why}"));
                match &self.whose {
                    // It has said itself what to type.
                    Whose::Local { refused: Some(why), .. } if why.contains("regent join TOKEN") => {
                        refusal(why)
                    }
                    Whose::Local { refused: Some(why), .. } => self.how_to_start(refusal(why)),
                    _ => {
                        let what = format!("{what} does not run (nobody listens at {at})");
                        self.how_to_start(Trouble::unreachable(what))
                    }
                }
            }
            io::ErrorKind::PermissionDenied => {
                Trouble::unreachable(format!("{what} may not be asked by this user ({at})"))
                    .next("do it as root, or with a role: regent access")
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                let s = patience.as_secs();
                Trouble::unreachable(format!("{what} was asked, but gave no answer within {s} s"))
                    .next("it may be paused or overloaded; whether an order was carried out: regent status")
            }
            io::ErrorKind::InvalidData => {
                let own = regent_node::version();
                let error = error.to_string();
                let error = error.split(", expected").next().unwrap_or(&error);
                let what = format!("this command, of Regent {own}, does not understand what {what} answered");
                Trouble::unreachable(format!("{what}: {error}")).next(OTHER_RELEASE)
            }
            _ => Trouble::unreachable(format!("the talk with {what} broke off: {error}"))
                .next("regent status shows whether an order was carried out"),
        }
    }

    fn how_to_start(&self, trouble: Trouble) -> Trouble {
        match &self.whose {
            Whose::Lab { lab, node } => trouble
                .next(format!("is it on? regent lab status --name {lab}"))
                .next(format!("ask another node: --on NODE; or boot it: regent lab on {node} --name {lab}")),
            Whose::Local { member, labs, .. } => {
                let trouble = match labs.as_slice() {
                    [] => trouble,
                    [lab] => trouble.next(format!("ask the lab that runs here: add --lab={lab}")),
                    many => trouble
                        .next(format!("ask a lab that runs here: add --lab=NAME ({})", many.join(", "))),
                };
                if *member {
                    trouble.next("regent node start")
                } else {
                    trouble
                        .next("regent init NAME begins a cluster; regent join TOKEN adds this machine to one")
                }
            }
        }
    }

    /// Whether somebody listens at the socket.
    #[must_use]
    pub fn is_there(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }
}

/// A daemon that hangs up may be about to end: it is waited for so long.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

impl Client {
    /// Waits until nobody listens at the socket any more. Says whether it came to that.
    #[must_use]
    pub fn ends(&self) -> bool {
        let until = Instant::now() + ENDS_WITHIN;
        while self.is_there() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

fn talk(socket: &Path, request: &Request, patience: Duration) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    let mut answer = Vec::new();
    let limit = u64::try_from(MESSAGE_BYTES_MAX).unwrap_or(u64::MAX);
    BufReader::new((&stream).take(limit)).read_until(b'\n', &mut answer)?;
    let _closed_by_the_other_side = stream.shutdown(Shutdown::Both);
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without an answer"));
    }
    serde_json::from_slice(&answer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// The answer to an order, in words.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub fn order(asks: &dyn Asks, request: &Request) -> Result<String> {
    match accepted(asks.ask(request)?)? {
        Answer::Done(words) => Ok(words),
        other => Err(mismatch(&other)),
    }
}

/// What a configuration would change if it were applied, a line each.
///
/// # Errors
/// When there is no answer, or it is a refusal.
pub fn plan(asks: &dyn Asks, text: &str, later: bool) -> Result<Vec<String>> {
    let (text, dry_run) = (text.to_owned(), true);
    let request = match later {
        true => Request::ApplyLater { text, dry_run },
        false => Request::Apply { text, dry_run },
    };
    match accepted(asks.ask(&request)?)? {
        Answer::Plan(lines) => Ok(lines),
        // A daemon of the release before says no more than that it can be done.
        Answer::Done(_) => Ok(Vec::new()),
        other => Err(mismatch(&other)),
    }
}

/// The state of the cluster.
///
/// # Errors
/// When there is no answer.
pub fn status(asks: &dyn Asks) -> Result<Status> {
    match accepted(asks.ask(&Request::Status)?)? {
        Answer::Status(status) => Ok(*status),
        other => Err(mismatch(&other)),
    }
}

/// The configuration in force and its serial.
///
/// # Errors
/// When there is no answer.
pub fn config(asks: &dyn Asks) -> Result<(String, u64)> {
    match accepted(asks.ask(&Request::Config)?)? {
        Answer::Config { text, serial } => Ok((text, serial)),
        other => Err(mismatch(&other)),
    }
}

/// The answer, unless it is a refusal.
///
/// # Errors
/// The refusal.
pub fn accepted(answer: Answer) -> Result<Answer> {
    match answer {
        Answer::Refused(refusal) => Err(Trouble::refused(refusal.reason).next(refusal.advice)),
        other => Ok(other),
    }
}

/// An answer that does not belong to its question.
#[must_use]
pub fn mismatch(answer: &Answer) -> Trouble {
    let text = format!("{answer:?}");
    let start: String = text.chars().take(60).collect();
    Trouble::unreachable(format!("the daemon answered something else than was asked: {start}"))
        .next(OTHER_RELEASE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trouble::Exit;
    use std::os::unix::net::UnixListener;

    fn local(socket: &Path) -> Client {
        Client {
            socket: socket.to_owned(),
            whose: Whose::Local { member: true, refused: None, labs: Vec::new() },
        }
    }

    fn socket(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("regent-cli-{name}-{}.sock", std::process::id()));
        let _not_there = std::fs::remove_file(&path);
        path
    }

    /// Answers one question with `answer`, and gives the question.
    fn serve_once(socket: &Path, answer: &'static str) -> std::thread::JoinHandle<String> {
        let listener = UnixListener::bind(socket).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(answer.as_bytes()).unwrap();
            line
        })
    }

    #[test]
    fn one_question_gets_one_answer() {
        let path = socket("talk");
        let server = serve_once(&path, "{\"done\":\"web is enabled\"}\n");
        assert_eq!(order(&local(&path), &Request::Config).unwrap(), "web is enabled");
        assert_eq!(server.join().unwrap(), "\"config\"\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_refusal_ends_with_1_and_says_what_to_type() {
        let path = socket("refuse");
        let server = serve_once(&path, "{\"refused\":{\"reason\":\"no\",\"advice\":\"regent status\"}}\n");
        let trouble = order(&local(&path), &Request::Config).unwrap_err();
        assert_eq!(trouble, Trouble::refused("no").next("regent status"));
        server.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn no_daemon_nonsense_and_a_hang_up_end_with_3() {
        let path = socket("absent");
        let absent = local(&path).ask(&Request::Status).unwrap_err();
        assert_eq!(absent.exit, Exit::Unreachable);
        assert_eq!(absent.next, ["regent node start"]);
        for (answer, word) in [
            ("hello\n", "does not understand"),
            ("{\"of_tomorrow\":{}}\n", "answered: unknown variant `of_tomorrow`"),
            ("", "broke off"),
        ] {
            let server = serve_once(&path, answer);
            let trouble = local(&path).ask(&Request::Status).unwrap_err();
            assert!(trouble.exit == Exit::Unreachable && trouble.what.contains(word), "{trouble}");
            server.join().unwrap();
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_daemon_that_is_about_to_end_is_waited_for() {
        let path = socket("ends");
        let listener = UnixListener::bind(&path).unwrap();
        let client = local(&path);
        let ends = std::thread::spawn(move || {
            // Until it has been looked at once.
            drop(listener.accept().unwrap());
            drop(listener);
        });
        assert!(client.ends() && !client.is_there());
        ends.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn without_a_daemon_the_lab_that_runs_here_is_suggested() {
        let path = socket("lab");
        let whose = Whose::Local { member: false, refused: None, labs: vec!["lab".into()] };
        let trouble = Client { socket: path, whose }.ask(&Request::Status).unwrap_err();
        assert_eq!(trouble.next[0], "ask the lab that runs here: add --lab=lab");
        assert!(trouble.next[1].contains("regent init"), "{trouble}");
    }
}
