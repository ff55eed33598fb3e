//! A log that never blocks whoever writes into it: lines go to standard error by a thread of their own, and what
//! comes faster than that thread or more often than is useful is counted instead.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::clock;

/// Lines that wait for a slow standard error.
const WAITING_MAX: usize = 512;
/// Lines in a row, and lines per second in the long run.
const BURST: f64 = 200.0;
const PER_SECOND: f64 = 20.0;

enum Said {
    Line(String),
    Flush(SyncSender<()>),
}

/// Sends the log of this process to standard error. Does nothing if the process has a log already.
/// `REGENT_LOG` chooses the level (`error`, `warn`, `info`, `debug`, `trace`; `info` by default).
pub fn install(program: &'static str) {
    let level = std::env::var("REGENT_LOG").ok().and_then(|text| text.parse().ok()).unwrap_or(Level::INFO);
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let writer = std::thread::Builder::new().name("log".into()).spawn(move || write_out(&receiver));
    if writer.is_ok() {
        let limit = Mutex::new(Limit { left: BURST, last: Instant::now(), dropped: 0 });
        // systemd's journal has a clock of its own.
        let dated = std::env::var_os("JOURNAL_STREAM").is_none();
        let log = Log { program, level, dated, lines: sender.clone(), limit };
        if tracing::subscriber::set_global_default(log).is_ok() {
            *FLUSH.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        }
    }
}

static FLUSH: Mutex<Option<SyncSender<Said>>> = Mutex::new(None);

/// Waits until everything said so far is written, but not longer than `within`.
pub fn flush(within: Duration) {
    let lines = FLUSH.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (done, wait) = sync_channel(1);
    if lines.is_some_and(|lines| lines.try_send(Said::Flush(done)).is_ok()) {
        let _done_or_not = wait.recv_timeout(within);
    }
}

fn write_out(lines: &Receiver<Said>) {
    for said in lines {
        match said {
            Said::Line(line) => {
                let _nobody_reads_it = std::io::stderr().lock().write_all(line.as_bytes());
            }
            Said::Flush(done) => {
                let _nobody_waits_any_more = done.try_send(());
            }
        }
    }
}

struct Limit {
    left: f64,
    last: Instant,
    dropped: u64,
}

impl Limit {
    /// Whether one more line may be written; if so, how many were dropped before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.last).as_secs_f64();
        self.left = (self.left + passed * PER_SECOND).min(BURST);
        self.last = now;
        if self.left < 1.0 {
            self.dropped += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}

struct Log {
    program: &'static str,
    level: Level,
    dated: bool,
    lines: SyncSender<Said>,
    limit: Mutex<Limit>,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        let admitted = self.limit.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        let Some(dropped) = admitted else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let lost = if dropped > 0 { format!(" [{dropped} lines dropped]") } else { String::new() };
        let date = if self.dated { clock::utc_text(clock::wall_ms()) + " " } else { String::new() };
        let text = format!("{date}{} {level}: {}{}{lost}\n", self.program, line.message, line.fields);
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Said::Line(text)) {
            self.limit.lock().unwrap_or_else(PoisonError::into_inner).dropped += 1;
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _cannot_fail = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_the_log_comes_back_after_it() {
        let begun = Instant::now();
        let mut limit = Limit { left: BURST, last: begun, dropped: 0 };
        let admitted = (0..10_000).filter(|_| limit.admit(begun).is_some()).count();
        assert_eq!(admitted, 200);
        assert_eq!(limit.admit(begun + Duration::from_secs(1)), Some(9_800));
        assert_eq!(limit.admit(begun + Duration::from_secs(1)), Some(0));
    }
}
