//! Whole nodes, guard and daemon and supervisor, on machines made of namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod key_change;
mod rig;

use std::time::{Duration, Instant};

use regent_api::{Answer, NodeVerb, Request};
use regent_guard::NodeIdentity;
use regent_model::NodeName;
use regent_model::ids::ClusterName;
use regent_model::state::StopMode;
use regent_node::founding::Founding;
use regent_node::install::{Installation, install};
use regent_wire::ClusterKey;

use rig::{Rig, wait_for};

const SERVICE: &str = "10.77.0.100";

/// Not a test: what the machines of the tests run.
#[test]
fn process_of_a_machine() {
    rig::play();
}

fn config(rig: &Rig) -> String {
    let mut text = "[cluster]\nname = \"ward7\"\ntakeover = \"normal\"\n".to_owned();
    for machine in &rig.machines {
        let table = if machine.name == "wit" { "witness" } else { "node" };
        let addresses: Vec<String> = machine.addresses().iter().map(|a| format!("\"{a}\"")).collect();
        text +=
            &format!("[[{table}]]\nname = \"{}\"\naddresses = [{}]\n", machine.name, addresses.join(", "));
    }
    text += &format!(
        r#"[[group]]
name = "web"
nodes = ["lx4", "lx5"]
policy = {{ startup = "home", failover = "next", failback = "never" }}
[[group.address]]
address = "{SERVICE}/24"
[[group.application]]
name = "sleeper"
start = "exec sleep 100000"
foreground = true
"#
    );
    text
}

/// Makes every machine a founder of one cluster, and runs it.
fn found(rig: &Rig) {
    let founding = Founding::of_founders(config(rig)).unwrap();
    let key = ClusterKey::generate().unwrap();
    for machine in &rig.machines {
        let member = founding.members.iter().find(|m| m.member.name.as_str() == machine.name).unwrap();
        let identity = NodeIdentity {
            cluster: ClusterName::new("ward7").unwrap(),
            node: member.id,
            name: member.member.name.clone(),
            addresses: machine.addresses(),
            port: 7410,
            witness: member.member.witness,
        };
        let installation = Installation { identity, founding: founding.clone(), keys: key.clone().into() };
        install(&machine.paths, &installation).unwrap();
        machine.start("run");
    }
}

/// The state of the group, its epoch and its owner, as a machine sees it.
fn group(rig: &Rig, on: &str) -> Option<(String, u64, Option<NodeName>)> {
    let status = rig.machine(on).status()?;
    let group = status.groups.into_iter().next()?;
    Some((group.state, group.epoch.0, group.owner))
}

fn wait_until_online(rig: &Rig, owner: &str) -> u64 {
    let mut epoch = 0;
    wait_for(&format!("web online on {owner}"), || {
        rig.machines.iter().filter(|m| m.paths.api_socket().exists()).any(|m| match group(rig, &m.name) {
            Some((state, number, Some(name))) if state == "online" && name.as_str() == owner => {
                epoch = number;
                true
            }
            _ => false,
        })
    });
    rig.wait_for_holder(SERVICE, owner);
    epoch
}

fn three_nodes() -> Rig {
    let rig = Rig::new(&["lx4", "lx5", "wit"]);
    found(&rig);
    rig
}

fn no_machine_was_reset(rig: &Rig) {
    for machine in &rig.machines {
        assert!(!machine.has_been_reset(), "{} was reset", machine.name);
    }
}

#[test]
fn one_owner_comes_up_and_a_killed_daemon_disturbs_nothing() {
    let rig = three_nodes();
    let epoch = wait_until_online(&rig, "lx4");
    let owner = rig.machine("lx4");
    let before = rig.machine("lx5").status().unwrap();
    let processes = owner.group_processes();
    assert_eq!(processes.len(), 1);
    for _ in 0..3 {
        let pid = owner.pid_in(&owner.paths.daemon_lock());
        owner.kill("-KILL", pid);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            assert_eq!(rig.holders(SERVICE), ["lx4"]);
            assert_eq!(owner.group_processes(), processes);
        }
        wait_for("another daemon", || owner.pid_in(&owner.paths.daemon_lock()) != pid);
        assert_eq!(wait_until_online(&rig, "lx4"), epoch);
    }
    owner.kill("-TERM", owner.pid_in(&owner.paths.guard_lock()));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        wait_until_online(&rig, "lx4"),
        epoch,
        "a guard that holds something does not end when asked to"
    );
    let after = owner.status().unwrap();
    let life = |status: &regent_api::Status| {
        status.nodes.iter().find(|n| n.name.as_str() == "lx4").unwrap().incarnation
    };
    assert_eq!(life(&after), life(&before));
    assert_eq!(owner.group_processes(), processes);
    no_machine_was_reset(&rig);
}

#[test]
fn a_power_cut_moves_the_group_to_the_peer_and_the_node_comes_back_as_standby() {
    let mut rig = three_nodes();
    let epoch = wait_until_online(&rig, "lx4");
    rig.machine_mut("lx4").off();
    wait_for("the address on lx5", || rig.machine("lx5").has(SERVICE));
    wait_for("a new epoch", || wait_until_online(&rig, "lx5") > epoch);
    let lx4 = rig.machine_mut("lx4");
    lx4.on();
    lx4.start("run");
    wait_for("lx4 to be up again", || {
        let status = rig.machine("wit").status();
        status.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == "lx4" && n.state == "up"))
    });
    assert_eq!(rig.holders(SERVICE), ["lx5"]);
    no_machine_was_reset(&rig);
}

#[test]
fn an_owner_cut_off_from_all_networks_lets_go_before_its_peer_acquires() {
    let rig = three_nodes();
    wait_until_online(&rig, "lx4");
    rig.machine("lx4").cut(true);
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        // The owner is looked at last: had it let go only after the peer acquired, both would be seen.
        let peer = rig.machine("lx5").has(SERVICE) || !rig.machine("lx5").group_processes().is_empty();
        let owner = rig.machine("lx4").has(SERVICE) || !rig.machine("lx4").group_processes().is_empty();
        assert!(!(peer && owner), "two owners");
        if peer {
            break;
        }
    }
    rig.wait_for_holder(SERVICE, "lx5");
    rig.machine("lx4").cut(false);
    wait_for("lx4 to be up again", || {
        let status = rig.machine("wit").status();
        status.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == "lx4" && n.state == "up"))
    });
    assert_eq!(rig.holders(SERVICE), ["lx5"]);
    no_machine_was_reset(&rig);
}

fn stop(rig: &Rig, name: &str, mode: StopMode) -> i32 {
    let verb = NodeVerb::Stop(mode);
    let answer = rig.machine(name).ask(&Request::Node { node: None, verb });
    assert!(matches!(answer, Some(Answer::Done(_))), "{answer:?}");
    let at = rig.machines.iter().position(|m| m.name == name).unwrap();
    rig.machines[at].wait_for_supervisor()
}

#[test]
fn a_node_stops_in_its_three_modes_and_starts_again() {
    let rig = three_nodes();
    wait_until_online(&rig, "lx4");
    assert_eq!(stop(&rig, "lx4", StopMode::Takeover), 0);
    wait_until_online(&rig, "lx5");
    rig.machine("lx4").type_in("start", "", false).unwrap();

    let epoch = wait_until_online(&rig, "lx5");
    let processes = rig.machine("lx5").group_processes();
    assert_eq!(stop(&rig, "lx5", StopMode::Forced), 0);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(rig.holders(SERVICE), ["lx5"]);
    }
    assert!(rig.machine("lx5").runs_nothing());
    rig.machine("lx5").type_in("start", "", false).unwrap();
    wait_for("a new epoch for what was adopted", || wait_until_online(&rig, "lx5") > epoch);
    assert_eq!(rig.machine("lx5").group_processes(), processes);

    assert_eq!(stop(&rig, "lx5", StopMode::Graceful), 0);
    std::thread::sleep(Duration::from_secs(2));
    assert!(rig.holders(SERVICE).is_empty());
    rig.machine("lx5").type_in("start", "", false).unwrap();
    wait_for("one owner again", || rig.holders(SERVICE).len() == 1);
    no_machine_was_reset(&rig);
}

#[test]
fn a_machine_begins_a_cluster_and_others_join_it_by_token() {
    let rig = Rig::new(&["lx4", "lx5", "wit"]);
    rig.machine("lx4").type_in("begin", "", true).unwrap();
    let token = |witness| match rig.machine("lx4").ask(&Request::Token { witness, minutes: None }) {
        Some(Answer::Done(token)) => token,
        other => panic!("{other:?}"),
    };
    let refused = rig.machine("lx5").type_in("witness", &token(false), true).unwrap_err();
    assert!(refused.contains("for a node, not for a witness"), "{refused}");
    // The cluster lets it in, and it cannot keep what it is told.
    let once = token(false);
    let lx5 = rig.machine("lx5");
    let _the_rig_made_it = std::fs::remove_dir_all(&lx5.paths.etc);
    std::fs::write(&lx5.paths.etc, "in the way").unwrap();
    let failed = lx5.type_in("join", &once, true).unwrap_err();
    assert!(failed.contains("etc"), "{failed}");
    std::fs::remove_file(&lx5.paths.etc).unwrap();
    let another = rig.machine("wit").type_in("join", &once, true).unwrap_err();
    assert!(another.contains("used up: lx5 has joined") && another.contains("regent token"), "{another}");
    // A supervisor that waits for the machine to become a member is found, and no second one is started.
    lx5.start("run");
    lx5.type_in("join", &once, false).unwrap();
    rig.machine("wit").type_in("witness", &token(true), true).unwrap();
    let again = rig.machine("lx5").type_in("join", &token(false), true).unwrap_err();
    assert!(again.contains("already"), "{again}");
    wait_for("three voters", || {
        let status = rig.machine("wit").status();
        status.is_some_and(|s| s.nodes.iter().filter(|n| n.voter && n.state == "up").count() == 3)
    });
    let text = config(&rig);
    wait_for("the configuration in force", || {
        let apply = Request::Apply { text: text.clone(), dry_run: false };
        matches!(rig.machine("lx5").ask(&apply), Some(Answer::Done(_)))
    });
    wait_until_online(&rig, "lx4");
    rig.machine("wit").kill("-KILL", rig.machine("wit").pid_in(&rig.machine("wit").paths.daemon_lock()));
    no_machine_was_reset(&rig);
}

#[test]
fn a_damaged_state_is_refused_with_advice_and_the_guard_lets_go() {
    let rig = three_nodes();
    wait_until_online(&rig, "lx4");
    let owner = rig.machine("lx4");
    owner.kill("-STOP", owner.pid_in(&owner.paths.supervisor_lock()));
    owner.kill("-KILL", owner.pid_in(&owner.paths.daemon_lock()));
    for entry in std::fs::read_dir(owner.paths.store()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("state-") {
            let mut bytes = std::fs::read(entry.path()).unwrap();
            bytes[600] ^= 0xff;
            std::fs::write(entry.path(), bytes).unwrap();
        }
    }
    owner.kill("-CONT", owner.pid_in(&owner.paths.supervisor_lock()));
    assert_eq!(owner.wait_for_supervisor(), 1);
    let why = std::fs::read_to_string(owner.paths.refused()).unwrap();
    assert!(why.contains("damaged") && why.contains("regent join"), "{why}");
    wait_until_online(&rig, "lx5");
    let refused = owner.type_in("start", "", false).unwrap_err();
    assert!(refused.contains("refuses to run") && refused.contains("damaged"), "{refused}");
    no_machine_was_reset(&rig);
}

#[test]
fn the_death_of_a_guard_that_holds_something_resets_the_machine_and_of_one_that_holds_nothing_does_not() {
    let rig = three_nodes();
    let epoch = wait_until_online(&rig, "lx4");
    let kill_guard = |name: &str| {
        let machine = rig.machine(name);
        let pid = machine.pid_in(&machine.paths.guard_lock());
        machine.kill("-KILL", pid);
        pid
    };
    let pid = kill_guard("lx5");
    let lx5 = rig.machine("lx5");
    wait_for("another guard", || lx5.pid_in(&lx5.paths.guard_lock()) != pid);
    wait_for("lx5 to be up again", || {
        let status = lx5.status();
        status.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state == "up"))
    });
    assert_eq!(wait_until_online(&rig, "lx4"), epoch);
    no_machine_was_reset(&rig);
    kill_guard("lx4");
    wait_for("the reset", || rig.machine("lx4").has_been_reset());
}

#[test]
fn the_death_of_the_supervisor_disturbs_nothing_and_the_next_one_watches_what_runs() {
    let rig = three_nodes();
    let epoch = wait_until_online(&rig, "lx4");
    let owner = rig.machine("lx4");
    let pids = || (owner.pid_in(&owner.paths.guard_lock()), owner.pid_in(&owner.paths.daemon_lock()));
    let before = pids();
    owner.kill("-KILL", owner.pid_in(&owner.paths.supervisor_lock()));
    std::thread::sleep(Duration::from_millis(300));
    owner.start("run");
    let supervisor = owner.paths.supervisor_lock();
    wait_for("the next supervisor", || regent_guard::lock::Lock::holder(&supervisor).is_some());
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(pids(), before);
    owner.kill("-KILL", before.1);
    wait_for("another daemon", || pids().1 != before.1);
    assert_eq!(wait_until_online(&rig, "lx4"), epoch);
    owner.kill("-TERM", owner.pid_in(&supervisor));
    assert_eq!(owner.wait_for_supervisor(), 0);
    wait_until_online(&rig, "lx5");
    assert!(owner.runs_nothing());
    no_machine_was_reset(&rig);
}

#[test]
fn a_daemon_that_hangs_loses_its_groups_in_good_order() {
    let rig = three_nodes();
    wait_until_online(&rig, "lx4");
    let owner = rig.machine("lx4");
    owner.kill("-STOP", owner.pid_in(&owner.paths.daemon_lock()));
    wait_for("lx4 to let go", || !owner.has(SERVICE) && owner.group_processes().is_empty());
    rig.wait_for_holder(SERVICE, "lx5");
    owner.kill("-CONT", owner.pid_in(&owner.paths.daemon_lock()));
    wait_for("lx4 to be up again", || {
        let status = rig.machine("wit").status();
        status.is_some_and(|s| s.nodes.iter().any(|n| n.name.as_str() == "lx4" && n.state == "up"))
    });
    assert_eq!(rig.holders(SERVICE), ["lx5"]);
    no_machine_was_reset(&rig);
}

#[test]
fn a_guard_that_was_paused_beyond_its_lease_resets_the_machine_before_it_does_anything_else() {
    let rig = three_nodes();
    wait_until_online(&rig, "lx4");
    let owner = rig.machine("lx4");
    let guard = owner.pid_in(&owner.paths.guard_lock());
    owner.kill("-STOP", guard);
    wait_for("the takeover", || rig.machine("lx5").has(SERVICE));
    owner.kill("-CONT", guard);
    wait_for("the reset", || owner.has_been_reset());
}
