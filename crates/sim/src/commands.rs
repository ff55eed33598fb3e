//! Commands of cluster events: each takes its time, and fails if a scenario wants it to, until a recovery mends it.

use regent_engine::Input;
use regent_model::action::{CommandEnd, EventRun, LookRun};
use regent_model::ids::NodeId;

use crate::event::Event;
use crate::sim::Sim;
use crate::time::MS;

impl Sim {
    /// An agent begins with a command.
    pub(crate) fn begin_command(&mut self, node: NodeId, run: EventRun) {
        let calm = self.trace.journal.is_some();
        let takes = match self.rng.below(100) {
            _ if calm => self.rng.between(10, 30) * MS,
            0..90 => self.rng.between(2, 40) * MS,
            _ => self.rng.between(100, 3_000) * MS,
        };
        let Some(daemon) = self.machines.get(&node).and_then(|m| m.daemon.as_ref()) else { return };
        let life = daemon.life;
        let name = self.name(node);
        self.trace.world(self.now, format_args!("{name} runs {} {}", run.line, run.args.join(" ")));
        let fails = self.weather.commands_fail.as_ref().is_some_and(|word| run.line.contains(word.as_str()));
        if run.line.contains("mend") {
            self.weather.commands_fail = None;
        }
        let end = CommandEnd {
            code: Some(i32::from(fails)),
            words: format!("exited with {}", i32::from(fails)),
            output: if fails { "something is in the way\n".to_owned() } else { String::new() },
        };
        self.after(takes, Event::Ran { node, daemon: life, id: run.id, end });
    }

    /// An agent looks at what takes so long.
    pub(crate) fn begin_look(&mut self, node: NodeId, look: &LookRun) {
        let text = "4711 /opt/ev waits in do_wait".to_owned();
        self.input(node, Input::Seen { id: look.id, text });
    }
}
