//! `regent node remove`: a node or witness leaves the cluster for good.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use regent_api::{LeavingStatus, RemoveStep, Request, Status};
use regent_model::NodeName;
use regent_model::config::parse_shown;
use serde_json::json;

use crate::args_remove::RemoveArgs;
use crate::client::{self, Asks};
use crate::consent;
use crate::diff;
use crate::edit::without_member;
use crate::events::moment;
use crate::follow::{Steps, Wait, until};
use crate::look::manner;
use crate::orders::who;
use crate::paint::{Paint, Tone, printable, wrapped};
use crate::screen::Screen;
use crate::settle::Wish;
use crate::trouble::{Result, Trouble};

const WIDTH: usize = 100;
/// How often the configuration may change between looking at it and putting the next one in force.
const TRIES: usize = 5;

/// Does what the words say.
///
/// # Errors
/// When it is refused, not confirmed, or does not come to an end in time; then it can be given again, and goes on.
pub fn remove(asks: &dyn Asks, screen: &Screen, args: &RemoveArgs) -> Result<()> {
    if args.undo {
        let words = client::order(asks, &step(args, RemoveStep::Stay))?;
        screen.value(&json!({ "done": words }))?;
        return screen.say(&format!("{words}\n"));
    }
    let (old, _) = client::config(asks)?;
    let text = shortened(&old, &args.node)?;
    let status = client::status(asks)?;
    let leaves_already = status.leaving.iter().any(|l| l.node.as_str() == args.node);
    if !leaves_already {
        client::order(asks, &step(args, RemoveStep::Look { dead: args.dead }))?;
    }
    show(screen, &status, (&old, &text), args)?;
    if !args.yes {
        let question = format!("{} leaves the cluster for good. Type its name to confirm: ", args.node);
        consent::typed("node remove", &question, &args.node, "add --yes")?;
    }
    let began = Instant::now();
    let mut steps = Steps::from_now(asks, manner(screen, false))?;
    let leave = RemoveStep::Leave { dead: args.dead, who: who(|variable| std::env::var(variable).ok()) };
    let words = client::order(asks, &step(args, leave))?;
    screen.say(&format!("{words}\n"))?;
    if args.wait.no_wait {
        screen.value(&json!({ "done": words, "removed": false }))?;
        return screen.say(&format!("when it has left: regent node remove {}\n", args.node));
    }
    let node = NodeName::new(&args.node).map_err(|e| Trouble::usage(e.to_string()))?;
    let wish = Wish::Left { node };
    let wait = Wait { wish, limit: args.wait.wait, hold: Duration::ZERO, leaves: None };
    until(asks, screen, &wait, &mut steps, began).map_err(|trouble| unfinished(trouble, &args.node))?;
    let words = finish(asks, args)?;
    let took = began.elapsed().as_secs_f64();
    screen.value(&json!({ "done": words, "removed": true, "took_ms": (took * 1e3).round() }))?;
    screen.say(&format!("{words} (after {took:.1} s)\n"))?;
    let left = "its machine still has the cluster's key on its disk. Members listen to it no more, but if that disk is not wiped, \
         whoever gets it could read along and call; regent key rotate makes that key worthless";
    screen.say(&format!("{}\n", wrapped(left, WIDTH, "")))
}

fn step(args: &RemoveArgs, step: RemoveStep) -> Request {
    Request::Remove { node: args.node.clone(), step }
}

fn unfinished(trouble: Trouble, node: &str) -> Trouble {
    if !trouble.next.is_empty() {
        return trouble;
    }
    trouble.next(format!(
        "regent status; to go on: regent node remove {node}; to keep it: regent node remove {node} --undo"
    ))
}

/// The configuration without the member, if it is one.
fn shortened(old: &str, node: &str) -> Result<String> {
    let text = without_member(old, node)?;
    let parsed = parse_shown(&text, None);
    let errors: Vec<&str> = parsed.errors().map(|f| f.message.as_str()).collect();
    if errors.is_empty() {
        return Ok(text);
    }
    let what = format!("the configuration without {node} would not be valid: {}", errors.join("; "));
    Err(Trouble::refused(what).next(format!(
        "take {node} out of what names it: regent config show > FILE, regent apply FILE; then again: regent node remove {node}"
    )))
}

/// What will be so.
fn show(screen: &Screen, status: &Status, (old, new): (&str, &str), args: &RemoveArgs) -> Result<()> {
    let heading = format!("{} is taken out of the configuration:\n", args.node);
    screen.say(&screen.paint.tone(Tone::Strong, &heading))?;
    screen.say(&diff::render(old, new, screen.paint))?;
    let owner = |name: &Option<NodeName>| name.as_ref().is_some_and(|n| n.as_str() == args.node);
    let groups: Vec<&str> =
        status.groups.iter().filter(|g| owner(&g.owner)).map(|g| configured(g.name.as_str())).collect();
    if !groups.is_empty() {
        let words =
            format!("{} lets go of {}, which goes to its other nodes\n", args.node, groups.join(", "));
        screen.say(&words)?;
    }
    Ok(())
}

/// A group's name as it is configured: that of a concurrent one has its node behind it.
fn configured(name: &str) -> &str {
    name.split_once('@').map_or(name, |(group, _)| group)
}

/// It has left: takes it out, whatever was configured meanwhile.
fn finish(asks: &dyn Asks, args: &RemoveArgs) -> Result<String> {
    let mut tries = 0;
    loop {
        let (old, serial) = client::config(asks)?;
        let text = shortened(&old, &args.node)?;
        tries += 1;
        match client::order(asks, &step(args, RemoveStep::Finish { text, serial })) {
            Err(_) if tries < TRIES && client::config(asks)?.1 != serial => {}
            done => return done.map_err(|trouble| unfinished(trouble, &args.node)),
        }
    }
}

/// What `status` says of members that are to leave.
#[must_use]
pub fn block(status: &Status, paint: Paint) -> String {
    let mut out = String::new();
    for LeavingStatus { node, who, since_ms, waits, advice } in &status.leaving {
        let since = moment(*since_ms, &TimeZone::system());
        let says = match waits {
            Some(waits) => printable(waits),
            None => "it has left, and can be taken out".to_owned(),
        };
        let line = format!("{node} is being removed since {since}, by order of {}: {says}", printable(who));
        let _ = writeln!(out, "{}", paint.tone(Tone::Warning, &wrapped(&line, WIDTH, "  ")));
        if let Some(advice) = advice {
            let _ = writeln!(out, "  next: {}", printable(advice));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::samples;

    #[test]
    fn status_says_who_is_being_removed_and_what_it_waits_for() {
        let mut status = samples::healthy();
        let mut leaving = LeavingStatus {
            node: NodeName::new("lx4").unwrap(),
            who: "maria".into(),
            since_ms: 1_000_000_000_000,
            waits: Some("it lets go of its groups and stops".into()),
            advice: None,
        };
        status.leaving = vec![leaving.clone()];
        let text = crate::status::render(&status, Paint(false));
        assert!(text.contains("lx4 is being removed since 2001-09-0"), "{text}");
        assert!(text.contains("by order of maria"), "{text}");
        leaving.waits = None;
        leaving.advice = Some("regent node remove lx4".into());
        status.leaving = vec![leaving];
        let text = crate::status::render(&status, Paint(false));
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("it has left, and can be taken out"), "{text}");
        assert!(text.contains("  next: regent node remove lx4\n"), "{text}");
    }

    #[test]
    fn a_configuration_that_would_not_be_valid_is_refused_before_anything_happens() {
        let text = "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.0.0.4\"]\n\
                    [[node]]\nname = \"lx5\"\naddresses = [\"10.0.0.5\"]\n";
        assert!(shortened(text, "lx5").is_ok_and(|text| !text.contains("lx5")));
        let one = text.split("[[node]]\nname = \"lx5\"").next().unwrap();
        let why = format!("{:?}", shortened(one, "lx4").unwrap_err());
        assert!(why.contains("there is no node"), "{why}");
    }
}
