//! `regent status` and `regent explain` in every condition that matters.

use super::samples;
use crate::paint::Paint;
use crate::status::{explain, render, status_json};

const PLAIN: Paint = Paint(false);

#[test]
fn a_healthy_cluster_is_read_at_a_glance() {
    insta::assert_snapshot!(render(&samples::healthy(), PLAIN));
}

#[test]
fn a_blocked_group_says_what_is_missing_and_what_to_type() {
    insta::assert_snapshot!(render(&samples::blocked(), PLAIN));
}

#[test]
fn a_failed_group_says_why_on_each_node() {
    insta::assert_snapshot!(render(&samples::failed(), PLAIN));
}

#[test]
fn a_node_without_a_majority_says_that_its_view_may_be_stale() {
    let text = render(&samples::not_quorate(), PLAIN);
    assert!(
        text.lines().next().unwrap().contains("NOT IN TOUCH WITH A MAJORITY"),
        "in the first line:\n{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_group_that_never_ran_and_a_cluster_without_groups() {
    let mut status = samples::with_group("disabled", None, 0);
    status.groups[0].proof = "never-owned".into();
    status.groups[0].proof_text = "never owned before".into();
    status.groups[0].resources = samples::resources("stopped");
    status.groups[0].why = "it is disabled".into();
    status.groups[0].blocked = Some("disabled; to run it: regent group enable cacheha1".into());
    let disabled = render(&status, PLAIN);
    status.groups.clear();
    insta::assert_snapshot!(format!("{disabled}\n---\n{}", render(&status, PLAIN)));
}

#[test]
fn what_nodes_are_in_trouble_with_is_shown_below_them_and_pointed_at_in_the_first_line() {
    let mut status = samples::healthy();
    status.nodes[1].troubles =
        vec!["the disk is full while preparing /var/lib/regent/log/x: make room there".into()];
    let one = render(&status, PLAIN);
    status.nodes[0].troubles =
        vec!["keepalives sealed with another key are refused".into(), "a\nline".into()];
    insta::assert_snapshot!(format!("{one}\n---\n{}", render(&status, PLAIN)));
}

#[test]
fn colour_changes_nothing_but_colour() {
    for status in [samples::healthy(), samples::blocked(), samples::failed(), samples::not_quorate()] {
        let coloured = render(&status, Paint(true));
        assert!(coloured.contains('\u{1b}'));
        assert_eq!(stripped(&coloured), render(&status, PLAIN));
    }
}

fn stripped(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn explain_says_why_here_and_why_not_elsewhere() {
    let (well, ill) = (samples::healthy(), samples::blocked());
    let both =
        format!("{}\n---\n{}", explain(&well, &well.groups[0], PLAIN), explain(&ill, &ill.groups[0], PLAIN));
    insta::assert_snapshot!(both);
}

#[test]
fn programs_get_the_status_of_the_daemon_and_a_little_more() {
    let status = samples::blocked();
    let value = status_json(&status);
    assert_eq!(value["lease_ms"], 600.0);
    assert_eq!(value["groups"][0]["verdicts"]["lx5"], "could have it");
    assert_eq!(serde_json::from_value::<regent_api::Status>(value).unwrap(), status);
}

#[test]
fn in_the_middle_of_an_upgrade_it_says_who_runs_what_and_who_holds_the_format_back() {
    let mut status = samples::healthy();
    for node in status.nodes.iter_mut().take(2) {
        node.version = Some("0.2.0".into());
        node.reads = Some(2);
    }
    let last = status.nodes.last().unwrap().name.clone();
    let text = render(&status, PLAIN);
    let line = text.lines().find(|l| l.starts_with("releases: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(&format!("0.1.0 on {last}; 0.2.0 on ")), "{line}");
    assert!(line.ends_with(&format!("format 1 stays in force for {last}")), "{line}");
    // Who is away holds it back too, and is not said to run anything.
    status.nodes.last_mut().unwrap().state = "down".into();
    assert!(render(&status, PLAIN).contains(&format!("; format 1 stays in force for {last}\n")));
    status.nodes.iter_mut().for_each(|n| n.reads = Some(2));
    status.format = 2;
    assert!(!render(&status, PLAIN).contains("releases:"), "nothing is left to do");
}
