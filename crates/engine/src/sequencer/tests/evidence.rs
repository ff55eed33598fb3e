//! Evidence before recovery, and monitors that only observe.

use std::time::Duration;

use regent_model::action::{Failure, How, Outcome};
use regent_model::state::{Phase, ReleaseReason};

use super::{Play, Wish, play};

/// One interval passes, and the monitor is not content.
fn fails(play: &mut Play, how: How) {
    play.after(10);
    let run = play.asked(how);
    play.answer(&run, Outcome::Failed(Failure::because("it says no")));
}

fn waits_for_evidence(play: &Play) -> bool {
    play.is_asked(How::Evidence) && !play.open.iter().any(|r| r.op != regent_model::action::Op::Monitor)
}

#[test]
fn before_a_failed_application_is_restarted_or_its_group_goes_evidence_is_gathered() {
    let mut play = play("restarts = 1\nmonitor = { failures = 1 }\ndiagnose = { timeout = \"7s\" }");
    fails(&mut play, How::Plain);
    assert!(waits_for_evidence(&play), "{}", play.told);
    let run = play.open.iter().find(|r| r.how == How::Evidence).unwrap();
    assert_eq!(run.deadline, Duration::from_secs(7));
    assert_eq!(run.environment.last().unwrap(), &("REGENT_FAILURE".to_owned(), "it says no".to_owned()));
    play.up();
    fails(&mut play, How::Plain);
    assert!(waits_for_evidence(&play) && play.ended.is_none(), "{}", play.told);
    play.up();
    let steps: Vec<&str> = play.told.lines().filter(|l| l.starts_with('>')).collect();
    let restart = ["> evidence", "> release after failure", "> acquire after failure"];
    assert_eq!(steps[steps.len() - 5..], [&restart[..], &["> evidence", "> release"]].concat());
    assert!(matches!(&play.ended, Some(Wish::Released(Some(_)))));
}

#[test]
fn an_agent_that_does_not_answer_costs_no_more_than_the_budget() {
    let mut play = play("monitor = { failures = 1, interval = \"10s\" }");
    fails(&mut play, How::Plain);
    play.after(5);
    assert!(waits_for_evidence(&play), "5 s is the budget: {}", play.told);
    play.after(1);
    assert!(!waits_for_evidence(&play), "{}", play.told);
    // What it says later is nobody's.
    let late = play.asked(How::Evidence);
    play.answer(&late, Outcome::Running);
    play.up();
    assert!(play.told.contains("online: g restarted on a"), "{}", play.told);
}

#[test]
fn what_the_log_asks_for_waits_for_no_evidence() {
    for lines in ["monitor = { failures = 1 }", "restarts = 0\nmonitor = { failures = 1 }"] {
        let mut play = play(lines);
        fails(&mut play, How::Plain);
        assert!(waits_for_evidence(&play), "{}", play.told);
        play.sequencer.follow(&Phase::Releasing(ReleaseReason::Disabled));
        play.go();
        assert!(!waits_for_evidence(&play), "{}", play.told);
        play.up();
        assert!(matches!(play.ended, Some(Wish::Released(_))), "{}", play.told);
    }
}

#[test]
fn where_it_is_turned_off_nothing_is_gathered() {
    let mut play = play("diagnose = false\nmonitor = { failures = 1 }");
    fails(&mut play, How::Plain);
    play.up();
    assert!(!play.told.contains("> evidence") && play.told.contains("> release after failure"));
}

#[test]
fn a_monitor_that_observes_notifies_tells_and_gathers_evidence_and_never_acts() {
    let mut play = play(
        "notify = \"/tell\"\nmonitor = [{ interval = \"100s\", failures = 1 }, { kind = \"custom\", name = \"answers\", \
         command = \"/check\", interval = \"10s\", failures = 2, action = \"observe\" }]",
    );
    let observer = How::Watch(0);
    fails(&mut play, observer);
    assert!(!play.is_asked(How::Evidence), "one of two: {}", play.told);
    fails(&mut play, observer);
    assert!(play.told.contains("observed: monitor answers of application app is not well; it only observes"));
    assert_eq!(play.word(), "unwell");
    assert_eq!(play.asked(How::Notify).environment.last().unwrap().1, "it says no");
    let evidence = play.asked(How::Evidence);
    play.answer(&evidence, Outcome::Running);
    let before = play.told.clone();
    for _ in 0..5 {
        fails(&mut play, observer);
    }
    assert_eq!(play.told, before, "told once");
    assert!(!play.is_asked(How::Notify) && !play.is_asked(How::Evidence) && play.ended.is_none());
    // The other monitor acts as ever, and the observer begins anew.
    play.after(30);
    let run = play.asked(How::Plain);
    play.answer(&run, Outcome::Stopped);
    play.up();
    play.open.clear();
    assert!(play.told.contains("> acquire after failure") && play.word() == "running", "{}", play.told);
    play.check(observer, false);
    play.check(observer, false);
    play.check(observer, true);
    assert!(play.told.contains("monitor answers of application app is well again"), "{}", play.told);
    assert_eq!((play.word(), play.told.matches("restart: ").count()), ("running", 1));
}

#[test]
fn where_the_own_monitor_observes_the_end_of_the_process_is_told_too_and_left() {
    let mut play = play("monitor = { action = \"observe\", failures = 1 }");
    play.ends();
    assert!(play.told.contains("application app has ended: process 7 exited with 1\n"), "{}", play.told);
    assert!(play.told.contains("> evidence") && !play.told.contains("> release"), "{}", play.told);
    assert_eq!((play.word(), play.ended.is_none()), ("unwell", true));
    let before = play.told.clone();
    play.check(How::Plain, false);
    assert_eq!(play.told, before);
    play.check(How::Plain, true);
    assert!(play.told.contains("is well again") && play.word() == "running", "{}", play.told);
}
