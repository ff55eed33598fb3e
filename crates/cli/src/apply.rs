//! `regent apply`: verified, shown as a difference, committed, and undone if the cluster does not settle.

use std::time::{Duration, Instant};

use regent_api::{GroupStatus, Request, Status};
use regent_model::GroupName;
use regent_model::config::{Severity, parse_at};
use serde_json::{Value, json};

use crate::args::ApplyArgs;
use crate::client::{self, Asks};
use crate::diff;
use crate::follow::{Settled, Steps, Wait, until};
use crate::look::{local_now, manner, read};
use crate::paint::{Tone, wrapped};
use crate::screen::Screen;
use crate::settle::{Wish, is_unwell};
use crate::status::status_json;
use crate::trouble::{Exit, Result, Trouble};
use crate::verify;

/// Where lines are broken.
const WIDTH: usize = 100;

/// `regent apply FILE`.
///
/// # Errors
/// When the file is not valid, is refused, or the cluster does not settle with it.
pub fn apply(asks: &dyn Asks, screen: &Screen, args: &ApplyArgs) -> Result<()> {
    apply_text(asks, screen, read(&args.file)?, args)
}

/// The same with a text that stands in for what the file holds.
///
/// # Errors
/// As [`apply`].
pub fn apply_text(asks: &dyn Asks, screen: &Screen, text: String, args: &ApplyArgs) -> Result<()> {
    let path = args.file.display().to_string();
    verified(screen, &path, &text)?;
    let (old, serial) = client::config(asks)?;
    if text == old {
        screen.value(&json!({ "changed": false, "serial": serial }))?;
        return screen
            .say(&format!("nothing changes: {path} is what is in force (configuration {serial})\n"));
    }
    // Refused is refused before anything is shown as if it were to happen.
    let effects = client::plan(asks, &text, args.later)?;
    let difference = diff::render(&old, &text, screen.paint);
    let heading = format!("changes to configuration {serial}, which is in force:\n");
    screen.say(&screen.paint.tone(Tone::Strong, &heading))?;
    screen.say(if difference.is_empty() { "  only the ends of lines\n" } else { &difference })?;
    if !effects.is_empty() {
        screen.say(&screen.paint.tone(Tone::Strong, "what follows from that:\n"))?;
        effects.iter().try_for_each(|line| screen.say(&format!("  {}\n", wrapped(line, WIDTH, "    "))))?;
    }
    if args.dry_run {
        let plain = diff::render(&old, &text, crate::paint::Paint(false));
        screen.value(&json!({ "changed": true, "dry_run": true, "serial": serial, "difference": plain, "effects": effects }))?;
        return screen.say("it can be applied; nothing was changed (--dry-run)\n");
    }
    let before = client::status(asks)?;
    match put_in_force(asks, screen, (&text, args.later), serial, &before, args.wait) {
        Ok(settled) => settled_well(screen, &settled, &effects),
        Err(Failed { trouble, committed: false }) => Err(trouble),
        Err(Failed { trouble, .. }) if args.no_undo => Err(kept(trouble)),
        Err(Failed { trouble, .. }) => undo(asks, screen, (&old, &text), &before, args.wait, &trouble),
    }
}

/// What went wrong, and whether the configuration was committed before it did.
struct Failed {
    trouble: Trouble,
    committed: bool,
}

impl Failed {
    /// Nothing is known to have been committed.
    fn before(trouble: Trouble) -> Self {
        Self { trouble, committed: false }
    }
}

/// Shows what is found in the file.
fn verified(screen: &Screen, path: &str, text: &str) -> Result<()> {
    let parsed = parse_at(text, Some(local_now()));
    if parsed.count(Severity::Error) > 0 {
        screen.value(&verify::verify_json(path, text, &parsed))?;
        screen.say(&verify::render(path, text, &parsed, screen.paint.0))?;
        return Err(Trouble::usage(format!("{path} is not valid; nothing was changed")));
    }
    if parsed.count(Severity::Warning) > 0 {
        screen.say(&verify::render(path, text, &parsed, screen.paint.0))?;
        screen.say("\n")?;
    }
    Ok(())
}

fn put_in_force(
    asks: &dyn Asks,
    screen: &Screen,
    (text, later): (&str, bool),
    serial: u64,
    before: &Status,
    limit: Duration,
) -> std::result::Result<Settled, Failed> {
    let mut steps = Steps::from_now(asks, manner(screen, false)).map_err(Failed::before)?;
    let began = Instant::now();
    let (text, dry_run) = (text.to_owned(), false);
    let order = match later {
        true => Request::ApplyLater { text, dry_run },
        false => Request::Apply { text, dry_run },
    };
    // Without an answer nobody knows whether it was committed, and who undoes must not guess.
    let words = client::order(asks, &order).map_err(Failed::before)?;
    let failed = |trouble| Failed { trouble, committed: true };
    screen.say(&format!("{words}; waiting for the cluster to settle\n")).map_err(Failed::before)?;
    until(asks, screen, &settling(serial, before, limit), &mut steps, began).map_err(failed)
}

/// The wait for the cluster to settle with the configuration after `serial`: as well as it was before, or better.
#[must_use]
pub fn settling(serial: u64, before: &Status, limit: Duration) -> Wait {
    let unwell: Vec<GroupName> =
        before.groups.iter().filter(|g| is_unwell(g)).map(|g| g.name.clone()).collect();
    let hold = before.lease * 2 + Duration::from_millis(500);
    Wait { wish: Wish::Config { serial: serial + 1, unwell }, limit, hold, leaves: None }
}

fn settled_well(screen: &Screen, settled: &Settled, effects: &[String]) -> Result<()> {
    let groups = settled.status.iter().flat_map(|s| &s.groups);
    let waiting: Vec<&GroupStatus> = groups.filter(|g| g.pending.is_some()).collect();
    screen.value(&json!({
        "changed": true,
        "done": settled.words,
        "settled": true,
        "took_ms": (settled.took.as_secs_f64() * 1e3).round(),
        "effects": effects,
        "still_as_before": waiting.iter().map(|g| &g.name).collect::<Vec<_>>(),
        "status": settled.status.as_ref().map_or(Value::Null, status_json),
    }))?;
    screen.say(&format!("after {:.2} s: {}\n", settled.took.as_secs_f64(), settled.words))?;
    for group in waiting {
        let pending = group.pending.as_deref().unwrap_or_default();
        screen.say(&format!("{}\n", wrapped(pending, WIDTH, "  ")))?;
        screen.say(&format!("  next: regent group restart {}\n", group.name))?;
    }
    Ok(())
}

fn kept(trouble: Trouble) -> Trouble {
    let what = format!("the new configuration is in force, but the cluster did not settle: {}", trouble.what);
    Trouble { exit: Exit::Unsettled, what, next: trouble.next }
}

/// Puts the configuration before in force again, unless somebody has applied a third one. Ends with exit code 4 if
/// that worked.
fn undo(
    asks: &dyn Asks,
    screen: &Screen,
    (old, new): (&str, &str),
    before: &Status,
    limit: Duration,
    why: &Trouble,
) -> Result<()> {
    screen.say(&format!("the cluster does not settle: {}\n", why.what))?;
    screen.say("putting the configuration before in force again\n")?;
    let again = client::config(asks).map_err(Failed::before).and_then(|(text, serial)| {
        let meanwhile = format!("configuration {serial} was applied by somebody meanwhile");
        if text == new { Ok(serial) } else { Err(Failed::before(Trouble::refused(meanwhile))) }
    });
    let undone = again.and_then(|serial| put_in_force(asks, screen, (old, false), serial, before, limit));
    match undone {
        Ok(settled) => Err(Trouble::unsettled(format!(
            "undone, because the cluster did not settle with the new configuration: {}. Now: {}",
            why.what, settled.words
        ))
        .next("regent events")),
        Err(Failed { trouble: second, committed: true }) => Err(Trouble::unsettled(format!(
            "undone, because the cluster did not settle with the new configuration: {}. \
             The one before is in force again, but the cluster has not settled with it either: {}",
            why.what, second.what
        ))
        .next("regent status")),
        Err(Failed { trouble: second, .. }) => Err(Trouble::unsettled(format!(
            "the cluster did not settle with the new configuration: {}. \
             It could not be undone either: {}",
            why.what, second.what
        ))
        .next("regent config show, then regent apply the file you had before")),
    }
}
