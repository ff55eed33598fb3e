//! `regent fence test`: a node is really cut, through each of its levels, and comes back.

use std::time::{Duration, Instant};

use regent_api::{HandAct, NodeStatus, NodeVerb, Request, Status};
use regent_model::config::{Config, FenceLevel, duration_text};
use regent_model::{BootId, NodeName};
use serde_json::{Value, json};

use super::record::on_record;
use super::{confirm, device, node_of, not_this_machine, not_while_it_is_cut, owned};
use crate::client::{self, Asks};
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

/// How often the cluster is asked.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a node that has no power may still be heard, beyond the lease.
const SILENT_WITHIN: Duration = Duration::from_secs(30);

/// What was typed.
pub(super) struct Wanted<'a> {
    pub(super) node: &'a str,
    pub(super) level: Option<u8>,
    pub(super) moves: bool,
    pub(super) wait: Duration,
    pub(super) yes: bool,
}

struct Trial<'a> {
    asks: &'a dyn Asks,
    screen: &'a Screen,
    node: NodeName,
    wait: Duration,
    steps: Vec<Value>,
}

/// Tests the devices of a node.
///
/// # Errors
/// When it may not be begun, or a step fails.
pub(super) fn run(asks: &dyn Asks, screen: &Screen, config: &Config, wanted: &Wanted<'_>) -> Result<u8> {
    let node = node_of(config, wanted.node)?;
    let mut levels = device::levels(config, &node)?;
    if let Some(only) = wanted.level {
        let known: Vec<String> = levels.iter().map(|l| l.level.to_string()).collect();
        levels.retain(|level| level.level == only);
        if levels.is_empty() {
            return Err(Trouble::usage(format!("{node} has no devices of level {only}"))
                .next(format!("levels of {node}: {}", known.join(", "))));
        }
    }
    let status = client::status(asks)?;
    may_begin(&status, &node, wanted.moves)?;
    if !wanted.yes {
        let times = levels.len();
        let harm = format!("The power of {node} is cut {times} times, without a shutdown, and given back.");
        confirm("fence test", &node, &harm)?;
    }
    let mut trial = Trial { asks, screen, node, wait: wanted.wait, steps: Vec::new() };
    // Also one that owns nothing: it shall not come to own something between a look at it and the cut.
    let standby = state_of(&client::status(asks)?, &trial.node) == "up";
    let words: Vec<String> = levels.iter().map(device::words).collect();
    let words = format!("{} can be cut by {}", trial.node, words.join("; and by "));
    let tested = trial.node.clone();
    let go = || trial.go(&levels, standby).map(|()| words);
    let result = on_record(asks, screen, (HandAct::Test, &tested), go);
    let passed = result.is_ok();
    let why = result.as_ref().err().map(|trouble| trouble.what.clone());
    screen.value(&json!({ "node": trial.node, "passed": passed, "why": why, "steps": trial.steps }))?;
    screen.say(&format!("{}\n", result?))?;
    Ok(Exit::Done as u8)
}

fn node_status<'a>(status: &'a Status, node: &NodeName) -> Option<&'a NodeStatus> {
    status.nodes.iter().find(|n| n.name == *node)
}

fn state_of<'a>(status: &'a Status, node: &NodeName) -> &'a str {
    node_status(status, node).map_or("not joined", |n| n.state.as_str())
}

/// Whether the node is heard and takes part.
fn takes_part(state: &str) -> bool {
    state == "up" || state == "standby"
}

fn may_begin(status: &Status, node: &NodeName, moves: bool) -> Result<()> {
    not_this_machine(status, node)?;
    not_while_it_is_cut(status, node)?;
    let state = state_of(status, node);
    if !takes_part(state) {
        return Err(Trouble::refused(format!(
            "{node} is {state}: whether it falls silent and comes back could not be seen"
        ))
        .next(format!("regent node start {node}, or when it has no power: regent fence on {node}")));
    }
    let voters: Vec<&NodeStatus> = status.nodes.iter().filter(|n| n.voter).collect();
    let left = voters.iter().filter(|n| n.name != *node && takes_part(&n.state)).count();
    let decided = voters.len() == 2 && left == 1 && status.arbiter.as_ref().is_some_and(|a| a.ready);
    if !status.quorate || (left <= voters.len() / 2 && !decided) {
        return Err(Trouble::refused(format!(
            "without {node} there would be {left} of {} voters, no majority: every group would stop",
            voters.len()
        ))
        .next("bring the others up first: regent status"));
    }
    match owned(status, node).as_slice() {
        groups if groups.is_empty() || moves => Ok(()),
        groups => Err(Trouble::refused(format!("{node} owns {}", groups.join(", ")))
            .next(format!("regent fence test {node} --move has them moved away first"))),
    }
}

impl Trial<'_> {
    fn go(&mut self, levels: &[FenceLevel<'_>], standby: bool) -> Result<()> {
        let aside = |trial: &mut Self| {
            let what = "on standby: it owns nothing, and is given nothing";
            if standby { trial.step(what, Self::empty) } else { Ok(()) }
        };
        let result = aside(self).and_then(|()| levels.iter().try_for_each(|level| self.level(level)));
        if standby {
            let active = self.step("it may own something again", |trial| trial.order(NodeVerb::Start));
            result.and(active)
        } else {
            result
        }
    }

    /// Does one step, tells it with its time, and notes it.
    fn step(&mut self, what: &str, act: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        let result = act(self);
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let why = result.as_ref().err().map(|trouble| trouble.what.clone());
        let sign = if why.is_none() { "ok    " } else { "FAILED" };
        self.steps.push(json!({ "step": what, "ok": why.is_none(), "ms": ms, "why": why }));
        self.screen.say(&format!("{sign} {ms:>7} ms  {what}\n"))?;
        result
    }

    fn level(&mut self, level: &FenceLevel<'_>) -> Result<()> {
        let (number, words) = (level.level, device::words(level));
        let at = |what: &str| format!("level {number}: {what}");
        for each in &level.devices {
            self.step(&at(&format!("{} says that it has power", each.name)), |trial| {
                match device::power(each, &trial.node)? {
                    device::Power::On => Ok(()),
                    other => Err(Trouble::refused(format!("{} says {other:?}", each.name))),
                }
            })?;
        }
        // The devices and the person took their time, and so did the level before.
        let mut boot = None;
        self.step(&at("it owns nothing, and the others are a majority"), |trial| {
            let status = client::status(trial.asks)?;
            may_begin(&status, &trial.node, false)?;
            boot = node_status(&status, &trial.node).and_then(|n| n.boot.clone());
            Ok(())
        })?;
        let cut =
            self.step(&at(&format!("cut by {words}, and off by status")), |t| device::cut(level, &t.node));
        let gone = cut.and_then(|()| {
            self.step(&at("each device says again that it is off"), |t| device::confirm(level, &t.node))?;
            self.step(&at("the cluster hears it no more, and goes on"), Self::falls_silent)
        });
        // Also where it could not be cut wholly: a feed that is off is to be on again.
        let on = self.step(&at(&format!("switched on by {words}")), |trial| {
            level.devices.iter().try_for_each(|each| device::switch_on(each, &trial.node))
        });
        gone.and(on)?;
        self.step(&at("it is back in the cluster, with a new boot"), |t| t.is_back(boot.as_ref()))
    }

    /// Looks until it is so.
    fn until(&self, within: Duration, what: &str, so: impl Fn(&Status) -> bool) -> Result<()> {
        let until = Instant::now() + within;
        loop {
            // A leader that was lost is missed for a moment.
            let seen = client::status(self.asks);
            if seen.as_ref().is_ok_and(&so) {
                return Ok(());
            }
            if Instant::now() >= until {
                let state = seen.map_or_else(|t| t.what, |s| state_of(&s, &self.node).to_owned());
                let node = &self.node;
                return Err(Trouble::unsettled(format!(
                    "{node} {what} within {}: it is {state}",
                    duration_text(within)
                ))
                .next("regent status; regent events"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn order(&self, verb: NodeVerb) -> Result<()> {
        let request = Request::Node { node: Some(self.node.to_string()), verb };
        client::order(self.asks, &request).map(drop)
    }

    fn empty(&self) -> Result<()> {
        self.order(NodeVerb::Standby)?;
        self.until(self.wait, "does not own nothing", |status| {
            state_of(status, &self.node) == "standby" && owned(status, &self.node).is_empty()
        })
    }

    fn falls_silent(&self) -> Result<()> {
        // Of two nodes the other one asks the arbiter, which may be the very devices: it would cut once more.
        let goes_on = |s: &Status| s.arbiter.as_ref().is_none_or(|arbiter| arbiter.alone.is_some());
        self.until(SILENT_WITHIN, "does not fall silent", |s| {
            !takes_part(state_of(s, &self.node)) && goes_on(s)
        })
    }

    fn is_back(&self, before: Option<&BootId>) -> Result<()> {
        self.until(self.wait, "has not come back", |status| {
            let Some(now) = node_status(status, &self.node) else { return false };
            takes_part(&now.state) && now.boot.as_ref() != before
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use regent_api::Answer;
    use regent_model::config;

    use super::*;
    use crate::tests::samples;

    /// A cluster that obeys orders; whether lx4 owns something that somebody has forced on it after so many looks.
    struct Cluster {
        status: RefCell<Status>,
        looks: Cell<u32>,
        forced_at: u32,
        orders: RefCell<Vec<NodeVerb>>,
    }

    impl Asks for Cluster {
        fn ask(&self, request: &Request) -> Result<Answer> {
            let mut status = self.status.borrow_mut();
            let lx4 = NodeName::new("lx4").unwrap();
            match request {
                Request::Status => {
                    self.looks.set(self.looks.get() + 1);
                    if self.looks.get() >= self.forced_at {
                        status.groups[0].owner = Some(lx4);
                    }
                    Ok(Answer::Status(Box::new(status.clone())))
                }
                Request::Node { verb, .. } => {
                    self.orders.borrow_mut().push(*verb);
                    let standby = *verb == NodeVerb::Standby;
                    status.nodes[0].state = if standby { "standby" } else { "up" }.to_owned();
                    status.groups[0].owner = None;
                    Ok(Answer::Done(String::new()))
                }
                Request::FenceByHand { .. } => Ok(Answer::Done(String::new())),
                other => panic!("{other:?}"),
            }
        }
    }

    const CONFIG: &str = r#"
[cluster]
name = "w"
[[node]]
name = "lx4"
addresses = ["10.0.0.4"]
[[fence]]
name = "power"
agent = "/bin/true"
nodes = ["lx4"]
timeout = "1s"
"#;

    /// What was done with lx4, on which something is forced at this look at the cluster: the steps and the orders.
    fn tried(forced_at: u32) -> (Vec<String>, Vec<NodeVerb>) {
        let mut status = samples::healthy();
        status.groups[0].owner = None;
        let (looks, orders) = (Cell::new(0), RefCell::default());
        let asks = Cluster { status: RefCell::new(status), looks, forced_at, orders };
        let config = config::parse(CONFIG).config.unwrap();
        let node = NodeName::new("lx4").unwrap();
        let levels = device::levels(&config, &node).unwrap();
        let screen = Screen::silent();
        let wait = Duration::from_secs(10);
        let mut trial = Trial { asks: &asks, screen: &screen, node, wait, steps: Vec::new() };
        trial.go(&levels, true).unwrap_err();
        let steps = trial.steps.iter().map(|s| s["step"].as_str().unwrap().to_owned()).collect();
        (steps, asks.orders.into_inner())
    }

    #[test]
    fn what_has_come_to_own_something_since_it_was_looked_at_is_not_cut_and_may_own_again() {
        // The first look is at the standby, the second just before the cut.
        let (steps, orders) = tried(2);
        assert!(!steps.iter().any(|s| s.contains("cut by")), "{steps:?}");
        assert_eq!(orders, [NodeVerb::Standby, NodeVerb::Start]);
        // Where nothing is forced on it, it would be cut; this device has power all the time.
        let (steps, orders) = tried(u32::MAX);
        assert!(steps.iter().any(|s| s.contains("cut by power")), "{steps:?}");
        assert_eq!(orders, [NodeVerb::Standby, NodeVerb::Start]);
    }

    #[test]
    fn nothing_is_cut_that_owns_something_is_this_machine_or_is_needed_for_a_majority() {
        let status = samples::healthy();
        let name = |name: &str| NodeName::new(name).unwrap();
        let owner = status.groups.iter().find_map(|g| g.owner.clone()).unwrap();
        let mut elsewhere = status.clone();
        elsewhere.node = status.nodes.iter().find(|n| n.name != owner).unwrap().name.clone();
        let refused = may_begin(&elsewhere, &owner, false).unwrap_err();
        assert!(refused.next[0].contains("--move"), "{refused:?}");
        may_begin(&elsewhere, &owner, true).unwrap();
        let here = may_begin(&elsewhere, &elsewhere.node.clone(), true).unwrap_err();
        assert!(here.what.contains("is this machine"), "{here:?}");
        let mut thin = elsewhere.clone();
        for node in thin.nodes.iter_mut().filter(|n| n.name != owner && n.name != elsewhere.node) {
            node.state = "silent".to_owned();
        }
        let refused = may_begin(&thin, &owner, true).unwrap_err();
        assert!(refused.what.contains("no majority"), "{refused:?}");
        let mut cutting = elsewhere.clone();
        cutting.fencing = vec![format!("{owner} by power (attempt 1, operated by wit)")];
        assert!(may_begin(&cutting, &owner, true).unwrap_err().what.contains("is cutting its power"));
        let mut off = elsewhere;
        off.nodes.iter_mut().filter(|n| n.name == owner).for_each(|n| n.state = "down".to_owned());
        assert!(may_begin(&off, &owner, true).unwrap_err().what.contains("is down"));
        assert_ne!(owner, name("nobody"));
    }
}
