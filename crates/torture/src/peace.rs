//! Peace: every fault is lifted, an operator does what the nodes ask for, and all has to be well within a bound.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use regent_api::Status;

use crate::clients::Clients;
use crate::stage::Stage;
use crate::{hands, operator, site};

/// The bound: what a takeover by fencing, a boot, the recovery of a file system and a database, and the way back of a
/// group take in the worst case is below 40 s; the rest is for a machine that is busy with other things.
pub(crate) const BOUND: Duration = Duration::from_secs(120);
/// How long all must have been well.
const HOLD: Duration = Duration::from_millis(1_500);
/// An operator looks once so often.
const HELP_EVERY: Duration = Duration::from_secs(4);

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
        let mut missing =
            status.as_ref().map_or_else(|| vec!["nobody has a majority".to_owned()], |s| unwell(stage, s));
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
            operator::help(stage, status.as_ref(), &mut peace.helped);
            helped_at = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What is not as it should be.
fn unwell(stage: &Stage, status: &Status) -> Vec<String> {
    let is_one = |member: &String| status.nodes.iter().any(|n| n.name.as_str() == *member);
    let gone =
        site::members(&stage.head).into_iter().filter(|m| !is_one(m)).map(|m| format!("{m} is no member"));
    let leaving = status
        .leaving
        .iter()
        .map(|l| format!("{} is to leave: {}", l.node, l.waits.as_deref().unwrap_or_default()));
    let arbiter = status.arbiter.iter().filter(|a| !a.ready);
    let arbiter =
        arbiter.map(|a| format!("nobody would decide: {}", a.why.as_deref().unwrap_or("no reason")));
    let edited = stage.removed.load(Ordering::SeqCst).then(|| "its configuration lacks a member".to_owned());
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
    nodes.chain(groups).chain(gone).chain(leaving).chain(arbiter).chain(edited).collect()
}
