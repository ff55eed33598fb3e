//! The area of a shared disk that decides between two nodes, byte for byte: each block is written by itself, and a write
//! is late, torn by a loss of power, or lost like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use regent_arbiter::area::{formatted, slot_at};
use regent_arbiter::record::BLOCK;
use regent_arbiter::slot::{COPIES, SLOT, block_of};
use regent_arbiter::{Input, Slot};
use regent_engine::io::{ArbiterAct, ArbiterRun};
use regent_model::config::{Arbiter, Config};
use regent_model::ids::{AreaId, NodeId};

use crate::event::{Event, Life};
use crate::sim::Sim;
use crate::time::{MS, Ns, S, US};

/// So long the disk is waited for.
const PATIENCE: Ns = 2 * S;

/// The latest that a write comes of which nothing was known any more: a life that does not know waits longer before the
/// next one writes.
const LATE_MAX: Ns = 5 * S;

/// How much of a block a torn write has written.
const TORN: usize = 200;

/// What lies on the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Area {
    id: Option<AreaId>,
    blocks: BTreeMap<u64, Vec<u8>>,
    /// Of a thousand requests, how many fail; and how slow the disk is.
    pub(crate) fails: u64,
    pub(crate) slow: u64,
    /// At which of two nodes a person said that the other one is off, and when: instead of what the disk says.
    pub(crate) worded: Option<(NodeId, NodeId, Ns)>,
}

impl Area {
    /// A disk as it is when the area was made.
    pub(crate) fn of(config: &Config) -> Self {
        let Some(Arbiter::Disk { area, .. }) = config.arbiter else { return Self::default() };
        let mut made = Self { id: Some(area), slow: 1, ..Self::default() };
        for node in (1..=16).map(NodeId) {
            let Some(at) = slot_at(node) else { continue };
            for (n, block) in formatted(area, node).chunks(BLOCK).enumerate() {
                made.blocks.insert(at + (n * BLOCK) as u64, block.to_vec());
            }
        }
        made
    }

    fn slot(&self, node: NodeId) -> Option<Slot> {
        let at = slot_at(node)?;
        let blocks = (0..SLOT / BLOCK).filter_map(|n| self.blocks.get(&(at + (n * BLOCK) as u64)));
        Some(Slot::at(&blocks.flatten().copied().collect::<Vec<u8>>(), self.id?, node))
    }
}

/// Something that a machine does with the area.
#[derive(Debug, Clone)]
pub(crate) struct AreaStep {
    pub(crate) node: NodeId,
    pub(crate) daemon: Life,
    pub(crate) boot: Life,
    pub(crate) run: Arc<ArbiterRun>,
    /// Which copy is written.
    pub(crate) copy: usize,
}

impl Sim {
    /// A daemon asks for something.
    pub(crate) fn begin_arbiter(&mut self, node: NodeId, run: ArbiterRun) {
        let Some(machine) = self.machines.get(&node) else { return };
        let Some(daemon) = machine.daemon.as_ref().map(|d| d.life) else { return };
        let boot = machine.boot;
        let number = run.number;
        let is_write = matches!(run.act, ArbiterAct::Write(_));
        let fails = self.rng.chance(self.area.fails);
        let step = AreaStep { node, daemon, boot, run: Arc::new(run), copy: 0 };
        if machine.san && !fails {
            let delay = self.area_delay();
            self.after(delay, Event::Area(step));
            return;
        }
        // It is hidden, or hangs. What was to be written may come when nobody waits for it any more.
        let input = if is_write { Input::WriteFailed } else { Input::ReadFailed };
        if is_write && self.rng.chance(500) {
            self.marks.hit("a write to the arbiter's area came late");
            let late = self.rng.between(1, LATE_MAX / MS) * MS;
            self.after(late, Event::Area(AreaStep { copy: COPIES - 1, ..step }));
        }
        let after = if self.rng.chance(500) { PATIENCE } else { self.rng.between(1, 50) * MS };
        self.after(after, Event::AreaAnswers { node, daemon, number, input });
    }

    fn area_delay(&mut self) -> Ns {
        let slow = self.area.slow;
        self.rng.between(100, 2_000) * US * slow
    }

    /// The disk carries it out, whatever became of who asked for it.
    pub(crate) fn area_acts(&mut self, step: AreaStep) {
        let Some(machine) = self.machines.get(&step.node) else { return };
        let (node, daemon, number) = (step.node, step.daemon, step.run.number);
        let has_power = machine.power && machine.boot == step.boot;
        match &step.run.act {
            ArbiterAct::Read { own, other } => {
                let slots = self.area.slot(*own).zip(self.area.slot(*other));
                let input = slots.map_or(Input::ReadFailed, |(own, other)| Input::Slots { own, other });
                let delay = self.area_delay();
                self.after(delay, Event::AreaAnswers { node, daemon, number, input });
            }
            ArbiterAct::Write(record) => {
                let Some(slot) = slot_at(record.node) else { return };
                let at = slot + ((block_of(record.life) + step.copy) * BLOCK) as u64;
                let mut block = record.block();
                if !has_power {
                    // The disk has heard all of it, or nothing, or something.
                    match self.rng.below(3) {
                        0 => return,
                        1 => {
                            self.marks.hit("a write to the arbiter's area was torn");
                            let old = self.area.blocks.get(&at).cloned().unwrap_or_else(|| vec![0; BLOCK]);
                            block[TORN..].copy_from_slice(&old[TORN..]);
                        }
                        _ => {}
                    }
                }
                self.area.blocks.insert(at, block);
                let lives = has_power && self.machines.get(&node).is_some_and(|m| m.is_daemon(daemon));
                if !lives {
                    return;
                }
                let delay = self.area_delay();
                if step.copy + 1 < COPIES {
                    self.after(delay, Event::Area(AreaStep { copy: step.copy + 1, ..step }));
                } else {
                    self.after(delay, Event::AreaAnswers { node, daemon, number, input: Input::Written });
                }
            }
        }
    }
}
