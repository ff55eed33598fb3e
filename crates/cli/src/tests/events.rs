//! `regent events`: one list out of many journals.

use jiff::tz::TimeZone;
use regent_model::journal::{Entry, Level};

use super::samples::{about, entry};
use crate::events::{Manner, Teller, bursts, entry_json, merged, newest, of_group, render};
use crate::paint::Paint;

/// 2026-07-12 09:30:00 UTC.
const T: u64 = 1_783_848_600_000;

fn manner(verbose: bool) -> Manner {
    Manner { verbose, zone: TimeZone::UTC, paint: Paint(false) }
}

/// A takeover as three journals tell it, in the order in which one node learnt of them.
fn takeover() -> Vec<Entry> {
    let mut failed =
        entry("lx5", 45, T + 5_400, Level::Warning, "application cache is not well (1 of 2): exit code 1");
    failed.evidence = "cache: connecting ...\ncache:\tno answer\u{1b}[31m\n".into();
    let mut mounted =
        about(entry("lx5", 42, T + 640, Level::Step, "filesystem storage2 is up"), "cacheha1", Some(21));
    mounted.evidence = "e2fsck: clean".into();
    vec![
        entry("lx5", 40, T + 3, Level::Step, "lx4 was not heard on any network for 300 ms"),
        about(
            entry("lx5", 41, T + 613, Level::Notice, "lx5 owns cacheha1 from now on, epoch 8 after lx4"),
            "cacheha1",
            None,
        ),
        mounted,
        about(entry("lx5", 43, T + 652, Level::Step, "address 192.9.202.197 is up"), "cacheha1", Some(9)),
        about(entry("lx5", 44, T + 901, Level::Notice, "cacheha1 online on lx5"), "cacheha1", Some(288)),
        about(failed, "cacheha1", None),
        entry("wit", 12, T, Level::Step, "lx4 was not heard on any network for 300 ms"),
        entry("wit", 13, T + 611, Level::Notice, "lx4 is down: fenced, confirmed by power"),
        about(entry("lx5", 46, T + 5_401, Level::Step, "web was asked"), "web", None),
    ]
}

#[test]
fn a_takeover_is_one_list_with_milliseconds_from_its_first_entry() {
    insta::assert_snapshot!(render(&bursts(takeover()), &manner(false)));
}

#[test]
fn verbose_shows_the_evidence_of_every_step() {
    let first = bursts(takeover()).swap_remove(0);
    insta::assert_snapshot!(render(&[first], &manner(true)));
}

#[test]
fn of_one_group_the_causes_are_shown_and_the_other_groups_are_not() {
    let texts = |group: &str| -> Vec<String> {
        of_group(bursts(takeover()), group).into_iter().flatten().map(|e| e.text).collect()
    };
    assert!(texts("cacheha1").iter().any(|t| t.starts_with("lx4 is down")));
    assert!(!texts("cacheha1").iter().any(|t| t == "web was asked"));
    assert_eq!(texts("web"), ["web was asked"]);
}

#[test]
fn a_clock_that_jumps_back_does_not_turn_the_order_of_a_node() {
    let list = vec![
        entry("lx4", 1, T + 500, Level::Step, "a1"),
        entry("lx4", 2, T + 100, Level::Step, "a2"),
        entry("lx5", 1, T + 300, Level::Step, "b1"),
        entry("lx5", 1, T + 300, Level::Step, "b1"),
    ];
    let order: Vec<String> = merged(list).into_iter().map(|e| e.text).collect();
    assert_eq!(order, ["b1", "a1", "a2"], "and an entry that is told twice is shown once");
}

#[test]
fn the_newest_are_kept_when_there_are_too_many() {
    let kept = newest(bursts(takeover()), 3);
    let texts: Vec<&str> = kept.iter().flatten().map(|e| e.text.as_str()).collect();
    assert_eq!(texts[0], "cacheha1 online on lx5");
    assert_eq!(texts.len(), 3);
    assert!(newest(bursts(takeover()), 0).is_empty());
}

#[test]
fn what_comes_after_a_pause_begins_a_new_burst() {
    let mut teller = Teller::new(manner(false));
    let lines: Vec<String> = merged(takeover()).iter().map(|e| teller.line(e)).collect();
    assert!(lines[0].starts_with("2026-07-12 09:30:00.000 UTC\n"), "{}", lines[0]);
    assert!(lines[1].trim_start().starts_with("+3 ms"), "{}", lines[1]);
    let pause = lines.iter().position(|l| l.contains("is not well")).unwrap();
    assert!(lines[pause].starts_with("\n2026-07-12 09:30:05.400 UTC\n"), "{}", lines[pause]);
}

#[test]
fn what_is_learnt_late_is_told_at_its_own_time() {
    let mut teller = Teller::new(manner(false));
    let now = teller.line(&entry("lx5", 1, T + 60_000, Level::Step, "now"));
    assert!(now.starts_with("2026-07-12 09:31:00.000 UTC\n"), "{now}");
    let late = teller.line(&entry("lx4", 1, T, Level::Step, "a minute ago"));
    assert!(late.starts_with("\n2026-07-12 09:30:00.000 UTC\n    +0 ms"), "{late}");
    let again = teller.line(&entry("lx4", 2, T + 10, Level::Step, "just after"));
    assert!(again.starts_with("   +10 ms"), "{again}");
}

#[test]
fn programs_get_milliseconds() {
    let entry = &takeover()[3];
    let value = entry_json(entry, T);
    assert_eq!(value["since_burst_ms"], 652);
    assert_eq!(value["took_ms"], 9.0);
    assert_eq!(value["time"], "2026-07-12T09:30:00.652Z");
    assert_eq!(serde_json::from_value::<Entry>(value).unwrap(), *entry);
}

#[test]
fn nothing_is_said_to_be_nothing() {
    assert_eq!(render(&[], &manner(false)), "nothing has happened\n");
}
