//! `cluadmin --debug`: what is asked of the cluster, and what it answers, as it happens.

use regent_api::{Answer, Request};

use super::console::Console;
use crate::client::Asks;
use crate::paint::printable;
use crate::trouble::Result;

/// Asks somebody else, and says so.
pub(crate) struct Aloud<'a> {
    asks: &'a dyn Asks,
    console: &'a dyn Console,
    clock: fn() -> u64,
}

impl<'a> Aloud<'a> {
    /// Says on this console what is asked; the clock gives milliseconds.
    #[must_use]
    pub(crate) fn new(asks: &'a dyn Asks, console: &'a dyn Console, clock: fn() -> u64) -> Self {
        Self { asks, console, clock }
    }
}

impl Asks for Aloud<'_> {
    fn ask(&self, request: &Request) -> Result<Answer> {
        let Some(order) = order(request) else { return self.asks.ask(request) };
        self.console.say(&format!("debug: asks for {}\n", printable(&order)))?;
        let began = (self.clock)();
        let answer = self.asks.ask(request);
        let took = (self.clock)().saturating_sub(began);
        let said = match &answer {
            Ok(Answer::Done(what)) => what.clone(),
            Ok(Answer::Refused(refusal)) => format!("refused: {}", refusal.reason),
            Ok(Answer::Plan(lines)) if lines.is_empty() => "it can be put in force".to_owned(),
            Ok(Answer::Plan(lines)) => format!("it can be put in force: {}", lines.join("; ")),
            Ok(_) => "it answers".to_owned(),
            Err(trouble) => trouble.what.clone(),
        };
        self.console.say(&format!("debug: after {took} ms: {}\n", printable(&said)))?;
        answer
    }
}

/// What changes something, or is the trial of a change. What only looks is asked many times a second.
fn order(request: &Request) -> Option<String> {
    Some(match request {
        Request::LockConfig { lock: Some(lock), .. } => format!("the lock, for {}", lock.who),
        Request::LockConfig { lock: None, .. } => "the end of the lock".to_owned(),
        Request::ApplyLater { text, .. } => format!("the trial of a configuration of {} bytes", text.len()),
        Request::Change { text, serial, .. } => {
            format!("a configuration of {} bytes in the place of number {serial}", text.len())
        }
        Request::Group { group, verb } => format!("group {group}: {verb:?}"),
        _ => return None,
    })
}
