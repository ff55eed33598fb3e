//! Scenarios of one group on its owner: what its monitors see, and what follows.

mod evidence;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use regent_model::action::{Failure, How, Op, Outcome, Resource, Run};
use regent_model::{Epoch, GroupName, Moment, NodeName, ResourceName};

use super::{RunNumbers, Sequencer, Task, Wish};

/// A sequencer, the runs it asked for that are not answered, and what was told.
struct Play {
    sequencer: Sequencer,
    numbers: RunNumbers,
    now: Moment,
    open: Vec<Run>,
    told: String,
    /// What every plain operation answers until a test says otherwise.
    ended: Option<Wish>,
}

/// A group of one application with these lines; everything plain succeeds at once.
fn play(lines: &str) -> Play {
    let text = format!(
        "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n[[group]]\nname = \"g\"\n\
         nodes = [\"a\"]\n[[group.application]]\nname = \"app\"\nstart = \"/app\"\n{lines}\n"
    );
    let parsed = regent_model::config::parse(&text);
    let config = parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings));
    let resources: Vec<Resource> =
        config.groups[0].applications.iter().cloned().map(Resource::Application).collect();
    let task = Task {
        group: GroupName::new("g").unwrap(),
        epoch: Epoch(3),
        node: NodeName::new("a").unwrap(),
        resources,
        serial: 1,
        inherits: false,
        ends_by_reboot: false,
        ran_before: false,
    };
    let now = Moment(1);
    let sequencer = Sequencer::acquire(task, now);
    let mut play = Play {
        sequencer,
        numbers: RunNumbers::default(),
        now,
        open: Vec::new(),
        told: String::new(),
        ended: None,
    };
    play.go();
    play.up();
    play
}

impl Play {
    fn go(&mut self) {
        let mut wishes = Vec::new();
        self.sequencer.advance(self.now, &mut self.numbers, &mut wishes);
        self.take(wishes);
    }

    fn take(&mut self, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Run(run) => self.open.push(run),
                Wish::Tell { kind, text, .. } => writeln!(self.told, "{kind}: {text}").unwrap(),
                Wish::Raise(event, application) => writeln!(self.told, "{event} {application}").unwrap(),
                Wish::Online => {}
                ended => self.ended = Some(ended),
            }
        }
    }

    /// Time passes; what is due is asked.
    fn after(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.go();
    }

    fn answer(&mut self, run: &Run, outcome: Outcome) {
        let mut wishes = Vec::new();
        self.sequencer.done(self.now, run.id, outcome, &mut wishes);
        self.take(wishes);
        self.go();
    }

    /// Releases and acquires succeed until nothing is open but checks and notices.
    fn up(&mut self) {
        let is_step = |r: &Run| r.op != Op::Monitor || r.how == How::Evidence;
        while let Some(at) = self.open.iter().position(is_step) {
            let run = self.open.remove(at);
            let outcome = match run.op {
                Op::Acquire | Op::Monitor => Outcome::Running,
                _ => Outcome::Stopped,
            };
            writeln!(
                self.told,
                "> {}",
                match run.how {
                    How::Evidence => "evidence".to_owned(),
                    How::AfterFailure => format!("{} after failure", run.op.word()),
                    _ => run.op.word().to_owned(),
                }
            )
            .unwrap();
            self.answer(&run, outcome);
        }
    }

    /// The check of this monitor, which must be asked by now.
    fn asked(&mut self, how: How) -> Run {
        let at = self.open.iter().position(|r| r.op == Op::Monitor && r.how == how);
        self.open.remove(at.unwrap_or_else(|| panic!("{how:?} is not asked:\n{}", self.told)))
    }

    fn is_asked(&self, how: How) -> bool {
        self.open.iter().any(|r| r.op == Op::Monitor && r.how == how)
    }

    /// One interval passes, and the monitor answers.
    fn check(&mut self, how: How, well: bool) {
        self.after(10);
        let run = self.asked(how);
        let bad = Outcome::Failed(Failure::because("it says no"));
        self.answer(&run, if well { Outcome::Running } else { bad });
        self.up();
    }

    fn suspend(&mut self, on: bool) {
        let names: BTreeSet<ResourceName> =
            if on { [ResourceName::new("app").unwrap()].into() } else { BTreeSet::new() };
        let mut wishes = Vec::new();
        self.sequencer.suspend(self.now, &names, &mut wishes);
        self.take(wishes);
        self.go();
    }

    fn word(&self) -> &'static str {
        self.sequencer.words()[0].1.word()
    }

    fn ends(&mut self) {
        let mut wishes = Vec::new();
        let name = ResourceName::new("app").unwrap();
        self.sequencer.exited(self.now, &name, "process 7 exited with 1", &mut wishes);
        self.take(wishes);
        self.go();
        self.up();
    }
}

#[test]
fn n_failures_in_a_row_decide_unless_they_may_be_spread() {
    let mut play = play("monitor = { failures = 2 }");
    for well in [false, true, false, true] {
        play.check(How::Plain, well);
    }
    assert!(!play.told.contains("restart:"), "{}", play.told);
    play.check(How::Plain, false);
    play.check(How::Plain, false);
    assert!(play.told.contains("is not well (2 of 2)") && play.told.contains("restart:"), "{}", play.told);
}

#[test]
fn two_of_the_last_five_decide_however_they_are_spread_and_older_ones_are_forgotten() {
    let mut play = play("monitor = { failures = 2, of = 5 }");
    for well in [false, true, true, true, true, false, true, true] {
        play.check(How::Plain, well);
    }
    assert!(!play.told.contains("restart:"), "the first is too old: {}", play.told);
    play.check(How::Plain, false);
    assert!(
        play.told.contains("(2 of the last 5 checks; 2 decide)") && play.told.contains("restart:"),
        "{}",
        play.told
    );
}

#[test]
fn slow_is_seen_and_told_once_and_is_no_failure() {
    let mut play = play("monitor = { slow_after = \"2s\", failures = 1 }");
    for seconds in [3, 4, 1] {
        play.after(10);
        let run = play.asked(How::Plain);
        play.now = play.now + Duration::from_secs(seconds);
        play.answer(&run, Outcome::Running);
        assert_eq!(play.word(), if seconds > 2 { "slow" } else { "running" });
    }
    let slow = "slow: application app is slow: it is well, and took longer than 2 s to say so\n";
    assert_eq!(play.told.matches(slow).count(), 1, "{}", play.told);
    assert!(play.told.contains("is not slow any more") && !play.told.contains("restart:"), "{}", play.told);
    // One that times out is a failure, slow or not.
    play.after(10);
    let run = play.asked(How::Plain);
    play.answer(&run, Outcome::Failed(Failure { timed_out: true, ..Failure::because("no answer") }));
    assert!(play.told.contains("restart:"));
}

#[test]
fn nothing_is_asked_before_it_has_settled_after_a_start_and_after_each_restart() {
    let mut play = play("stabilisation = \"60s\"\nmonitor = { interval = \"5s\", failures = 1 }");
    for _ in 0..2 {
        play.after(59);
        assert!(!play.is_asked(How::Plain), "{}", play.told);
        play.after(1);
        let run = play.asked(How::Plain);
        play.answer(&run, Outcome::Stopped);
        play.up();
    }
    assert_eq!(play.told.matches("> acquire after failure").count(), 2, "{}", play.told);
}

#[test]
fn a_further_monitor_counts_by_itself_and_a_failure_takes_cleanup_and_restart() {
    let mut play = play(
        "monitor = [{ interval = \"10s\" }, { kind = \"custom\", name = \"answers\", command = \"/check\", interval = \"10s\", failures = 2 }]",
    );
    play.check(How::Plain, false);
    let run = play.asked(How::Watch(0));
    play.answer(&run, Outcome::Failed(Failure::because("no")));
    assert!(!play.told.contains("restart:"), "one of each: {}", play.told);
    play.check(How::Watch(0), false);
    assert!(play.told.contains("monitor answers of application app is not well (2 of 2)"), "{}", play.told);
    assert!(
        play.told.contains("> release after failure\n") && play.told.contains("> acquire after failure\n"),
        "{}",
        play.told
    );
}

/// Each attempt to bring it up but the last fails.
#[test]
fn a_restart_is_complete_when_the_application_is_up_again() {
    let mut play = play("restarts = 1\nretries = 1\nmonitor = { failures = 1 }");
    play.after(10);
    let run = play.asked(How::Plain);
    play.answer(&run, Outcome::Stopped);
    // Before it is stopped, it is looked at.
    let answers =
        [Outcome::Running, Outcome::Stopped, Outcome::Failed(Failure::because("no")), Outcome::Stopped];
    for answer in answers {
        let run = play.open.pop().unwrap();
        play.answer(&run, answer);
        assert!(!play.told.contains("server_restart_complete app\n"), "{}", play.told);
    }
    play.up();
    assert_eq!(play.told.matches("server_restart app\n").count(), 1, "{}", play.told);
    assert!(
        play.told.ends_with("application app is up\nserver_restart_complete app\nonline: g restarted on a\n"),
        "{}",
        play.told
    );
    play.check(How::Plain, false);
    assert_eq!(play.told.matches("server_restart").count(), 2, "the restarts are used up: {}", play.told);
    assert!(play.told.contains("server_down app\n"), "{}", play.told);
}

#[test]
fn with_notify_the_group_stays_and_is_told_of_once_until_it_is_well_again() {
    let mut play =
        play("restarts = 1\non_failure = \"notify\"\nnotify = \"/tell\"\nmonitor = { failures = 1 }");
    play.check(How::Plain, false);
    assert_eq!(play.asked(How::Notify).environment.last().unwrap().1, "it says no");
    play.check(How::Plain, false);
    assert!(play.told.contains("gave_up: ") && play.told.contains("left as it is"), "{}", play.told);
    assert!(play.ended.is_none() && play.word() == "failed");
    play.asked(How::Notify);
    let before = play.told.clone();
    play.check(How::Plain, false);
    assert_eq!((play.told == before, play.is_asked(How::Notify)), (true, false), "{}", play.told);
    play.check(How::Plain, true);
    assert!(play.told.contains("is well again") && play.word() == "running", "{}", play.told);
}

#[test]
fn without_it_the_group_goes_when_the_restarts_are_used_up() {
    let mut play = play("restarts = 1\nmonitor = { failures = 1 }");
    play.check(How::Plain, false);
    play.check(How::Plain, false);
    let last = play.told.rfind("> release").map(|at| &play.told[at..]).unwrap_or_default();
    assert!(last.starts_with("> release\n"), "the last release is the usual one: {}", play.told);
    assert!(
        matches!(&play.ended, Some(Wish::Released(Some(why))) if why.contains("it says no")),
        "{}",
        play.told
    );
}

#[test]
fn a_suspended_application_is_neither_asked_nor_missed_and_looked_at_when_resumed() {
    let mut play = play("monitor = { failures = 1 }");
    play.suspend(true);
    play.after(60);
    assert!(!play.is_asked(How::Plain) && play.told.contains("suspended: "), "{}", play.told);
    play.ends();
    assert!(
        play.told.contains("its monitors are suspended") && !play.told.contains("restart:"),
        "{}",
        play.told
    );
    play.suspend(false);
    assert!(play.told.contains("resumed: application app is watched again"));
    let run = play.asked(How::Plain);
    play.answer(&run, Outcome::Stopped);
    assert!(play.told.contains("restart:"), "{}", play.told);
}

#[test]
fn an_answer_that_comes_after_the_suspension_is_nobodys() {
    let mut play = play("monitor = { failures = 1 }");
    play.after(10);
    let run = play.asked(How::Plain);
    play.suspend(true);
    play.answer(&run, Outcome::Stopped);
    assert!(!play.told.contains("restart:"), "{}", play.told);
}

#[test]
fn the_end_of_a_background_start_is_judged_by_the_first_check() {
    let mut play = play("start_in = \"background\"\nstabilisation = \"30s\"\nmonitor = { failures = 1 }");
    play.after(5);
    play.ends();
    assert!(
        play.told.contains("the first check will judge") && !play.told.contains("restart:"),
        "{}",
        play.told
    );
    play.after(25);
    let run = play.asked(How::Plain);
    play.answer(&run, Outcome::Stopped);
    assert!(play.told.contains("restart:"), "{}", play.told);
}
