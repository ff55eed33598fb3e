//! Two nodes and a witness, and the commands that are in their log.

use std::collections::{BTreeMap, BTreeSet};

use regent_model::GroupName;
use regent_model::config::{Config, parse};
use regent_model::ids::{BootId, Epoch, Incarnation, IncarnationOf, NodeId};
use regent_model::state::{Change, Command, Member, NewConfig, ReleaseReason, State, Tenure};

/// The cluster without its groups: lx4, lx5, and the witness wit.
pub(crate) const HEAD: &str = r#"
[cluster]
name = "ward7"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]
[[witness]]
name = "wit"
addresses = ["10.77.0.6"]
[[fence]]
name = "power"
agent = "/usr/sbin/fence_lab"
nodes = ["lx4", "lx5"]
"#;

pub(crate) fn life(node: u64, incarnation: u64) -> IncarnationOf {
    IncarnationOf { node: NodeId(node), incarnation: Incarnation(incarnation) }
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::try_from(name.to_owned()).unwrap()
}

pub(crate) fn config(groups: &str) -> Config {
    let parsed = parse(&format!("{HEAD}{groups}"));
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) voters: BTreeSet<NodeId>,
}

impl Cluster {
    /// All three are up, and nobody has anything.
    pub(crate) fn founded(groups: &str) -> Self {
        let config = config(groups);
        let names = config.nodes.iter().chain(&config.witnesses).zip(1..);
        let members: BTreeMap<NodeId, Member> = names
            .map(|(node, id)| {
                let witness = config.is_witness(&node.name);
                (NodeId(id), Member { name: node.name.clone(), witness, votes: true })
            })
            .collect();
        let voters = members.keys().copied().collect();
        let mut cluster = Self { state: State::founded(config, groups.into(), members), voters };
        for node in 1..=3 {
            cluster.up(life(node, 1), &format!("boot {node}"));
        }
        cluster
    }

    /// A life of a node is registered.
    pub(crate) fn up(&mut self, about: IncarnationOf, boot: &str) {
        self.commit(Command::NodeUp { about, boot: BootId(boot.into()), clean: true }).unwrap();
    }

    /// What a command changes, or why it does nothing.
    pub(crate) fn commit(&mut self, command: Command) -> Result<Vec<Change>, String> {
        let (after, changes) = self.state.preview(&command, &self.voters);
        self.state = after;
        match changes.as_slice() {
            [Change::Void(why)] => Err(why.clone()),
            _ => Ok(changes),
        }
    }

    /// Another configuration is to come into force.
    pub(crate) fn try_apply(&mut self, groups: &str, later: bool) -> Result<(), String> {
        let (replaces, config) = (self.state.config_serial, config(groups));
        let new =
            NewConfig { later, ..NewConfig::replacing(replaces, groups.into(), config, BTreeSet::new()) };
        let changes = self.commit(Command::SetConfig(Box::new(new)))?;
        assert_eq!(changes, [Change::ConfigChanged]);
        Ok(())
    }

    pub(crate) fn epoch(&self, name: &str) -> Epoch {
        self.state.groups[&group(name)].epoch
    }

    pub(crate) fn assign(&mut self, name: &str, to: IncarnationOf) -> Result<Vec<Change>, String> {
        let after = self.epoch(name);
        self.commit(Command::Assign { group: group(name), after, to })
    }

    /// The owner lets go, and has let go.
    pub(crate) fn release(&mut self, name: &str, reason: ReleaseReason) -> Result<(), String> {
        let epoch = self.epoch(name);
        self.commit(Command::Release { group: group(name), epoch, reason })?;
        self.commit(Command::Released { group: group(name), epoch, failure: None }).map(drop)
    }

    pub(crate) fn is_vacant(&self, name: &str) -> bool {
        matches!(self.state.groups[&group(name)].tenure, Tenure::Vacant(_))
    }
}
