//! What somebody asks of an instance of this group, beside the steps: it is done only while the instance is held, and
//! only where no step has it in hand. A release that begins later ends it.

use regent_model::Moment;
use regent_model::action::{Hand, How, Op, Resource, Run};
use regent_model::ids::ResourceName;

use super::{RunNumbers, Sequencer, Stage};

impl Sequencer {
    /// The order for the agent, or why it cannot be given now. One that is down is started as it is `configured` now.
    pub(crate) fn by_hand(
        &mut self,
        now: Moment,
        resource: &ResourceName,
        hand: Hand,
        configured: Resource,
        numbers: &mut RunNumbers,
    ) -> Result<Run, &'static str> {
        let slot = self.slots.iter().position(|s| s.resource.name() == resource);
        let Some(at) = slot else { return Err("its group does not have it yet: it comes up first") };
        self.is_held(at)?;
        let slot = &mut self.slots[at];
        if hand == Hand::Start && slot.idle && slot.resource.is_the_same_thing_as(&configured) {
            slot.resource = configured;
        }
        // A check that finds it half-way is no check; it is looked at again afterwards.
        self.monitors.retain(|_, asked| asked.slot != at);
        self.slots[at].watch_again(now);
        let id = numbers.next();
        let deadline = self.slots[at].deadline(hand.op());
        let deadline = if hand == Hand::Status { self.slots[at].deadline(Op::Monitor) } else { deadline };
        self.hands.insert(id, at);
        Ok(self.order(id, at, hand.op(), How::ByHand(hand), deadline))
    }

    /// Whether the steps have brought it up so far that it is held, and do not have it in hand.
    fn is_held(&self, at: usize) -> Result<(), &'static str> {
        const COMING: &str = "its group is coming up, and has not come to it yet";
        const HERE: &str = "its group is bringing it up at this moment";
        const GOING: &str = "its group is taking it down at this moment";
        const GONE: &str = "its group is being released, and has let go of it";
        let in_hand = self.current.as_ref().is_some_and(|c| c.slot == at);
        match &self.stage {
            Stage::Online => Ok(()),
            Stage::Acquiring { .. } if self.slots[at].stays => Ok(()),
            Stage::Acquiring { at: next } if at < *next => Ok(()),
            Stage::Acquiring { at: next } => Err(if at == *next { HERE } else { COMING }),
            Stage::Mending { .. } | Stage::Releasing { .. } if in_hand => Err(GOING),
            Stage::Mending { at: next, .. } | Stage::Releasing { at: next, .. } if at < *next => Ok(()),
            Stage::Mending { .. } | Stage::Releasing { .. } | Stage::Released => Err(GONE),
            Stage::Stuck => Err("its group cannot be taken down: see to that first"),
        }
    }

    /// An instance came up, or went down.
    pub(crate) fn instance_is(&mut self, resource: &ResourceName, runs: bool) {
        let slot = self.slots.iter_mut().find(|s| s.resource.name() == resource);
        let Some(slot) = slot.filter(|s| matches!(s.resource, Resource::Instance(_))) else { return };
        slot.idle = !runs;
        let up = match self.stage {
            Stage::Online => true,
            _ => matches!(slot.word, crate::io::ResourceWord::Running | crate::io::ResourceWord::Stopped),
        };
        if up {
            slot.stands();
        }
    }
}

#[cfg(test)]
mod tests {
    use regent_model::action::{Failure, Outcome, RunId};
    use regent_model::config;
    use regent_model::ids::{Epoch, GroupName, NodeName};
    use regent_model::state::{Phase, ReleaseReason};

    use super::super::{Task, Wish};
    use super::*;

    struct Bench {
        sequencer: Sequencer,
        numbers: RunNumbers,
        now: u64,
        told: Vec<String>,
    }

    impl Bench {
        /// A group of an address, an instance and an application that is about to come up.
        fn new(monitor: &str) -> Self {
            let text = format!(
                "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n[[group]]\n\
                 name = \"g\"\nnodes = [\"a\"]\nneeds = [\"lease-ended\"]\n[[group.filesystem]]\ndevice = \"/dev/x\"\n\
                 mount = \"/x\"\ntype = \"ext4\"\n[[group.address]]\naddress = \"10.0.0.9/24\"\n\
                 [[group.application]]\nname = \"app\"\nstart = \"/x\"\n[[instance]]\nname = \"db\"\n\
                 kind = \"gtm\"\ndirectory = \"/x/db\"\nport = 1972\n{monitor}"
            );
            let parsed = config::parse(&text);
            let config = parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings));
            let task = Task {
                group: GroupName::new("g").unwrap(),
                epoch: Epoch(1),
                node: NodeName::new("a").unwrap(),
                resources: config.groups[0].resources(),
                serial: 1,
                inherits: false,
                ends_by_reboot: false,
                ran_before: false,
            };
            let sequencer = Sequencer::acquire(task, Moment(0));
            Self { sequencer, numbers: RunNumbers::default(), now: 0, told: Vec::new() }
        }

        /// What it asks for now.
        fn go(&mut self) -> Vec<Run> {
            self.now += 1_000_000;
            let (mut wishes, mut runs) = (Vec::new(), Vec::new());
            self.sequencer.advance(Moment(self.now), &mut self.numbers, &mut wishes);
            for wish in wishes {
                match wish {
                    Wish::Run(run) => runs.push(run),
                    Wish::Tell { text, .. } => self.told.push(text),
                    _ => {}
                }
            }
            runs
        }

        fn answer(&mut self, run: &Run, outcome: Outcome) {
            self.sequencer.done(Moment(self.now), run.id, outcome, &mut Vec::new());
        }

        /// Goes on, everything succeeding, until this is asked for.
        fn until(&mut self, op: Op, name: &str) -> Run {
            for _ in 0..20 {
                for run in self.go() {
                    if run.op == op && run.resource.name().as_str() == name {
                        return run;
                    }
                    let outcome = if run.op == Op::Acquire { Outcome::Running } else { Outcome::Stopped };
                    self.answer(&run, outcome);
                }
            }
            panic!("{op:?} of {name} was not asked for: {:?}", self.told);
        }

        fn by_hand(&mut self, hand: Hand) -> Result<Run, &'static str> {
            let configured = self.sequencer.slots[2].resource.clone();
            self.sequencer.by_hand(Moment(self.now), &db(), hand, configured, &mut self.numbers)
        }

        fn release(&mut self) {
            self.sequencer.follow(&Phase::Releasing(ReleaseReason::Disabled));
        }

        fn word(&self) -> &'static str {
            self.sequencer.words().into_iter().find(|(name, _)| *name == db()).map_or("", |(_, w)| w.word())
        }
    }

    fn db() -> ResourceName {
        ResourceName::new("instance-DB").unwrap()
    }

    #[test]
    fn it_is_started_by_hand_from_when_it_is_held_until_its_own_release_begins() {
        let mut bench = Bench::new("");
        bench.until(Op::Acquire, "10.0.0.9");
        assert!(bench.by_hand(Hand::Start).unwrap_err().contains("has not come to it yet"));
        let mut bench = Bench::new("");
        let own = bench.until(Op::Acquire, "instance-DB");
        assert!(bench.by_hand(Hand::Start).unwrap_err().contains("at this moment"));
        bench.answer(&own, Outcome::Running);
        // The script of the group's application starts it while the group comes up.
        let start = bench.until(Op::Acquire, "app");
        let run = bench.by_hand(Hand::Start).unwrap();
        assert_eq!((run.op, run.how, run.epoch), (Op::Acquire, How::ByHand(Hand::Start), Epoch(1)));
        bench.answer(&start, Outcome::Running);
        bench.go();
        assert!(bench.by_hand(Hand::Force).is_ok());
        // And stops it while the group goes down.
        bench.release();
        let stop = bench.until(Op::Release, "app");
        assert_eq!(bench.by_hand(Hand::Stop).unwrap().op, Op::Release);
        bench.answer(&stop, Outcome::Stopped);
        let own = bench.until(Op::Release, "instance-DB");
        for hand in [Hand::Start, Hand::Stop, Hand::Force] {
            assert!(bench.by_hand(hand).unwrap_err().contains("taking it down"));
        }
        bench.answer(&own, Outcome::Stopped);
        bench.go();
        assert!(bench.by_hand(Hand::Start).unwrap_err().contains("has let go of it"));
    }

    #[test]
    fn the_answer_to_a_start_by_hand_moves_no_step_and_one_that_is_down_is_shown_so() {
        let mut bench = Bench::new("");
        bench.until(Op::Acquire, "instance-DB");
        bench.sequencer.instance_is(&db(), false);
        let run = bench.sequencer.current.as_ref().map(|c| c.id).unwrap();
        bench.sequencer.done(Moment(bench.now), run, Outcome::Running, &mut Vec::new());
        assert_eq!(bench.word(), "stopped", "held, and not started");
        let app = bench.until(Op::Acquire, "app");
        bench.answer(&app, Outcome::Running);
        bench.go();
        let start = bench.by_hand(Hand::Start).unwrap();
        bench.sequencer.instance_is(&db(), true);
        bench.answer(&start, Outcome::Running);
        assert_eq!((bench.word(), bench.sequencer.stage.clone()), ("running", Stage::Online));
        let stop = bench.by_hand(Hand::Stop).unwrap();
        let failed = Outcome::Failed(Failure::because("no"));
        bench.answer(&stop, failed);
        assert_eq!(
            bench.sequencer.stage,
            Stage::Online,
            "a stop by hand that fails is no failure of the group"
        );
    }

    #[test]
    fn its_unexpected_end_is_told_and_is_a_failure_only_where_it_is_monitored() {
        for (monitor, stage) in
            [("", Stage::Online), ("monitor = { interval = \"10s\" }\n", Stage::Mending { at: 4, to: 2 })]
        {
            let mut bench = Bench::new(monitor);
            let app = bench.until(Op::Acquire, "app");
            bench.answer(&app, Outcome::Running);
            bench.go();
            bench.sequencer.instance_is(&db(), true);
            let mut wishes = Vec::new();
            bench.sequencer.exited(Moment(bench.now), &db(), "killed by signal 11", &mut wishes);
            let told = wishes
                .iter()
                .any(|w| matches!(w, Wish::Tell { text, .. } if text.contains("instance DB has ended")));
            assert!(told, "{wishes:?}");
            assert_eq!((bench.word(), bench.sequencer.stage.clone()), ("failed", stage));
            // In any case it is looked at first.
            let runs = bench.go();
            let evidence = runs.iter().find(|r| r.how == How::Evidence).expect("evidence is asked for");
            assert_eq!(*evidence.resource.name(), db());
            assert_eq!(evidence.environment.last().unwrap().1, "killed by signal 11");
            assert!(runs.iter().all(|r| r.op == Op::Monitor), "nothing is ended before: {runs:?}");
        }
    }

    #[test]
    fn it_is_not_checked_while_somebody_has_it_in_hand() {
        let mut bench = Bench::new("monitor = { interval = \"1ms\" }\n");
        let app = bench.until(Op::Acquire, "app");
        bench.answer(&app, Outcome::Running);
        bench.go();
        let checks = |runs: &[Run]| -> Vec<RunId> {
            runs.iter().filter(|r| r.op == Op::Monitor && *r.resource.name() == db()).map(|r| r.id).collect()
        };
        bench.now += 10_000_000;
        let check = bench.go().into_iter().find(|r| *r.resource.name() == db()).unwrap();
        let stop = bench.by_hand(Hand::Stop).unwrap();
        bench.answer(&check, Outcome::Failed(Failure::because("called off")));
        bench.now += 10_000_000;
        assert!(checks(&bench.go()).is_empty());
        bench.answer(&stop, Outcome::Stopped);
        assert_eq!(checks(&bench.go()).len(), 1, "it is looked at again at once");
    }
}
