//! `regent key`: the cluster's key is changed, and how far that is.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regent_api::{Answer, KeyStatus, KeyVerb, Request};
use serde_json::json;

use crate::args_access::KeyCommand;
use crate::client::{self, Asks};
use crate::screen::Screen;
use crate::trouble::Result;

/// How long a change is watched before it is left to itself.
const WATCHED: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// `regent key`.
///
/// # Errors
/// When it is refused.
pub fn key(asks: &dyn Asks, screen: &Screen, verb: &KeyCommand) -> Result<()> {
    match verb {
        KeyCommand::Status => {
            let status = status(asks)?;
            show(screen, &status, None)
        }
        KeyCommand::Rotate { without } => {
            let without = without.clone();
            let done = client::order(asks, &Request::Key(KeyVerb::Rotate { without }))?;
            screen.say(&format!("{done}\n"))?;
            let status = watch(asks)?;
            show(screen, &status, Some(&done))
        }
    }
}

fn status(asks: &dyn Asks) -> Result<KeyStatus> {
    match client::accepted(asks.ask(&Request::Key(KeyVerb::Status))?)? {
        Answer::Key(status) => Ok(*status),
        other => Err(client::mismatch(&other)),
    }
}

/// Until it is through, or waits for somebody who is not there, or takes long.
fn watch(asks: &dyn Asks) -> Result<KeyStatus> {
    let until = Instant::now() + WATCHED;
    loop {
        let status = status(asks)?;
        let stands = status
            .change
            .as_ref()
            .is_none_or(|change| change.waits_for.is_empty() && !change.silent.is_empty());
        if stands || Instant::now() >= until {
            return Ok(status);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn show(screen: &Screen, status: &KeyStatus, done: Option<&str>) -> Result<()> {
    screen.value(&json!({ "key": status, "done": done }))?;
    screen.say(&words(status, &TimeZone::system()))
}

fn words(status: &KeyStatus, zone: &TimeZone) -> String {
    let clock = |ms: u64| {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map_or_else(|| "?".to_owned(), |at| at.to_zoned(zone.clone()).strftime("%F %H:%M").to_string())
    };
    let mark = status.mark.as_deref().map_or_else(String::new, |mark| format!(" ({mark})"));
    let changed = match status.changed_ms {
        Some(ms) => format!("changed last at {}", clock(ms)),
        None => "never changed".to_owned(),
    };
    let mut text = format!("the cluster's key: number {}{mark}, {changed}\n", status.number);
    if let Some(change) = &status.change {
        text += &format!("{}\n", change.line());
        text +=
            &format!("  ordered on {} at {}, new key {}\n", change.by, clock(change.begun_ms), change.mark);
        let next = change.next.as_deref().unwrap_or("nothing: it goes on by itself; regent key status");
        text += &format!("  next: {next}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use regent_api::KeyChangeStatus;
    use regent_model::NodeName;

    use super::*;

    #[test]
    fn a_key_is_shown_with_what_its_change_waits_for_and_what_to_type() {
        let names =
            |names: &[&str]| names.iter().map(|name| NodeName::new(*name).unwrap()).collect::<Vec<_>>();
        let change = KeyChangeStatus {
            mark: "0badcafe".into(),
            by: NodeName::new("lx4").unwrap(),
            begun_ms: 60_000,
            stage: "spread".into(),
            words: "every member gets the new key".into(),
            through: names(&["lx4"]),
            waits_for: names(&["wit"]),
            silent: names(&["lx5"]),
            without: Vec::new(),
            next: Some("start lx5".into()),
        };
        let mut status = KeyStatus {
            node: NodeName::new("lx4").unwrap(),
            number: 2,
            mark: Some("00c0ffee".into()),
            changed_ms: Some(0),
            change: Some(change),
        };
        assert_eq!(
            words(&status, &TimeZone::UTC),
            "the cluster's key: number 2 (00c0ffee), changed last at 1970-01-01 00:00\n\
             the cluster's key is being changed: every member gets the new key; waits for lx5 (not heard) and wit\n  \
             ordered on lx4 at 1970-01-01 00:01, new key 0badcafe\n  next: start lx5\n"
        );
        status.change = None;
        status.changed_ms = None;
        assert!(words(&status, &TimeZone::UTC).ends_with("never changed\n"));
    }
}
