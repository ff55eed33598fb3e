//! The cluster's key is changed while whole nodes run: with daemons and guards that die at every step, with a takeover in
//! between, and with a node that is away meanwhile.

use std::fs;

use regent_api::{KeyStatus, KeyVerb};
use regent_wire::KeyRing;

use super::*;

fn key(rig: &Rig, on: &str) -> Option<KeyStatus> {
    match rig.machine(on).ask(&Request::Key(KeyVerb::Status)) {
        Some(Answer::Key(status)) => Some(*status),
        _ => None,
    }
}

fn rotate(rig: &Rig, on: &str, without: &[&str]) -> Result<String, String> {
    let without = without.iter().map(|name| (*name).to_owned()).collect();
    match rig.machine(on).ask(&Request::Key(KeyVerb::Rotate { without })) {
        Some(Answer::Done(words)) => Ok(words),
        other => Err(format!("{other:?}")),
    }
}

/// Begins one change, as soon as the cluster knows all machines. A daemon that dies at a point takes its answer with it:
/// where one is gone the change has begun, and who orders again makes another one.
fn rotate_when_possible(rig: &Rig, on: &str) {
    let points = points_left(rig, on);
    wait_for("a change of the key", || points_left(rig, on) != points || rotate(rig, on, &[]).is_ok());
}

fn ring(rig: &Rig, of: &str) -> KeyRing {
    fs::read_to_string(&rig.machine(of).paths.key).unwrap().parse().unwrap()
}

/// Everybody has the key of this number, and no other.
fn wait_until_changed(rig: &Rig, number: u32, on: &[&str]) {
    for name in on {
        wait_for(&format!("key number {number} on {name}"), || {
            let ring = ring(rig, name);
            let alone = ring.using() == number && ring.keys().count() == 1;
            alone && key(rig, name).is_some_and(|key| key.number == number && key.change.is_none())
        });
    }
    let rings: Vec<KeyRing> = on.iter().map(|name| ring(rig, name)).collect();
    assert!(rings.windows(2).all(|pair| pair[0] == pair[1]), "{rings:?}");
}

fn wait_until_up(rig: &Rig, seen_by: &str, name: &str) {
    wait_for(&format!("{name} to be up"), || {
        let status = rig.machine(seen_by).status();
        status.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == name && n.state == "up"))
    });
}

/// Lets daemons (and guards) die at these points, each once.
fn crash_at(rig: &Rig, on: &str, points: &[&str]) {
    fs::write(rig.machine(on).paths.run.join("crash-at"), points.join("\n")).unwrap();
}

fn points_left(rig: &Rig, on: &str) -> String {
    fs::read_to_string(rig.machine(on).paths.run.join("crash-at")).unwrap_or_default()
}

#[test]
fn a_change_of_the_key_goes_on_when_daemons_and_guards_die_at_every_step_and_no_group_notices() {
    let rig = three_nodes();
    let epoch = wait_until_online(&rig, "lx4");
    let all = ["lx4", "lx5", "wit"];
    wait_until_up(&rig, "lx5", "wit");
    let first = ring(&rig, "lx4");
    // Each point once; what is durable is not done again, so that the last points need a change of their own.
    for (number, lx4, lx5, wit) in [
        (
            1,
            ["own-durable daemon", "use-durable daemon", "forget-guard daemon"],
            ["get-before daemon", "use-before daemon", "forget-before daemon"],
            ["get-durable guard", "use-durable guard", "forget-durable guard"],
        ),
        (
            2,
            ["own-guard daemon", "use-before daemon", "forget-durable daemon"],
            ["get-durable daemon", "use-durable daemon", "forget-durable daemon"],
            ["get-before guard", "use-before guard", "forget-before guard"],
        ),
        (
            3,
            ["own-before daemon", "use-guard daemon", "forget-before daemon"],
            ["get-guard daemon", "use-guard daemon", "forget-guard daemon"],
            ["get-guard guard", "use-guard guard", "forget-guard guard"],
        ),
    ] {
        for (name, points) in [("lx4", lx4), ("lx5", lx5), ("wit", wit)] {
            crash_at(&rig, name, &points);
        }
        rotate_when_possible(&rig, "lx4");
        wait_until_changed(&rig, number, &all);
        for name in all {
            assert_eq!(points_left(&rig, name).trim(), "", "{name} died at every point of change {number}");
        }
        all.iter().for_each(|name| wait_until_up(&rig, "lx4", name));
        assert_eq!(wait_until_online(&rig, "lx4"), epoch, "the group ran on");
    }
    assert_ne!(ring(&rig, "lx4").current(), first.current());
    // The maker dies before anybody has heard of its key: nothing has begun, and it can be ordered again.
    crash_at(&rig, "lx5", &["make-durable daemon"]);
    wait_for("the daemon to die with a key that nobody knows", || {
        let _nobody_answers = rotate(&rig, "lx5", &[]);
        points_left(&rig, "lx5").trim().is_empty()
    });
    wait_until_up(&rig, "wit", "lx5");
    assert!(key(&rig, "wit").is_some_and(|key| key.number == 3 && key.change.is_none()));
    rotate_when_possible(&rig, "lx5");
    wait_until_changed(&rig, 4, &all);
    assert_eq!(wait_until_online(&rig, "lx4"), epoch, "the group ran on");
    no_machine_was_reset(&rig);
}

#[test]
fn a_takeover_in_the_middle_of_a_change_is_like_any_other_and_the_change_ends_when_the_node_is_back() {
    let mut rig = three_nodes();
    let epoch = wait_until_online(&rig, "lx4");
    wait_until_up(&rig, "lx5", "wit");
    let wit = rig.machine("wit");
    let daemon = wit.pid_in(&wit.paths.daemon_lock());
    rotate_when_possible(&rig, "lx4");
    wait_until_changed(&rig, 1, &["lx4", "lx5", "wit"]);
    let refused = rotate(&rig, "lx4", &["lx5"]).unwrap_err();
    assert!(refused.contains("lx5 is heard"), "{refused}");
    // The change begins with the witness's daemon standing still.
    wit.kill("-STOP", daemon);
    rotate_when_possible(&rig, "lx4");
    wait_for("the stage at which it stands", || {
        let waits = key(&rig, "lx4").and_then(|key| key.change).map(|change| change.waits_for);
        waits.is_some_and(|waits| waits.iter().map(NodeName::as_str).eq(["wit"]))
    });
    rig.machine_mut("lx4").off();
    rig.machine("wit").kill("-CONT", daemon);
    wait_for("a new epoch", || wait_until_online(&rig, "lx5") > epoch);
    let mut stands = None;
    wait_for("a change that waits for lx4 alone", || {
        stands = key(&rig, "lx5").and_then(|key| key.change);
        stands
            .as_ref()
            .is_some_and(|s| s.waits_for.is_empty() && s.silent.iter().map(NodeName::as_str).eq(["lx4"]))
    });
    let stands = stands.unwrap();
    assert!(stands.next.as_ref().unwrap().contains("regent key rotate --without lx4"), "{stands:?}");
    let status = rig.machine("wit").status().unwrap();
    let shown = status.key_change.map(|change| change.line()).unwrap_or_default();
    assert!(shown.contains("waits for lx4"), "{shown}");
    let lx4 = rig.machine_mut("lx4");
    lx4.on();
    lx4.start("run");
    wait_until_changed(&rig, 2, &["lx4", "lx5", "wit"]);
    wait_until_up(&rig, "wit", "lx4");
    assert_eq!(rig.holders(SERVICE), ["lx5"]);
    no_machine_was_reset(&rig);
}

#[test]
fn a_node_that_was_away_is_given_the_key_when_it_is_back_and_a_machine_that_is_another_one_is_not() {
    let mut rig = three_nodes();
    wait_until_online(&rig, "lx4");
    wait_until_up(&rig, "lx4", "lx5");
    rotate_when_possible(&rig, "lx4");
    wait_until_changed(&rig, 1, &["lx4", "lx5", "wit"]);
    rig.machine_mut("lx5").off();
    let stale = ring(&rig, "lx5");
    wait_for("lx5 to be missed", || {
        let status = rig.machine("lx4").status();
        status.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state != "up"))
    });
    wait_for("a refusal that names it", || {
        let refused = rotate(&rig, "lx4", &[]);
        refused.is_err_and(|why| why.contains("lx5 is not heard") && why.contains("--without lx5"))
    });
    rotate(&rig, "lx4", &["lx5"]).unwrap();
    wait_until_changed(&rig, 2, &["lx4", "wit"]);
    assert_eq!(ring(&rig, "lx5"), stale);
    // It comes back with the old key, by its own key pair.
    let lx5 = rig.machine_mut("lx5");
    lx5.on();
    lx5.start("run");
    wait_until_up(&rig, "wit", "lx5");
    wait_until_changed(&rig, 2, &["lx4", "lx5", "wit"]);
    // Another machine with everything that this one had but its key pair, and the old key.
    let lx5 = rig.machine_mut("lx5");
    lx5.off();
    fs::write(&lx5.paths.key, format!("{}\n", stale.to_text())).unwrap();
    let own = fs::read(lx5.paths.machine_secret()).unwrap();
    // Damaged: its daemon makes another one, and begins.
    fs::write(lx5.paths.machine_secret(), "").unwrap();
    lx5.on();
    lx5.start("run");
    wait_for("the other machine to be told that it is none", || {
        let status = rig.machine("lx5").status();
        let own = status.and_then(|s| s.nodes.into_iter().find(|n| n.name.as_str() == "lx5"));
        own.is_some_and(|node| {
            node.troubles.iter().any(|trouble| trouble.contains("do not know this machine"))
        })
    });
    assert_eq!(ring(&rig, "lx5"), stale, "it was given nothing");
    wait_for("the others to hear it no more", || {
        let seen = rig.machine("lx4").status();
        seen.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state != "up"))
    });
    assert!(fs::write(rig.machine("lx5").paths.machine_secret(), own).is_ok());
    let lx5 = rig.machine_mut("lx5");
    lx5.off();
    lx5.on();
    lx5.start("run");
    wait_until_changed(&rig, 2, &["lx4", "lx5", "wit"]);
    assert_eq!(rig.holders(SERVICE), ["lx4"]);
    no_machine_was_reset(&rig);
}
