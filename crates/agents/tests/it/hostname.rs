//! A name for the node while an application is started and stopped: set back whatever becomes of that.

use std::time::{Duration, Instant};

use regent_model::action::{Notice, Op, Resource};
use regent_model::config::{ApplicationConfig, MainProcess};

use crate::support::{Node, PATIENCE, app, application, eventually, isolated, sh};

const NAME: &str = "dce.ward7.example";

fn named(start: &str, main: MainProcess) -> ApplicationConfig {
    ApplicationConfig { hostname: Some(NAME.into()), ..application(start, main) }
}

fn own_name() -> String {
    sh("uname -n").trim().to_owned()
}

#[test]
fn start_and_stop_find_the_groups_name_and_the_node_keeps_its_own() {
    isolated(|| {
        sh("hostname lx4");
        let mut node = Node::new();
        let seen = node.run_dir.0.join("seen");
        let start = format!("uname -n >> {}; sleep 300 & exit 0", seen.display());
        let mut config = named(&start, MainProcess::Cgroup);
        config.stop = Some(format!("uname -n >> {0}; touch {0}.stopped; exit 1", seen.display()));
        config.status = Some(format!("uname -n > {0}.status; test ! -e {0}.stopped", seen.display()));
        let resource = app(config);
        let story = node.run(Op::Acquire, &resource).runs().story();
        assert!(story.contains("called dce.ward7.example, no longer lx4"), "{story}");
        assert!(story.contains("called lx4 again"), "{story}");
        assert_eq!(own_name(), "lx4");
        node.run(Op::Monitor, &resource).runs();
        assert_eq!(sh(&format!("cat {}.status", seen.display())).trim(), "lx4", "only start and stop");
        node.run(Op::Release, &resource).stopped();
        assert_eq!(own_name(), "lx4");
        assert_eq!(sh(&format!("cat {}", seen.display())), format!("{NAME}\n{NAME}\n"));
    });
}

#[test]
fn a_start_that_fails_or_hangs_or_is_given_up_leaves_the_node_its_own_name() {
    isolated(|| {
        sh("hostname lx4");
        let mut node = Node::new();
        node.run(Op::Acquire, &app(named("exit 3", MainProcess::Cgroup))).failed();
        assert_eq!(own_name(), "lx4");
        let mut config = named("sleep 300", MainProcess::Cgroup);
        config.start_timeout = Duration::from_millis(300);
        assert!(node.run(Op::Acquire, &app(config)).failed().timed_out);
        assert_eq!(own_name(), "lx4");
        let resource = app(named("sleep 300", MainProcess::Cgroup));
        let acquire = node.begin(Op::Acquire, &resource, Duration::from_secs(20));
        eventually("it has the name", || own_name() == NAME);
        node.run(Op::Release, &resource).stopped();
        node.answer(acquire, Duration::from_secs(5)).failed();
        assert_eq!(own_name(), "lx4");
    });
}

#[test]
fn a_daemon_that_was_killed_in_the_middle_leaves_word_and_the_next_one_sets_the_name_back() {
    isolated(|| {
        sh("hostname lx4");
        let mut node = Node::new();
        let resource = app(named("exit 0", MainProcess::Cgroup));
        // What a killed daemon leaves: its word, and the name.
        node.begin(Op::Acquire, &app(named("sleep 2; exit 1", MainProcess::Cgroup)), Duration::from_secs(20));
        eventually("it has the name", || own_name() == NAME);
        let record = node.run_dir.0.join("hostname.json");
        let word = std::fs::read(&record).unwrap();
        node.run(Op::Release, &resource).stopped();
        assert!(!record.exists(), "nothing is left to be set back");
        node.hands.take();
        sh(&format!("hostname {NAME}"));
        std::fs::write(&record, word).unwrap();
        node.restart_daemon();
        assert_eq!(own_name(), "lx4");
        assert!(!record.exists());
        let Some(Notice::Trouble { topic, advice, .. }) = node.notice(PATIENCE) else {
            panic!("nothing is said of it")
        };
        assert!(topic == "hostname" && advice.contains("called lx4 again"), "{advice}");
        assert!(matches!(node.notice(PATIENCE), Some(Notice::Well { .. })));
    });
}

#[test]
fn a_name_that_somebody_else_has_set_meanwhile_is_left() {
    isolated(|| {
        sh("hostname lx4");
        let mut node = Node::new();
        let story = node.run(Op::Acquire, &app(named("hostname other; exit 1", MainProcess::Cgroup))).story();
        assert!(story.contains("somebody else has set"), "{story}");
        assert_eq!(own_name(), "other");
    });
}

fn second(resource: &Resource) -> Resource {
    let Resource::Application(config) = resource else { panic!("no application") };
    let name = regent_model::ResourceName::new("second").unwrap();
    app(ApplicationConfig { name, hostname: Some("other.example".into()), ..(**config).clone() })
}

#[test]
fn two_starts_with_names_of_their_own_wait_for_each_other() {
    isolated(|| {
        sh("hostname lx4");
        let mut node = Node::new();
        let seen = node.run_dir.0.join("seen");
        let start =
            format!("uname -n >> {0}; sleep 0.4; uname -n >> {0}; sleep 300 & exit 0", seen.display());
        let first = app(named(&start, MainProcess::Cgroup));
        let second = second(&first);
        let begun = Instant::now();
        let one = node.begin(Op::Acquire, &first, Duration::from_secs(20));
        let two = node.begin(Op::Acquire, &second, Duration::from_secs(20));
        let stories = [one, two].map(|id| node.answer(id, Duration::from_secs(20)).runs().story());
        assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
        assert!(stories.concat().contains("waited for the node's name"), "{stories:?}");
        let seen = sh(&format!("cat {}", seen.display()));
        let seen: Vec<&str> = seen.lines().collect();
        assert!(
            seen.len() == 4 && seen[0] == seen[1] && seen[2] == seen[3] && seen[0] != seen[2],
            "{seen:?}"
        );
        assert_eq!(own_name(), "lx4");
        node.run(Op::Release, &first).stopped();
        node.run(Op::Release, &second).stopped();
    });
}
