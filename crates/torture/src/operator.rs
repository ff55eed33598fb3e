//! The operator: does what the nodes ask for when the faults are over.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use regent_api::Status;

use crate::stage::Stage;
use crate::{hands, site};

const COMMAND: Duration = Duration::from_secs(60);

/// What an operator does who reads status: the orders of the run are taken back, and what a node asks for is done.
pub(crate) fn help(stage: &Stage, status: Option<&Status>, helped: &mut BTreeMap<String, u64>) {
    let mut note = |what: String| *helped.entry(what).or_default() += 1;
    hands::lift(stage);
    if status.is_some_and(|status| remove_to_the_end(stage, status, &mut note)) {
        return;
    }
    for member in site::members(&stage.head) {
        if stage.status_of(&member).is_none() && start_by_hand(stage, &member, &mut note) {
            return;
        }
    }
    let Some(status) = status else { return };
    restore(stage, status, &mut note);
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
pub(crate) fn start_by_hand(stage: &Stage, member: &str, note: &mut dyn FnMut(String)) -> bool {
    let out = "/run/torture-start";
    let code = stage.script(member, &format!("regent node start --no-wait > {out} 2>&1"), COMMAND);
    if code == Some(0) {
        note("node start (not running)".into());
        return true;
    }
    let Ok(said) = site::said(&stage.lab, member, &["cat", out]) else { return false };
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let damaged = said.split("mkdir ").nth(1).and_then(|w| w.split(',').next());
    match damaged {
        Some(way) => {
            let words =
                format!("rm -rf /var/lib/regent.damaged /var/lib/regent.removed; mkdir {}", way.trim());
            if stage.script(member, &words, COMMAND) != Some(0) {
                return false;
            }
        }
        // The way was gone before, but the others had not yet let it in again.
        None if said.contains("belongs to no cluster") => {}
        None => return false,
    }
    let others = || stage.awake().into_iter().filter(|n| n != member);
    let by = others().find(|n| stage.status_of(n).is_some_and(|s| s.quorate));
    if let (None, Some(other), true) = (&by, others().next(), stage.head.arbiter_disk) {
        // The disk may have named the one whose state is lost.
        let words = ["node", "confirm-dead", member, "--why", "its state is lost", "--yes"];
        if stage.regent(&other, &words, COMMAND).code == Some(0) {
            note("a person's word (the other one is lost)".into());
        }
        return true;
    }
    let spec = stage.lab.folder().record().map(|r| r.spec);
    let joined = by.zip(spec.ok()).and_then(|(by, spec)| {
        let machine = spec.machine(member)?.clone();
        site::join(&stage.lab, &machine, &by).ok()
    });
    let why = match &said {
        text if text.contains("was removed") => "removed",
        text if text.contains("has forgotten") => "state put back",
        text if text.contains("belongs to no cluster") => "nothing left",
        _ => "damaged state",
    };
    note(if joined.is_some() { format!("join again ({why})") } else { "join again, refused".into() });
    true
}

/// Gives an order to remove a member once more whose command was interrupted: it goes on from there. Whether there was one.
fn remove_to_the_end(stage: &Stage, status: &Status, note: &mut dyn FnMut(String)) -> bool {
    for leaving in &status.leaving {
        let by =
            stage.awake().into_iter().find(|n| *n != leaving.node.as_str() && stage.status_of(n).is_some());
        let words = ["node", "remove", leaving.node.as_str(), "--yes", "--wait", "20s"];
        if let Some(by) = by {
            stage.regent(&by, &words, COMMAND);
            note("node remove, once more".into());
        }
    }
    !status.leaving.is_empty()
}

/// Puts the whole configuration in force again when who was removed is a member again.
fn restore(stage: &Stage, status: &Status, note: &mut dyn FnMut(String)) {
    let up = |member: &String| status.nodes.iter().any(|n| n.name.as_str() == *member && n.state == "up");
    if !stage.removed.load(Ordering::SeqCst)
        || !status.leaving.is_empty()
        || !site::members(&stage.head).iter().all(up)
    {
        return;
    }
    let edition = stage.edition.load(Ordering::SeqCst);
    if stage.apply(status.node.as_str(), edition).is_ok() {
        stage.removed.store(false, Ordering::SeqCst);
        note("apply (a member came back)".into());
    }
}
