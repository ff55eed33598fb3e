//! Where every user of this machine may ask for the registry of instances, and for nothing else: scripts of plain users
//! read `ccontrol list`.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use regent_api::{Answer, Request};

use crate::api::Answers;
use crate::clients;

/// Clients at the same time: who takes all of these keeps only others like him out.
const CLIENTS_MAX: usize = 8;
/// A client says what it wants, and takes its answer, within this.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 1024;

/// Serves at `path` from now on.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn start(path: &Path, answers: Arc<dyn Answers>) -> io::Result<()> {
    let listener = clients::socket(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    clients::take_in(listener, "open-client", CLIENTS_MAX, move |stream, is_full| {
        if is_full { Ok(()) } else { serve(stream, &*answers) }
    })
}

fn serve(stream: &UnixStream, answers: &dyn Answers) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(REQUEST_BYTES_MAX)).read_until(b'\n', &mut line)?;
    let mut result = Ok(());
    match serde_json::from_slice::<Request>(&line) {
        Ok(Request::Instances) => {
            answers.serve(Request::Instances, &mut |answer| result = send(stream, answer))
        }
        _ => {
            let reason = "here every user may ask for the registry of instances, and for nothing else";
            let advice = "at the other socket, as root or with a role: regent access";
            result = send(stream, &Answer::refused(reason, advice));
        }
    }
    result
}

fn send(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use regent_model::NodeName;
    use regent_model::action::Notice;

    use super::*;
    use crate::testing::Folder;

    struct Echo;

    impl Answers for Echo {
        fn record(&self, _ordered: Notice) {}

        fn node(&self) -> NodeName {
            NodeName::new("lx4").unwrap()
        }

        fn serve(&self, request: Request, send: &mut dyn FnMut(&Answer)) {
            send(&Answer::Done(format!("{request:?}")));
        }
    }

    fn ask(path: &Path, text: &str) -> Answer {
        let stream = UnixStream::connect(path).unwrap();
        (&stream).write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn anybody_may_ask_for_the_registry_and_for_nothing_else() {
        let folder = Folder::new("open-door");
        let path = folder.path().join("registry.sock");
        start(&path, Arc::new(Echo)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(ask(&path, "\"instances\"\n"), Answer::Done("Instances".into()));
        for other in ["\"config\"\n", "{\"group\":{\"group\":\"g\",\"verb\":\"disable\"}}\n", "x\n"] {
            assert!(matches!(ask(&path, other), Answer::Refused(_)), "{other}");
        }
    }
}
