//! As much of HTTP/1.1 as a page that nobody can change needs: one request and one answer for each connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A request is not longer than this, in bytes.
const HEAD_MAX: usize = 8 << 10;
/// What a client sends beyond its request is read no longer than this, so that it sees its answer.
const REST_TIME: Duration = Duration::from_millis(200);
const REST_BYTES: usize = 64 << 10;
/// How long it may take to tell somebody that there is no room.
const AWAY_TIME: Duration = Duration::from_millis(100);

/// What is to be had.
pub(super) struct Pages {
    /// At `/`.
    pub(super) html: String,
    /// At `/status.json`.
    pub(super) json: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Only what stands above the body is wanted.
    pub(super) head_only: bool,
    /// Without what follows a `?`.
    pub(super) path: String,
}

/// Why a request is not answered with what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed,
    NotFound,
    Method,
    TooSlow,
    TooLong,
    Busy,
    Version,
}

impl Refused {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("400 Bad Request", "this is no request of HTTP"),
            Self::NotFound => ("404 Not Found", "there are / and /status.json"),
            Self::Method => ("405 Method Not Allowed", "there is only something to read here: GET or HEAD"),
            Self::TooSlow => ("408 Request Timeout", "the request took too long"),
            Self::TooLong => ("431 Request Header Fields Too Large", "the request is too long"),
            Self::Busy => ("503 Service Unavailable", "too many ask at once; try again in a moment"),
            Self::Version => ("505 HTTP Version Not Supported", "HTTP/1.0 and HTTP/1.1 are spoken here"),
        }
    }
}

/// Serves one request, within `time` in all.
pub(super) fn serve(stream: &TcpStream, time: Duration, pages: impl Fn() -> Pages) -> io::Result<()> {
    let until = Instant::now() + time;
    let answer = match read_head(stream, until)?.and_then(|head| parse(&head)) {
        Ok(asked) => answer(&asked, &pages()),
        Err(why) => refusal(why, false),
    };
    send(stream, &answer, until)?;
    // Closed with something unread, the connection would be reset, and the answer with it.
    stream.shutdown(Shutdown::Write)?;
    let until = until.min(Instant::now() + REST_TIME);
    let (mut rest, mut read) = ([0; 4096], 0);
    while read < REST_BYTES {
        stream.set_read_timeout(Some(left(until)?))?;
        match (&*stream).read(&mut rest) {
            Ok(0) | Err(_) => break,
            Ok(bytes) => read += bytes,
        }
    }
    Ok(())
}

/// Tells a client that there is no room for it.
pub(super) fn turn_away(stream: &TcpStream) {
    let until = Instant::now() + AWAY_TIME;
    let _it_is_gone = send(stream, &refusal(Refused::Busy, false), until);
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

fn send(mut stream: &TcpStream, bytes: &[u8], until: Instant) -> io::Result<()> {
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(bytes)
}

/// Reads up to the empty line.
fn read_head(mut stream: &TcpStream, until: Instant) -> io::Result<Result<Vec<u8>, Refused>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while let Ok(left) = left(until) {
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) if head.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => return Ok(Err(Refused::Malformed)),
            Ok(bytes) => head.extend_from_slice(chunk.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if head.windows(4).any(|w| w == b"\r\n\r\n") || head.windows(2).any(|w| w == b"\n\n") {
            return Ok(Ok(head));
        }
        if head.len() > HEAD_MAX {
            return Ok(Err(Refused::TooLong));
        }
    }
    // So that there is time left to say it.
    send(stream, &refusal(Refused::TooSlow, false), Instant::now() + AWAY_TIME)?;
    Err(io::ErrorKind::TimedOut.into())
}

pub(super) fn parse(head: &[u8]) -> Result<Asked, Refused> {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Refused::Malformed)?;
    let mut words = line.trim_end_matches('\r').split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refused::Malformed);
    };
    let is_token = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    let is_path = target.starts_with('/') && target.bytes().all(|b| b.is_ascii_graphic());
    if !is_token || !is_path || !version.starts_with("HTTP/") {
        return Err(Refused::Malformed);
    }
    if !["HTTP/1.0", "HTTP/1.1"].contains(&version) {
        return Err(Refused::Version);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Refused::Method),
    };
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Asked { head_only, path })
}

fn answer(asked: &Asked, pages: &Pages) -> Vec<u8> {
    match asked.path.as_str() {
        "/" => whole("200 OK", "text/html; charset=utf-8", &pages.html, asked.head_only),
        "/status.json" => whole("200 OK", "application/json", &pages.json, asked.head_only),
        _ => refusal(Refused::NotFound, asked.head_only),
    }
}

fn refusal(why: Refused, head_only: bool) -> Vec<u8> {
    let (status, words) = why.words();
    whole(status, "text/plain; charset=utf-8", &format!("{words}\n"), head_only)
}

fn whole(status: &str, kind: &str, body: &str, head_only: bool) -> Vec<u8> {
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\n\r\n",
        body.len()
    );
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}
