//! Clients of service addresses, where a scenario has any: recorded by the owner's agent, and told by the next one's.

use regent_model::action::Notice;
use regent_model::connection::{Change, Connection, ServiceAddress, TickleRun, Tickled};
use regent_model::ids::NodeId;

use crate::event::Event;
use crate::sim::Sim;
use crate::time::MS;

/// How long until a change is noticed.
const NOTICED_AFTER_MS: u64 = 200;

impl Sim {
    /// An agent is to record these addresses from now on. At first nobody is connected.
    pub(crate) fn begin_recording(&mut self, node: NodeId, addresses: Vec<ServiceAddress>) {
        let before = self.recorded.insert(node, addresses.clone()).unwrap_or_default();
        if self.has_clients {
            for of in addresses.into_iter().filter(|of| !before.contains(of)) {
                self.tell_clients(node, of, true, 0);
            }
        }
    }

    /// So many clients connect to every address that is recorded somewhere.
    pub(crate) fn clients_come(&mut self, count: u16) {
        self.has_clients = true;
        for (node, addresses) in self.recorded.clone() {
            for of in addresses {
                self.tell_clients(node, of, false, count);
            }
        }
    }

    fn tell_clients(&mut self, node: NodeId, of: ServiceAddress, whole: bool, count: u16) {
        let client = |n: u16| Connection { peer: ([10, 77, 0, 200], 40_000 + n).into(), port: 80 };
        let change =
            Change { whole, opened: (0..count).map(client).collect(), closed: Vec::new(), beyond: 0 };
        self.noticed_later(node, Notice::Connections { of, change });
    }

    /// An agent tells the clients of an earlier owner.
    pub(crate) fn begin_tickle(&mut self, node: NodeId, run: TickleRun) {
        let sent = u32::try_from(run.connections.len()).unwrap_or(u32::MAX);
        let took = std::time::Duration::from_millis(1);
        self.noticed_later(node, Notice::Tickled(Tickled { of: run.of, sent, took, error: None }));
    }

    fn noticed_later(&mut self, node: NodeId, notice: Notice) {
        let daemon = self.machines.get(&node).and_then(|m| m.daemon.as_ref()).map(|d| d.life);
        if let Some(daemon) = daemon {
            self.after(NOTICED_AFTER_MS * MS, Event::Noticed { node, daemon, notice });
        }
    }
}
