//! A drill on a real cluster: every step that hurts is consented to by itself, and a node fails by its fence device.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use regent_api::{Registry, Status};
use regent_model::NodeName;
use regent_model::config::{Config, Finding, Severity};

use super::in_lab::{in_touch, move_group};
use super::parse::finding;
use super::plan::{Act, Step};
use super::probe::Probes;
use super::runner::Stage;
use super::series::Series;
use crate::client::{self, Client};
use crate::fence::device;
use crate::screen::complain;
use crate::trouble::{Result, Trouble};

/// The cluster that the daemon of this machine belongs to.
pub(super) struct LiveStage<'a> {
    pub(super) client: &'a Client,
    pub(super) config: &'a Config,
    pub(super) began: Instant,
    pub(super) probes: Probes,
    pub(super) wish: Arc<AtomicBool>,
    /// What was consented to on the command line: one step each.
    pub(super) consents: RefCell<Vec<String>>,
    off: BTreeSet<NodeName>,
}

/// What cannot be done on a live cluster from this node, found before anything is done.
pub(super) fn check(steps: &[Step], config: &Config, here: &NodeName) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut error = |step: &Step, message: String, help: String| {
        found.push(finding(Severity::Error, step.span.clone(), message, help));
    };
    for step in steps {
        if let Act::Fail { node, .. } = &step.act
            && node == here
        {
            let better = config
                .witnesses
                .first()
                .map(|w| &w.name)
                .or_else(|| config.nodes.iter().map(|n| &n.name).find(|n| *n != here));
            let better = better.map(|n| format!("run the drill on {n}")).unwrap_or_default();
            error(step, format!("{node} is this machine: the drill would end with it"), better);
        }
    }
    found
}

/// Each consent is for one step that hurts. One that fits none is a mistake, and nothing is begun; nor is it where some
/// step has none and nobody can be asked for it.
pub(super) fn check_consents(steps: &[Step], consents: &[String], can_be_asked: bool) -> Result<()> {
    let mut open: Vec<String> = steps.iter().filter(|s| s.act.hurts()).map(|s| s.act.to_string()).collect();
    for consent in consents {
        let Some(at) = open.iter().position(|step| fits(step, consent)) else {
            return Err(Trouble::usage(format!(
                "--yes-i-consent-to '{consent}' fits no step of the plan that is left"
            ))
            .next(format!("the steps that hurt, each to be consented to once: {}", steps_that_hurt(steps))));
        };
        open.remove(at);
    }
    if open.is_empty() || can_be_asked {
        return Ok(());
    }
    let what = "standard input is no terminal: nobody can be asked to consent to the steps that hurt";
    let mut trouble = Trouble::usage(what);
    for step in open {
        trouble = trouble.next(format!("--yes-i-consent-to '{step}'"));
    }
    Err(trouble)
}

fn steps_that_hurt(steps: &[Step]) -> String {
    let list: Vec<String> = steps.iter().filter(|s| s.act.hurts()).map(|s| format!("'{}'", s.act)).collect();
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

/// Whether words that a person wrote name this step: a node fails by its power where no other way is said.
fn fits(step: &str, consent: &str) -> bool {
    let words = consent.split_whitespace().collect::<Vec<_>>().join(" ");
    step == words || (words.starts_with("FAIL_NODE ") && step == format!("{words} power"))
}

impl<'a> LiveStage<'a> {
    pub(super) fn new(
        client: &'a Client,
        config: &'a Config,
        began: Instant,
        probes: Probes,
        wish: Arc<AtomicBool>,
        consents: &[String],
    ) -> Self {
        let consents = RefCell::new(consents.to_vec());
        Self { client, config, began, probes, wish, consents, off: BTreeSet::new() }
    }

    /// What a step does to whom, before it is done.
    fn harm(&self, act: &Act) -> String {
        let owned = |node: &NodeName| -> String {
            let Ok(status) = client::status(self.client) else { return "what it owns".to_owned() };
            let owned: Vec<&str> = status
                .groups
                .iter()
                .filter(|g| g.owner.as_ref() == Some(node))
                .map(|g| g.name.as_str())
                .collect();
            if owned.is_empty() { "nothing".to_owned() } else { owned.join(", ") }
        };
        match act {
            Act::Fail { node, .. } => {
                let levels = device::levels(self.config, node).unwrap_or_default();
                let (devices, cut) = match levels.first() {
                    Some(level) if level.devices.len() > 1 => (device::words(level), "cut"),
                    level => (level.map(device::words).unwrap_or_default(), "cuts"),
                };
                format!(
                    "{devices} {cut} the power of {node}, without a shutdown. Its clients lose {} until the takeover",
                    owned(node)
                )
            }
            Act::Move { group, node } => format!("{group} stops, and starts on {node}"),
            Act::Kill { group, application } => {
                format!("every process of {application} of {group} is killed")
            }
            _ => "the cluster is hurt".to_owned(),
        }
    }

    fn kill(&self, group: &str, application: &str) -> Result<String> {
        let status = client::status(self.client)?;
        let owner = status.groups.iter().find(|g| g.name.as_str() == group).and_then(|g| g.owner.clone());
        if owner.as_ref() != Some(&status.node) {
            let owner = owner.map_or_else(|| "nobody".to_owned(), |o| o.to_string());
            return Err(Trouble::refused(format!(
                "{group} is {owner}'s: its processes cannot be killed from {}",
                status.node
            ))
            .next("run this plan on the node that owns it"));
        }
        let top = std::env::var_os("REGENT_CGROUP_ROOT")
            .map_or_else(|| Path::new("/sys/fs/cgroup").to_owned(), PathBuf::from);
        let file = top.join("regent").join(group).join(application).join("cgroup.kill");
        std::fs::write(&file, "1").map_err(|e| {
            Trouble::refused(format!("{application} cannot be killed: {}: {e}", file.display()))
        })?;
        Ok(format!("every process of {application} is killed"))
    }

    /// What is still broken, and how a person mends it: on a live cluster the drill mends nothing by itself.
    pub(super) fn how_to_mend(&self) -> Vec<String> {
        let one = |node: &NodeName| {
            format!(
                "{node} has no power: switch it on with `regent fence on {node}`, or by hand; it returns to the \
                 cluster when it boots"
            )
        };
        self.off.iter().map(one).collect()
    }
}

impl Stage for LiveStage<'_> {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn wants_to_end(&self) -> bool {
        self.wish.load(Ordering::Relaxed)
    }

    fn status(&mut self) -> Result<Status> {
        in_touch(client::status(self.client)?)
    }

    fn registry(&mut self) -> Result<Registry> {
        crate::instance::ask::registry(self.client)
    }

    fn heard(&mut self, address: IpAddr) -> Series {
        self.probes.heard(address)
    }

    fn consent(&mut self, number: usize, step: &Step) -> Result<()> {
        let words = step.act.to_string();
        let mut consents = self.consents.borrow_mut();
        if let Some(at) = consents.iter().position(|c| fits(&words, c)) {
            consents.remove(at);
            return Ok(());
        }
        drop(consents);
        if !std::io::stdin().is_terminal() {
            return Err(Trouble::refused(format!("nobody consented to step {}: {words}", number + 1)));
        }
        complain(&format!(
            "\nStep {} hurts: {words}\n  {}.\n  Type the step to consent to it, anything else ends the drill: ",
            number + 1,
            self.harm(&step.act)
        ));
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && fits(&words, &answer) {
            return Ok(());
        }
        Err(Trouble::refused(format!("step {} was not consented to", number + 1)))
    }

    fn act(&mut self, act: &Act) -> Result<String> {
        match act {
            Act::Fail { node, .. } => {
                device::levels(self.config, node)?;
                self.off.insert(node.clone());
                device::off(self.config, node)
            }
            Act::Return(node) => {
                let done = device::on(self.config, node)?;
                self.off.remove(node);
                Ok(done)
            }
            Act::Kill { group, application } => self.kill(group.as_str(), application.as_str()),
            Act::Move { group, node } => move_group(self.client, group.as_str(), node),
            Act::Probe(target) => Ok(format!("asked at {target} from here")),
            Act::NetworkDown { .. } | Act::NetworkUp { .. } => {
                Err(Trouble::refused("on a live cluster no cable is pulled"))
            }
            Act::Wait(_) | Act::Expect { .. } => Ok(String::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::parse::parse;

    #[test]
    fn a_consent_is_for_one_step_and_none_is_for_all() {
        let steps = parse("FAIL_NODE lx4\nRETURN_NODE lx4\nFAIL_NODE lx4 power\nMOVE web lx5\n").steps;
        let given = |list: &[&str]| {
            check_consents(&steps, &list.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>(), false)
        };
        assert!(given(&["FAIL_NODE lx4", "FAIL_NODE  lx4 power", "MOVE web lx5"]).is_ok());
        let thrice = given(&["FAIL_NODE lx4", "FAIL_NODE lx4", "FAIL_NODE lx4"]).unwrap_err();
        assert!(thrice.next[0].contains("'MOVE web lx5'"), "{thrice}");
        assert!(given(&["RETURN_NODE lx4"]).is_err(), "it does not hurt");
        assert!(given(&["all"]).is_err());
        let some = given(&["FAIL_NODE lx4"]).unwrap_err();
        assert_eq!(some.next.len(), 2, "{some}");
        assert!(check_consents(&steps, &[], true).is_ok(), "a person is asked step by step");
    }

    #[test]
    fn a_drill_does_not_cut_the_power_of_the_machine_it_runs_on() {
        let text = "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.0.0.4\"]\n\
                    [[node]]\nname = \"lx5\"\naddresses = [\"10.0.0.5\"]\n\
                    [[witness]]\nname = \"wit\"\naddresses = [\"10.0.0.3\"]\n";
        let config = regent_model::config::parse(text).config.unwrap();
        let steps = parse("FAIL_NODE lx4\nFAIL_NODE lx5\n").steps;
        let found = check(&steps, &config, &NodeName::new("lx5").unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].help, "run the drill on wit");
    }
}
