//! Peace: every fault is lifted, an operator does what the nodes ask for, and all has to be well within a bound.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use regent_api::Status;

use crate::clients::Clients;
use crate::hands;
use crate::site;
use crate::stage::Stage;

/// The bound: what a takeover by fencing, a boot, the recovery of a file system and a database, and the way back of a
/// group take in the worst case is below 40 s; the rest is for a machine that is busy with other things.
pub(crate) const BOUND: Duration = Duration::from_secs(120);
/// How long all must have been well.
const HOLD: Duration = Duration::from_millis(1_500);
/// An operator looks once so often.
const HELP_EVERY: Duration = Duration::from_secs(4);
const COMMAND: Duration = Duration::from_secs(60);

/// How peace came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Peace {
    /// How long it took.
    pub(crate) after: Duration,
    /// What an operator had to do, and how often.
    pub(crate) helped: BTreeMap<String, u64>,
    /// What is still not well, where the bound was passed.
    pub(crate) missing: Vec<String>,
}

/// Lifts every fault and waits.
pub(crate) fn make(stage: &Stage, clients: &Clients) -> Peace {
    hands::lift(stage);
    let began = Instant::now();
    let mut peace = Peace::default();
    let (mut well_since, mut helped_at) = (None, Instant::now());
    let mut counts = clients.counts();
    loop {
        let status = stage.status();
        let mut missing = status.as_ref().map_or_else(|| vec!["nobody has a majority".to_owned()], unwell);
        if missing.is_empty() {
            let now = clients.counts();
            let stands = now.iter().zip(&counts).find(|(new, old)| new.1 <= old.1);
            missing.extend(
                stands.map(|((name, count), _)| format!("{name} acknowledges nothing after {count}")),
            );
        } else {
            counts = clients.counts();
        }
        if missing.is_empty() {
            if well_since.get_or_insert_with(Instant::now).elapsed() >= HOLD {
                peace.after = began.elapsed();
                return peace;
            }
        } else {
            well_since = None;
        }
        if began.elapsed() > BOUND {
            peace.after = began.elapsed();
            peace.missing = missing;
            return peace;
        }
        if !missing.is_empty() && helped_at.elapsed() > HELP_EVERY {
            help(stage, status.as_ref(), &mut peace.helped);
            helped_at = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What is not as it should be.
fn unwell(status: &Status) -> Vec<String> {
    let nodes = status.nodes.iter().filter(|n| n.state != "up" || !n.voter);
    let nodes =
        nodes.map(|n| format!("{} is {}{}", n.name, n.state, if n.voter { "" } else { ", no voter" }));
    let groups = status.groups.iter().filter(|g| g.state != "online");
    let groups = groups.map(|g| {
        format!(
            "{} is {} ({})",
            g.name,
            g.state,
            g.blocked.as_deref().or(g.advice.as_deref()).unwrap_or(&g.why)
        )
    });
    nodes.chain(groups).collect()
}

/// What an operator does who reads status: the orders of the run are taken back, and what a node asks for is done.
fn help(stage: &Stage, status: Option<&Status>, helped: &mut BTreeMap<String, u64>) {
    let mut note = |what: String| *helped.entry(what).or_default() += 1;
    hands::lift(stage);
    for member in site::members(&stage.head) {
        if stage.status_of(&member).is_none() && start_by_hand(stage, &member, &mut note) {
            return;
        }
    }
    let Some(status) = status else { return };
    let asked = status.node.as_str();
    for node in status.nodes.iter().filter(|n| matches!(n.state.as_str(), "stopped" | "standby" | "stopping"))
    {
        stage.regent(asked, &["node", "start", node.name.as_str(), "--no-wait"], COMMAND);
        note(format!("node start ({})", node.state));
    }
    for group in &status.groups {
        if matches!(group.state.as_str(), "disabled" | "failed" | "stuck" | "blocked") {
            stage.regent(asked, &["group", "enable", group.name.as_str(), "--no-wait"], COMMAND);
            note(format!("group enable ({})", group.state));
        }
    }
}

/// Starts Regent on a machine on which it does not run, and goes the way that it names where its state is damaged.
/// Whether something was done that takes its time.
fn start_by_hand(stage: &Stage, member: &str, note: &mut dyn FnMut(String)) -> bool {
    let out = "/run/torture-start";
    let code = stage.script(member, &format!("regent node start --no-wait > {out} 2>&1"), COMMAND);
    if code == Some(0) {
        note("node start (not running)".into());
        return true;
    }
    let Ok(said) = site::said(&stage.lab, member, &["cat", out]) else { return false };
    let damaged = said.split("mkdir ").nth(1).and_then(|w| w.split(',').next());
    match damaged {
        Some(way) => {
            let words = format!("rm -rf /var/lib/regent.damaged; mkdir {}", way.trim());
            if stage.script(member, &words, COMMAND) != Some(0) {
                return false;
            }
        }
        // The way was gone before, but the others had not yet let it in again.
        None if said.contains("belongs to no cluster") => {}
        None => return false,
    }
    let by = stage
        .awake()
        .into_iter()
        .filter(|n| n != member)
        .find(|n| stage.status_of(n).is_some_and(|s| s.quorate));
    let spec = stage.lab.folder().record().map(|r| r.spec);
    let joined = by.zip(spec.ok()).and_then(|(by, spec)| {
        let machine = spec.machine(member)?.clone();
        site::join(&stage.lab, &machine, &by).ok()
    });
    note(if joined.is_some() { "join again (damaged state)" } else { "join again, refused" }.into());
    true
}
