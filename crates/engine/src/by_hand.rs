//! Instances that are started and stopped by hand: asked of the node that owns the group, done by its agents beside the
//! steps of the group, and only under a current ownership.

use regent_api::Answer;
use regent_model::action::{Hand, Outcome, Resource};
use regent_model::config::GroupConfig;
use regent_model::ids::{Epoch, GroupName, InstanceName, ResourceName};
use regent_model::instance::Condition;
use regent_model::journal::Level;
use regent_model::state::Seen;
use regent_model::{IncarnationOf, Moment};

use crate::engine::Engine;
use crate::io::RequestId;

/// Who waits for the end of what was begun.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    id: RequestId,
    name: InstanceName,
    group: GroupName,
    epoch: Epoch,
    hand: Hand,
    began: Moment,
}

impl Engine {
    /// Whether this life of the node may act for what it owns.
    pub(crate) fn may_act(&self, life: IncarnationOf) -> bool {
        let leased = self.state.lives.get(&life.node).is_some_and(|l| !l.without_lease);
        self.current && leased && self.guard.lease_valid && !self.guard.letting_go && !self.leaving
    }

    /// Why it cannot be done, and what to do for it.
    fn not_by_hand(
        &self,
        name: &InstanceName,
        hand: Hand,
        group: &GroupName,
        resource: &ResourceName,
        why: &str,
    ) -> Answer {
        let cannot = format!("{name} cannot be asked to {} now", hand.word());
        let has = |d: &GroupConfig| d.resources().iter().any(|r| r.name() == resource);
        if self.state.definition(group).is_some_and(has) {
            return Answer::refused(
                format!("{cannot}: {why}"),
                format!("regent status shows when {group} is through"),
            );
        }
        let reason = format!("{cannot}: {group} runs as it was acquired, before it had {name}");
        Answer::refused(reason, format!("regent group restart {group}"))
    }

    /// Begins what somebody asks of an instance, or says why not.
    pub(crate) fn hand_request(
        &mut self,
        id: RequestId,
        name: &InstanceName,
        hand: Hand,
        words: Vec<String>,
    ) -> Option<Answer> {
        let (group, epoch, configured) = match self.held_here(name, hand) {
            Ok(found) => found,
            Err(refusal) => return Some(refusal),
        };
        let (now, resource) = (self.now, configured.name().clone());
        let sequencer = self.sequencers.get_mut(&group).filter(|s| s.epoch() == epoch);
        let order = sequencer.ok_or("its group is not being looked after by this daemon yet");
        let mut run = match order.and_then(|s| s.by_hand(now, &resource, hand, configured, &mut self.numbers))
        {
            Ok(run) => run,
            Err(why) => {
                return Some(self.not_by_hand(name, hand, &group, &resource, why));
            }
        };
        if hand != Hand::Status {
            let text = format!("{name} is to {} by hand", hand.word());
            self.tell_of_instance(Level::Notice, "by_hand", &group, epoch, &resource, text);
        }
        let ownership = self.state.ownership(&group).cloned();
        run.environment.splice(..0, self.environment(&group, ownership.as_ref()));
        self.add_identity(&mut run.environment);
        run.words = words;
        let asked = Asked { id, name: name.clone(), group, epoch, hand, began: now };
        self.instances.by_hand.insert(run.id, asked);
        self.out.run.push(run);
        None
    }

    /// The group, the ownership and the resource, if this node may act for it now.
    fn held_here(&self, name: &InstanceName, hand: Hand) -> Result<(GroupName, Epoch, Resource), Answer> {
        let word = hand.word();
        let Some((config, instance)) = self.state.config.instance(name) else {
            return Err(Answer::refused(format!("there is no instance {name}"), "regent instance list"));
        };
        let (group, me) = (&config.name, &self.me.name);
        let Some(ownership) = self.state.ownership(group) else {
            return Err(Answer::refused(
                format!("no node has {group}, to which {name} belongs"),
                format!("regent group enable {group}; why it does not run: regent explain {group}"),
            ));
        };
        let owner = self.state.name_of(ownership.owner.node);
        if ownership.owner.node != self.me.id {
            return Err(Answer::refused(
                format!("{name} belongs to {group}, which {owner} has (epoch {}), not {me}", ownership.epoch),
                format!(
                    "on {owner}: regent instance {word} {name}; or bring it here: regent group move {group} {me}"
                ),
            ));
        }
        let life = self.my_life().filter(|life| ownership.owner == *life && self.may_act(*life));
        if life.is_none() {
            return Err(Answer::refused(
                format!("{me} may not act for {group} now: it has no valid lease"),
                "regent status shows what is missing",
            ));
        }
        Ok((group.clone(), ownership.epoch, Resource::Instance(instance.clone())))
    }

    /// An agent has answered to what somebody waits for.
    pub(crate) fn by_hand_done(&mut self, asked: Asked, outcome: &Outcome) {
        let Asked { id, name, group, epoch, hand, began } = asked;
        let (me, took) = (&self.me.name, self.now.since(began).as_secs_f64());
        let words = match (hand, outcome) {
            (Hand::Status, Outcome::Running) => Ok(format!("{name} runs on {me}")),
            (Hand::Status, Outcome::Stopped) => Ok(format!("{name} is down on {me}")),
            (_, Outcome::Running) => Ok(format!("{name} is up on {me} ({took:.1} s)")),
            (_, Outcome::Stopped) => Ok(format!("{name} is down on {me} ({took:.1} s)")),
            (_, Outcome::Failed(failure)) => Err(failure.clone()),
        };
        let level = if words.is_ok() { Level::Notice } else { Level::Error };
        if hand != Hand::Status {
            let resource = name.resource();
            let text = words.clone().unwrap_or_else(|why| format!("{name} {}: {}", failed(hand), why.reason));
            self.tell_of_instance(level, "by_hand", &group, epoch, &resource, text);
        }
        let answer = words.map_or_else(|why| refusal(&name, &group, hand, &why), Answer::Done);
        self.out.answer.push((id, answer));
    }

    /// An instance that is held here came up or went down. The cluster hears of it from its owner.
    pub(crate) fn instance_told(
        &mut self,
        group: &GroupName,
        epoch: Epoch,
        resource: &ResourceName,
        runs: bool,
        version: Option<String>,
    ) {
        if let Some(sequencer) = self.sequencers.get_mut(group).filter(|s| s.epoch() == epoch) {
            sequencer.instance_is(resource, runs);
        }
        let mine =
            self.state.ownership(group).is_some_and(|o| o.epoch == epoch && o.owner.node == self.me.id);
        let found = self.state.config.instances_of(group).iter().find(|i| &i.resource == resource);
        let Some(name) = found.map(|i| i.name.clone()).filter(|_| mine) else { return };
        let condition = if runs { Condition::Running } else { Condition::Down };
        self.propose_what_is_seen(&name, epoch, Seen { condition, version, at_ms: self.wall_ms });
    }

    /// What an instance's lock file says of this node.
    pub(crate) fn add_identity(&self, environment: &mut Vec<(String, String)>) {
        let incarnation = self.guard.incarnation.map_or_else(|| "-".to_owned(), |i| i.to_string());
        environment.push(("REGENT_INCARNATION".to_owned(), incarnation));
        environment.push(("REGENT_BOOT".to_owned(), self.guard.boot.to_string()));
    }

    fn tell_of_instance(
        &mut self,
        level: Level,
        kind: &str,
        group: &GroupName,
        epoch: Epoch,
        resource: &ResourceName,
        text: String,
    ) {
        self.write(level, kind, text, |e| {
            e.group = Some(group.clone());
            e.resource = Some(resource.clone());
            e.epoch = Some(epoch);
        });
    }
}

fn failed(hand: Hand) -> &'static str {
    match hand {
        Hand::Start => "could not be started by hand",
        Hand::Stop => "could not be stopped by hand",
        Hand::Force => "could not be forced down",
        Hand::Status => "is not well",
    }
}

fn refusal(
    name: &InstanceName,
    group: &GroupName,
    hand: Hand,
    why: &regent_model::action::Failure,
) -> Answer {
    let advice = match hand {
        Hand::Stop => format!("regent instance force {name}"),
        _ => format!("regent events --group {group}"),
    };
    let evidence = why.evidence.trim();
    let more = if evidence.is_empty() { String::new() } else { format!("\n{evidence}") };
    Answer::refused(format!("{name} {}: {}{more}", failed(hand), why.reason), advice)
}
