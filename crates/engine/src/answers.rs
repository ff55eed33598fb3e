//! The answer to `status`.

#[cfg(test)]
pub(crate) mod tests;

use regent_api::{GroupStatus, HoldStatus, NetworkStatus, NodeStatus, ResourceStatus, Status};
use regent_model::action::Resource;
use regent_model::config::guarantee;
use regent_model::ids::{GroupName, NodeId, NodeName};
use regent_model::state::{Group, NodeMode, Phase, Tenure};
use regent_model::{Incarnation, config::GroupConfig};
use regent_planner::{Intent, Placement, Verdict, View, place};

use crate::engine::Engine;
use crate::io::ResourceWord;

impl Engine {
    /// The whole cluster, as this node sees it.
    #[must_use]
    pub fn status(&self) -> Status {
        let config = &self.state.config;
        let view = self.view_to_show();
        let configured =
            config.nodes.iter().map(|n| (n, false)).chain(config.witnesses.iter().map(|n| (n, true)));
        Status {
            cluster: config.cluster.to_string(),
            node: self.me.name.clone(),
            leader: self.consensus.leader().and_then(|id| Some(self.state.members.get(&id)?.name.clone())),
            quorate: self.is_quorate(),
            config_serial: self.state.config_serial,
            config_lock: self.state.config_lock.clone(),
            takeover: config.takeover.clone(),
            lease: config.timers.lease,
            format: self.state.format,
            key_change: self.key_status().change,
            nodes: configured.map(|(n, witness)| self.node_status(n, witness)).collect(),
            groups: config
                .groups
                .iter()
                .map(|g| self.group_status(g, &view))
                .chain(self.taken_out(&view))
                .collect(),
            arbiter: self.arbiter_status(),
            leaving: self.leaving_status(),
            fencing: self
                .state
                .fence_requests
                .iter()
                .map(|(about, r)| {
                    let failed = self.fence_errors.get(about);
                    let failed =
                        failed.map_or_else(String::new, |why| format!("; the attempt before failed: {why}"));
                    format!(
                        "{} by {} (attempt {}, operated by {}){failed}",
                        self.state.name_of(about.node),
                        r.words(),
                        r.attempt,
                        self.state.name_of(r.by)
                    )
                })
                .chain(self.decision_status())
                .collect(),
        }
    }

    /// Whether a majority of voters is heard, this node included.
    pub(crate) fn is_quorate(&self) -> bool {
        let voters = self.counted();
        let there = voters.iter().filter(|id| **id == self.me.id || self.heard.contains_key(id)).count();
        !voters.is_empty() && there > voters.len() / 2 && self.consensus.leader().is_some()
    }

    fn node_status(&self, node: &regent_model::config::NodeConfig, witness: bool) -> NodeStatus {
        let id = self.state.id_of(&node.name);
        let life = id.and_then(|id| self.state.lives.get(&id));
        let (state, remark) = self.node_state(id);
        let facts = id.and_then(|id| self.facts.get(&id));
        let me = id == Some(self.me.id);
        let heard = id.and_then(|id| self.networks.get(&id));
        NodeStatus {
            name: node.name.clone(),
            witness,
            voter: id.is_some_and(|id| self.counted().contains(&id)),
            state: state.to_owned(),
            remark,
            incarnation: life.map(|l| l.incarnation),
            boot: life.map(|l| l.boot.clone()),
            lease_valid: if me {
                Some(self.guard.lease_valid)
            } else {
                facts.filter(|_| id.is_some_and(|id| self.heard.contains_key(&id))).map(|f| f.lease_valid)
            },
            networks: node
                .addresses
                .iter()
                .enumerate()
                .map(|(at, address)| NetworkStatus {
                    address: *address,
                    heard: (!me).then(|| heard.and_then(|h| h.get(at)).copied().unwrap_or(false)),
                })
                .collect(),
            version: if me { Some(self.me.version.clone()) } else { facts.map(|f| f.version.clone()) },
            reads: id.and_then(|id| self.state.speaks.get(&id)).copied(),
            adapters: self.adapter_status(node),
            troubles: if me {
                self.troubles.values().cloned().collect()
            } else {
                let heard = id.is_some_and(|id| self.heard.contains_key(&id));
                facts.filter(|_| heard).map(|f| f.troubles.clone()).unwrap_or_default()
            },
        }
    }

    fn node_state(&self, id: Option<NodeId>) -> (&'static str, String) {
        let Some(id) = id else { return ("not joined", "regent join TOKEN there".to_owned()) };
        let Some(life) = self.state.lives.get(&id) else { return ("down", "it was never up".to_owned()) };
        let ended = self.state.living(id).is_none();
        let heard: Option<&Incarnation> = self.heard.get(&id);
        let here = id == self.me.id || heard.is_some();
        match (life.mode, ended, here) {
            (NodeMode::Stopping(mode), true, _) => ("stopped", format!("stopped with --{}", mode.word())),
            (NodeMode::Stopping(mode), false, false) => {
                ("stopped", format!("stopped with --{}", mode.word()))
            }
            (NodeMode::Stopping(mode), false, true) => ("stopping", format!("stops with --{}", mode.word())),
            (_, true, true) => ("up", "it has begun a new life that is not registered yet".to_owned()),
            (_, true, false) => ("down", String::new()),
            (_, false, false) => ("silent", self.why_silent(id)),
            (NodeMode::Standby, false, true) => ("standby", String::new()),
            (NodeMode::Active, false, true) => ("up", String::new()),
        }
    }

    fn why_silent(&self, id: NodeId) -> String {
        match self.not_heard_yet(id) {
            Some(begun) => format!("not heard yet: this daemon began {:.1} s ago", begun.as_secs_f64()),
            None => "not heard on any network; nothing is proven yet".to_owned(),
        }
    }

    /// Groups that are not configured any more and that somebody still has.
    fn taken_out(&self, view: &View) -> impl Iterator<Item = GroupStatus> {
        let gone = self.state.groups.keys().filter(|name| self.state.config.group(name).is_none());
        gone.filter_map(|name| Some(self.group_status(self.state.definition(name)?, view)))
    }

    fn group_status(&self, config: &GroupConfig, view: &View) -> GroupStatus {
        let name = &config.name;
        let group = &self.state.groups[name];
        let placement = place(&self.state, view, name);
        let unheard = self.owner_not_heard_yet(group);
        let (blocked, advice) = match &unheard {
            Some(why) => (Some(why.clone()), None),
            None => placement.intent.obstacle(),
        };
        let (owner, proof) = match &group.tenure {
            Tenure::Owned(o) => (self.state.members.get(&o.owner.node).map(|m| m.name.clone()), &o.proof),
            Tenure::Vacant(proof) => (None, proof),
        };
        let guarantee =
            guarantee(&self.state.config, config, &self.without_kernel_leases(), &self.without_watchdog());
        GroupStatus {
            name: name.clone(),
            state: if unheard.is_some() { "unknown" } else { group_word(group, &placement) }.to_owned(),
            owner,
            epoch: group.epoch,
            proof: proof.word().to_owned(),
            proof_text: self.proof_words(proof),
            policy: policy_words(config),
            why: placement.rule.clone(),
            blocked,
            advice,
            warnings: regent_planner::warnings(&self.state, view, name),
            held: group.held.as_ref().map(|hold| HoldStatus {
                who: hold.who.clone(),
                why: hold.why.clone(),
                since_ms: hold.since_ms,
            }),
            word: crate::words::status(group),
            pending: self.state.waits_for_next_acquisition(name),
            nodes: placement
                .candidates
                .iter()
                .map(|(node, v)| {
                    let words = self.verdict_words(config, group, node, v);
                    (node.clone(), self.with_figure(config, node, words))
                })
                .collect(),
            resources: self.resource_states(config, group),
            guarantee_class: guarantee.class.word().to_owned(),
            guarantee: guarantee.sentence,
        }
    }

    /// Why nothing can be said of a group, if this daemon has only begun and has not heard its owner yet: what it knows
    /// is of its last time.
    fn owner_not_heard_yet(&self, group: &Group) -> Option<String> {
        let Tenure::Owned(ownership) = &group.tenure else { return None };
        let node = ownership.owner.node;
        self.not_heard_yet(node)?;
        Some(format!("{} had it; {}", self.state.name_of(node), self.why_silent(node)))
    }

    fn verdict_words(
        &self,
        config: &GroupConfig,
        group: &Group,
        node: &NodeName,
        verdict: &Verdict,
    ) -> String {
        let owns = matches!(&group.tenure, Tenure::Owned(o) if self.state.id_of(node) == Some(o.owner.node));
        match verdict {
            _ if owns => "owns it".to_owned(),
            Verdict::Fit(about) if self.not_heard_yet(about.node).is_some() && about.node != self.me.id => {
                self.why_silent(about.node)
            }
            Verdict::Fit(about) if group.moved_to == Some(about.node) => {
                "could have it; an operator moved it there".to_owned()
            }
            Verdict::Fit(_) => self.could_have_it(config, group, node),
            Verdict::Unfit(why) => why.to_string(),
        }
    }

    /// A verdict with what the node has measured, where the group chooses by it.
    fn with_figure(&self, config: &GroupConfig, node: &NodeName, words: String) -> String {
        let value = config.figure().and_then(|figure| {
            let all = self.all_figures();
            let value = *all.get(&self.state.id_of(node)?)?.get(&figure)?;
            Some(figure.words(value))
        });
        value.map_or(words.clone(), |value| format!("{words}; {value}"))
    }

    /// Why a node that could have a group does not.
    fn could_have_it(&self, config: &GroupConfig, group: &Group, node: &NodeName) -> String {
        let owner = match &group.tenure {
            Tenure::Owned(o) => self.state.name_of(o.owner.node),
            Tenure::Vacant(_) => return "could have it".to_owned(),
        };
        let first = config.nodes.iter().find(|n| *n == node || n.as_str() == owner);
        let before = first == Some(node);
        if before {
            format!("could have it, and stands before {owner} in its list")
        } else {
            format!("could have it; stands after {owner} in its list")
        }
    }

    fn resource_states(&self, config: &GroupConfig, group: &Group) -> Vec<ResourceStatus> {
        let told = match &group.tenure {
            Tenure::Vacant(_) => Vec::new(),
            Tenure::Owned(o) if o.owner.node == self.me.id => self.told_here(&config.name),
            Tenure::Owned(o) => self
                .facts
                .get(&o.owner.node)
                .filter(|_| self.heard.contains_key(&o.owner.node))
                .and_then(|f| f.resources.get(&config.name).cloned())
                .unwrap_or_default(),
        };
        let vacant = matches!(group.tenure, Tenure::Vacant(_));
        let config = self.state.definition(&config.name).unwrap_or(config);
        config
            .resources()
            .iter()
            .map(|resource| {
                let word = told.iter().find(|(name, _)| name == resource.name()).map(|(_, w)| w.word());
                ResourceStatus {
                    name: resource.name().clone(),
                    kind: resource.kind().to_owned(),
                    suspended: group.suspended.contains(resource.name()),
                    connections: match resource {
                        Resource::Address(a) => self.connections_of(&config.name, a.address),
                        _ => None,
                    },
                    state: word.unwrap_or(if vacant { "stopped" } else { "unknown" }).to_owned(),
                }
            })
            .collect()
    }

    fn told_here(&self, name: &GroupName) -> Vec<(regent_model::ResourceName, ResourceWord)> {
        self.sequencers.get(name).map(crate::sequencer::Sequencer::words).unwrap_or_default()
    }
}

pub(crate) fn group_word(group: &Group, placement: &Placement) -> &'static str {
    match (&group.tenure, &placement.intent) {
        (Tenure::Owned(o), Intent::Blocked { .. }) if o.without_lease => "unmanaged",
        (Tenure::Owned(o), Intent::Blocked { .. }) if matches!(o.phase, Phase::Stuck(_)) => "stuck",
        (_, Intent::Blocked { .. }) => "blocked",
        (_, Intent::Failed { .. }) => "failed",
        (Tenure::Owned(o), _) => match o.phase {
            Phase::Acquiring => "acquiring",
            Phase::Online => "online",
            Phase::Releasing(_) => "releasing",
            Phase::Stuck(_) => "stuck",
            Phase::AwaitsReboot if !group.enabled => "disabled",
            Phase::AwaitsReboot => "awaits reboot",
        },
        (Tenure::Vacant(_), _) if !group.enabled => "disabled",
        (Tenure::Vacant(_), _) => "offline",
    }
}

fn policy_words(config: &GroupConfig) -> String {
    config.policy.preset().map_or_else(|| config.policy.triple(), str::to_owned)
}
