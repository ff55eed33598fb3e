//! The options with which the shell is called.

use clap::Parser;
use clap::error::ErrorKind;
use insta::assert_snapshot;
use regent_model::event::{Event, EventName, EventNote};
use regent_model::journal::{Entry, Level};

use super::super::samples::{about, entry};
use super::node::{CACHEHAL, Node, Person, called};
use crate::args::{Cli, CluadminArgs, Command};
use crate::cluadmin::run;
use crate::follow::wall_ms;
use crate::trouble::Trouble;

fn args(words: &[&str]) -> Result<CluadminArgs, clap::Error> {
    let parsed = Cli::try_parse_from(["regent", "cluadmin"].iter().chain(words))?;
    match parsed.command {
        Command::Cluadmin(args) => Ok(args),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_of_the_manual_is_known_in_both_its_forms() {
    for (short, long) in [("-d", "--debug"), ("-n", "--nointeractive"), ("-t", "--tcl")] {
        let given = [short, long].map(|word| {
            let args = args(&[word]).unwrap();
            (args.debug, args.nointeractive, args.tcl)
        });
        assert_eq!(given[0], given[1]);
        assert_eq!(u8::from(given[0].0) + u8::from(given[0].1) + u8::from(given[0].2), 1, "{short}");
    }
    for (words, kind) in [
        (["-h", "--help", "-?"].as_slice(), ErrorKind::DisplayHelp),
        (["-V", "--version"].as_slice(), ErrorKind::DisplayVersion),
    ] {
        for word in words {
            assert_eq!(args(&[word]).unwrap_err().kind(), kind, "{word}");
        }
    }
    let version = args(&["--version"]).unwrap_err().to_string();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    assert_eq!(args(&["-d", "--", "service", "relocate", "x"]).unwrap().words, ["service", "relocate", "x"]);
}

#[test]
fn a_wish_for_tcl_is_refused_before_anybody_is_asked() {
    let nobody = || -> Result<crate::client::Client, Trouble> { panic!("nobody is asked") };
    assert_eq!(run(nobody, &args(&["-t"]).unwrap()), 2);
}

#[test]
fn the_trial_of_the_cluster_greets_and_ends() {
    let node = Node::with(CACHEHAL);
    let (screen, code) = called(&node, &Person::who_waits(), &args(&["-n"]).unwrap());
    assert_snapshot!(screen);
    assert_eq!((code, node.lock.borrow().is_none()), (0, true));
}

/// What happens when the service is relocated: a step of a cluster event, a warning, and that event's end.
fn tells(node: &Node) {
    // Not before the shell looks, however long that takes.
    let now = wall_ms() + 3_600_000;
    let mut seen = about(entry("lx4", 1, now, Level::Step, "unmounted /storage2"), "cachehal", Some(12));
    seen.evidence = "umount /storage2\nexit 0".into();
    let mut warned = about(entry("lx5", 1, now, Level::Warning, "the switch is slow"), "cachehal", None);
    warned.evidence = "link down for 3 s".into();
    let about_disks = Event::new(EventName::GetDiskVgFs, ["/storage2"]);
    seen.event = Some(EventNote { number: 7, event: about_disks, within: None });
    let end = entry("lx5", 2, now, Level::Step, "done: get_disk_vg_fs /storage2");
    let end = Entry { kind: "event_complete".into(), event: seen.event.clone(), ..end };
    node.then_tells.replace(vec![seen, warned, end]);
}

#[test]
fn every_step_is_told_while_a_service_moves() {
    let node = Node::with(CACHEHAL);
    tells(&node);
    let args = args(&["service", "relocate", "cachehal"]).unwrap();
    assert_snapshot!(called(&node, &Person::who_waits(), &args).0);
}

#[test]
fn with_debug_every_order_its_answer_and_all_evidence_is_told() {
    let node = Node::with(CACHEHAL);
    tells(&node);
    let person = Person::who_types("service relocate cachehal\nservice delete cachehal\nyes\nexit");
    assert_snapshot!(called(&node, &person, &args(&["-d"]).unwrap()).0);
}
