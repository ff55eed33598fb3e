//! Named scenarios: text in, the journal of all nodes out. They are tests, and the manual of what happens when.

use regent_api::{GroupVerb, NodeVerb, Request};
use regent_model::NodeName;
use regent_model::format::Speaks;
use regent_model::ids::NodeId;
use regent_model::state::StopMode;

use crate::event::Event;
use crate::faults::Fault;
use crate::net::{NETWORKS, Way};
use crate::sim::Sim;
use crate::time::{MS, Ns};
use crate::trace::Trace;
use crate::variant::Variant;

/// Something that a scenario makes happen.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    at: Ns,
    words: Vec<String>,
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    variant: Variant,
    seed: u64,
    shown_from: Ns,
    until: Ns,
    acts: Vec<Act>,
}

impl Scenario {
    /// Reads a scenario. One line each: `cluster VARIANT`, `seed N`, `from MS` (what is before is not shown),
    /// `until MS`, and `MS what...` for everything that happens:
    ///
    /// - `off NODE`, `on NODE`: power
    /// - `kill NODE MS`, `kill-guard NODE MS`: a daemon or guard, which comes back after so long
    /// - `pause NODE MS`, `pause-daemon NODE MS`
    /// - `cut NODE... | NODE...`, `heal`, `unplug NODE NETWORK`, `plug NODE NETWORK`
    /// - `apps-die NODE`, `agents-fail PERMILLE`, `starts-fail PERMILLE`, `fence-fails PERMILLE`, `san-off NODE`, `san-on NODE`
    /// - `clients N`: so many connect to every service address that is up
    /// - `events-fail WORD`: commands of events with this word in them fail, until one mends it
    /// - `ask NODE event resume [NODE]`
    /// - `ask NODE group enable|disable|restart|move|hold|resume GROUP [NODE | WHY]`
    /// - `ask NODE apply FROM TO...`: the file with every FROM in it replaced by TO
    /// - `ask NODE node start|standby|stop [graceful|takeover|forced]] [NODE`, `ask NODE confirm-dead NODE [MINUTES]`
    /// - `start NODE`: the service, after a stop
    /// - `mute NODE... | NODE...`, `deafen NODE... | NODE...`: channels, or keepalives, do not pass
    /// - `disk-hangs NODE MS`, `release-hangs`, `wipe NODE MS`: another machine takes its place after so long
    /// - `copy NODE`, `put-back NODE MS`: its disks, as for a backup; it comes back with the copy after so long
    /// - `join NAME`: a configured node or witness that did not found the cluster
    /// - `remove NAME`: a member leaves for good
    /// - `settled`: everything that can run must run now, and every node have its lease
    ///
    /// # Errors
    /// The first line that is none of these.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut scenario =
            Self { variant: Variant::LeaseEnded, seed: 1, shown_from: 0, until: 0, acts: Vec::new() };
        for line in text.lines().map(|l| l.split('#').next().unwrap_or_default().trim()) {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let Some(first) = words.first() else { continue };
            let number = |at: usize| words.get(at).and_then(|w| w.parse::<u64>().ok());
            let bad = || format!("not a line of a scenario: {line}");
            match first.as_str() {
                "cluster" => {
                    let name = words.get(1).ok_or_else(bad)?;
                    scenario.variant = Variant::named(name).ok_or_else(bad)?;
                }
                "seed" => scenario.seed = number(1).ok_or_else(bad)?,
                "from" => scenario.shown_from = number(1).ok_or_else(bad)? * MS,
                "until" => scenario.until = number(1).ok_or_else(bad)? * MS,
                _ => {
                    let at = number(0).ok_or_else(bad)? * MS;
                    scenario.acts.push(Act { at, words: words[1..].to_vec() });
                }
            }
        }
        Ok(scenario)
    }

    /// Plays it; every journal entry and every act in order, with milliseconds, and what was violated.
    ///
    /// # Errors
    /// The first act that makes no sense.
    pub fn play(&self) -> Result<Vec<String>, String> {
        let mut sim = Sim::new(self.seed, self.variant, true, Trace::new(false, true));
        sim.script.clone_from(&self.acts);
        for node in sim.nodes() {
            sim.power_on(node);
        }
        for (at, act) in self.acts.iter().enumerate() {
            sim.check_act(act)?;
            sim.queue.put(act.at, Event::Scripted(at));
        }
        sim.run_until(self.shown_from);
        if let Some(journal) = &mut sim.trace.journal
            && self.shown_from > 0
        {
            journal.clear();
        }
        sim.run_until(self.until);
        Ok(sim.trace.journal.take().unwrap_or_default())
    }
}

impl Sim {
    /// Something of the scenario happens.
    pub(crate) fn scripted(&mut self, at: usize) {
        let Some(act) = self.script.get(at).cloned() else { return };
        if let Err(error) = self.act(&act, true) {
            self.judge.violated(self.now, &mut self.trace, error);
        }
    }

    fn check_act(&mut self, act: &Act) -> Result<(), String> {
        self.act(act, false)
    }

    /// Reads an act, and does it unless it is only to be checked.
    fn act(&mut self, act: &Act, really: bool) -> Result<(), String> {
        let words: Vec<&str> = act.words.iter().map(String::as_str).collect();
        let bad = || format!("not an act: {}", act.words.join(" "));
        let node = |sim: &Self, at: usize| words.get(at).and_then(|w| sim.id(w)).ok_or_else(bad);
        let number = |at: usize| words.get(at).and_then(|w| w.parse::<u64>().ok()).ok_or_else(bad);
        let first = *words.first().ok_or_else(bad)?;
        let (fault, lasts) = match first {
            "off" => (Fault::PowerCut(node(self, 1)?), 0),
            "kill" => (Fault::KillDaemon(node(self, 1)?, number(2)? * MS), 0),
            "kill-guard" => (Fault::KillGuard(node(self, 1)?, number(2)? * MS), 0),
            "pause" => (Fault::Freeze(node(self, 1)?), number(2)? * MS),
            "pause-daemon" => (Fault::FreezeDaemon(node(self, 1)?), number(2)? * MS),
            "cut" => (Fault::Block(self.sides(&words[1..]).ok_or_else(bad)?), 0),
            "mute" => (Fault::Mute(self.sides(&words[1..]).ok_or_else(bad)?), 0),
            "deafen" => (Fault::Deafen(self.sides(&words[1..]).ok_or_else(bad)?), 0),
            "disk-hangs" => (Fault::DiskHangs(node(self, 1)?, number(2)? * MS), 0),
            "copy" => (Fault::Copy(node(self, 1)?), 0),
            "put-back" => (Fault::PutBack(node(self, 1)?, number(2)? * MS), 0),
            "wipe" => (Fault::Wipe(node(self, 1)?, number(2)? * MS), 0),
            "release-hangs" => (Fault::ReleaseHangs, 0),
            "unplug" => (Fault::Unplug(node(self, 1)?, usize::from(number(2)? > 0)), 0),
            "apps-die" => (Fault::AppsDie(node(self, 1)?), 0),
            "san-off" => (Fault::SanOff(node(self, 1)?), 0),
            _ => return self.other_act(first, &words, really).ok_or_else(bad),
        };
        if really {
            self.begin(fault, lasts);
        }
        Ok(())
    }

    fn other_act(&mut self, first: &str, words: &[&str], really: bool) -> Option<()> {
        let node = |sim: &Self, at: usize| words.get(at).and_then(|w| sim.id(w));
        let number = |at: usize| words.get(at).and_then(|w| w.parse::<u64>().ok());
        match first {
            "on" => {
                let node = node(self, 1)?;
                really.then(|| self.power_on(node));
            }
            "start" => {
                let node = node(self, 1)?;
                if really {
                    let name = self.name(node);
                    self.trace.world(self.now, format_args!("{name} is started"));
                    self.machines.get_mut(&node)?.wanted = true;
                    self.start_service(node);
                }
            }
            "heal" if really => {
                self.trace.world(self.now, "the networks are whole again");
                self.net.heal();
                self.resume_channels();
            }
            "heal" => {}
            "release" => {
                let (node, newest) = (node(self, 1)?, u8::try_from(number(2)?).ok()?);
                if really {
                    let name = self.name(node);
                    self.trace.world(
                        self.now,
                        format_args!("a release that reads format {newest} is installed on {name}"),
                    );
                    self.machines.get_mut(&node)?.speaks = Speaks { newest, ..Speaks::THIS };
                }
            }
            "plug" => {
                let (node, network) = (node(self, 1)?, usize::from(number(2)? > 0));
                really.then(|| self.heals(&Fault::Unplug(node, network)));
            }
            "san-on" => {
                let node = node(self, 1)?;
                really.then(|| self.heals(&Fault::SanOff(node)));
            }
            "events-fail" if really => self.weather.commands_fail = Some((*words.get(1)?).to_owned()),
            "events-fail" => drop(words.get(1)?),
            "agents-fail" if really => self.weather.agents_fail = number(1)?,
            "fence-fails" if really => self.weather.fences_fail = number(1)?,
            "starts-fail" if really => self.weather.acquires_fail = number(1)?,
            "agents-fail" | "fence-fails" | "starts-fail" => {
                number(1)?;
            }
            "clients" => {
                let count = u16::try_from(number(1)?).ok()?;
                really.then(|| self.clients_come(count));
            }
            "join" | "remove" => {
                let name = NodeName::new(*words.get(1)?).ok()?;
                really.then(|| if first == "join" { self.joins(&name) } else { self.removes(&name) });
            }
            "settled" => {
                if let Some(problem) = really.then(|| self.problem()).flatten() {
                    self.judge.violated(self.now, &mut self.trace, problem);
                }
            }
            "ask" => {
                let (node, request) = (node(self, 1)?, self.request(&words[2..])?);
                really.then(|| self.ask(node, request));
            }
            _ => return None,
        }
        Some(())
    }

    /// What is asked; a configuration is the first one with every first word of a pair replaced by the second.
    fn request(&self, words: &[&str]) -> Option<Request> {
        if words.first() != Some(&"apply") {
            return request_of(words);
        }
        let mut text = self.file.clone();
        for pair in words[1..].chunks(2) {
            text = text.replace(pair.first()?, pair.get(1)?);
        }
        Some(Request::Apply { text, dry_run: false })
    }

    /// All ways between the nodes on one side of the bar and those on the other.
    fn sides(&self, words: &[&str]) -> Option<Vec<Way>> {
        let bar = words.iter().position(|w| *w == "|")?;
        let ids = |words: &[&str]| words.iter().map(|w| self.id(w)).collect::<Option<Vec<NodeId>>>();
        let (left, right) = (ids(&words[..bar])?, ids(&words[bar + 1..])?);
        let mut ways = Vec::new();
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            for network in 0..NETWORKS {
                ways.extend([(a, b, network), (b, a, network)]);
            }
        }
        Some(ways)
    }
}

fn request_of(words: &[&str]) -> Option<Request> {
    let text = |at: usize| words.get(at).map(|w| (*w).to_owned());
    let mode = |word: &str| match word {
        "graceful" => Some(StopMode::Graceful),
        "takeover" => Some(StopMode::Takeover),
        "forced" => Some(StopMode::Forced),
        _ => None,
    };
    Some(match (*words.first()?, *words.get(1)?) {
        ("group", verb) => {
            let verb = match verb {
                "enable" => GroupVerb::Enable,
                "disable" => GroupVerb::Disable,
                "restart" => GroupVerb::Restart,
                "move" => GroupVerb::Move { to: text(3)? },
                "hold" => GroupVerb::Hold { who: "root".into(), why: words.get(3..)?.join(" ") },
                "resume" => GroupVerb::Resume,
                _ => return None,
            };
            Request::Group { group: text(2)?, verb }
        }
        ("event", "resume") => Request::ResumeEvents { node: text(2) },
        ("node", "start") => Request::Node { node: text(2), verb: NodeVerb::Start },
        ("node", "standby") => Request::Node { node: text(2), verb: NodeVerb::Standby },
        ("node", "stop") => Request::Node { node: text(3), verb: NodeVerb::Stop(mode(words.get(2)?)?) },
        ("confirm-dead", node) => {
            let why = "I pulled its plug".to_owned();
            let minutes = words.get(2).and_then(|word| word.parse().ok());
            Request::ConfirmDead { node: node.to_owned(), who: "root".into(), why, minutes }
        }
        _ => return None,
    })
}
