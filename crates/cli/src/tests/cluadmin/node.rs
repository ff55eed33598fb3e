//! A node that takes what the shell asks, and a person who types by a script.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::tz::TimeZone;
use regent_api::{Answer, GroupStatus, GroupVerb, Request, Status};
use regent_model::Epoch;
use regent_model::config::parse;
use regent_model::journal::Entry;
use regent_model::state::ConfigLock;

use super::super::samples::{group_name, healthy, node_name};
use crate::args::CluadminArgs;
use crate::client::Asks;
use crate::cluadmin::{Aloud, Console, Setting, Shell, Wants};
use crate::trouble::Result;

/// A Sunday noon.
pub(super) fn noon() -> u64 {
    1_795_348_800_000
}

/// The cluster of the guide, with nothing in it.
pub(super) const CLUSTER: &str = "\
[cluster]
name = \"ward7\"

[[node]]
name      = \"lx4\"
addresses = [\"192.9.202.4\", \"10.78.0.4\"]

[[node]]
name      = \"lx5\"
addresses = [\"192.9.202.5\", \"10.78.0.5\"]

[[witness]]
name      = \"wit\"
addresses = [\"192.9.202.6\", \"10.78.0.6\"]

[[fence]]
name  = \"power\"
agent = \"/usr/sbin/fence_ipmilan\"
nodes = [\"lx4\", \"lx5\"]
";

/// The guide's service as `service add` writes it, with a comment of its owner's.
pub(super) const CACHEHAL: &str = "
# the hall's database
[[group]]
name   = \"cachehal\"
nodes  = [\"lx4\", \"lx5\"]
policy = { startup = \"home\", failover = \"next\", failback = \"never\" }

  [[group.filesystem]]
  device  = \"/dev/sdc4\"               # the rack in the cellar
  mount   = \"/storage2\"
  type    = \"ext3\"
  options = \"rw\"

  [[group.address]]
  address = \"192.9.202.197/16\"
";

/// Somebody else, who is quick.
pub(super) type Quick = Box<dyn Fn(&Node)>;

/// What a group does.
type Doing = (String, Option<String>, u64);

/// A node in whose cluster everything is done at once.
pub(super) struct Node {
    pub(super) text: RefCell<String>,
    pub(super) serial: Cell<u64>,
    pub(super) lock: RefCell<Option<ConfigLock>>,
    pub(super) groups: RefCell<BTreeMap<String, Doing>>,
    /// What runs as it was acquired.
    pub(super) pending: RefCell<Vec<String>>,
    /// Members that are not there.
    pub(super) down: RefCell<Vec<String>>,
    /// What keeps groups from running.
    pub(super) fails: Option<String>,
    /// What an apply is answered with.
    pub(super) refuses: Option<(String, String)>,
    pub(super) quorate: Cell<bool>,
    /// Members beside the two of the guide.
    pub(super) more: Vec<String>,
    /// What is done right before a change is committed.
    pub(super) before_change: RefCell<Option<Quick>>,
    /// What its journal says once an order was given.
    pub(super) then_tells: RefCell<Vec<Entry>>,
    pub(super) journal: RefCell<Vec<Entry>>,
}

impl Node {
    pub(super) fn with(groups: &str) -> Self {
        let node = Self {
            text: RefCell::new(format!("{CLUSTER}{groups}")),
            serial: Cell::new(4),
            lock: RefCell::default(),
            groups: RefCell::default(),
            pending: RefCell::default(),
            down: RefCell::default(),
            fails: None,
            refuses: None,
            quorate: Cell::new(true),
            more: Vec::new(),
            before_change: RefCell::default(),
            then_tells: RefCell::default(),
            journal: RefCell::default(),
        };
        node.begin_new_ones(&[]);
        node
    }

    pub(super) fn locked_by(self, who: &str) -> Self {
        self.lock.replace(Some(ConfigLock {
            ticket: format!("elsewhere/{who}"),
            who: who.into(),
            node: node_name("lx4"),
            since_ms: noon() - 3_600_000,
        }));
        self
    }

    fn begin_new_ones(&self, disabled: &[String]) {
        let config = parse(&self.text.borrow()).config.expect("a scripted node has a valid configuration");
        let names: Vec<(String, String)> =
            config.groups.iter().map(|g| (g.name.to_string(), g.nodes[0].to_string())).collect();
        let mut groups = self.groups.borrow_mut();
        groups.retain(|known, _| names.iter().any(|(name, _)| name == known));
        for (name, home) in names {
            let fresh = if disabled.contains(&name) {
                ("disabled".to_owned(), None, 0)
            } else if self.fails.is_some() {
                ("failed".to_owned(), None, 2)
            } else if self.down.borrow().contains(&home) {
                ("offline".to_owned(), None, 0)
            } else {
                ("online".to_owned(), Some(home), 1)
            };
            groups.entry(name).or_insert(fresh);
        }
    }

    fn group(&self, name: &str, (state, owner, epoch): &Doing) -> GroupStatus {
        let unwell = (state == "failed").then(|| self.fails.clone()).flatten();
        GroupStatus {
            name: group_name(name),
            state: state.clone(),
            owner: owner.as_deref().map(node_name),
            epoch: Epoch(*epoch),
            pending: self.pending.borrow().iter().any(|n| n == name).then(|| {
                let when = format!("{name} is next enabled, moved or restarted");
                format!("{name} runs on lx4 as it was acquired; this takes effect when {when}: what changed")
            }),
            blocked: unwell.clone(),
            advice: unwell.map(|_| format!("mend the cause, then: regent group enable {name}")),
            ..healthy().groups.remove(0)
        }
    }

    fn status(&self) -> Status {
        let mut status = healthy();
        status.lease = Duration::ZERO;
        status.quorate = self.quorate.get();
        status.config_serial = self.serial.get();
        status.config_lock.clone_from(&self.lock.borrow());
        status.groups = self.groups.borrow().iter().map(|(name, doing)| self.group(name, doing)).collect();
        for name in self.more.iter().map(|name| node_name(name)) {
            for group in &mut status.groups {
                let like = group.nodes[0].1.clone();
                group.nodes.push((name.clone(), like));
            }
            status.nodes.push(regent_api::NodeStatus { name, ..status.nodes[1].clone() });
        }
        for node in &mut status.nodes {
            if self.down.borrow().iter().any(|down| *down == node.name.as_str()) {
                node.state = "down".into();
            }
        }
        status
    }

    fn order(&self, name: &str, verb: &GroupVerb) {
        self.pending.borrow_mut().retain(|n| n != name);
        self.journal.borrow_mut().append(&mut self.then_tells.borrow_mut());
        let mut groups = self.groups.borrow_mut();
        let (state, owner, epoch) = groups.get_mut(name).expect("a group of the configuration");
        let home = "lx4".to_owned();
        let to = match verb {
            GroupVerb::Disable => None,
            GroupVerb::Move { to } => Some(to.clone()),
            _ => Some(home).filter(|home| !self.down.borrow().contains(home)),
        };
        *state = match (&to, verb) {
            (_, GroupVerb::Disable) => "disabled",
            (None, _) => "offline",
            (Some(_), _) if self.fails.is_some() => "failed",
            (Some(_), _) => "online",
        }
        .into();
        *owner = to.filter(|_| state == "online");
        *epoch += 1;
    }

    fn change(&self, text: &str, serial: u64, lock: Option<&String>, disabled: &[String]) -> Answer {
        if let Some(first) = self.before_change.take() {
            first(self);
        }
        let held = self.lock.borrow().clone();
        if let (Some(_), Some(held)) = (lock, held.filter(|held| Some(&held.ticket) != lock)) {
            let reason = format!("{} has taken over the lock of the configuration", held.holder());
            return Answer::refused(reason, "regent status");
        }
        if serial != self.serial.get() {
            return Answer::refused("configuration 9 was put in force meanwhile", "make the change again");
        }
        let resources = |text: &str| {
            let config = parse(text).config.expect("a valid configuration is applied");
            config.groups.iter().map(|g| (g.name.to_string(), g.resources())).collect::<Vec<_>>()
        };
        let new = resources(text);
        let changed = |(name, old): &(String, Vec<_>)| new.iter().any(|(n, now)| n == name && now != old);
        let held = resources(&self.text.borrow()).into_iter().filter(changed).map(|(name, _)| name);
        let online = |name: &String| self.groups.borrow()[name].0 == "online";
        self.pending.borrow_mut().extend(held.filter(online));
        self.text.replace(text.to_owned());
        self.serial.set(serial + 1);
        self.begin_new_ones(disabled);
        Answer::Done("it is in force".into())
    }
}

impl Asks for Node {
    fn ask(&self, request: &Request) -> Result<Answer> {
        Ok(match request {
            Request::Status => Answer::Status(Box::new(self.status())),
            Request::Config => Answer::Config { text: self.text.borrow().clone(), serial: self.serial.get() },
            Request::Events { after, limit } => {
                let journal = self.journal.borrow();
                let new = (1_u64..).zip(journal.iter().cloned()).filter(|(at, _)| at > after).take(*limit);
                Answer::Events { entries: new.collect(), last: journal.len() as u64 }
            }
            Request::ApplyLater { dry_run: true, .. } => match &self.refuses {
                Some((reason, advice)) => Answer::refused(reason, advice),
                None => Answer::Plan(Vec::new()),
            },
            Request::Change { text, serial, lock, disabled, .. } => {
                self.change(text, *serial, lock.as_ref(), disabled)
            }
            Request::LockConfig { lock, over } => {
                let held = self.lock.borrow().as_ref().map(|l| l.ticket.clone());
                if held != *over {
                    return Ok(Answer::refused("somebody else has the lock", "regent status"));
                }
                self.lock.replace(lock.clone().map(|l| ConfigLock {
                    ticket: l.ticket,
                    who: l.who,
                    node: node_name("lx5"),
                    since_ms: l.since_ms,
                }));
                Answer::Done("it is so".into())
            }
            Request::Group { group, verb } => {
                self.order(group, verb);
                Answer::Done("it is ordered".into())
            }
            other => panic!("the shell asks for nothing like {other:?}"),
        })
    }
}

/// One thing that a person does.
enum Act<'a> {
    Types(String),
    Sees(Box<dyn Fn() + 'a>),
}

/// A person who types by a script, and the screen that he sees.
pub(super) struct Person<'a> {
    acts: RefCell<VecDeque<Act<'a>>>,
    screen: RefCell<String>,
}

impl<'a> Person<'a> {
    /// One line after another; `(Enter)` in it for an empty one.
    pub(super) fn who_types(lines: &str) -> Self {
        let typed = |line: &str| Act::Types(line.trim().replace("(Enter)", ""));
        let acts = lines.trim().lines().map(typed).collect();
        Self { acts: RefCell::new(acts), screen: RefCell::default() }
    }

    /// Somebody who has typed nothing yet.
    pub(super) fn who_waits() -> Self {
        Self { acts: RefCell::default(), screen: RefCell::default() }
    }

    /// Meanwhile something happens.
    pub(super) fn while_(self, happens: impl Fn() + 'a) -> Self {
        self.acts.borrow_mut().push_back(Act::Sees(Box::new(happens)));
        self
    }

    pub(super) fn then_types(self, lines: &str) -> Self {
        self.acts.borrow_mut().extend(Self::who_types(lines).acts.into_inner());
        self
    }
}

impl Console for Person<'_> {
    fn say(&self, text: &str) -> Result<()> {
        self.screen.borrow_mut().push_str(text);
        Ok(())
    }

    fn ask(&self, prompt: &str, _: Wants<'_>) -> Result<Option<String>> {
        let line = loop {
            let act = self.acts.borrow_mut().pop_front();
            match act {
                Some(Act::Sees(happens)) => happens(),
                Some(Act::Types(line)) => break Some(line),
                None => break None,
            }
        };
        let shown = line.as_deref().unwrap_or("(end)");
        self.say(&format!("{prompt}{shown}\n"))?;
        Ok(line)
    }

    fn clear(&self) -> Result<()> {
        self.say("(cleared)\n")
    }
}

/// What the person sees, and the exit code.
pub(super) fn talk(node: &Node, person: &Person<'_>, words: &[&str]) -> (String, u8) {
    let args =
        CluadminArgs { words: words.iter().map(|w| (*w).to_owned()).collect(), ..CluadminArgs::default() };
    called(node, person, &args)
}

/// The same, of a shell that was called with options.
pub(super) fn called(node: &Node, person: &Person<'_>, args: &CluadminArgs) -> (String, u8) {
    let (zone, take_lock, debug) = (TimeZone::UTC, args.take_lock, args.debug);
    let setting = Setting { who: "maria".into(), zone, clock: noon, take_lock, debug };
    let aloud = Aloud::new(node, person, noon);
    let asks: &dyn Asks = if debug { &aloud } else { node };
    let shell = Shell::new(asks, person, setting).expect("the node answers");
    let code = shell.run(args);
    assert!(person.acts.borrow().is_empty(), "not everything was asked for:\n{}", person.screen.borrow());
    let screen = person.screen.borrow().clone();
    (screen, code)
}

/// The same, of somebody who types these lines and nothing else.
pub(super) fn types(node: &Node, lines: &str) -> String {
    talk(node, &Person::who_types(lines), &[]).0
}

/// One command, and what is typed while it asks.
pub(super) fn once(node: &Node, words: &str, lines: &str) -> (String, u8) {
    let words: Vec<&str> = words.split_whitespace().collect();
    talk(node, &Person::who_types(lines), &words)
}
