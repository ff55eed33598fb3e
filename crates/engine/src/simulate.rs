//! `simulate`: what would happen if nodes or networks were lost, or another configuration were put in force. The
//! answer is the planner's, for the live state; nothing is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_api::{Answer, Foresight, GroupForesight, Part, Source};
use regent_arbiter::standing::Arbiter as Kind;
use regent_model::config::{GroupConfig, LocalTime, parse};
use regent_model::ids::{IncarnationOf, NodeId, Round};
use regent_model::proof::Promise;
use regent_model::state::{Change, Command, FenceRequest, NewConfig, Phase, State, Tenure};
use regent_planner::foresee::{Coming, Foreseen, What, foresee};
use regent_planner::{View, place};

use crate::answers::group_word;
use crate::config_lock::Terms;
use crate::engine::Engine;
use crate::io::RequestId;
use crate::measured::Measured;

impl Engine {
    /// Answers what would happen.
    pub(crate) fn simulate(
        &mut self,
        id: RequestId,
        lose: &[String],
        networks: &[usize],
        config: Option<String>,
    ) -> Answer {
        let mut lost = BTreeSet::new();
        for name in lose {
            match self.known_node(name) {
                Ok(node) => lost.insert(node),
                Err(answer) => return answer,
            };
        }
        let mut supposed: Vec<String> =
            lost.iter().map(|node| format!("{} is lost", self.state.name_of(*node))).collect();
        let mut remarks = Vec::new();
        let mut state = self.state.clone();
        if let Some(text) = config {
            if let Some(refused @ Answer::Refused(_)) =
                self.apply_config(id, text.clone(), true, Terms::default())
            {
                return refused;
            }
            match with_config(&state, text, self.local_time(), &self.view().voters) {
                Ok(after) => state = after,
                Err(answer) => return answer,
            }
            supposed.push("the configuration of the file is in force".to_owned());
        }
        let silent = match self.lost_networks(networks, &mut supposed, &mut remarks) {
            Ok(silent) => silent,
            Err(answer) => return answer,
        };
        let mut view = self.view();
        if let Some(named) = self.would_be_named(&view.voters, &lost).filter(|_| !silent) {
            let name = self.state.name_of(named);
            remarks.push(match self.arbiter_kind() {
                Some(Kind::Fence) => {
                    format!(
                        "{name} turns the other one off and goes on alone: not if the devices do not answer"
                    )
                }
                _ => format!(
                    "{name} asks the arbiter and goes on alone: not if its disk is lost at the same time"
                ),
            });
            view.voters = BTreeSet::from([named]);
        }
        if silent || self.without_majority(&view, &lost) {
            return Answer::Foresight(Box::new(
                self.nothing_goes_on(&state, supposed, remarks, silent, &lost),
            ));
        }
        let lives: Vec<IncarnationOf> = lost.iter().filter_map(|node| state.living(*node)).collect();
        let coming = self.coming(&view, &lives, &lost);
        view.heard.retain(|about| !lost.contains(&about.node));
        let measured = Measured::of(&state, &self.chronicle);
        let foreseen = foresee(&state, &view, &measured, &coming);
        let groups = state
            .config
            .groups
            .iter()
            .map(|config| self.foreseen_group(config, &foreseen, &lost, &measured))
            .collect();
        remarks.push(
            "measured: the median of the steps in the journals. Assumed: steps that were never taken, fence devices \
             that confirm, and that whatever is started comes up"
                .to_owned(),
        );
        Answer::Foresight(Box::new(Foresight { supposed, remarks, settles: foreseen.settles, groups }))
    }

    /// Whether every node is silent to every other without these networks; what else they mean is said.
    fn lost_networks(
        &self,
        networks: &[usize],
        supposed: &mut Vec<String>,
        remarks: &mut Vec<String>,
    ) -> Result<bool, Answer> {
        let config = &self.state.config;
        let count = config.nodes.iter().map(|n| n.addresses.len()).max().unwrap_or(0);
        for network in networks {
            if *network == 0 || *network > count {
                let reason = format!("there is no network {network}");
                return Err(Answer::refused(
                    reason,
                    format!("the networks are 1 to {count}, as in `regent status`"),
                ));
            }
            supposed.push(format!("network {network} is lost"));
            let groups: Vec<String> = config
                .groups
                .iter()
                .flat_map(|g| g.addresses.iter().map(move |a| (g, a)))
                .filter(|(_, a)| config.network_of(a) == Some(network - 1))
                .map(|(g, a)| format!("{} of {}", a.address, g.name))
                .collect();
            if !groups.is_empty() {
                remarks.push(format!("on network {network} nobody reaches {}", groups.join(", ")));
            }
        }
        let left: Vec<String> =
            (1..=count).filter(|n| !networks.contains(n)).map(|n| n.to_string()).collect();
        if !networks.is_empty() && !left.is_empty() {
            remarks.push(format!(
                "every node is still heard on network {}: no node is lost, and no lease ends",
                left.join(", ")
            ));
        }
        Ok(!networks.is_empty() && left.is_empty())
    }

    /// Who of two voters the arbiter would name once the others are lost, if it would decide now; without `lost`, one of
    /// the two.
    fn would_be_named(&self, voters: &BTreeSet<NodeId>, lost: &BTreeSet<NodeId>) -> Option<NodeId> {
        let ready = self.arbiter_status().is_some_and(|arbiter| arbiter.ready);
        let left = voters.iter().copied().find(|voter| !lost.contains(voter))?;
        (ready && voters.len() == 2).then_some(left)
    }

    fn without_majority(&self, view: &View, lost: &BTreeSet<NodeId>) -> bool {
        let left = view.voters.iter().filter(|v| !lost.contains(v)).count();
        left <= view.voters.len() / 2
    }

    /// The promises that the others would make.
    fn coming(
        &self,
        view: &View,
        lives: &[IncarnationOf],
        lost: &BTreeSet<NodeId>,
    ) -> Vec<(Duration, Coming)> {
        let timers = self.state.config.timers;
        let voters = view.voters.iter().filter(|v| !lost.contains(v));
        let promises = voters.flat_map(|voter| {
            lives.iter().map(|about| Promise { voter: *voter, about: *about, round: Round(u64::MAX) })
        });
        promises
            .flat_map(|promise| {
                [
                    (timers.promise_begins(), Coming::Stored(promise)),
                    (timers.promise_wait() + timers.heartbeat, Coming::Matured(promise)),
                ]
            })
            .collect()
    }

    /// No majority is left.
    fn nothing_goes_on(
        &self,
        state: &State,
        supposed: Vec<String>,
        mut remarks: Vec<String>,
        silent: bool,
        lost: &BTreeSet<NodeId>,
    ) -> Foresight {
        let voters = self.consensus.voters();
        let left = if silent { 1 } else { voters.iter().filter(|v| !lost.contains(v)).count() };
        let reason = format!(
            "{left} of {} voters hear each other: no majority, so nobody may own anything",
            voters.len()
        );
        let lease = regent_model::config::duration_text(state.config.timers.lease);
        remarks.push(format!("every owner lets go of its groups within its lease, {lease}"));
        if silent && self.would_be_named(&voters, &BTreeSet::new()).is_some() {
            remarks.push(
                "the arbiter names one of the two, which goes on alone: which one is not known before"
                    .to_owned(),
            );
        }
        let groups = state.config.groups.iter().map(|config| GroupForesight {
            name: config.name.clone(),
            from: self.owner_name(state, config),
            to: None,
            state: "blocked".to_owned(),
            why: "a node acts only while a majority of voters acknowledges it".to_owned(),
            blocked: Some(reason.clone()),
            advice: Some("bring voters back; a witness on a third machine helps".to_owned()),
            downtime: None,
            parts: Vec::new(),
        });
        Foresight { supposed, remarks, settles: true, groups: groups.collect() }
    }

    fn owner_name(&self, state: &State, config: &GroupConfig) -> Option<regent_model::NodeName> {
        let owner = state.ownership(&config.name)?.owner.node;
        state.members.get(&owner).map(|m| m.name.clone())
    }

    fn foreseen_group(
        &self,
        config: &GroupConfig,
        foreseen: &Foreseen,
        lost: &BTreeSet<NodeId>,
        measured: &Measured<'_>,
    ) -> GroupForesight {
        let name = &config.name;
        let placement = place(&foreseen.state, &foreseen.view, name);
        let (blocked, advice) = placement.intent.obstacle();
        let (downtime, parts) = self.downtime(config, foreseen, lost, measured);
        let group = &foreseen.state.groups[name];
        let online = matches!(&group.tenure, Tenure::Owned(o) if o.phase == Phase::Online);
        GroupForesight {
            name: name.clone(),
            from: self.owner_name(&self.state, config),
            to: self.owner_name(&foreseen.state, config).filter(|_| online),
            state: group_word(group, &placement).to_owned(),
            why: placement.rule,
            blocked,
            advice,
            downtime,
            parts,
        }
    }

    /// How long a group that is online now would be down, and what that is made of.
    fn downtime(
        &self,
        config: &GroupConfig,
        foreseen: &Foreseen,
        lost: &BTreeSet<NodeId>,
        measured: &Measured<'_>,
    ) -> (Option<Duration>, Vec<Part>) {
        let name = &config.name;
        let Some(now) = self.state.ownership(name).filter(|o| o.phase == Phase::Online) else {
            return (None, Vec::new());
        };
        let owner_lost = lost.contains(&now.owner.node);
        let mut began = owner_lost.then_some(Duration::ZERO);
        let mut parts = Vec::new();
        let mut online = None;
        let mut downs: BTreeMap<NodeId, (Duration, Option<FenceRequest>)> = BTreeMap::new();
        for happening in &foreseen.happenings {
            match &happening.what {
                // What waits for the device is not helped by the end of the lease before it.
                What::Fence(node, request) => {
                    let confirmed = happening.after + measured.fencing(request).0;
                    downs.insert(*node, (confirmed, Some(request.clone())));
                }
                What::Down(node, _) => {
                    let down = downs.entry(*node).or_insert((happening.after, None));
                    down.0 = down.0.max(happening.after);
                }
                What::Releases(group, ..) if group == name => {
                    began = began.or(Some(happening.after));
                    parts.extend(measured.parts("release", name));
                }
                What::Acquires(group, _) if group == name => parts.extend(measured.parts("acquire", name)),
                What::Online(group, _) if group == name => online = Some(happening.after),
                _ => {}
            }
        }
        if let Some((at, device)) = downs.get(&now.owner.node).filter(|_| owner_lost) {
            parts.insert(0, self.detection(now.owner.node, *at, device.as_ref(), measured));
        }
        let (Some(began), Some(online)) = (began, online) else { return (None, Vec::new()) };
        let downtime = online.saturating_sub(began);
        let known: Duration = parts.iter().map(|p| p.takes).sum();
        if downtime > known {
            let what = "wait for other groups and nodes".to_owned();
            parts.push(Part { what, takes: downtime - known, from: Source::Assumed });
        }
        (Some(downtime), parts)
    }

    fn detection(
        &self,
        node: NodeId,
        at: Duration,
        device: Option<&FenceRequest>,
        measured: &Measured<'_>,
    ) -> Part {
        let who = self.state.name_of(node);
        match device {
            Some(device) => {
                let (_, from) = measured.fencing(device);
                Part {
                    what: format!("{who} falls silent, and {} confirms that it is off", device.words()),
                    takes: at,
                    from,
                }
            }
            None => Part {
                what: format!("{who} falls silent, and its lease has ended"),
                takes: at,
                from: Source::Timers,
            },
        }
    }
}

/// The state with another configuration in force.
fn with_config(
    state: &State,
    text: String,
    now: Option<LocalTime>,
    voters: &BTreeSet<NodeId>,
) -> Result<State, Answer> {
    let Some(config) = parse(&text).config else {
        return Err(Answer::refused("the configuration is not valid", "regent verify FILE"));
    };
    let past = now.map(|now| regent_model::config::past_dates(&config, now)).unwrap_or_default();
    let past_dates = past.into_iter().collect();
    let new = NewConfig::replacing(state.config_serial, text, config, past_dates);
    let (after, changes) = state.preview(&Command::SetConfig(Box::new(new)), voters);
    match changes.into_iter().find_map(|c| if let Change::Void(why) = c { Some(why) } else { None }) {
        Some(why) => Err(Answer::refused(why, "regent apply FILE --dry-run")),
        None => Ok(after),
    }
}
