//! The thread that runs the engine: inputs in, effects out, and never a wait for a disk or a network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender};

use regent_agents::{Hands, Report};
use regent_engine::io::StepTaken;
use regent_engine::{Effects, Engine, Input};
use regent_guard::{NodeIdentity, ToGuard, clock, realtime};
use regent_model::NodeId;
use regent_model::action::{CommandEnd, EventRun, Failure, Outcome, Run};
use regent_model::config::Config;
use regent_model::format::{self, Format};
use regent_model::journal::Entry;
use regent_model::state::{State, TicketId};

use crate::arbiter::ArbiterLine;
use crate::desk::Desk;
use crate::end::End;
use crate::guard_line::{GuardLine, Warrants};
use crate::inbox::{Inbox, Inputs};
use crate::keys::{Keys, Known};
use crate::links::Links;
use crate::portal::Portals;
use crate::storage::Batch;
use crate::sys;

/// Inputs taken in a row before the clock is looked at.
const TURN: usize = 64;

/// How often the zone of the local time is looked at: summer comes twice a year.
const ZONE_EVERY_MS: u64 = 30_000;

/// Everything that effects are carried out with.
pub(crate) struct Heart {
    pub(crate) engine: Engine,
    pub(crate) inputs: Inputs,
    pub(crate) inbox: Inbox,
    pub(crate) storage: Sender<Vec<Batch>>,
    pub(crate) journal: Sender<Vec<Entry>>,
    pub(crate) links: Links,
    pub(crate) keys: Keys,
    pub(crate) guard: GuardLine,
    pub(crate) warrants: Warrants,
    /// None on a machine that can hold nothing, such as a witness without control groups.
    pub(crate) hands: Option<Hands>,
    /// Who looks whether the hands could do what a configuration may ask.
    pub(crate) inspection: Option<Sender<Config>>,
    /// Who looks at the instances.
    pub(crate) registry: Option<Sender<Config>>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) end: Sender<End>,
    pub(crate) identity: NodeIdentity,
    pub(crate) identity_path: PathBuf,
    pub(crate) addresses: Addresses,
    pub(crate) zone: Zone,
    /// Who measures what groups choose their nodes by.
    pub(crate) figures: Sender<Config>,
    /// What service addresses say over HTTP.
    pub(crate) portals: Portals,
    /// Who keeps a copy of the configuration in force.
    pub(crate) copy: Sender<String>,
    /// The disk that decides between two nodes.
    pub(crate) arbiter: ArbiterLine,
}

/// The local time as it was said to the engine.
#[derive(Default)]
pub(crate) struct Zone {
    offset_s: Option<i32>,
    looked_at_ms: u64,
}

/// What was said last about where everybody is.
#[derive(Default)]
pub(crate) struct Addresses {
    config_serial: Option<u64>,
    oldest_format: Option<Format>,
    tickets: Vec<(TicketId, [u8; 32])>,
    known: Option<Known>,
    peers: BTreeMap<NodeId, Vec<IpAddr>>,
}

/// What an agent says, as the engine wants to hear it.
pub(crate) fn input_of(report: Report) -> Input {
    let steps = |steps: Vec<regent_agents::Step>| {
        let step = |s: regent_agents::Step| StepTaken {
            level: s.level,
            text: s.what,
            took: s.took,
            evidence: s.evidence,
        };
        steps.into_iter().map(step).collect()
    };
    match report {
        Report::Done { id, outcome, steps: taken } => Input::Done { id, outcome, steps: steps(taken) },
        Report::Fenced { id, result, .. } => {
            Input::Fenced { id, result: result.map_err(|failure| in_words(&failure)) }
        }
        Report::Ran { id, end } => Input::Ran { id, end },
        Report::Seen { id, text } => Input::Seen { id, text },
        Report::Notice(notice) => Input::Notice(notice),
    }
}

fn in_words(failure: &Failure) -> String {
    match failure.evidence.trim() {
        "" => failure.reason.clone(),
        evidence => format!("{}: {evidence}", failure.reason),
    }
}

impl Heart {
    /// Carries out `first`, what the engine wanted when it was made, and goes on until the process ends.
    pub(crate) fn beat(mut self, first: Effects) {
        regent_guard::rule_off::weaken_the_daemon();
        if !realtime::elevate(realtime::ENGINE) {
            tracing::info!("the kernel does not grant the daemon real-time scheduling");
        }
        self.carry_out(first);
        loop {
            let wake = self.engine.next_wake();
            let now = clock::now();
            let next = if now >= wake { Ok(Input::Tick) } else { self.inputs.next(wake.since(now)) };
            match next {
                Ok(input) => self.step(input),
                Err(RecvTimeoutError::Timeout) => self.step(Input::Tick),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look_at_zone();
            for _ in 0..TURN {
                let Ok(input) = self.inputs.waiting() else { break };
                self.step(input);
            }
        }
    }

    /// Tells the engine the offset of the local time, when it changes.
    fn look_at_zone(&mut self) {
        let now = clock::wall_ms();
        if self.zone.offset_s.is_some() && now.abs_diff(self.zone.looked_at_ms) < ZONE_EVERY_MS {
            return;
        }
        self.zone.looked_at_ms = now;
        let offset = sys::utc_offset_s(now);
        if self.zone.offset_s.replace(offset) != Some(offset) {
            self.step(Input::UtcOffset(offset));
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.engine.step(clock::now(), clock::wall_ms(), input);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        // The disk takes longest: it begins first.
        if !effects.persist.is_empty() {
            let _failed_and_the_daemon_ends = self.storage.send(effects.persist);
        }
        self.arbiter.carry_out(effects.arbiter_place, effects.arbiter);
        self.follow_format();
        self.follow_tickets();
        let moved = effects.peers.is_some();
        if let Some(peers) = effects.peers {
            self.links.set_peers(&peers, &effects.former);
            self.addresses.peers = peers;
            self.keys.set_addresses(&self.addresses.peers);
        }
        if moved || self.addresses.config_serial != Some(self.engine.state().config_serial) {
            self.follow_config();
        }
        for said in effects.guard {
            self.guard.tell(ToGuard::Lease(said));
        }
        for (to, message) in &effects.send {
            self.links.send(*to, message);
        }
        // Before anything is run: an address whose release is asked for says nothing any more.
        if let Some(open) = effects.portals {
            self.portals.set(open);
        }
        for run in effects.run {
            self.run(run);
        }
        effects.event_run.into_iter().for_each(|run| self.run_of_event(run));
        for look in effects.look {
            match &self.hands {
                Some(hands) => hands.look(look),
                None => self.inbox.push(Input::Seen { id: look.id, text: no_hands() }),
            }
        }
        if let (Some(upkeep), Some(hands)) = (effects.upkeep, &self.hands) {
            hands.keep(upkeep);
        }
        for probe in effects.ask {
            match &self.hands {
                Some(hands) => hands.ask_neighbours(probe),
                None => tracing::debug!(?probe, "nobody here asks neighbours"),
            }
        }
        if let (Some(addresses), Some(hands)) = (effects.record, &self.hands) {
            hands.record(addresses);
        }
        if let Some(hands) = &self.hands {
            effects.tickle.into_iter().for_each(|run| hands.tickle(run));
        }
        for fence in effects.fence {
            match &self.hands {
                Some(hands) => hands.fence(fence),
                None => self.inbox.push(Input::Fenced { id: fence.id, result: Err(no_hands()) }),
            }
        }
        effects.keys.into_iter().for_each(|step| self.keys.order(step));
        effects.answer.into_iter().for_each(|(id, answer)| self.desk.answer(id, answer));
        if !effects.journal.is_empty() {
            let _only_the_file_misses_it = self.journal.send(effects.journal);
        }
        let forgotten = effects.forgotten.map(if effects.removed { End::Removed } else { End::Forgotten });
        self.end(forgotten.or(effects.unreadable.map(End::Unreadable)).or(effects.leave.map(End::Leave)));
    }

    /// Ends the daemon, if the engine wants that.
    fn end(&self, why: Option<End>) {
        if let Some(end) = why {
            let _ends_already = self.end.send(end);
        }
    }

    fn run_of_event(&self, run: EventRun) {
        match &self.hands {
            Some(hands) => hands.event(run),
            None => {
                let end = CommandEnd { code: None, words: no_hands(), output: String::new() };
                self.inbox.push(Input::Ran { id: run.id, end });
            }
        }
    }

    fn run(&self, run: Run) {
        let ownership = self.engine.state().ownership(&run.group);
        if let Some(owned) = ownership.filter(|o| o.epoch == run.epoch && o.owner.node == self.identity.node)
        {
            self.warrants.give(&run.group, run.epoch, owned.owner.incarnation);
        }
        match &self.hands {
            Some(hands) => hands.run(run),
            None => {
                let outcome = Outcome::Failed(Failure::because(no_hands()));
                self.inbox.push(Input::Done { id: run.id, outcome, steps: Vec::new() });
            }
        }
    }

    /// Tells the links which format a peer must speak at least.
    fn follow_format(&mut self) {
        let oldest = oldest_format(self.engine.state());
        if self.addresses.oldest_format.replace(oldest) != Some(oldest) {
            self.links.set_oldest(oldest);
        }
    }

    /// Tells the links which tokens let a machine in, and which members may ask for keys.
    fn follow_tickets(&mut self) {
        let tickets = &self.engine.state().tickets;
        let told = &self.addresses.tickets;
        let same = tickets.len() == told.len()
            && tickets
                .iter()
                .zip(told)
                .all(|((id, t), (was, verifier))| id == was && t.verifier.0 == *verifier);
        let known = self.machines_known();
        if same && known.is_none() {
            return;
        }
        self.addresses.tickets = tickets.iter().map(|(id, ticket)| (*id, ticket.verifier.0)).collect();
        self.addresses.known = known.or(self.addresses.known.take());
        let machines = self.addresses.known.iter().flat_map(|known| &known.machines);
        let others =
            machines.filter(|(id, _)| **id != self.identity.node).map(|(id, machine)| (*id, machine.0));
        self.links.set_admitted(&self.addresses.tickets, &others.collect::<Vec<_>>());
    }

    /// By what the members' machines are known, if that is not what was said last. What a daemon that begins has applied may
    /// be older than what the one before it kept.
    fn machines_known(&self) -> Option<Known> {
        let keys = &self.engine.state().keys;
        if !self.engine.is_current() {
            return self.addresses.known.is_none().then(|| self.keys.known());
        }
        if self.addresses.known.as_ref().is_some_and(|known| known.is(keys)) {
            return None;
        }
        let known = Known::by(keys);
        self.keys.set_known(&known);
        Some(known)
    }

    /// Tells guard and links what the configuration says about this node and its peers.
    fn follow_config(&mut self) {
        let state = self.engine.state();
        if self.addresses.config_serial != Some(state.config_serial) {
            if let Some(inspection) = &self.inspection {
                let _ended_with_the_process = inspection.send(state.config.clone());
            }
            let _ended_with_the_process = self.figures.send(state.config.clone());
            if let Some(registry) = &self.registry {
                let _ended_with_the_process = registry.send(state.config.clone());
            }
            let _ended_with_the_process = self.copy.send(state.config_text.clone());
        }
        self.addresses.config_serial = Some(state.config_serial);
        self.links.set_heartbeat(state.config.timers.heartbeat);
        if let Some(own) = state.config.member(&self.identity.name)
            && own.addresses != self.identity.addresses
        {
            self.identity.addresses.clone_from(&own.addresses);
            let (identity, path) = (self.identity.clone(), self.identity_path.clone());
            // On a thread: the disk may be slow, and the guard reads the file only at its next start.
            std::thread::spawn(move || {
                if let Err(error) = identity.write(&path) {
                    tracing::error!("{error}");
                }
            });
        }
        self.links.set_own(&self.identity.addresses, self.identity.port);
        self.guard.tell(ToGuard::Addresses {
            own: self.identity.addresses.clone(),
            peers: self.addresses.peers.clone(),
        });
    }
}

/// The oldest format that a peer may speak: the one in force, once this node knows it.
fn oldest_format(state: &State) -> Format {
    if state.members.is_empty() { format::OLDEST } else { state.format }
}

fn no_hands() -> String {
    "this machine can hold nothing: see the beginning of the daemon's log".to_owned()
}
