//! `regent simulate`: what would happen if nodes or networks were lost, or another configuration were in force.

use std::fmt::Write as _;

use regent_api::{Answer, Foresight, GroupForesight, Request, Source};
use regent_model::config::duration_text;
use serde_json::{Value, json};

use crate::args::SimulateArgs;
use crate::client::{Asks, accepted, mismatch};
use crate::events::ms;
use crate::look::read;
use crate::paint::{Paint, Tone, printable, wrapped};
use crate::screen::Screen;
use crate::trouble::Result;

const WIDTH: usize = 100;

/// `regent simulate`.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub fn simulate(asks: &dyn Asks, screen: &Screen, args: &SimulateArgs) -> Result<()> {
    let config = args.apply.as_ref().map(|path| read(path)).transpose()?;
    let foresight = foresight(asks, args.lose.clone(), args.networks.clone(), config)?;
    screen.value(&foresight_json(&foresight))?;
    screen.say(&render(&foresight, screen.paint))
}

/// Asks what would happen.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub fn foresight(
    asks: &dyn Asks,
    lose: Vec<String>,
    networks: Vec<usize>,
    config: Option<String>,
) -> Result<Foresight> {
    match accepted(asks.ask(&Request::Simulate { lose, networks, config })?)? {
        Answer::Foresight(foresight) => Ok(*foresight),
        other => Err(mismatch(&other)),
    }
}

/// Everything in words.
#[must_use]
pub fn render(foresight: &Foresight, paint: Paint) -> String {
    let mut out = format!("if {}:\n", paint.tone(Tone::Strong, &foresight.supposed.join(", and ")));
    if !foresight.settles {
        let text = "it would not come to rest: groups would be moved to and fro";
        let _ = writeln!(out, "{}", paint.tone(Tone::Bad, text));
    }
    for group in &foresight.groups {
        let _ = writeln!(out, "\n{}", headline(group, paint));
        out.push_str(&rest(group, paint));
    }
    if foresight.groups.is_empty() {
        out.push_str("no resource group is configured yet\n");
    }
    if !foresight.remarks.is_empty() {
        out.push('\n');
    }
    for remark in &foresight.remarks {
        let _ = writeln!(out, "{}", paint.tone(Tone::Dim, &wrapped(remark, WIDTH, "  ")));
    }
    out.push_str("nothing was changed: this is what would happen\n");
    out
}

/// Where a group is, and where it would be.
fn headline(group: &GroupForesight, paint: Paint) -> String {
    let name = paint.tone(Tone::Strong, group.name.as_str());
    match (&group.from, &group.to) {
        (Some(from), Some(to)) if from == to && group.downtime.is_none() => format!("{name} stays on {from}"),
        (Some(from), Some(to)) if from == to => {
            paint.tone(Tone::Warning, &format!("{name} is acquired anew on {from}"))
        }
        (Some(from), Some(to)) => {
            format!("{name} goes from {from} to {}", paint.tone(Tone::Good, to.as_str()))
        }
        (None, Some(to)) => format!("{name} starts on {}", paint.tone(Tone::Good, to.as_str())),
        (Some(from), None) => {
            format!("{name} does not run any more: {}, last on {from}", paint.tone(Tone::Bad, &group.state))
        }
        (None, None) => format!("{name} stays down: {}", printable(&group.state)),
    }
}

fn rest(group: &GroupForesight, paint: Paint) -> String {
    let mut out = String::new();
    if let Some(reason) = &group.blocked {
        let _ = writeln!(out, "  {}", wrapped(reason, WIDTH, "  "));
    } else if group.from != group.to {
        let _ = writeln!(out, "  {}", wrapped(&group.why, WIDTH, "  "));
    }
    if let Some(advice) = &group.advice {
        let _ = writeln!(out, "  next: {}", paint.tone(Tone::Strong, &printable(advice)));
    }
    if let Some(downtime) = group.downtime {
        let _ = writeln!(out, "  down for about {}:", paint.tone(Tone::Strong, &duration_text(downtime)));
        for part in &group.parts {
            let from = match part.from {
                Source::Measured(count) => format!("measured, median of {count}"),
                Source::Timers => "from the timers".to_owned(),
                Source::Assumed => "assumed".to_owned(),
            };
            let takes = duration_text(part.takes);
            let _ = writeln!(
                out,
                "    {takes:>10}  {} {}",
                printable(&part.what),
                paint.tone(Tone::Dim, &format!("({from})"))
            );
        }
    }
    out
}

/// One group in one line, for `explain`.
#[must_use]
pub fn in_a_line(group: &GroupForesight) -> String {
    let down = group.downtime.map_or_else(String::new, |d| format!(" after about {}", duration_text(d)));
    match (&group.to, &group.blocked) {
        (Some(to), _) if group.from.as_ref() == Some(to) && group.downtime.is_none() => {
            format!("it stays on {to}")
        }
        (Some(to), _) => format!("it would be online on {to}{down} ({})", group.why),
        (None, Some(reason)) => format!("it would not run: {reason}"),
        (None, None) => format!("it would be {}", group.state),
    }
}

/// For programs; durations are milliseconds.
#[must_use]
pub fn foresight_json(foresight: &Foresight) -> Value {
    let groups: Vec<Value> = foresight
        .groups
        .iter()
        .map(|g| {
            json!({
                "name": g.name, "from": g.from, "to": g.to, "state": g.state, "why": g.why,
                "blocked": g.blocked, "advice": g.advice, "downtime_ms": g.downtime.map(ms),
                "parts": g.parts.iter().map(|p| json!({
                    "what": p.what, "takes_ms": ms(p.takes), "from": p.from,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "supposed": foresight.supposed, "remarks": foresight.remarks, "settles": foresight.settles, "groups": groups,
    })
}
