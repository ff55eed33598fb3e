//! What a new configuration adds to a group that runs: it is brought up in its place, under the same epoch, and nothing
//! that runs is touched.

use regent_model::action::Resource;

use super::slots::Slot;
use super::{Sequencer, Stage};

impl Sequencer {
    /// Whether it has taken note of this configuration.
    pub(crate) fn follows(&self, serial: u64) -> bool {
        self.serial == serial
    }

    /// Takes note of what the group consists of by the configuration in force. What runs stays as it was acquired;
    /// what is not there yet is brought up once the group is online.
    pub(crate) fn wants(&mut self, serial: u64, resources: impl FnOnce() -> Vec<Resource>) {
        if self.serial != serial {
            self.serial = serial;
            self.wanted = resources();
        }
    }

    /// Makes room for what is to be added, if the group is online and there is something.
    pub(super) fn grow(&mut self) {
        let wanted = std::mem::take(&mut self.wanted);
        let is_new = |r: &Resource| !self.slots.iter().any(|s| s.resource.is_the_same_thing_as(r));
        let Some(first) = wanted.iter().position(is_new) else { return };
        // Where a configuration leaves out or changes what is held, what was acquired stays in force, and is what gets
        // here: were anything else to come, nothing may be lost sight of.
        let kept = |slot: &Slot| wanted.iter().any(|r| r.is_the_same_thing_as(&slot.resource));
        if !self.slots.iter().all(kept) {
            return;
        }
        let mut old: Vec<Slot> = std::mem::take(&mut self.slots);
        for resource in wanted {
            let found = old.iter().position(|slot| slot.resource.is_the_same_thing_as(&resource));
            let mut slot = found.map_or_else(|| Slot::new(resource), |at| old.remove(at));
            slot.stays = found.is_some();
            self.slots.push(slot);
        }
        // They are numbered anew; what was asked about is asked again.
        self.monitors.clear();
        self.notices.clear();
        self.hands.clear();
        // Everything else was seen to run.
        self.inherits = false;
        self.stage = Stage::Acquiring { at: first };
    }

    /// Up to which slot something may be up, beginning with `slot`, whose acquire failed.
    pub(super) fn highest(&self, slot: usize) -> usize {
        let up = self.slots.iter().rposition(|s| s.stays);
        up.map_or(0, |at| at + 1).max(slot + 1)
    }
}

#[cfg(test)]
mod tests {
    use regent_model::action::{Failure, Op, Outcome};
    use regent_model::ids::{Epoch, GroupName, NodeName};
    use regent_model::{Moment, config};

    use super::super::{RunNumbers, Task, Wish};
    use super::*;

    const HEAD: &str = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n\
                        [[group]]\nname = \"g\"\nnodes = [\"a\"]\nneeds = [\"lease-ended\"]\n\
                        [[group.address]]\naddress = \"10.0.0.9/24\"\n\
                        [[group.application]]\nname = \"old\"\nstart = \"/x\"\n";
    const MORE: &str = "[[group.filesystem]]\ndevice = \"/dev/x\"\nmount = \"/x\"\ntype = \"ext4\"\n\
                        [[group.application]]\nname = \"new\"\nstart = \"/x\"\nretries = 1\n";

    fn resources(more: &str) -> Vec<Resource> {
        let parsed = config::parse(&format!("{HEAD}{more}"));
        parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings)).groups[0].resources()
    }

    struct Bench {
        sequencer: Sequencer,
        numbers: RunNumbers,
        now: u64,
    }

    impl Bench {
        fn new() -> Self {
            let task = Task {
                group: GroupName::new("g").unwrap(),
                epoch: Epoch(1),
                node: NodeName::new("a").unwrap(),
                resources: resources(""),
                serial: 1,
                inherits: true,
                ends_by_reboot: false,
                ran_before: false,
            };
            Self { sequencer: Sequencer::acquire(task, Moment(0)), numbers: RunNumbers::default(), now: 0 }
        }

        /// Lets it go on until it asks for nothing more but checks; `fails` names what cannot be brought up.
        fn settle(&mut self, fails: &str) -> (Vec<String>, Vec<Wish>) {
            let (mut asked, mut said) = (Vec::new(), Vec::new());
            loop {
                self.now += 1;
                let mut wishes = Vec::new();
                self.sequencer.advance(Moment(self.now), &mut self.numbers, &mut wishes);
                let mut runs = Vec::new();
                for wish in wishes {
                    match wish {
                        Wish::Run(run) if run.op != Op::Monitor => runs.push(run),
                        Wish::Run(_) | Wish::Tell { .. } => {}
                        other => said.push(other),
                    }
                }
                if runs.is_empty() {
                    return (asked, said);
                }
                for run in runs {
                    let name = run.resource.name().to_string();
                    asked.push(format!("{} {name}", run.op.word()));
                    let outcome = match run.op {
                        Op::Acquire if name == fails => Outcome::Failed(Failure::because("no")),
                        Op::Acquire => Outcome::Running,
                        _ => Outcome::Stopped,
                    };
                    self.sequencer.done(Moment(self.now), run.id, outcome, &mut Vec::new());
                }
            }
        }
    }

    #[test]
    fn what_is_added_is_brought_up_in_its_place_and_nothing_else_is_touched() {
        let mut bench = Bench::new();
        bench.settle("");
        bench.sequencer.wants(1, || panic!("the configuration is the one it began with"));
        bench.sequencer.wants(2, || resources(MORE));
        let (asked, said) = bench.settle("");
        assert_eq!(asked, ["probe x", "acquire x", "probe new", "acquire new"]);
        assert!(said.is_empty(), "the log has nothing to hear: {said:?}");
        let words: Vec<_> = bench.sequencer.words().into_iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(words, ["x", "10.0.0.9", "old", "new"]);
        bench.sequencer.release();
        let (asked, _) = bench.settle("");
        assert_eq!(asked, ["release new", "release old", "release 10.0.0.9", "release x"]);
    }

    #[test]
    fn what_is_added_and_does_not_come_up_is_tried_again_alone_and_then_everything_goes_down() {
        let mut bench = Bench::new();
        bench.settle("");
        bench.sequencer.wants(2, || resources(MORE));
        let (asked, said) = bench.settle("x");
        let tail = ["release old", "release 10.0.0.9", "release x"];
        assert_eq!(asked[..4], ["probe x", "acquire x", "release x", "acquire x"]);
        assert_eq!(asked[4..], tail);
        assert!(matches!(said.as_slice(), [Wish::Released(Some(why))] if why.contains("no")), "{said:?}");
    }

    #[test]
    fn a_configuration_that_would_lose_sight_of_what_is_held_changes_nothing() {
        let mut bench = Bench::new();
        bench.settle("");
        bench
            .sequencer
            .wants(2, || resources(MORE).into_iter().filter(|r| r.name().as_str() != "old").collect());
        assert!(bench.settle("").0.is_empty());
        assert_eq!(bench.sequencer.words().len(), 2);
    }
}
