//! The ledger's clients: one that writes and remembers what was acknowledged, one that reads.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::now_ns;
use crate::error::{Doing, LabError, Result};
use crate::lab::Lab;

const CONNECT_PATIENCE: Duration = Duration::from_millis(200);
const ANSWER_PATIENCE: Duration = Duration::from_millis(400);
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// A number that the ledger has promised to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The number.
    pub number: u64,
    /// When it was first sent (ns of `CLOCK_MONOTONIC`).
    pub sent: u64,
    /// When the answer was there.
    pub at: u64,
    /// Which node answered.
    pub node: String,
}

/// Writes one number after the other, and reconnects as soon as it can when the ledger goes away.
pub struct LedgerWriter {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<Acknowledged>>>,
    thread: JoinHandle<Option<()>>,
}

impl LedgerWriter {
    /// Starts writing from a machine of the lab, from number `first` on, with a pause of `every` between numbers.
    /// What is acknowledged is also written to `file` if one is given: number, sent, acknowledged, node.
    ///
    /// # Errors
    /// When the machine is off, or the file cannot be made.
    pub fn start(
        lab: &Lab,
        machine: &str,
        to: SocketAddr,
        first: u64,
        every: Duration,
        file: Option<&Path>,
    ) -> Result<Self> {
        let file = file.map(|p| File::create(p).doing(|| format!("make {}", p.display()))).transpose()?;
        let (stop, log) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (ending, kept) = (Arc::clone(&stop), Arc::clone(&log));
        let thread = lab.thread_on(machine, "ledger", move || {
            let mut keep = |acknowledged: Acknowledged| {
                if let Some(mut file) = file.as_ref() {
                    let Acknowledged { number, sent, at, node } = &acknowledged;
                    let _memory_has_it = writeln!(file, "{number} {sent} {at} {node}");
                }
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(acknowledged);
            };
            write(to, first, every, &ending, &mut keep);
        })?;
        Ok(Self { stop, log, thread })
    }

    /// What has been acknowledged so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<Acknowledged> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many numbers have been acknowledged so far, and the last of them.
    #[must_use]
    pub fn count(&self) -> (usize, Option<Acknowledged>) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.len(), log.last().cloned())
    }

    /// Stops, and gives everything that was acknowledged.
    #[must_use]
    pub fn stop(self) -> Vec<Acknowledged> {
        self.stop.store(true, Ordering::SeqCst);
        let _its_log_is_here = self.thread.join();
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes until told to stop. A number is sent again until it is acknowledged.
fn write(
    to: SocketAddr,
    first: u64,
    every: Duration,
    stop: &AtomicBool,
    keep: &mut impl FnMut(Acknowledged),
) {
    let mut connection: Option<BufReader<TcpStream>> = None;
    let mut number = first;
    let mut sent = None;
    while !stop.load(Ordering::SeqCst) {
        let Some(stream) = connection.as_mut() else {
            connection = connect(to).ok();
            if connection.is_none() {
                std::thread::sleep(RETRY_PAUSE);
            }
            continue;
        };
        let first_sent = *sent.get_or_insert_with(now_ns);
        match put(stream, number) {
            Some(node) => {
                keep(Acknowledged { number, sent: first_sent, at: now_ns(), node });
                number += 1;
                sent = None;
                std::thread::sleep(every);
            }
            None => connection = None,
        }
    }
}

fn connect(to: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&to, CONNECT_PATIENCE)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_write_timeout(Some(ANSWER_PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// The node that keeps the number now; nothing if the answer did not come.
fn put(stream: &mut BufReader<TcpStream>, number: u64) -> Option<String> {
    stream.get_mut().write_all(format!("PUT {number}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_line(&mut answer).ok()?;
    let mut words = answer.strip_suffix('\n')?.split(' ');
    let same = words.next() == Some("OK") && words.next() == Some(number.to_string().as_str());
    same.then(|| words.next().unwrap_or_default().to_owned())
}

/// Reads every number a ledger has, from a machine of the lab.
///
/// # Errors
/// When the ledger does not answer.
pub fn read_ledger(lab: &Lab, machine: &str, from: SocketAddr) -> Result<Vec<u64>> {
    let thread = lab.thread_on(machine, "ledger", move || list(from))?;
    let read = thread.join().ok().flatten();
    read.unwrap_or_else(|| Err(LabError::new("reading the ledger failed badly")))
}

fn list(from: SocketAddr) -> Result<Vec<u64>> {
    let doing = || format!("read the ledger at {from}");
    let mut stream = connect(from).doing(doing)?;
    stream.get_ref().set_read_timeout(Some(Duration::from_secs(5))).doing(doing)?;
    stream.get_mut().write_all(b"LIST\n").doing(doing)?;
    let mut numbers = Vec::new();
    for line in stream.lines() {
        let line = line.doing(doing)?;
        match line.parse() {
            Ok(number) => numbers.push(number),
            Err(_) if line == "END" => return Ok(numbers),
            Err(_) => return Err(LabError::new(format!("the ledger at {from} says `{line}`"))),
        }
    }
    Err(std::io::Error::from(ErrorKind::UnexpectedEof)).doing(doing)
}
