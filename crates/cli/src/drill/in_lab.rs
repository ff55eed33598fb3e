//! A drill in a lab: power, cables and processes are the lab's to break, and to mend.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use regent_api::{GroupVerb, Registry, Request, Status};
use regent_lab::{CLIENT, Lab, Power, Role};
use regent_model::NodeName;
use regent_model::config::Config;

use super::plan::{Act, Step, Way};
use super::probe::Probes;
use super::runner::Stage;
use super::series::Series;
use crate::client::{self, Client};
use crate::reach;
use crate::trouble::{Result, Trouble};

/// How long a machine may take to be off, or to be on again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the nodes may take to be back after a drill that broke off.
const MEND_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Ends every process of an application, by its control group.
const KILL: &str = r#"echo 1 > "${REGENT_CGROUP_ROOT:-/sys/fs/cgroup}/regent/$1/$2/cgroup.kill""#;

/// Kills the guard of a machine: the process whose executable it is. That may end the machine, and this script with it.
const KILL_GUARD: &str = r#"for process in /proc/[0-9]*; do
  case "$(readlink "$process/exe")" in
    */regent-guard|*/regent-guard\ *) exec kill -9 "${process#/proc/}" ;;
  esac
done
exit 3"#;
/// What that script exits with when there is no guard.
const NO_GUARD: i32 = 3;

/// A lab with a cluster in it, and what the drill has broken there.
pub(super) struct LabStage<'a> {
    pub(super) lab: &'a Lab,
    pub(super) config: &'a Config,
    pub(super) began: Instant,
    pub(super) probes: Probes,
    pub(super) wish: Arc<AtomicBool>,
    /// The nodes that have failed, and the networks that nodes have lost.
    broken: BTreeSet<(NodeName, Option<String>)>,
}

/// What somebody in the lab says about the cluster who is in touch. One that has no lease has perhaps just begun, and is
/// believed only when nobody else is there.
pub(super) fn status(lab: &Lab) -> Result<Status> {
    let machines = lab.status()?;
    let members = machines.machines.iter().filter(|m| m.role != Role::Client);
    let mut why = None;
    let mut without_lease = None;
    for machine in members.filter(|m| m.power == Power::On && !m.paused) {
        let asked = reach::in_lab(&machines, Some(&machine.name)).and_then(|c| client::status(&c));
        match asked.and_then(in_touch) {
            Ok(status) if has_lease(&status) => return Ok(status),
            Ok(status) => without_lease = without_lease.or(Some(status)),
            Err(trouble) => why = why.or(Some(trouble)),
        }
    }
    let why = || why.unwrap_or_else(|| Trouble::unreachable("no node of the lab runs"));
    without_lease.ok_or_else(why)
}

/// Whoever says so.
pub(super) fn client(lab: &Lab) -> Result<Client> {
    let status = status(lab)?;
    reach::in_lab(&lab.status()?, Some(status.node.as_str()))
}

/// What a node says that is in touch with a majority, and with every owner; what another one says of the cluster may be
/// old, or too early. Who has just begun has a lease again sooner than it has heard everybody.
pub(super) fn in_touch(status: Status) -> Result<Status> {
    if !status.quorate {
        return Err(Trouble::unreachable(format!("{} is in touch with no majority", status.node)));
    }
    match status.groups.iter().find(|g| g.state == "unknown") {
        None => Ok(status),
        Some(group) => Err(Trouble::unreachable(format!(
            "{} has only begun, and does not know yet how {} is",
            status.node, group.name
        ))),
    }
}

fn has_lease(status: &Status) -> bool {
    status.nodes.iter().any(|n| n.name == status.node && n.lease_valid == Some(true))
}

impl<'a> LabStage<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        config: &'a Config,
        began: Instant,
        probes: Probes,
        wish: Arc<AtomicBool>,
    ) -> Self {
        Self { lab, config, began, probes, wish, broken: BTreeSet::new() }
    }

    fn power(&self, node: &NodeName) -> Result<Power> {
        let status = self.lab.status()?;
        let machine = status.machine(node.as_str());
        machine.map(|m| m.power).ok_or_else(|| Trouble::refused(format!("the lab has no machine {node}")))
    }

    fn fail(&mut self, node: &NodeName, way: Way) -> Result<String> {
        self.broken.insert((node.clone(), None));
        match way {
            Way::Power => {
                self.lab.off(node.as_str())?;
                Ok(format!("the power of {node} is cut"))
            }
            Way::Network => {
                self.lab.cut(node.as_str(), None)?;
                Ok(format!("{node} is cut off from every network"))
            }
            Way::Guard => {
                let output = self.lab.output(node.as_str(), &["sh", "-c", KILL_GUARD])?;
                if output.status.code() == Some(NO_GUARD) {
                    return Err(Trouble::refused(format!("{node} has no guard to kill")));
                }
                Ok(format!("the guard of {node} is killed"))
            }
        }
    }

    /// Power, if it has none; else its networks. A machine whose guard was killed may be on its way down or up.
    fn give_back(&mut self, node: &NodeName) -> Result<String> {
        let name = node.as_str();
        let until = Instant::now() + PATIENCE;
        loop {
            let tried = match self.power(node)? {
                Power::On => self.lab.heal(name, None).map(|_| format!("{node} is connected again")),
                Power::Off => self.lab.on(name).map(|_| format!("{node} has power again")),
                Power::Booting | Power::Dying => {
                    Err(regent_lab::LabError::new(format!("{node} is not off yet")))
                }
            };
            match tried {
                Ok(words) => {
                    self.broken.retain(|(of, _)| of != node);
                    return Ok(words);
                }
                Err(error) if Instant::now() >= until => return Err(error.into()),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn network(&mut self, node: &NodeName, network: &str, up: bool) -> Result<String> {
        let number = self.config.network_called(network);
        let number = number.ok_or_else(|| Trouble::refused(format!("there is no network {network}")))?;
        if up {
            self.lab.heal(node.as_str(), Some(number))?;
            self.broken.remove(&(node.clone(), Some(network.to_owned())));
            return Ok(format!("{node} is on network {network} again"));
        }
        self.broken.insert((node.clone(), Some(network.to_owned())));
        self.lab.cut(node.as_str(), Some(number))?;
        Ok(format!("{node} neither hears nor is heard on network {network}"))
    }

    fn kill(&self, group: &str, application: &str) -> Result<String> {
        let status = status(self.lab)?;
        let owner = status.groups.iter().find(|g| g.name.as_str() == group).and_then(|g| g.owner.clone());
        let owner = owner.ok_or_else(|| Trouble::refused(format!("nobody owns {group}")))?;
        let output = self.lab.output(owner.as_str(), &["sh", "-c", KILL, "sh", group, application])?;
        if output.status.success() {
            return Ok(format!("every process of {application} is killed on {owner}"));
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(Trouble::refused(format!("{application} cannot be killed on {owner}: {}", why.trim())))
    }

    /// Mends what the drill broke and has not mended itself; says what it did and how the cluster is then.
    pub(super) fn mend(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        let broken: BTreeSet<NodeName> = self.broken.iter().map(|(node, _)| node.clone()).collect();
        for node in &broken {
            told.push(match self.give_back(node) {
                Ok(words) => format!("mended: {words}"),
                Err(trouble) => format!("NOT mended: {node}: {trouble}"),
            });
        }
        let until = Instant::now() + MEND_WITHIN;
        let is_up = |status: &Status| {
            status.nodes.iter().all(|n| n.state == "up")
                && status.groups.iter().all(|g| !matches!(g.state.as_str(), "acquiring" | "releasing"))
        };
        while !broken.is_empty() && Instant::now() < until && !status(self.lab).is_ok_and(|s| is_up(&s)) {
            std::thread::sleep(PAUSE);
        }
        told
    }
}

impl Stage for LabStage<'_> {
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
        status(self.lab)
    }

    fn registry(&mut self) -> Result<Registry> {
        crate::instance::ask::registry(&client(self.lab)?)
    }

    fn heard(&mut self, address: IpAddr) -> Series {
        self.probes.heard(address)
    }

    /// In a lab nothing is hurt that anybody needs.
    fn consent(&mut self, _number: usize, _step: &Step) -> Result<()> {
        Ok(())
    }

    fn act(&mut self, act: &Act) -> Result<String> {
        match act {
            Act::Fail { node, way } => self.fail(node, *way),
            Act::Return(node) => self.give_back(node),
            Act::NetworkDown { node, network } => self.network(node, network, false),
            Act::NetworkUp { node, network } => self.network(node, network, true),
            Act::Kill { group, application } => self.kill(group.as_str(), application.as_str()),
            Act::Move { group, node } => move_group(&client(self.lab)?, group.as_str(), node),
            Act::Probe(target) => Ok(format!("asked at {} from {CLIENT}", target)),
            Act::Wait(_) | Act::Expect { .. } => Ok(String::new()),
        }
    }
}

/// Orders a group to another node, as `regent group move` does.
pub(super) fn move_group(asks: &dyn client::Asks, group: &str, node: &NodeName) -> Result<String> {
    let verb = GroupVerb::Move { to: node.to_string() };
    client::order(asks, &Request::Group { group: group.to_owned(), verb })
}
