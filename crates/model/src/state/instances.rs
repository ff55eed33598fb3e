//! What the cluster knows of instances. It comes from the owner of the instance's group, under its epoch, or from an
//! operator: no node can put in what it remembers of another time.

use serde::{Deserialize, Serialize};

use super::apply::{Changes, void};
use super::{Change, State};
use crate::config::Config;
use crate::ids::{Epoch, GroupName, InstanceName, NodeId};
use crate::instance::Condition;
use crate::proof::Proof;

/// What the cluster knows of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its version.
    pub version: Option<Version>,
    /// The version that an owner has read last from what is installed.
    pub read: Option<String>,
    /// What it was in when its owner last looked.
    pub seen: Option<Sighting>,
}

/// A version, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The version, as the vendor writes it.
    pub version: String,
    /// Who says so.
    pub by: VersionBy,
    /// When, in milliseconds since 1970 by the clock of who says so.
    pub at_ms: u64,
}

/// Who says what version an instance has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VersionBy {
    /// The owner of its group, which has read it.
    Owner(NodeId),
    /// An operator.
    Operator(String),
}

/// What an instance was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// What.
    pub condition: Condition,
    /// On which node.
    pub node: NodeId,
    /// Since when, in milliseconds since 1970 by that node's clock.
    pub since_ms: u64,
}

/// What an owner sees.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// What the instance is in.
    pub condition: Condition,
    /// The version that is installed, if it could be read.
    pub version: Option<String>,
    /// When, in milliseconds since 1970 by the owner's clock.
    pub at_ms: u64,
}

impl Instance {
    /// Whether an owner's look tells anything new.
    #[must_use]
    pub fn would_change(&self, node: NodeId, seen: &Seen) -> bool {
        let known = self.seen.as_ref().is_some_and(|s| s.condition == seen.condition && s.node == node);
        !known || seen.version.is_some() && seen.version != self.read
    }
}

impl State {
    /// What is known of an instance.
    #[must_use]
    pub fn instance(&self, name: &InstanceName) -> Option<&Instance> {
        self.instances.get(name)
    }

    /// The owner of its group has looked at an instance.
    pub(super) fn instance_seen(&mut self, name: &InstanceName, epoch: Epoch, seen: &Seen) -> Changes {
        let Some((group, _)) = self.config.instance(name) else {
            return void(format!("there is no instance {name}"));
        };
        let Some(node) = self.ownership(&group.name).filter(|o| o.epoch == epoch).map(|o| o.owner.node)
        else {
            return void(format!("epoch {epoch} of {} is not current", group.name));
        };
        let known = self.instances.entry(name.clone()).or_default();
        if !known.would_change(node, seen) {
            return void(format!("{name} is known to be {} there", seen.condition.word()));
        }
        if known.seen.as_ref().is_none_or(|s| s.condition != seen.condition || s.node != node) {
            known.seen = Some(Sighting { condition: seen.condition, node, since_ms: seen.at_ms });
        }
        if let Some(version) = seen.version.as_ref().filter(|v| known.read.as_ref() != Some(v)) {
            known.read = Some(version.clone());
            let by = VersionBy::Owner(node);
            known.version = Some(Version { version: version.clone(), by, at_ms: seen.at_ms });
        }
        vec![Change::InstanceKnown(name.clone())]
    }

    /// An operator says what version an instance has.
    pub(super) fn instance_version(
        &mut self,
        name: &InstanceName,
        version: &str,
        who: &str,
        at_ms: u64,
    ) -> Changes {
        if self.config.instance(name).is_none() {
            return void(format!("there is no instance {name}"));
        }
        let by = VersionBy::Operator(who.to_owned());
        let known = self.instances.entry(name.clone()).or_default();
        known.version = Some(Version { version: version.to_owned(), by, at_ms });
        vec![Change::InstanceKnown(name.clone())]
    }

    /// Nobody has the group any more: what ran is down where it was released, and has crashed otherwise.
    pub(super) fn instances_end(&mut self, group: &GroupName, proof: &Proof) {
        let names: Vec<_> = self.config.instances_of(group).iter().map(|i| i.name.clone()).collect();
        for name in names {
            if let Some(seen) = self.instances.get_mut(&name).and_then(|known| known.seen.as_mut())
                && seen.condition == Condition::Running
            {
                let released = *proof == Proof::Released;
                seen.condition = if released { Condition::Down } else { Condition::Crashed };
            }
        }
    }

    /// What is known of an instance that is not configured any more, or lies elsewhere, is forgotten.
    pub(super) fn instances_follow(&mut self, new: &Config) {
        let old = &self.config;
        self.instances.retain(|name, _| match (old.instance(name), new.instance(name)) {
            (Some((_, before)), Some((_, after))) => before.directory == after.directory,
            (_, after) => after.is_some(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::config::parse;
    use crate::ids::{BootId, Incarnation, IncarnationOf, NodeName};
    use crate::state::{Command, Member, NewConfig, Proposal, ProposalId, ReleaseReason};

    const CLUSTER: &str = r#"[cluster]
name = "ward7"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]
[[group]]
name = "ward"
nodes = ["lx4", "lx5"]
needs = ["lease-ended"]
[[group.filesystem]]
device = "/dev/sdc4"
mount = "/storage2"
type = "ext4"
[[group.address]]
address = "10.77.0.100/24"
[[instance]]
name = "cacheha1"
kind = "gtm"
directory = "/storage2/c"
port = 1972
"#;

    const LX4: NodeId = NodeId(1);
    const LX5: NodeId = NodeId(2);

    fn name() -> InstanceName {
        InstanceName::new("CacheHa1").unwrap()
    }

    fn life(node: NodeId) -> IncarnationOf {
        IncarnationOf { node, incarnation: Incarnation(1) }
    }

    struct Log {
        state: State,
        number: u64,
    }

    impl Log {
        /// Both nodes are up, and lx4 has the group.
        fn new() -> Self {
            let member =
                |text: &str| Member { name: NodeName::new(text).unwrap(), witness: false, votes: true };
            let members = BTreeMap::from([(LX4, member("lx4")), (LX5, member("lx5"))]);
            let state = State::founded(parse(CLUSTER).config.unwrap(), CLUSTER.into(), members);
            let mut log = Self { state, number: 0 };
            for node in [LX4, LX5] {
                log.apply(Command::NodeUp { about: life(node), boot: BootId(node.to_string()), clean: true });
            }
            log.assign(LX4, 0);
            log
        }

        fn apply(&mut self, command: Command) -> Changes {
            self.number += 1;
            let id = ProposalId { node: LX4, session: 1, number: self.number };
            self.state.apply(&Proposal { id, command }, &BTreeSet::from([LX4, LX5]))
        }

        fn group() -> GroupName {
            GroupName::new("ward").unwrap()
        }

        fn assign(&mut self, to: NodeId, after: u64) {
            self.apply(Command::Assign { group: Self::group(), after: Epoch(after), to: life(to) });
        }

        fn seen(&mut self, epoch: u64, condition: Condition, version: Option<&str>, at_ms: u64) -> Changes {
            let seen = Seen { condition, version: version.map(str::to_owned), at_ms };
            self.apply(Command::InstanceSeen { instance: name(), epoch: Epoch(epoch), seen })
        }

        fn release(&mut self, epoch: u64) {
            let (group, epoch) = (Self::group(), Epoch(epoch));
            let reason = ReleaseReason::Disabled;
            self.apply(Command::Release { group: group.clone(), epoch, reason });
            self.apply(Command::Released { group, epoch, failure: None });
        }

        fn sighting(&self) -> Sighting {
            self.state.instance(&name()).unwrap().seen.clone().unwrap()
        }

        fn version(&self) -> (String, VersionBy) {
            let version = self.state.instance(&name()).unwrap().version.clone().unwrap();
            (version.version, version.by)
        }
    }

    fn is_void(changes: &Changes) -> bool {
        matches!(changes.as_slice(), [Change::Void(_)])
    }

    #[test]
    fn only_the_current_owner_says_what_an_instance_is_in() {
        let mut log = Log::new();
        assert!(is_void(&log.seen(7, Condition::Running, None, 5)), "no such epoch");
        assert!(!is_void(&log.seen(1, Condition::Running, Some("5.2"), 10)));
        assert_eq!(log.sighting(), Sighting { condition: Condition::Running, node: LX4, since_ms: 10 });
        assert!(is_void(&log.seen(1, Condition::Running, Some("5.2"), 20)), "nothing new");
        log.release(1);
        assert_eq!(log.sighting().condition, Condition::Down, "it was released");
        log.assign(LX5, 1);
        assert!(is_void(&log.seen(1, Condition::Running, None, 30)), "an owner that was");
        log.seen(2, Condition::Running, Some("5.2"), 40);
        assert_eq!(log.sighting(), Sighting { condition: Condition::Running, node: LX5, since_ms: 40 });
    }

    #[test]
    fn what_ran_on_a_lost_node_has_crashed() {
        let mut log = Log::new();
        log.seen(1, Condition::Running, None, 10);
        let (who, why) = ("root".to_owned(), "pulled its plug".to_owned());
        log.apply(Command::ConfirmDead { about: life(LX4), who, why, given_ms: 0, minutes: 30 });
        assert_eq!(log.sighting(), Sighting { condition: Condition::Crashed, node: LX4, since_ms: 10 });
    }

    #[test]
    fn a_version_is_an_operators_until_an_owner_reads_another_one() {
        let mut log = Log::new();
        log.seen(1, Condition::Down, Some("5.2.0.300"), 10);
        assert_eq!(log.version(), ("5.2.0.300".into(), VersionBy::Owner(LX4)));
        let (version, who) = ("5.2.0.400".to_owned(), "root".to_owned());
        log.apply(Command::InstanceVersion { instance: name(), version, who, at_ms: 20 });
        assert_eq!(log.version(), ("5.2.0.400".into(), VersionBy::Operator("root".into())));
        assert!(is_void(&log.seen(1, Condition::Down, Some("5.2.0.300"), 30)), "it was read before");
        assert_eq!(log.version().0, "5.2.0.400");
        log.seen(1, Condition::Down, Some("5.3"), 40);
        assert_eq!(log.version(), ("5.3".into(), VersionBy::Owner(LX4)));
    }

    #[test]
    fn what_is_known_goes_with_the_configuration() {
        let mut log = Log::new();
        log.seen(1, Condition::Down, Some("5.2"), 10);
        let mut serial = 0;
        let mut put = |log: &mut Log, text: &str| {
            let config = parse(text).config.unwrap();
            let new = NewConfig::replacing(serial, text.into(), config, BTreeSet::new());
            serial += 1;
            log.apply(Command::SetConfig(Box::new(new)));
        };
        put(&mut log, &CLUSTER.replace("port = 1972", "port = 1973"));
        assert!(log.state.instance(&name()).is_some());
        let elsewhere = CLUSTER.replace("/storage2/c", "/storage2/d");
        let held = log.state.keeps_what_is_held(&parse(&elsewhere).config.unwrap(), false);
        assert!(held.is_err_and(|why| why.contains("regent group disable ward")), "under its owner");
        log.release(1);
        put(&mut log, &elsewhere);
        assert!(log.state.instance(&name()).is_none(), "another directory is another installation");
        let gone = is_void(&log.apply(Command::InstanceVersion {
            instance: InstanceName::new("other").unwrap(),
            version: "1".into(),
            who: "root".into(),
            at_ms: 1,
        }));
        assert!(gone, "what is not configured has no version");
    }
}
