//! The test procedure of the guide, made for one cluster: lose one node, its services start elsewhere; it returns, and
//! nothing moves back that is not told to; lose the other, both move; it returns; move one back; ask every service
//! address which node answers. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;

use regent_api::Status;
use regent_model::config::{Config, Failback, Failover, GroupConfig, InstanceConfig};
use regent_model::ids::InstanceName;
use regent_model::{GroupName, NodeName};

/// The plan's text, or why there is none for this cluster. `running` are the instances that run.
///
/// # Errors
/// What the cluster lacks, and what to do about it.
pub(super) fn plan(
    config: &Config,
    status: &Status,
    running: &BTreeSet<InstanceName>,
) -> Result<String, (String, String)> {
    let mut guide = Guide::begin(config, status, running)?;
    guide.write();
    Ok(guide.text)
}

/// A group that the procedure can follow.
struct Followed<'a> {
    config: &'a GroupConfig,
    /// Where it is at this line of the plan, if that can be foretold.
    on: Option<NodeName>,
    /// Its instances that run, and that something of the group brings up.
    instances: Vec<&'a InstanceConfig>,
}

struct Guide<'a> {
    text: String,
    groups: BTreeMap<GroupName, Followed<'a>>,
    left_out: Vec<String>,
    nodes: Vec<NodeName>,
    /// The two nodes that are lost, one after the other.
    pair: (NodeName, NodeName),
}

impl<'a> Guide<'a> {
    fn begin(
        config: &'a Config,
        status: &Status,
        running: &BTreeSet<InstanceName>,
    ) -> Result<Self, (String, String)> {
        let mut groups = BTreeMap::new();
        let mut left_out = Vec::new();
        for group in &config.groups {
            let is = status.groups.iter().find(|g| g.name == group.name);
            let why = match is {
                _ if group.name.node().is_some() => Some("it belongs to its node"),
                _ if group.nodes.len() < 2 => Some("it has only one node"),
                None => Some("the cluster does not know it yet"),
                Some(is) if is.state == "disabled" => Some("it is disabled"),
                Some(_) if group.policy.failover == Failover::Stay => Some("it is not taken over"),
                Some(_) => None,
            };
            match why {
                Some(why) => left_out.push(format!("{}: {why}", group.name)),
                None => {
                    let on = is.and_then(|g| g.owner.clone());
                    let (up, not): (Vec<_>, Vec<_>) = group.instances.iter().map(|i| &**i).partition(|i| {
                        running.contains(&i.name) && (i.autostart || !group.applications.is_empty())
                    });
                    let why = |i: &&InstanceConfig| match running.contains(&i.name) {
                        true => format!("instance {}: nothing of {} starts it", i.name, group.name),
                        false => format!("instance {}: it does not run", i.name),
                    };
                    left_out.extend(not.iter().map(why));
                    groups.insert(group.name.clone(), Followed { config: group, on, instances: up });
                }
            }
        }
        let owners = groups.values().find_map(|g| Some((g.on.clone()?, g.config)));
        let Some((first, of)) = owners else {
            return Err((
                "no group of this cluster runs that another node could take over".to_owned(),
                "regent status; a group is taken over when `nodes` names two or more".to_owned(),
            ));
        };
        let second = of.nodes.iter().find(|n| **n != first).cloned().unwrap_or_else(|| first.clone());
        let nodes = config.nodes.iter().map(|n| n.name.clone()).collect();
        Ok(Self { text: String::new(), groups, left_out, nodes, pair: (first, second) })
    }

    fn write(&mut self) {
        let (first, second) = self.pair.clone();
        let _ = writeln!(self.text, "# The guide's test procedure for this cluster. Not followed here:");
        if self.left_out.is_empty() {
            self.text = "# The guide's test procedure for this cluster.\n".to_owned();
        }
        for group in &self.left_out {
            let _ = writeln!(self.text, "#   {group}");
        }
        self.probe();
        self.lose(1, &first);
        self.come_back(3, &first);
        self.lose(4, &second);
        self.come_back(5, &second);
        self.move_one(&second);
        self.connect();
    }

    /// Where each service is asked: its portal, which names its node, or else an instance.
    fn probe(&mut self) {
        let mut lines = String::new();
        for (name, group) in &self.groups {
            for address in &group.config.addresses {
                let is_there =
                    |i: &&&InstanceConfig| i.networked && i.address.is_none_or(|at| at == address.address);
                let (port, what) = match (address.portal, group.instances.iter().find(is_there)) {
                    (Some(port), _) => (port, format!("the portal of {name}")),
                    (None, Some(instance)) => (instance.port, format!("{} of {name}", instance.name)),
                    (None, None) => continue,
                };
                let at = SocketAddr::new(address.address, port);
                let _ = writeln!(lines, "PROBE {at}    # {what}");
            }
        }
        if !lines.is_empty() {
            let _ = write!(self.text, "\n# Where the services are asked.\n{lines}");
        }
    }

    /// The instances of the groups where they are at this line.
    fn instances(&mut self, within: &str) {
        for group in self.groups.values() {
            let on = group.on.as_ref().map(|n| format!(" ON {n}")).unwrap_or_default();
            for instance in &group.instances {
                let _ = writeln!(self.text, "EXPECT INSTANCE {} UP{on} WITHIN {within}", instance.name);
            }
        }
    }

    fn lose(&mut self, number: usize, node: &NodeName) {
        let _ = writeln!(self.text, "\n# {number}. {node} is lost.\nFAIL_NODE {node}");
        let second = if number == 1 { "2. " } else { "" };
        let _ = writeln!(self.text, "# {second}What ran on {node} starts elsewhere; the rest stays.");
        let nodes = &self.nodes;
        for (name, group) in &mut self.groups {
            if group.on.as_ref().is_some_and(|on| on != node) {
                continue;
            }
            let left: Vec<&NodeName> =
                group.config.nodes.iter().filter(|n| *n != node && nodes.contains(n)).collect();
            group.on = if let [one] = left.as_slice() { Some((*one).clone()) } else { None };
            let on = group.on.as_ref().map(|n| format!(" ON {n}")).unwrap_or_default();
            let _ = writeln!(self.text, "EXPECT {name} ONLINE{on} WITHIN 60s");
        }
        for (name, group) in &self.groups {
            for address in &group.config.addresses {
                let from = group.on.as_ref().map(|n| format!(" FROM {n}")).unwrap_or_default();
                let _ =
                    writeln!(self.text, "EXPECT {} ANSWERS{from} WITHIN 30s    # {name}", address.address);
            }
        }
        self.instances("60s");
    }

    fn come_back(&mut self, number: usize, node: &NodeName) {
        let _ = writeln!(self.text, "\n# {number}. {node} returns.\nRETURN_NODE {node}");
        let _ = writeln!(self.text, "EXPECT {node} UP WITHIN 5m");
        let mut stay: BTreeMap<Option<NodeName>, Vec<&GroupName>> = BTreeMap::new();
        for (name, group) in &mut self.groups {
            let goes_home = group.config.policy.failback != Failback::Never;
            let home = group.config.nodes.first() == Some(node);
            if !goes_home {
                stay.entry(group.on.clone()).or_default().push(name);
            } else if home && group.config.failback.at.is_none() && group.config.failback.after.is_zero() {
                let _ = writeln!(self.text, "# By its policy {name} goes home.");
                let _ = writeln!(self.text, "EXPECT {name} ONLINE ON {node} WITHIN 60s");
                group.on = Some(node.clone());
            } else {
                let on = group.on.as_ref().map(|n| format!(" ON {n}")).unwrap_or_default();
                let _ = writeln!(self.text, "EXPECT {name} ONLINE{on} WITHIN 60s");
            }
        }
        if !stay.is_empty() {
            let _ = writeln!(self.text, "# Nothing moves back by itself.");
        }
        for (on, groups) in stay {
            let names: Vec<&str> = groups.into_iter().map(GroupName::as_str).collect();
            let on = on.map(|n| format!(" ON {n}")).unwrap_or_default();
            let _ = writeln!(self.text, "EXPECT {} STAYS{on} FOR 10s", names.join(" "));
        }
    }

    /// One group goes back to the node that was lost last: one whose home it is, if there is one.
    fn move_one(&mut self, node: &NodeName) {
        let can = |g: &Followed<'_>| g.on.as_ref() != Some(node) && g.config.nodes.contains(node);
        let fit = |g: &Followed<'_>| {
            (g.config.nodes.first() == Some(node), g.config.policy.failback == Failback::Never)
        };
        let best = self.groups.iter_mut().filter(|(_, g)| can(g)).max_by_key(|(_, g)| fit(g));
        let Some((name, group)) = best else { return };
        let _ = writeln!(self.text, "\n# 6. One service is moved back by hand.\nMOVE {name} {node}");
        let _ = writeln!(self.text, "EXPECT {name} ONLINE ON {node} WITHIN 60s");
        group.on = Some(node.clone());
    }

    fn connect(&mut self) {
        let _ = writeln!(self.text, "\n# 7. Who answers at each service address?");
        for (name, group) in &self.groups {
            let on = group.on.as_ref();
            let at = on.map(|n| format!(" ON {n}")).unwrap_or_default();
            let _ = writeln!(self.text, "EXPECT {name} ONLINE{at} WITHIN 10s");
            for address in &group.config.addresses {
                let from = on.map(|n| format!(" FROM {n}")).unwrap_or_default();
                let _ = writeln!(self.text, "EXPECT {} ANSWERS{from} WITHIN 10s", address.address);
            }
        }
        self.instances("30s");
    }
}
