//! The instances: what this node sees of them is held against what the cluster knows, told where it does not fit, and
//! put into the log by the owner of their group.

use std::collections::{BTreeMap, BTreeSet};

use regent_api::{Answer, InstanceStatus, InstanceVerb, Registry, SeenStatus, VersionStatus, instance_name};
use regent_model::action::{Hand, Notice, RunId};
use regent_model::config::{GroupConfig, InstanceConfig};
use regent_model::ids::{Epoch, InstanceName};
use regent_model::instance::{Condition, Holder, InstanceLook, Misfit, Versions, misfits};
use regent_model::journal::Level;
use regent_model::state::{Command, Phase, Seen, Tenure, VersionBy};

use crate::by_hand::Asked;
use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

/// The longest version that is taken.
const VERSION_BYTES_MAX: usize = 100;

/// What this node sees of the instances.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    looks: BTreeMap<InstanceName, InstanceLook>,
    /// What did not fit at the last look: told when it still does not at the next, and not while something changes.
    doubts: BTreeMap<InstanceName, Vec<Misfit>>,
    /// Those of which something is told.
    told: BTreeSet<InstanceName>,
    /// What is done to instances by hand, and who waits for it.
    pub(crate) by_hand: BTreeMap<RunId, Asked>,
}

/// What troubles with an instance are called.
fn topic(name: &InstanceName) -> String {
    format!("instance {name}")
}

impl Engine {
    /// This node has looked at the instances on itself.
    pub(crate) fn instances_seen(&mut self, looks: BTreeMap<InstanceName, InstanceLook>) {
        let before = std::mem::replace(&mut self.instances.looks, looks);
        let config = self.state.config.clone();
        let known: BTreeSet<&InstanceName> = config.instances().map(|(_, i)| &i.name).collect();
        self.instances.doubts.retain(|name, _| known.contains(name));
        for name in std::mem::take(&mut self.instances.told) {
            if known.contains(&name) {
                self.instances.told.insert(name);
            } else {
                self.well_again(&name);
            }
        }
        for (group, instance) in config.instances() {
            let Some(look) = self.instances.looks.get(&instance.name).cloned() else { continue };
            self.say_what_it_is_in(group, instance, &look, before.get(&instance.name));
            self.compare(group, instance, &look);
        }
    }

    /// The owner of its group puts what it sees into the log, when it is news.
    fn say_what_it_is_in(
        &mut self,
        group: &GroupConfig,
        instance: &InstanceConfig,
        look: &InstanceLook,
        before: Option<&InstanceLook>,
    ) {
        let Some(ownership) = self.state.ownership(&group.name) else { return };
        // Without its file system nothing of it can be seen.
        if ownership.owner.node != self.me.id || !self.current || !look.mounted {
            return;
        }
        let condition = look.condition();
        // A start and an end have moments in which there is a lock file and no process.
        if condition == Condition::Crashed && before.is_none_or(|b| b.condition() != Condition::Crashed) {
            return;
        }
        let seen = Seen { condition, version: look.version.clone(), at_ms: self.wall_ms };
        let epoch = ownership.epoch;
        self.propose_what_is_seen(&instance.name, epoch, seen);
    }

    /// Puts into the log what the owner sees, when it is news.
    pub(crate) fn propose_what_is_seen(&mut self, name: &InstanceName, epoch: Epoch, seen: Seen) {
        let known = self.state.instance(name);
        let is_news = known.is_none_or(|known| known.would_change(self.me.id, &seen));
        if is_news && !self.says_so_already(name, epoch, &seen) {
            self.propose(Command::InstanceSeen { instance: name.clone(), epoch, seen });
        }
    }

    /// Whether the same is on its way into the log.
    fn says_so_already(&self, name: &InstanceName, now: Epoch, what: &Seen) -> bool {
        self.proposals.open.values().any(|pending| match &pending.command {
            Command::InstanceSeen { instance, epoch, seen } => {
                instance == name
                    && *epoch == now
                    && (seen.condition, &seen.version) == (what.condition, &what.version)
            }
            _ => false,
        })
    }

    fn misfits_of(&self, group: &GroupConfig, instance: &InstanceConfig, look: &InstanceLook) -> Vec<Misfit> {
        let owner = self.state.ownership(&group.name);
        let node = owner.map(|o| self.state.name_of(o.owner.node));
        let holder = owner.zip(node.as_ref()).map(|(o, node)| Holder {
            node,
            epoch: o.epoch.0,
            online: o.phase == Phase::Online,
        });
        let known = self.state.instance(&instance.name);
        let mut look = look.clone();
        // What its agent has read is what is installed, for as long as the agent has not read anything else.
        if owner.is_some_and(|o| o.owner.node == self.me.id) && look.directory && look.version.is_none() {
            look.version = known.and_then(|k| k.read.clone());
        }
        let versions = Versions {
            registered: known.and_then(|k| k.version.as_ref()).map(|v| v.version.as_str()),
            read: known.and_then(|k| k.read.as_deref()),
        };
        misfits(group, instance, versions, holder, &self.me.name, &look)
    }

    /// Tells what does not fit for the second time running, once; and that it fits again.
    fn compare(&mut self, group: &GroupConfig, instance: &InstanceConfig, look: &InstanceLook) {
        let name = &instance.name;
        let found = self.misfits_of(group, instance, look);
        let before = self.instances.doubts.insert(name.clone(), found.clone()).unwrap_or_default();
        if found.is_empty() {
            if self.instances.told.remove(name) {
                self.well_again(name);
            }
            return;
        }
        let lasting: Vec<&Misfit> = found.iter().filter(|m| before.contains(m)).collect();
        if lasting.is_empty() {
            return;
        }
        self.instances.told.insert(name.clone());
        let text = lasting.iter().map(|m| m.text.as_str()).collect::<Vec<_>>().join("; ");
        let advice = lasting.iter().map(|m| m.advice.as_str()).collect::<Vec<_>>().join("; ");
        self.noticed(Notice::Trouble { topic: topic(name), text, advice });
    }

    fn well_again(&mut self, name: &InstanceName) {
        let text = format!("what is here of {name} fits the registry again");
        self.noticed(Notice::Well { topic: topic(name), text });
    }

    /// More is known of an instance.
    pub(crate) fn tell_instance(&mut self, index: u64, name: &InstanceName) {
        let Some((group, known)) = self.state.config.instance(name).zip(self.state.instance(name)) else {
            return;
        };
        let group = group.0.name.clone();
        let version = known.version.as_ref().map(|v| format!("version {}", v.version));
        let seen =
            known.seen.as_ref().map(|s| format!("{} on {}", s.condition.word(), self.state.name_of(s.node)));
        let words: Vec<String> = version.into_iter().chain(seen).collect();
        let text = format!("{name}: {}", words.join(", "));
        self.tell_indexed(index, Level::Step, "instance", text, Some((&group, None)));
    }

    /// To [`regent_api::Request::Instances`].
    pub(crate) fn registry(&self) -> Registry {
        let instances = self.state.config.instances().map(|(group, i)| self.instance_status(group, i));
        Registry { node: self.me.name.clone(), quorate: self.is_quorate(), instances: instances.collect() }
    }

    fn instance_status(&self, group: &GroupConfig, instance: &InstanceConfig) -> InstanceStatus {
        let state = self.state.groups.get(&group.name);
        let owner = self.state.ownership(&group.name);
        let known = self.state.instance(&instance.name);
        let here = self.instances.looks.get(&instance.name).cloned();
        let version = known.and_then(|k| k.version.as_ref()).map(|v| VersionStatus {
            version: v.version.clone(),
            by: match &v.by {
                VersionBy::Owner(node) => format!("read by {}", self.state.name_of(*node)),
                VersionBy::Operator(who) => format!("told by {who}"),
            },
            at_ms: v.at_ms,
        });
        let seen = known.and_then(|k| k.seen.as_ref()).map(|s| SeenStatus {
            condition: s.condition,
            node: self.state.name_of(s.node),
            since_ms: s.since_ms,
        });
        InstanceStatus {
            name: instance.name.clone(),
            group: group.name.clone(),
            owner: owner.and_then(|o| Some(self.state.members.get(&o.owner.node)?.name.clone())),
            epoch: state.map_or(Epoch(0), |g| g.epoch),
            online: state.is_some_and(|g| matches!(&g.tenure, Tenure::Owned(o) if o.phase == Phase::Online)),
            kind: instance.kind,
            directory: instance.directory.clone(),
            port: instance.port,
            address: instance.address,
            autostart: instance.autostart,
            default: instance.default,
            networked: instance.networked,
            data_servers: instance.data_servers.iter().map(|d| (d.name.to_string(), d.address)).collect(),
            max_data_servers: instance.max_data_servers,
            max_application_servers: instance.max_application_servers,
            license_servers: instance.license_servers.clone(),
            version,
            installed: known.and_then(|k| k.read.clone()),
            seen,
            misfits: here.as_ref().map(|look| self.misfits_of(group, instance, look)).unwrap_or_default(),
            here,
        }
    }

    pub(crate) fn instance_request(
        &mut self,
        id: RequestId,
        name: &str,
        verb: InstanceVerb,
        more: Vec<String>,
    ) -> Option<Answer> {
        let name = match self.known_instance(name) {
            Ok(name) => name,
            Err(refusal) => return Some(refusal),
        };
        match verb {
            InstanceVerb::Version { version, who } => {
                let printable = !version.is_empty() && version.chars().all(|c| !c.is_control() && c != '^');
                if !printable || version.len() > VERSION_BYTES_MAX {
                    let reason = format!(
                        "{version:?} is no version: one line without `^`, at most {VERSION_BYTES_MAX} bytes"
                    );
                    return Some(Answer::refused(
                        reason,
                        format!("regent instance update {name} versionid=5.2.0.400"),
                    ));
                }
                let words = format!("{name} is version {version} in the registry of every node");
                let command = Command::InstanceVersion { instance: name, version, who, at_ms: self.wall_ms };
                self.propose_for(command, Waiting::Request(id, words));
                None
            }
            InstanceVerb::Start => self.hand_request(id, &name, Hand::Start, more),
            InstanceVerb::Stop => self.hand_request(id, &name, Hand::Stop, more),
            InstanceVerb::Force => self.hand_request(id, &name, Hand::Force, more),
            InstanceVerb::Status => self.hand_request(id, &name, Hand::Status, more),
        }
    }

    /// The instance of that name, whatever its case.
    pub(crate) fn known_instance(&self, name: &str) -> Result<InstanceName, Answer> {
        let name = instance_name(name)?;
        if self.state.config.instance(&name).is_some() {
            return Ok(name);
        }
        Err(Answer::refused(format!("there is no instance {name}"), "regent instance list"))
    }
}
