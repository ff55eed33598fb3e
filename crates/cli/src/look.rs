//! The commands that only look: status, events, explain, verify, config.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use regent_api::{GroupStatus, Status};
use regent_model::config::{LocalTime, Severity, parse_at, parse_shown};
use regent_model::journal::{AUDIT, Entry};
use serde_json::json;

use crate::args::EventsArgs;
use crate::client::{self, Asks};
use crate::cluster_events;
use crate::events::{self, Manner};
use crate::fence::about;
use crate::follow::{self, Steps, wall_ms};
use crate::paint::{Tone, wrapped};
use crate::screen::Screen;
use crate::simulate;
use crate::status;
use crate::trouble::{Exit, Result, Trouble};
use crate::verify;

/// How often `status --watch` and `events --follow` look.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// More than a node keeps.
const ALL_EVENTS: usize = 100_000;

/// `regent status`.
///
/// # Errors
/// When the daemon does not answer.
pub fn status(asks: &dyn Asks, screen: &Screen, watch: bool) -> Result<()> {
    if watch {
        return watch_status(asks, screen);
    }
    let status = client::status(asks)?;
    screen.value(&status::status_json(&status))?;
    screen.say(&status::render(&status, screen.paint))
}

/// Shows every change until the reader has enough. A daemon that goes away is waited for.
fn watch_status(asks: &dyn Asks, screen: &Screen) -> Result<()> {
    let mut shown: Option<std::result::Result<Status, Trouble>> = None;
    loop {
        let now = client::status(asks);
        if shown.as_ref() != Some(&now) {
            match &now {
                Ok(status) => {
                    screen.value(&status::status_json(status))?;
                    screen.say(&page(&status::render(status, screen.paint), screen))?;
                }
                Err(trouble) if shown.is_none() => return Err(trouble.clone()),
                Err(trouble) => {
                    screen.value(&trouble.json())?;
                    screen.say(&page(&format!("regent: {trouble}\n"), screen))?;
                }
            }
            shown = Some(now);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// On a terminal a page replaces the one before; elsewhere they follow one another.
fn page(text: &str, screen: &Screen) -> String {
    let now = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    if screen.watched {
        format!("\u{1b}[H\u{1b}[2J\u{1b}[3J{text}\n{now}, Ctrl-C ends\n")
    } else {
        format!("{now}\n{text}\n")
    }
}

/// `regent explain`.
///
/// # Errors
/// When the daemon does not answer, or there is no such group.
pub fn explain(asks: &dyn Asks, screen: &Screen, group: &str) -> Result<()> {
    let status = client::status(asks)?;
    let found = crate::orders::groups_of(&status, group)?;
    let value = status::status_json(&status);
    for (at, one) in found.into_iter().enumerate() {
        let place = status.groups.iter().position(|g| g.name == one.name).unwrap_or(0);
        let next = next(asks, one);
        let mut value = value["groups"][place].clone();
        value["if_owner_lost"] = next.clone().into();
        screen.value(&value)?;
        screen.say(if at == 0 { "" } else { "\n" })?;
        screen.say(&status::explain(&status, one, screen.paint))?;
        if let (Some(owner), Some(next)) = (&one.owner, next) {
            let title = screen.paint.tone(Tone::Strong, &format!("if {owner} were lost now"));
            screen.say(&format!("\n{title}\n  {}\n", wrapped(&next, 100, "  ")))?;
        }
    }
    Ok(())
}

/// What would become of a group if its owner were lost now, in a line.
fn next(asks: &dyn Asks, group: &GroupStatus) -> Option<String> {
    let owner = group.owner.as_ref()?;
    let foresight = simulate::foresight(asks, vec![owner.to_string()], Vec::new(), None).ok()?;
    foresight.groups.iter().find(|g| g.name == group.name).map(simulate::in_a_line)
}

/// `regent events`.
///
/// # Errors
/// When the daemon does not answer.
pub fn events(asks: &dyn Asks, screen: &Screen, args: &EventsArgs) -> Result<()> {
    let manner = manner(screen, args.verbose);
    let mut steps = Steps::learnt_from_now(asks, manner.clone())?;
    let (entries, _) = follow::events(asks, 0, ALL_EVENTS)?;
    if args.summary {
        let entries = chosen(entries, &EventsArgs { last: ALL_EVENTS, ..args.clone() }, wall_ms());
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        screen.value(&cluster_events::summary_json(entries.clone(), args.last))?;
        return screen.say(&cluster_events::summary(entries, args.last, &manner.zone));
    }
    let bursts = chosen(entries, args, wall_ms());
    let values: Vec<_> = bursts
        .iter()
        .flat_map(|burst| {
            let began = burst.first().map_or(0, |e| e.wall_ms);
            burst.iter().map(move |e| events::entry_json(e, began))
        })
        .collect();
    if !args.follow {
        screen.value(&json!(values))?;
        if let Some(group) = args.group.as_ref().filter(|_| bursts.is_empty()) {
            return screen
                .say(&format!("nothing has happened to {group}; the groups are in: regent status\n"));
        }
        return screen.say(&events::render(&events::outer(bursts, args.verbose || args.audit), &manner));
    }
    for value in &values {
        screen.value(value)?;
    }
    for entry in events::outer(bursts, args.verbose || args.audit).iter().flatten() {
        screen.say(&steps.line(entry))?;
    }
    follow_events(asks, screen, args, &mut steps)
}

/// What is to be shown of all entries.
fn chosen(entries: Vec<Entry>, args: &EventsArgs, now_ms: u64) -> Vec<Vec<Entry>> {
    let oldest = args
        .since
        .map_or(0, |since| now_ms.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    let wanted = |e: &Entry| if e.kind == AUDIT { args.audit || args.verbose } else { !args.audit };
    let mut bursts = events::bursts(entries.into_iter().filter(wanted).collect());
    for burst in &mut bursts {
        burst.retain(|e| e.wall_ms >= oldest);
    }
    bursts.retain(|b| !b.is_empty());
    if let Some(group) = &args.group {
        bursts = events::of_group(bursts, group);
    }
    events::newest(bursts, args.last)
}

fn follow_events(asks: &dyn Asks, screen: &Screen, args: &EventsArgs, steps: &mut Steps) -> Result<()> {
    let wanted = |e: &Entry| match (&args.group, &e.group) {
        _ if args.audit => e.kind == AUDIT,
        (Some(group), Some(about)) => about.as_str() == group || about.base() == group,
        _ => true,
    };
    let mut gone = false;
    loop {
        match steps.news(asks) {
            Ok(entries) => {
                gone = false;
                for entry in entries.iter().filter(|e| wanted(e)) {
                    let line = steps.line(entry);
                    screen.value(&events::entry_json(entry, steps.burst_began()))?;
                    if args.verbose || args.audit || !cluster_events::is_inner(entry) {
                        screen.say(&line)?;
                    }
                }
            }
            Err(trouble) if trouble.exit == Exit::Unreachable => {
                if !std::mem::replace(&mut gone, true) {
                    crate::screen::complain(&format!("regent: {}; waiting for it\n", trouble.what));
                }
            }
            Err(trouble) => return Err(trouble),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// How this screen shows events: in the time zone of the machine.
#[must_use]
pub fn manner(screen: &Screen, verbose: bool) -> Manner {
    Manner { verbose, zone: TimeZone::system(), paint: screen.paint }
}

/// What the clock on the wall shows here.
#[must_use]
pub fn local_now() -> LocalTime {
    LocalTime::of(wall_ms(), jiff::Zoned::now().offset().seconds())
}

/// Reads a configuration's file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Trouble::usage(format!("cannot read {}: {e}", path.display())))
}

/// `regent verify`: the file, or the configuration in force.
///
/// # Errors
/// When there is an error in it; then everything was shown.
pub fn verify(
    asks: impl FnOnce() -> Result<client::Client>,
    screen: &Screen,
    file: Option<&PathBuf>,
) -> Result<()> {
    let now = Some(local_now());
    let (name, text, parsed) = match file {
        Some(path) => {
            let text = read(path)?;
            let parsed = parse_at(&text, now);
            (path.display().to_string(), text, parsed)
        }
        None => {
            let (text, serial) = client::config(&asks()?)?;
            let parsed = parse_shown(&text, now);
            (format!("configuration {serial}"), text, parsed)
        }
    };
    let agents = parsed.config.as_ref().map(about::about);
    let mut value = verify::verify_json(&name, &text, &parsed);
    value["fence_agents"] = agents.as_ref().map_or(serde_json::Value::Null, about::About::json);
    screen.value(&value)?;
    screen.say(&verify::render(&name, &text, &parsed, screen.paint.0))?;
    screen.say(&agents.map(|agents| agents.text()).unwrap_or_default())?;
    match parsed.count(Severity::Error) {
        0 => Ok(()),
        // Everything was shown above.
        _ => Err(Trouble::usage("")),
    }
}

/// `regent config show`.
///
/// # Errors
/// When the daemon does not answer.
pub fn show_config(asks: &dyn Asks, screen: &Screen) -> Result<()> {
    let (text, serial) = client::config(asks)?;
    screen.value(&json!({ "serial": serial, "text": text }))?;
    screen.say(&text)
}
