//! Waiting for the effect of an order, with a line for each step on the way.

use std::time::{Duration, Instant, SystemTime};

use regent_api::{Answer, Request, Status};
use regent_model::journal::{Entry, Level};

use crate::client::{Asks, accepted, mismatch, status};
use crate::events::{Manner, Teller, merged};
use crate::screen::Screen;
use crate::settle::{Verdict, Wish, judge};
use crate::trouble::{Exit, Result, Trouble};

/// How often is looked while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many events one look takes.
const EVENTS_PER_LOOK: usize = 500;
/// A bad state may pass by itself; what lasts this much longer than a lease does not.
const GRACE: Duration = Duration::from_millis(500);
/// How much the clocks of the nodes may differ, in milliseconds, before steps are missed while waiting.
const SKEW_MS: u64 = 3_000;
/// A daemon that crashed is back earlier than this.
const GONE_FOR_GOOD: Duration = Duration::from_millis(1500);

/// Who is shown what happens during a wait.
pub trait Watches {
    /// A step that concerns the wait.
    ///
    /// # Errors
    /// When nobody is there to be shown it.
    fn step(&self, steps: &mut Steps, entry: &Entry) -> Result<()>;

    /// What is waited for, for the moment.
    fn spin(&self, turn: usize, text: &str);

    /// The end of that.
    fn unspin(&self);
}

impl Watches for Screen {
    fn step(&self, steps: &mut Steps, entry: &Entry) -> Result<()> {
        Self::unspin(self);
        self.say(&steps.line(entry))
    }

    fn spin(&self, turn: usize, text: &str) {
        Self::spin(self, turn, text);
    }

    fn unspin(&self) {
        Self::unspin(self);
    }
}

/// What the wait is about.
#[derive(Debug, Clone)]
pub struct Wait {
    /// What was ordered.
    pub wish: Wish,
    /// How long to wait.
    pub limit: Duration,
    /// How long a good state must last before it is believed.
    pub hold: Duration,
    /// The daemon that is asked goes away by this order, and that is its effect, in these words.
    pub leaves: Option<String>,
}

/// How a wait ended well: in words, after how long, with the last status if somebody is left to give one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// What is so now.
    pub words: String,
    /// Since the order.
    pub took: Duration,
    /// The last status.
    pub status: Option<Status>,
}

/// The steps of the journals after a certain one.
pub struct Steps {
    after: u64,
    /// Entries of a time before this one (wall clock) are no news, even if they come only now.
    since_ms: u64,
    teller: Teller,
}

impl Steps {
    /// Everything that happens from now on.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn from_now(asks: &dyn Asks, manner: Manner) -> Result<Self> {
        let since_ms = wall_ms().saturating_sub(SKEW_MS);
        Ok(Self { since_ms, ..Self::learnt_from_now(asks, manner)? })
    }

    /// Everything that the daemon learns from now on, even if it happened earlier, on a node that was away.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn learnt_from_now(asks: &dyn Asks, manner: Manner) -> Result<Self> {
        Ok(Self { after: events(asks, 0, 0)?.1, since_ms: 0, teller: Teller::new(manner) })
    }

    /// What is new since the last call, in order.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn news(&mut self, asks: &dyn Asks) -> Result<Vec<Entry>> {
        let (mut entries, last) = events(asks, self.after, EVENTS_PER_LOOK)?;
        if last < self.after {
            // The daemon was restarted and counts anew; it knows what it had told before.
            entries.clear();
        }
        self.after = last;
        entries.retain(|e| e.wall_ms >= self.since_ms);
        Ok(merged(entries))
    }

    /// The lines of one entry.
    pub fn line(&mut self, entry: &Entry) -> String {
        self.teller.line(entry)
    }

    /// When the burst of the last entry told began, in milliseconds of the wall clock.
    #[must_use]
    pub fn burst_began(&self) -> u64 {
        self.teller.burst_began()
    }
}

/// Now, in milliseconds of the wall clock.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Entries after a cursor, and the newest cursor.
///
/// # Errors
/// When the daemon does not answer.
pub fn events(asks: &dyn Asks, after: u64, limit: usize) -> Result<(Vec<Entry>, u64)> {
    match accepted(asks.ask(&Request::Events { after, limit })?)? {
        Answer::Events { entries, last } => Ok((entries.into_iter().map(|(_, e)| e).collect(), last)),
        other => Err(mismatch(&other)),
    }
}

/// Waits until the wish has come true. `began` is when the order was given.
///
/// # Errors
/// When it fails for good, when the time is over, or when standard output is gone.
pub fn until(
    asks: &dyn Asks,
    screen: &dyn Watches,
    wait: &Wait,
    steps: &mut Steps,
    began: Instant,
) -> Result<Settled> {
    let mut good: Option<Instant> = None;
    let mut bad: Option<Instant> = None;
    let mut gone: Option<Instant> = None;
    let mut turn = 0;
    let mut doing = String::from("waiting");
    let mut wish = wait.wish.clone();
    loop {
        let looked = look(asks, screen, &mut wish, steps);
        let took = began.elapsed();
        if looked.is_ok() {
            gone = None;
        }
        match looked {
            Ok((status, Verdict::Settled(words))) => {
                bad = None;
                if good.get_or_insert_with(Instant::now).elapsed() >= wait.hold {
                    screen.unspin();
                    let took = took.saturating_sub(wait.hold);
                    return Ok(Settled { words, took, status: Some(status) });
                }
            }
            Ok((status, Verdict::Failed { what, next })) => {
                good = None;
                doing.clone_from(&what);
                if bad.get_or_insert_with(Instant::now).elapsed() >= status.lease * 2 + GRACE {
                    screen.unspin();
                    return Err(Trouble::refused(what).next(next));
                }
            }
            Ok((_, Verdict::Waiting(what))) => {
                (good, bad) = (None, None);
                doing = what;
            }
            Err(trouble) if trouble.exit == Exit::Unreachable => {
                let silent = gone.get_or_insert_with(Instant::now).elapsed();
                if let Some(words) = wait.leaves.as_ref().filter(|_| silent >= GONE_FOR_GOOD) {
                    screen.unspin();
                    return Ok(Settled {
                        words: words.clone(),
                        took: took.saturating_sub(silent),
                        status: None,
                    });
                }
                if took >= wait.limit {
                    screen.unspin();
                    return Err(trouble);
                }
                doing.clone_from(&trouble.what);
            }
            Err(trouble) => {
                screen.unspin();
                return Err(trouble);
            }
        }
        if took >= wait.limit {
            screen.unspin();
            return Err(Trouble::unsettled(format!(
                "not settled after {:.1} s: {doing}",
                took.as_secs_f64()
            ))
            .next("regent status")
            .next("regent events"));
        }
        turn += 1;
        screen.spin(turn / 2, &format!("{:.1} s  {doing}", took.as_secs_f64()));
        std::thread::sleep(LOOK_EVERY);
    }
}

fn look(
    asks: &dyn Asks,
    screen: &dyn Watches,
    wish: &mut Wish,
    steps: &mut Steps,
) -> Result<(Status, Verdict)> {
    let status = status(asks)?;
    let verdict = judge(wish, &status);
    for entry in steps.news(asks)? {
        if concerns(wish, &entry) {
            screen.step(steps, &entry)?;
        }
        changed_by(wish, &entry);
    }
    Ok((status, verdict))
}

/// A group or a node for which only a reboot completes a release ends otherwise than the order alone would.
fn changed_by(wish: &mut Wish, entry: &Entry) {
    match wish {
        // It was down, and its owner keeps it: it comes back under the same epoch.
        Wish::Online { group, after, .. }
            if entry.group.as_ref() == Some(group) && entry.kind == "awaits_reboot" =>
        {
            *after = None;
        }
        // It comes back from the reboot, and owns nothing until it is told to start.
        Wish::Stopped { node, .. } if entry.kind == "reboot" && entry.node == *node => {
            *wish = Wish::Node { node: node.clone(), state: "standby" };
        }
        Wish::Every(wishes) => wishes.iter_mut().for_each(|wish| changed_by(wish, entry)),
        _ => {}
    }
}

/// Whether somebody who waits for this wish wants to see this entry.
fn concerns(wish: &Wish, entry: &Entry) -> bool {
    if let Wish::Every(wishes) = wish {
        return wishes.iter().any(|wish| concerns(wish, entry));
    }
    let group = match wish {
        Wish::Online { group, .. } | Wish::Disabled { group } => Some(group),
        Wish::Every(_)
        | Wish::Stopped { .. }
        | Wish::Left { .. }
        | Wish::Node { .. }
        | Wish::Config { .. } => None,
    };
    if crate::cluster_events::is_inner(entry) {
        return false;
    }
    match (&entry.group, group) {
        (Some(about), Some(group)) => about == group,
        (Some(_), None) => true,
        (None, _) => entry.level >= Level::Notice,
    }
}
