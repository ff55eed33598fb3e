//! Who writes to the ledger all the time, and remembers what was acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two writes.
const PAUSE: Duration = Duration::from_millis(50);

/// One acknowledged write.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) number: u64,
    pub(super) at: Instant,
    pub(super) node: String,
}

/// The writer, on a thread of its own.
pub(super) struct Writer {
    written: Arc<Mutex<Vec<Written>>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Writer {
    pub(super) fn start(address: SocketAddr) -> Self {
        let writer = Self { written: Arc::default(), stop: Arc::default(), address };
        let (written, stop) = (writer.written.clone(), writer.stop.clone());
        std::thread::spawn(move || write_on(address, &written, &stop));
        writer
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> Vec<Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first write that `node` acknowledged after `since`, if it comes in time.
    pub(super) fn first_by(&self, node: &str, since: Instant, within: Duration) -> Option<Written> {
        let until = Instant::now() + within;
        loop {
            let found = self.all().into_iter().find(|w| w.node == node && w.at >= since);
            if found.is_some() || Instant::now() > until {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Every number that is stored.
    ///
    /// # Errors
    /// When the ledger does not say.
    pub(super) fn stored(&self) -> Result<Vec<u64>, String> {
        let fail = |e: std::io::Error| format!("the ledger does not list its numbers: {e}");
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).map_err(fail)?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(fail)?;
        stream.write_all(b"LIST\n").map_err(fail)?;
        let mut numbers = Vec::new();
        for line in BufReader::new(stream).lines() {
            let line = line.map_err(fail)?;
            match line.trim() {
                "END" => return Ok(numbers),
                text => numbers.extend(text.split_ascii_whitespace().filter_map(|w| w.parse::<u64>().ok())),
            }
        }
        Err("the ledger's list has no end".into())
    }
}

fn write_on(address: SocketAddr, written: &Mutex<Vec<Written>>, stop: &AtomicBool) {
    let mut number = 0;
    let mut line: Option<BufReader<TcpStream>> = None;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        match put(&mut line, address, number) {
            Some(node) => {
                let one = Written { number, at: Instant::now(), node };
                written.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            }
            None => line = None,
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks for one number to be kept; who has it on its disk, if somebody says so.
fn put(line: &mut Option<BufReader<TcpStream>>, address: SocketAddr, number: u64) -> Option<String> {
    if line.is_none() {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        *line = Some(BufReader::new(stream));
    }
    let reader = line.as_mut()?;
    reader.get_mut().write_all(format!("PUT {number}\n").as_bytes()).ok()?;
    let mut answer = String::new();
    reader.read_line(&mut answer).ok()?;
    let mut words = answer.split_ascii_whitespace();
    let (ok, said, node) = (words.next()?, words.next()?, words.next()?);
    (ok == "OK" && said == number.to_string()).then(|| node.to_owned())
}
