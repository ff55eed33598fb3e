//! Plans as they are read, checked and made; a plan run on a scripted cluster; the report.

mod instances;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use regent_api::{Registry, Status};
use regent_model::config::{Config, parse as parse_config};
use regent_model::{Epoch, NodeName};

use super::check::{Ground, check};
use super::parse::{EXPECTATIONS, LANGUAGE, parse};
use super::plan::{Act, Step};
use super::report::{Heard, Outcome, Report};
use super::runner::{Run, Stage, run, unwell};
use super::series::{Answer, Series};
use super::{guide, left};
use crate::trouble::{Result, Trouble};
use crate::verify::render_finding;

const CONFIG: &str = r#"
[cluster]
name = "ward7"

[[node]]
name = "lx4"
addresses = ["10.77.0.4", "10.78.0.4"]

[[node]]
name = "lx5"
addresses = ["10.77.0.5", "10.78.0.5"]

[[witness]]
name = "wit"
addresses = ["10.77.0.3", "10.78.0.3"]

[[group]]
name = "cacheha1"
nodes = ["lx4", "lx5"]
policy = { startup = "home", failover = "next", failback = "never" }
[[group.address]]
address = "10.77.0.100/24"
[[group.application]]
name = "cache"
start = "/bin/true"
monitor = { command = "/bin/true", interval = "10s" }

[[group]]
name = "cacheha2"
nodes = ["lx5", "lx4"]
policy = { startup = "home", failover = "next", failback = "never" }
[[group.address]]
address = "10.77.0.101/24"

[[group]]
name = "home"
nodes = ["lx4", "lx5"]
policy = "cascading"
[[group.address]]
address = "10.77.0.102/24"

[[group]]
name = "alone"
nodes = ["lx4"]
[[group.address]]
address = "10.77.0.103/24"
"#;

fn config() -> Config {
    let parsed = parse_config(CONFIG);
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// The cluster as it is in the beginning: every group at home.
fn status() -> Status {
    let mut status = crate::tests::samples::healthy();
    let sample = status.groups.remove(0);
    for (name, owner) in [("cacheha1", "lx4"), ("cacheha2", "lx5"), ("home", "lx4"), ("alone", "lx4")] {
        let mut group = sample.clone();
        group.name = regent_model::GroupName::new(name).unwrap();
        group.owner = Some(node(owner));
        status.groups.push(group);
    }
    status
}

fn shown(text: &str, findings: &[regent_model::config::Finding]) -> String {
    findings.iter().map(|f| render_finding("plan.drill", text, f, false)).collect()
}

#[test]
fn every_mistake_of_a_plan_is_shown_at_its_line_with_what_to_write() {
    let text = "# a plan\n\
                fail_node lx4\n\
                FAIL_NODE\n\
                FAIL_NODE lx4 explosion\n\
                FAIL_NODE lx4 power now\n\
                REBOOT lx4\n\
                WAIT long\n\
                PROBE 10.77.0.100\n\
                MOVE cacheha1\n\
                EXPECT cacheha1\n\
                EXPECT cacheha1 ONLINE ON\n\
                EXPECT cacheha1 ANSWERS\n\
                EXPECT cacheha1 cacheha2 UP\n\
                EXPECT 10.77.0.100 AWAY\n\
                EXPECT INSTANCE cacheha1 ONLINE\n\
                EXPECT INSTANCE cacheha1 cacheha2 UP\n\
                EXPECT INSTANCE b\u{e4}d! UP\n\
                EXPECT cacheha1 STAYS ON lx5 WITHIN 5s   # FOR is meant\n\
                SERVICE_KILL cacheha1 b\u{e4}d!\n";
    let read = parse(text);
    assert_eq!(read.steps, []);
    insta::assert_snapshot!(shown(text, &read.findings));
    let empty = parse("# nothing\n");
    assert!(empty.findings[0].help.contains("--print"));
}

#[test]
fn what_does_not_fit_the_cluster_is_shown_at_its_line() {
    let text = "PROBE 10.77.0.9:80\n\
                FAIL_NODE lx9\n\
                RETURN_NODE lx4\n\
                FAIL_NODE lx4\n\
                FAIL_NODE lx4\n\
                EXPECT lx4 UP\n\
                EXPECT cacheha1 ONLINE ON lx4\n\
                EXPECT alone ONLINE ON lx5\n\
                MOVE nothing lx5\n\
                SERVICE_KILL cacheha1 httpd\n\
                NETWORK_DOWN lx5 ether3\n\
                NETWORK_DOWN lx5 2\n\
                NETWORK_UP lx5 1\n\
                EXPECT 10.77.0.101 ANSWERS FROM wit\n\
                EXPECT INSTANCE cacheha1 UP\n\
                FAIL_NODE lx5\n";
    let read = parse(text);
    assert_eq!(read.findings, []);
    insta::assert_snapshot!(shown(text, &check(&read.steps, &config(), Ground::Lab)));
}

#[test]
fn what_only_a_lab_can_break_is_refused_on_a_live_cluster() {
    let text = "FAIL_NODE lx4 network\nRETURN_NODE lx4\nFAIL_NODE lx5\nRETURN_NODE lx5\nNETWORK_DOWN lx4 1\n";
    let steps = parse(text).steps;
    insta::assert_snapshot!(shown(text, &check(&steps, &config(), Ground::Live)));
}

#[test]
fn a_step_written_out_is_read_as_the_same_step() {
    for example in LANGUAGE.map(|(_, example)| example).iter().chain(&EXPECTATIONS) {
        let plain = example.replace(" ...]", "]").replace(['[', ']'], "").replace('|', " ");
        let plain = plain.replace("power network guard", "power");
        let read = parse(&plain);
        assert_eq!((read.steps.len(), read.findings.as_slice()), (1, &[][..]), "{plain}");
        let again = parse(&read.steps[0].act.to_string());
        assert_eq!(again.steps[0].act, read.steps[0].act, "{plain}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_findings_lie_in_it(text in "(?s).{0,200}") {
        for finding in parse(&text).findings {
            prop_assert!(text.get(finding.span.clone()).is_some());
        }
    }

    #[test]
    fn words_of_the_language_in_any_order_are_read(words in proptest::collection::vec(
        prop_oneof![
            Just("EXPECT"), Just("lx4"), Just("ONLINE"), Just("ON"), Just("WITHIN"), Just("5s"), Just("STAYS"),
            Just("FOR"), Just("10.0.0.1"), Just("ANSWERS"), Just("FROM"), Just("\n"), Just("AWAY"), Just("AT_MOST"),
            Just("FAIL_NODE"), Just("#"), Just("MOVE"), Just("PROBE"), Just("10.0.0.1:1"), Just("\u{2003}"),
        ], 0..30))
    {
        let text = words.join(" ");
        let read = parse(&text);
        for step in read.steps {
            prop_assert_eq!(&parse(&step.act.to_string()).steps[0].act, &step.act);
        }
    }
}

#[test]
fn the_guides_plan_is_made_for_the_groups_and_policies_of_the_cluster_and_is_a_valid_plan() {
    let plan = guide::plan(&config(), &status(), &BTreeSet::new()).unwrap();
    insta::assert_snapshot!(plan);
    let read = parse(&plan);
    assert_eq!(read.findings, []);
    assert_eq!(check(&read.steps, &config(), Ground::Lab), []);
    let mut nothing = status();
    nothing.groups.truncate(0);
    assert!(guide::plan(&config(), &nothing, &BTreeSet::new()).is_err());
}

/// What becomes of a cluster.
type Becomes = fn(&mut Status);

/// A cluster that does what is written: at which time which node has a group, who answers, who is up.
struct Scripted {
    now: Duration,
    status: Status,
    /// What becomes of the cluster, and when, counted from the last step that did something.
    then: BTreeMap<String, Vec<(u64, Becomes)>>,
    due: VecDeque<(Duration, Becomes)>,
    series: Series,
    done: Vec<String>,
    end_at: Option<Duration>,
    refuse: Option<&'static str>,
    /// What the registry says while the cluster is like this; nothing while nobody can say it.
    registry: fn(&Status) -> Option<Registry>,
}

impl Scripted {
    fn new() -> Self {
        Self {
            now: Duration::ZERO,
            status: status(),
            then: BTreeMap::new(),
            due: VecDeque::new(),
            series: Series::default(),
            done: Vec::new(),
            end_at: None,
            refuse: None,
            registry: |_| None,
        }
    }

    fn when(mut self, step: &str, after_ms: u64, change: Becomes) -> Self {
        self.then.entry(step.to_owned()).or_default().push((after_ms, change));
        self
    }

    fn play(&mut self, plan: &str) -> Run {
        let read = parse(plan);
        assert_eq!(read.findings, []);
        run(self, &read.steps, &mut |_, _, _| Ok(())).unwrap()
    }
}

fn group<'a>(status: &'a mut Status, name: &str) -> &'a mut regent_api::GroupStatus {
    status.groups.iter_mut().find(|g| g.name.as_str() == name).unwrap()
}

fn to_lx5(status: &mut Status) {
    let group = group(status, "cacheha1");
    group.owner = Some(node("lx5"));
    group.epoch = Epoch(8);
}

fn back_to_lx4(status: &mut Status) {
    let group = group(status, "cacheha1");
    group.owner = Some(node("lx4"));
    group.epoch = Epoch(9);
}

impl Stage for Scripted {
    fn now(&self) -> Duration {
        self.now
    }

    fn pause(&mut self, time: Duration) {
        self.now += time;
        while self.due.front().is_some_and(|(at, _)| *at <= self.now) {
            let (_, change) = self.due.pop_front().unwrap();
            change(&mut self.status);
        }
        let group = self.status.groups.iter().find(|g| g.name.as_str() == "cacheha1").unwrap();
        let owner = group.owner.clone();
        let lost = self.status.nodes.iter().any(|n| Some(&n.name) == owner.as_ref() && n.state == "down");
        if group.state == "online" && !lost {
            self.series.push(Answer { at: self.now, from: owner });
        } else {
            self.series.miss(self.now);
        }
    }

    fn wants_to_end(&self) -> bool {
        self.end_at.is_some_and(|at| self.now >= at)
    }

    fn status(&mut self) -> Result<Status> {
        Ok(self.status.clone())
    }

    fn registry(&mut self) -> Result<Registry> {
        (self.registry)(&self.status).ok_or_else(|| Trouble::unreachable("nobody knows of instances"))
    }

    fn heard(&mut self, _address: IpAddr) -> Series {
        self.series.clone()
    }

    fn consent(&mut self, number: usize, step: &Step) -> Result<()> {
        match self.refuse {
            Some(step_words) if step_words == step.act.to_string() => {
                Err(Trouble::refused(format!("step {} was not consented to", number + 1)))
            }
            _ => Ok(()),
        }
    }

    fn act(&mut self, act: &Act) -> Result<String> {
        if matches!(act, Act::Move { group, .. } if group.as_str() == "alone") {
            return Err(Trouble::refused("alone cannot move").next("regent explain alone"));
        }
        let words = act.to_string();
        for (after, change) in self.then.get(&words).cloned().unwrap_or_default() {
            self.due.push_back((self.now + Duration::from_millis(after), change));
        }
        self.done.push(words.clone());
        Ok(format!("done: {words}"))
    }
}

/// A cluster that takes cacheha1 over within 700 ms.
fn good() -> Scripted {
    Scripted::new()
        .when("FAIL_NODE lx4 power", 0, |s| s.nodes[0].state = "down".into())
        .when("FAIL_NODE lx4 power", 700, to_lx5)
        .when("RETURN_NODE lx4", 3000, |s| s.nodes[0].state = "up".into())
}

const PLAN: &str = "FAIL_NODE lx4\n\
                    EXPECT lx4 LOST WITHIN 5s\n\
                    EXPECT cacheha1 ONLINE ON lx5 WITHIN 5s\n\
                    EXPECT 10.77.0.100 ANSWERS FROM lx5 WITHIN 5s\n\
                    EXPECT 10.77.0.100 AWAY AT_MOST 2s\n\
                    RETURN_NODE lx4\n\
                    EXPECT lx4 UP WITHIN 1m\n\
                    EXPECT cacheha1 STAYS ON lx5 FOR 5s\n";

fn report(run: Run, series: Series, took: Duration) -> Report {
    Report {
        cluster: "ward7".into(),
        ground: "the lab test".into(),
        plan: "plan.drill".into(),
        began: "2026-11-22 06:00:00 UTC".into(),
        steps: run.steps,
        heard: vec![Heard {
            address: [10, 77, 0, 100].into(),
            group: "cacheha1".into(),
            how: "TCP port 1972".into(),
            series,
        }],
        worth: Duration::from_millis(300),
        took,
        ended: run.ended,
        left: left(vec!["mended: lx4 has power again".into()], Ok(status())),
    }
}

fn outcomes(run: &Run) -> Vec<Outcome> {
    run.steps.iter().map(|s| s.outcome).collect()
}

#[test]
fn a_drill_whose_expectations_all_hold_is_good_and_its_report_says_how_long_the_service_was_away() {
    let mut stage = good();
    stage.pause(Duration::from_millis(50));
    let run = stage.play(PLAN);
    assert_eq!(outcomes(&run), vec![Outcome::Held; 8], "{run:#?}");
    let report = report(run, stage.series.clone(), stage.now);
    assert!(report.is_good());
    let away = report.away(0);
    assert_eq!(away.len(), 1, "{away:?}");
    let length = away[0].1.length(stage.now);
    assert!((Duration::from_millis(700)..Duration::from_millis(900)).contains(&length), "{length:?}");
    insta::assert_snapshot!("a_good_report", report.text());
    insta::assert_snapshot!("a_good_report_for_programs", format!("{:#}", report.json()));
}

#[test]
fn the_first_expectation_that_does_not_hold_ends_the_drill_and_makes_it_fail() {
    let mut stage = good();
    let plan = PLAN.replace("ONLINE ON lx5 WITHIN 5s", "ONLINE ON lx5 WITHIN 200ms");
    let run = stage.play(&plan);
    use Outcome::{Failed, Held, NotRun};
    assert_eq!(outcomes(&run), [Held, Held, Failed, NotRun, NotRun, NotRun, NotRun, NotRun]);
    let report = report(run, stage.series.clone(), stage.now);
    assert!(!report.is_good());
    insta::assert_snapshot!("a_report_of_a_failure", report.text());
    assert!(!stage.done.contains(&"RETURN_NODE lx4".to_owned()), "what comes after is not done");
}

#[test]
fn a_group_that_moves_back_did_not_stay_even_if_it_is_online() {
    let mut stage = good().when("RETURN_NODE lx4", 5000, back_to_lx4);
    let run = stage.play(&PLAN.replace("STAYS ON lx5", "STAYS"));
    let last = run.steps.last().unwrap();
    assert_eq!(last.outcome, Outcome::Failed, "{run:#?}");
    assert!(last.seen.starts_with("cacheha1 did not stay"), "{}", last.seen);
    // Nor did it when it went down and came up in the same place.
    let again = |s: &mut Status| group(s, "cacheha1").epoch = Epoch(11);
    let mut stage = good().when("RETURN_NODE lx4", 5000, again);
    assert_eq!(stage.play(PLAN).steps.last().unwrap().outcome, Outcome::Failed);
}

#[test]
fn what_a_lost_node_still_seems_to_own_is_not_online() {
    let mut stage = Scripted::new();
    let run = stage.play("FAIL_NODE lx4\nEXPECT cacheha1 ONLINE WITHIN 1s\n");
    assert_eq!(run.steps[1].outcome, Outcome::Failed);
    assert!(run.steps[1].seen.contains("still lx4's"), "{}", run.steps[1].seen);
}

#[test]
fn a_service_that_was_away_too_long_fails_its_expectation() {
    let mut stage = good();
    let run = stage.play(&PLAN.replace("AT_MOST 2s", "AT_MOST 500ms"));
    assert_eq!(run.steps[4].outcome, Outcome::Failed, "{run:#?}");
    assert!(run.steps[4].seen.starts_with("away 0."), "{}", run.steps[4].seen);
}

#[test]
fn an_address_is_silent_only_after_a_while_without_an_answer() {
    let mut stage = Scripted::new().when("FAIL_NODE lx4 power", 0, |s| s.nodes[0].state = "down".into());
    stage.pause(Duration::from_millis(50));
    let run = stage.play("EXPECT 10.77.0.100 SILENT WITHIN 2s\n");
    assert_eq!(outcomes(&run), [Outcome::Failed]);
    let run = stage.play("FAIL_NODE lx4\nEXPECT 10.77.0.100 SILENT WITHIN 2s\n");
    assert_eq!(outcomes(&run), [Outcome::Held; 2], "{run:#?}");
}

#[test]
fn a_step_without_consent_is_not_done_and_ends_the_drill() {
    let mut stage = good();
    stage.refuse = Some("FAIL_NODE lx4 power");
    let run = stage.play(PLAN);
    assert_eq!(outcomes(&run), [Outcome::NotRun; 8]);
    assert_eq!(stage.done, Vec::<String>::new());
    assert_eq!(run.ended.as_deref(), Some("step 1 was not consented to"));
}

#[test]
fn only_a_node_in_touch_with_a_majority_is_believed() {
    assert!(super::in_lab::in_touch(status()).is_ok());
    let refused = super::in_lab::in_touch(crate::tests::samples::not_quorate()).unwrap_err();
    assert!(refused.what.ends_with("is in touch with no majority"), "{refused}");
}

#[test]
fn a_node_that_has_begun_just_now_and_has_not_heard_an_owner_is_not_believed() {
    let mut early = status();
    group(&mut early, "home").state = "unknown".to_owned();
    let refused = super::in_lab::in_touch(early).unwrap_err();
    assert!(refused.what.contains("has only begun, and does not know yet how home is"), "{refused}");
}

#[test]
fn a_step_that_cannot_be_done_fails_with_what_to_type() {
    let run = Scripted::new().play("MOVE alone lx5\n");
    assert_eq!(run.steps[0].seen, "alone cannot move; next: regent explain alone");
    assert_eq!(outcomes(&run), [Outcome::Failed]);
}

#[test]
fn who_wants_it_to_end_is_heard_in_the_middle_of_a_step() {
    let mut stage = good();
    stage.end_at = Some(Duration::from_secs(2));
    let run = stage.play("WAIT 1s\nWAIT 1h\nFAIL_NODE lx4\n");
    assert_eq!(outcomes(&run), [Outcome::Held, Outcome::NotRun, Outcome::NotRun]);
    assert!(stage.now < Duration::from_secs(3));
    assert!(run.ended.unwrap().contains("wanted it to end"));
}

#[test]
fn only_a_cluster_that_is_well_is_drilled() {
    assert_eq!(unwell(&status()), Vec::<String>::new());
    assert!(unwell(&crate::tests::samples::blocked()).iter().any(|w| w.contains("lx4 is silent")));
    assert!(unwell(&crate::tests::samples::not_quorate())[0].ends_with("is not in touch with a majority"));
    let mut learner = status();
    learner.nodes[2].voter = false;
    assert_eq!(unwell(&learner), ["wit is up, and does not vote"]);
}
