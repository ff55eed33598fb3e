//! Machines and daemons that stand still for a while, and go on.

use regent_model::ids::NodeId;

use crate::event::{Event, Whose};
use crate::sim::Sim;
use crate::time::{MS, Ns};

/// How long after standing still a machine may take to look at what it holds. A guard is the first to run; the
/// kernel answers before it.
const WAKING: Ns = 20 * MS;

/// What a frozen machine's network card and sockets keep.
const FROZEN_MAX: usize = 600;

impl Sim {
    /// A machine stands still, with everything on it.
    pub(crate) fn freeze(&mut self, node: NodeId) {
        if let Some(machine) = self.machines.get_mut(&node).filter(|m| m.power && m.frozen.is_none()) {
            machine.frozen = Some(Vec::new());
        }
        self.look();
    }

    /// It goes on: its guard first, as a real-time process does.
    pub(crate) fn thaw(&mut self, node: NodeId) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(events) = machine.frozen.take() else { return };
        machine.waking_until = now + WAKING;
        let skipped = events.len().saturating_sub(FROZEN_MAX);
        // A process of its own on another processor may be ahead even of the guard.
        let ahead = events.iter().any(|e| matches!(e, Event::Array(_))) && self.rng.chance(500);
        let rank = |e: &Event| match e.whose() {
            _ if ahead && matches!(e, Event::Array(_)) => 0,
            Whose::Guard(..) | Whose::World => 1,
            Whose::Kernel(..) => 2,
            Whose::Daemon(..) => 3,
        };
        let is_datagram = |e: &Event| matches!(e, Event::Datagram { .. });
        let mut dropped = 0;
        let mut kept = events;
        kept.retain(|e| {
            let drop = is_datagram(e) && dropped < skipped;
            dropped += usize::from(drop);
            !drop
        });
        kept.sort_by_key(rank);
        for event in kept {
            self.queue.put(now, event);
        }
        self.writes_late(node);
        self.look();
    }

    /// Only the daemon stands still.
    pub(crate) fn freeze_daemon(&mut self, node: NodeId) {
        let daemon = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut());
        if let Some(daemon) = daemon.filter(|d| d.frozen.is_none()) {
            daemon.frozen = Some(Vec::new());
        }
    }

    /// It goes on.
    pub(crate) fn thaw_daemon(&mut self, node: NodeId) {
        let now = self.now;
        let daemon = self.machines.get_mut(&node).and_then(|m| m.daemon.as_mut());
        let Some(mut events) = daemon.and_then(|d| d.frozen.take()) else { return };
        // Its threads go on in any order; what one of them waits for keeps its own.
        if self.rng.chance(500) {
            events.sort_by_key(|e| !matches!(e, Event::Hand(..)));
        }
        for event in events {
            self.queue.put(now, event);
        }
    }
}
