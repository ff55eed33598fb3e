//! `regent lab probe`: asks an address again and again, as a client would, and tells every silence.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use regent_lab::probe::{Gap, Probe, Protocol, Series};
use regent_lab::{CLIENT, Lab};
use serde_json::json;

use crate::args_lab::{ProbeArgs, Wire};
use crate::screen::Screen;
use crate::trouble::Result;

/// How often is looked for new silences.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A silence is worth telling when it is this many times the pause between two questions, and at least 50 ms.
const WORTH: u32 = 5;

/// Which silences were told already.
#[derive(Debug, Clone)]
pub struct Gaps {
    worth_ns: u64,
    told_until: u64,
}

impl Gaps {
    /// Tells silences that are worth it where so often is asked.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        let worth = (every * WORTH).max(Duration::from_millis(50));
        Self { worth_ns: u64::try_from(worth.as_nanos()).unwrap_or(u64::MAX), told_until: 0 }
    }

    /// The silences that ended with an answer since the last call.
    pub fn news(&mut self, series: &Series) -> Vec<Gap> {
        let ended = |gap: &Gap| gap.after.is_some() && gap.to > self.told_until && gap.ns() >= self.worth_ns;
        let news: Vec<Gap> = series.gaps().filter(ended).collect();
        self.told_until = series.replies.iter().map(|r| r.at).max().unwrap_or(self.told_until);
        news
    }
}

/// A silence in words; times count from the beginning of probing.
#[must_use]
pub fn gap_line(gap: &Gap, began: u64) -> String {
    let at = gap.from.saturating_sub(began) as f64 / 1e9;
    let ms = gap.ns() as f64 / 1e6;
    let who = match (&gap.before, &gap.after) {
        (Some(before), Some(after)) if before == after => format!("{before} before and after"),
        (Some(before), Some(after)) => format!("{before} before, {after} after"),
        (None, Some(after)) => format!("until the first answer, from {after}"),
        (Some(before), None) => format!("since the last answer, from {before}"),
        (None, None) => "nobody answered".to_owned(),
    };
    format!("at {at:8.3} s  silence of {ms:7.0} ms  {who}\n")
}

/// `regent lab probe`. Ctrl-C ends it with the summary.
///
/// # Errors
/// When the client is off, or standard output is gone.
pub(super) fn probe(lab: &Lab, screen: &Screen, args: &ProbeArgs) -> Result<()> {
    let protocol = match args.protocol {
        Wire::Udp => Protocol::Udp,
        Wire::Tcp => Protocol::Tcp,
    };
    let probe = Probe::start(lab, CLIENT, args.target, protocol, args.every)?;
    let every = args.every.as_secs_f64() * 1e3;
    screen.say(&format!("asking {} from {CLIENT} every {every} ms; Ctrl-C ends\n", args.target))?;
    let mut gaps = Gaps::new(args.every);
    let wish = regent_lab::wish_to_end()?;
    let began = Instant::now();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let over =
            args.how_long.is_some_and(|limit| began.elapsed() >= limit) || wish.load(Ordering::Relaxed);
        let series = probe.so_far();
        for gap in gaps.news(&series) {
            screen.unspin();
            screen.say(&gap_line(&gap, series.began))?;
            if args.how_long.is_none() {
                screen.value(&gap_json(&gap, series.began))?;
            }
        }
        let silent = series.gaps().last().filter(|g| g.ns() > gaps.worth_ns).map_or(0, |g| g.ns());
        let turn = usize::try_from(began.elapsed().as_millis() / 100).unwrap_or(0);
        screen.spin(turn, &format!("{} answers{}", series.replies.len(), silence(silent)));
        if over {
            screen.unspin();
            return finish(screen, &probe.stop());
        }
    }
}

fn silence(ns: u64) -> String {
    if ns == 0 { String::new() } else { format!(", silent for {:.0} ms", ns as f64 / 1e6) }
}

fn finish(screen: &Screen, series: &Series) -> Result<()> {
    let longest = series.longest_gap();
    screen.value(&json!({
        "asked": series.asked,
        "answered": series.replies.len(),
        "seconds": series.ended.saturating_sub(series.began) as f64 / 1e9,
        "longest": longest.as_ref().map(|g| gap_json(g, series.began)),
    }))?;
    let longest = longest.map(|g| gap_line(&g, series.began)).unwrap_or_default();
    screen.say(&format!(
        "{} questions, {} answers; the longest silence was\n{longest}",
        series.asked,
        series.replies.len()
    ))
}

fn gap_json(gap: &Gap, began: u64) -> serde_json::Value {
    json!({
        "at_ms": gap.from.saturating_sub(began) as f64 / 1e6,
        "ms": gap.ns() as f64 / 1e6,
        "before": gap.before,
        "after": gap.after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use regent_lab::probe::Reply;

    fn series(replies: &[(u64, &str)]) -> Series {
        let reply =
            |(at, who): &(u64, &str)| Reply { sent: at * 1_000_000, at: at * 1_000_000, who: (*who).into() };
        let ended = replies.last().map_or(0, |(at, _)| at + 500) * 1_000_000;
        Series { began: 0, ended, asked: 9, replies: replies.iter().map(reply).collect() }
    }

    #[test]
    fn every_silence_is_told_once_and_only_when_it_has_ended() {
        let mut gaps = Gaps::new(Duration::from_millis(5));
        assert_eq!(gaps.news(&series(&[(10, "a 1"), (20, "a 1")])), []);
        let later = series(&[(10, "a 1"), (20, "a 1"), (820, "b 2"), (830, "b 2")]);
        let news = gaps.news(&later);
        assert_eq!(news.len(), 1);
        assert_eq!(gap_line(&news[0], 0), "at    0.020 s  silence of     800 ms  a 1 before, b 2 after\n");
        assert_eq!(gaps.news(&later), []);
    }
}
