//! Holds a plan against the cluster it is for: names that do not exist, steps that cannot follow each other, and what
//! cannot be done where it is to run. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use regent_model::config::{Config, Finding, GroupConfig, Severity};
use regent_model::ids::InstanceName;
use regent_model::{GroupName, NodeName};

use super::parse::finding;
use super::plan::{Act, Step, Way, What};

/// Where a plan is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// In a lab: everything can be done there.
    Lab,
    /// On a real cluster.
    Live,
}

/// What the steps so far have broken.
#[derive(Default)]
struct So {
    failed: BTreeSet<NodeName>,
    cut: BTreeSet<(NodeName, String)>,
}

/// Everything that is wrong with these steps for this cluster.
#[must_use]
pub(super) fn check(steps: &[Step], config: &Config, ground: Ground) -> Vec<Finding> {
    let mut check = Check { config, ground, so: So::default(), findings: Vec::new() };
    for step in steps {
        check.step(step);
    }
    check.at_the_end(steps);
    check.findings
}

struct Check<'a> {
    config: &'a Config,
    ground: Ground,
    so: So,
    findings: Vec<Finding>,
}

fn listed<T: ToString>(names: impl Iterator<Item = T>) -> String {
    names.map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
}

impl Check<'_> {
    fn error(&mut self, step: &Step, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(finding(Severity::Error, step.span.clone(), message, help));
    }

    fn warning(&mut self, step: &Step, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(finding(Severity::Warning, step.span.clone(), message, help));
    }

    fn step(&mut self, step: &Step) {
        match &step.act {
            Act::Probe(target) => self.address(step, target.ip()),
            Act::Fail { node, way } => self.fail(step, node, *way),
            Act::Return(node) => {
                if self.node(step, node) && !self.so.failed.remove(node) {
                    self.error(
                        step,
                        format!("{node} has not failed before this line"),
                        format!("write FAIL_NODE {node} before it"),
                    );
                }
            }
            Act::NetworkDown { node, network } => {
                if self.network(step, node, network) {
                    self.so.cut.insert((node.clone(), network.clone()));
                }
            }
            Act::NetworkUp { node, network } => {
                if self.network(step, node, network) && !self.so.cut.remove(&(node.clone(), network.clone()))
                {
                    let message = format!("{node} has not lost network {network} before this line");
                    self.error(step, message, format!("write NETWORK_DOWN {node} {network} before it"));
                }
            }
            Act::Kill { group, application } => {
                let Some(known) = self.group(step, group) else { return };
                if known.applications.iter().all(|a| a.name != *application) {
                    let has = listed(known.applications.iter().map(|a| &a.name));
                    let help =
                        if has.is_empty() { "it has none".to_owned() } else { format!("it has {has}") };
                    self.error(step, format!("{group} has no application {application}"), help);
                }
            }
            Act::Move { group, node } => self.can_be_on(step, group, node),
            Act::Wait(_) => {}
            Act::Expect { what, .. } => self.expected(step, what),
        }
    }

    fn fail(&mut self, step: &Step, node: &NodeName, way: Way) {
        if !self.node(step, node) {
            return;
        }
        if self.ground == Ground::Live {
            if way != Way::Power {
                let help = format!("write FAIL_NODE {node} power, or run the plan in a lab (--lab)");
                self.error(step, "on a live cluster a node is failed only by its fence device", help);
            } else if self.config.fences.iter().all(|f| !f.nodes.contains(node)) {
                self.error(
                    step,
                    format!("no fence device can cut the power of {node}"),
                    "add a [[fence]] that names it, or run the plan in a lab (--lab)",
                );
            }
        }
        if !self.so.failed.insert(node.clone()) {
            self.error(
                step,
                format!("{node} has failed already"),
                format!("write RETURN_NODE {node} before it"),
            );
        }
        let voters = self.config.nodes.len() + self.config.witnesses.len();
        let decided = self.config.arbiter.is_some() && self.so.failed.len() == 1;
        if self.so.failed.len() * 2 >= voters && !decided {
            let message = format!(
                "without {} there is no majority: nothing is taken over any more",
                listed(self.so.failed.iter())
            );
            self.warning(step, message, "return one of them first, if that is not what is to be shown");
        }
    }

    fn expected(&mut self, step: &Step, what: &What) {
        match what {
            What::Online { groups, on } | What::Stay { groups, on } => {
                for group in groups {
                    match on {
                        Some(node) => self.can_be_on(step, group, node),
                        None => drop(self.group(step, group)),
                    }
                }
            }
            What::Down { groups } => groups.iter().for_each(|g| drop(self.group(step, g))),
            What::Answers { address, from } => {
                self.address(step, *address);
                if let Some(node) = from
                    && self.node(step, node)
                {
                    self.is_there(step, node);
                }
            }
            What::Silent(address) | What::Away(address) => self.address(step, *address),
            What::Up(node) => {
                if self.member(step, node) {
                    self.is_there(step, node);
                }
            }
            What::Lost(node) => {
                self.member(step, node);
            }
            What::Instance { name, on } => self.instance(step, name, on.as_ref()),
        }
    }

    fn at_the_end(&mut self, steps: &[Step]) {
        let Some(last) = steps.last() else { return };
        for node in std::mem::take(&mut self.so.failed) {
            let message = format!("{node} has failed, and the plan does not return it");
            self.warning(last, message, format!("end the plan with RETURN_NODE {node}"));
        }
        for (node, network) in std::mem::take(&mut self.so.cut) {
            let message = format!("{node} has lost network {network}, and the plan does not give it back");
            self.warning(last, message, format!("end the plan with NETWORK_UP {node} {network}"));
        }
        if steps.iter().all(|s| !matches!(s.act, Act::Expect { .. })) {
            self.warning(last, "the plan expects nothing: it shows nothing", "write EXPECT lines");
        }
    }

    fn node(&mut self, step: &Step, node: &NodeName) -> bool {
        let known = self.config.nodes.iter().any(|n| n.name == *node);
        if !known {
            let help = format!("the nodes are {}", listed(self.config.nodes.iter().map(|n| &n.name)));
            self.error(step, format!("there is no node {node}"), help);
        }
        known
    }

    /// A node or a witness.
    fn member(&mut self, step: &Step, node: &NodeName) -> bool {
        self.config.witnesses.iter().any(|w| w.name == *node) || self.node(step, node)
    }

    fn is_there(&mut self, step: &Step, node: &NodeName) {
        if self.so.failed.contains(node) {
            self.error(
                step,
                format!("{node} has failed at this line"),
                format!("write RETURN_NODE {node} before it"),
            );
        }
    }

    fn network(&mut self, step: &Step, node: &NodeName, network: &str) -> bool {
        if !self.node(step, node) {
            return false;
        }
        if self.ground == Ground::Live {
            self.error(
                step,
                "on a live cluster no cable is pulled",
                "pull it yourself beside a plan that says WAIT, or run the plan in a lab (--lab)",
            );
        }
        let known = self.config.network_called(network).is_some();
        if !known {
            let count = self.config.network_count();
            let help =
                format!("the networks are {}", listed((0..count).map(|n| self.config.network_name(n))));
            self.error(step, format!("there is no network {network}"), help);
        }
        known
    }

    /// The group, also where one part of a concurrent group is named.
    fn group(&mut self, step: &Step, group: &GroupName) -> Option<Arc<GroupConfig>> {
        if self.config.group(group).is_none() {
            let help = format!("the groups are {}", listed(self.config.groups.iter().map(|g| &g.name)));
            self.error(step, format!("there is no group {group}"), help);
        }
        self.config.group(group).cloned()
    }

    fn instance(&mut self, step: &Step, name: &InstanceName, on: Option<&NodeName>) {
        match (self.config.instance(name).map(|(group, _)| group.name.clone()), on) {
            (Some(group), Some(node)) => self.can_be_on(step, &group, node),
            (Some(_), None) => {}
            (None, _) => {
                let has = listed(self.config.instances().map(|(_, i)| &i.name));
                let help = if has.is_empty() {
                    "the cluster has none".to_owned()
                } else {
                    format!("the instances are {has}")
                };
                self.error(step, format!("there is no instance {name}"), help);
            }
        }
    }

    fn can_be_on(&mut self, step: &Step, group: &GroupName, node: &NodeName) {
        let Some(known) = self.group(step, group) else { return };
        let (may, nodes) = (known.nodes.contains(node), listed(known.nodes.iter()));
        if !may {
            let help = format!("its nodes are {nodes}");
            self.error(step, format!("{group} is never on {node}"), help);
            return;
        }
        self.is_there(step, node);
    }

    fn address(&mut self, step: &Step, address: IpAddr) {
        let all = || self.config.groups.iter().flat_map(|g| &g.addresses).map(|a| a.address);
        if all().all(|a| a != address) {
            let has = listed(all());
            let help = if has.is_empty() {
                "no group has a service address".to_owned()
            } else {
                format!("the service addresses are {has}")
            };
            self.error(step, format!("{address} is no service address"), help);
        }
    }
}
