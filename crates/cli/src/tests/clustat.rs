//! `clustat`.

use insta::assert_snapshot;
use jiff::tz::TimeZone;
use regent_api::{HoldStatus, Status};
use regent_model::Epoch;
use regent_model::config::parse;
use regent_model::journal::Level;

use super::samples::{Scripted, about, blocked, entry, failed, healthy, not_quorate, with_group};
use crate::args::ClustatArgs;
use crate::clustat::{History, View, as_json, render, run, services};
use crate::screen::Screen;

/// A Sunday noon.
fn noon() -> u64 {
    1_795_348_800_000
}

fn daemon(status: Status) -> Scripted {
    let mut entries = vec![
        about(entry("lx4", 1, noon() - 7_200_000, Level::Notice, "lx4 owns cacheha1"), "cacheha1", None),
        about(entry("lx4", 2, noon() - 7_199_000, Level::Notice, "online"), "cacheha1", Some(900)),
        about(entry("lx4", 3, noon() - 60_000, Level::Notice, "cache is started again"), "cacheha1", None),
        about(entry("lx4", 4, noon() - 30_000, Level::Notice, "cache is started again"), "cacheha1", None),
    ];
    for (entry, (kind, epoch)) in
        entries.iter_mut().zip([("assigned", 7), ("online", 7), ("restart", 7), ("restart", 6)])
    {
        (entry.kind, entry.epoch) = (kind.into(), Some(Epoch(epoch)));
    }
    let daemon = Scripted::new(vec![status]).with_events(entries);
    let path = format!("{}/../../examples/ward7.toml", env!("CARGO_MANIFEST_DIR"));
    *daemon.config.borrow_mut() = (std::fs::read_to_string(path).unwrap(), 4);
    daemon
}

fn view(status: Status) -> View {
    View::look(&daemon(status), History::default(), &TimeZone::UTC, noon).unwrap()
}

#[test]
fn all_is_well() {
    assert_snapshot!(render(&view(healthy())));
}

#[test]
fn a_member_is_silent_and_its_service_waits_for_the_power_switch() {
    assert_snapshot!(render(&view(blocked())));
}

#[test]
fn the_member_that_is_asked_is_cut_off() {
    assert_snapshot!(render(&view(not_quorate())));
}

#[test]
fn a_service_runs_nowhere() {
    assert_snapshot!(services(&view(failed()), Some("cacheha1")));
}

#[test]
fn a_service_that_is_held_and_one_that_waits_for_its_next_start_say_so() {
    let mut status = healthy();
    status.groups[0].held = Some(HoldStatus { who: "maria".into(), why: "upgrade".into(), since_ms: noon() });
    status.groups[0].pending = Some(
        "cacheha1 runs as it was acquired; this waits until cacheha1 is next enabled, moved or restarted"
            .into(),
    );
    assert_snapshot!(services(&view(status), None));
}

#[test]
fn every_state_has_a_word_of_that_screen() {
    let word = |state: &str| crate::clustat::word(&with_group(state, None, 7).groups[0]);
    let words = [
        "online",
        "acquiring",
        "releasing",
        "disabled",
        "offline",
        "failed",
        "blocked",
        "stuck",
        "unmanaged",
        "unknown",
    ];
    assert_eq!(
        words.map(word),
        [
            "running", "starting", "stopping", "disabled", "stopped", "error", "error", "error", "error",
            "unknown"
        ]
    );
}

#[test]
fn a_power_switch_in_doubt_is_a_warning() {
    let mut status = healthy();
    status.nodes[1]
        .troubles
        .push("the fence device power cannot tell whether lx4 has power: no answer".into());
    let view = view(status);
    let power: Vec<_> = view.status.nodes.iter().map(|n| view.power(n)).collect();
    assert_eq!(power, ["Wrn", "Wrn", "None"]);
}

#[test]
fn a_service_that_runs_on_though_something_of_it_is_not_well_says_so() {
    let mut status = healthy();
    status.groups[0].resources[2].state = "unwell".into();
    assert_snapshot!(services(&view(status), None));
}

#[test]
fn programs_get_the_same() {
    let value = as_json(&view(healthy()), None);
    assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
    assert_eq!(as_json(&view(healthy()), Some("nothing"))["services"], serde_json::json!([]));
}

#[test]
fn the_exit_code_tells_a_script_what_it_wants_to_know() {
    let args = |service: Option<&str>, quiet| ClustatArgs {
        interval: None,
        service: service.map(str::to_owned),
        quiet,
    };
    let code =
        |status, args| run(&daemon(status), &Screen::silent(), &args).map_or_else(|t| t.exit as u8, |()| 0);
    assert_eq!(code(healthy(), args(Some("cacheha1"), true)), 0);
    assert_eq!(code(failed(), args(Some("cacheha1"), true)), 1);
    assert_eq!(code(failed(), args(Some("cacheha1"), false)), 1);
    assert_eq!(code(healthy(), args(Some("nothing"), false)), 1);
    assert_eq!(code(failed(), args(None, false)), 0, "that it can be shown is all that was asked");
    assert_eq!(code(not_quorate(), args(None, true)), 1);
}

#[test]
fn the_example_has_the_service_that_is_shown() {
    let text = daemon(healthy()).config.borrow().0.clone();
    assert!(parse(&text).config.unwrap().groups.iter().any(|g| g.name.as_str() == "cacheha1"));
}
