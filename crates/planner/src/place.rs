//! Where a group belongs.

use regent_model::GroupName;
use regent_model::config::{Failback, GroupConfig, Startup};
use regent_model::ids::{IncarnationOf, NodeName};
use regent_model::proof::Proof;
use regent_model::state::{Group, Hold, NodeMode, Ownership, Phase, ReleaseReason, State, StopMode, Tenure};

use crate::failback::{Back, back, waits_for_home};
use crate::figures;
use crate::needed::needed;
use crate::network;
use crate::reboot;
use crate::relations::{self, Look};
use crate::verdict::{Verdict, Why, carried, verdicts};
use crate::view::View;

/// What should happen to a group next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Nothing: it is where it belongs.
    Stay,
    /// Its owner is at work on it.
    Underway,
    /// Its owner should take it down.
    Release(ReleaseReason),
    /// This incarnation should own it.
    Assign(IncarnationOf),
    /// It is down, and is to be down.
    Rest(String),
    /// Its owner, which has it down already and would have to be rebooted for another, should bring it up again.
    Reacquire,
    /// Its owner, which has it down already, should be rebooted: only then can another node have it.
    Reboot,
    /// It is to run, and waits for another group.
    Waits {
        /// For what.
        reason: String,
        /// The command that helps, if nothing comes by itself.
        advice: String,
    },
    /// It ought to run and cannot: what is missing, and what to type.
    Blocked {
        /// What is missing.
        reason: String,
        /// The command that helps.
        advice: String,
    },
    /// It failed everywhere it may run.
    Failed {
        /// Why, node by node.
        reason: String,
        /// The command that helps.
        advice: String,
    },
}

impl Intent {
    /// Why the group does not run, and what to type, for one that does not and nobody is at work on.
    #[must_use]
    pub fn obstacle(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::Blocked { reason, advice }
            | Self::Failed { reason, advice }
            | Self::Waits { reason, advice } => (Some(reason.clone()), Some(advice.clone())),
            Self::Rest(reason) => (Some(reason.clone()), None),
            Self::Stay
            | Self::Underway
            | Self::Release(_)
            | Self::Assign(_)
            | Self::Reacquire
            | Self::Reboot => (None, None),
        }
    }
}

/// Where a group belongs, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// What should happen next.
    pub intent: Intent,
    /// The rule that decided, in words.
    pub rule: String,
    /// Every node of the list, in its order.
    pub candidates: Vec<(NodeName, Verdict)>,
}

impl Placement {
    pub(crate) fn of(intent: Intent, rule: impl Into<String>, candidates: Vec<(NodeName, Verdict)>) -> Self {
        Self { intent, rule: rule.into(), candidates }
    }
}

/// Where `name` belongs in `state`, as far as `view` can tell. A group that is not configured has to go.
#[must_use]
pub fn place(state: &State, view: &View, name: &GroupName) -> Placement {
    let mut placement = wanted(state, view, name, Look::Ahead);
    if matches!(placement.intent, Intent::Release(_))
        && let Some(child) = relations::child_to_go_first(state, view, name)
    {
        placement.rule = format!("{}; {} goes first", placement.rule, child.name);
        placement.intent = child.stuck.map_or(Intent::Underway, |why| Intent::Blocked {
            reason: format!("it is to be taken down, and its child {} cannot be: {why}", child.name),
            advice: format!("mend it there, then: regent group restart {}", child.name),
        });
    }
    placement
}

/// The same, whatever its children do.
pub(crate) fn wanted(state: &State, view: &View, name: &GroupName, look: Look) -> Placement {
    let Some(group) = state.groups.get(name) else {
        return Placement::of(Intent::Rest("there is no such group".into()), "unknown", Vec::new());
    };
    let Some(config) = state.config.group(name) else {
        return match &group.tenure {
            Tenure::Owned(o) if o.phase == Phase::AwaitsReboot => {
                let rest = Intent::Rest("removed; its owner forgets it at its next boot".into());
                Placement::of(rest, "not configured any more", Vec::new())
            }
            Tenure::Owned(o) if !relations::is_there(state, view, o) => {
                unproven(state, group, name, o, &state.name_of(o.owner.node), Vec::new())
            }
            Tenure::Owned(o) => {
                Placement::of(leave(o, ReleaseReason::Removed), "not configured any more", Vec::new())
            }
            Tenure::Vacant(_) => {
                Placement::of(Intent::Rest("removed".into()), "not configured any more", Vec::new())
            }
        };
    };
    let candidates = verdicts(state, view, group, config, look);
    match &group.tenure {
        Tenure::Owned(ownership) => owned(state, view, group, config, ownership, look, candidates),
        Tenure::Vacant(proof) => vacant(state, view, group, config, proof, look, candidates),
    }
}

/// The node to use among those that fit: where an operator moved the group, else the first of the list; of a
/// rotating group the first that carries no other one.
pub(crate) fn best(
    state: &State,
    group: &Group,
    config: &GroupConfig,
    candidates: &[(NodeName, Verdict)],
) -> Option<IncarnationOf> {
    let fit = || {
        candidates.iter().filter_map(|(_, v)| if let Verdict::Fit(about) = v { Some(*about) } else { None })
    };
    let free = |about: &IncarnationOf| {
        config.policy.startup == Startup::Distribute && carried(state, config, about.node).is_none()
    };
    let moved = fit().find(|about| group.moved_to == Some(about.node));
    moved.or_else(|| fit().find(free)).or_else(|| fit().next())
}

fn leave(ownership: &Ownership, reason: ReleaseReason) -> Intent {
    match ownership.phase {
        Phase::Releasing(_) => Intent::Underway,
        _ => Intent::Release(reason),
    }
}

fn owned(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    ownership: &Ownership,
    look: Look,
    candidates: Vec<(NodeName, Verdict)>,
) -> Placement {
    let owner = ownership.owner;
    let here = state.name_of(owner.node);
    if state.living(owner.node) != Some(owner) || !view.heard.contains(&owner) {
        return unproven(state, group, &config.name, ownership, &here, candidates);
    }
    if ownership.phase == Phase::AwaitsReboot {
        return reboot::place(state, view, group, config, owner, candidates);
    }
    if let Phase::Stuck(why) = &ownership.phase {
        let intent = Intent::Blocked {
            reason: format!("{here} could not take it down: {why}"),
            advice: format!("mend it there, then: regent group restart {}", config.name),
        };
        return Placement::of(intent, "a group that cannot be released stays blocked", candidates);
    }
    if let Phase::Releasing(reason) = &ownership.phase {
        let rule = format!("{here} takes it down, because {reason}");
        return Placement::of(Intent::Underway, rule, candidates);
    }
    if !group.enabled {
        return Placement::of(leave(ownership, ReleaseReason::Disabled), "it is disabled", candidates);
    }
    if state.lives[&owner.node].reboots {
        return Placement::of(
            leave(ownership, ReleaseReason::Reboot),
            format!("{here} is to be rebooted"),
            candidates,
        );
    }
    if group.restarts == Some(ownership.epoch) {
        let rule = "an operator asked for a restart";
        return Placement::of(leave(ownership, ReleaseReason::Restart), rule, candidates);
    }
    match state.lives[&owner.node].mode {
        NodeMode::Stopping(StopMode::Forced) => {
            let rule = format!("{here} stops and leaves it running");
            return Placement::of(Intent::Stay, rule, candidates);
        }
        NodeMode::Stopping(mode) => {
            let rule = format!("{here} stops ({})", mode.word());
            return Placement::of(leave(ownership, ReleaseReason::Stopping(mode)), rule, candidates);
        }
        NodeMode::Active | NodeMode::Standby => {}
    }
    let hold = group.held.as_ref();
    let asked = relations::asks_to_leave(state, view, config, ownership, look);
    if let Some((reason, rule)) = asked.filter(|(reason, _)| hold.is_none() || !reason.is_by_itself()) {
        return Placement::of(leave(ownership, reason), rule, candidates);
    }
    let other = best(state, group, config, &candidates).filter(|to| to.node != owner.node);
    let elsewhere = other.is_some();
    let trouble = || owner_in_trouble(state, view, config, ownership, &here, elsewhere);
    if let Some((intent, rule)) = hold.is_none().then(trouble).flatten() {
        return Placement::of(intent, rule, candidates);
    }
    settled(state, view, group, config, ownership, &here, other, candidates)
}

/// What a group does whose owner is on standby, or has lost a network; the rule too.
fn owner_in_trouble(
    state: &State,
    view: &View,
    config: &GroupConfig,
    ownership: &Ownership,
    here: &str,
    elsewhere: bool,
) -> Option<(Intent, String)> {
    let owner = ownership.owner.node;
    if state.lives[&owner].mode == NodeMode::Standby {
        return Some(if elsewhere {
            (leave(ownership, ReleaseReason::Standby), format!("{here} is on standby"))
        } else {
            (Intent::Stay, format!("{here} is on standby, but nobody else can have it"))
        });
    }
    let held = state.definition(&config.name).unwrap_or(config);
    let (why, rule) = network::judge_owner(state, view, held, owner, elsewhere)?;
    Some((why.map_or(Intent::Stay, |why| leave(ownership, why)), rule))
}

/// Its owner is well and may keep it: only a move or a better node can change that.
#[allow(clippy::too_many_arguments, reason = "everything that decides")]
fn settled(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    ownership: &Ownership,
    here: &str,
    other: Option<IncarnationOf>,
    candidates: Vec<(NodeName, Verdict)>,
) -> Placement {
    if let Some(to) = other.filter(|to| group.moved_to == Some(to.node) && !group.moved) {
        return Placement::of(
            leave(ownership, ReleaseReason::Move(to.node)),
            "an operator moved it",
            candidates,
        );
    }
    if ownership.phase == Phase::Acquiring {
        return Placement::of(Intent::Underway, format!("{here} brings it up"), candidates);
    }
    if let Some(hold) = &group.held {
        return Placement::of(
            Intent::Stay,
            format!("{here} has it; {}", held_words(hold, config)),
            candidates,
        );
    }
    let stays = group.moved_to == Some(ownership.owner.node);
    // The best is where an operator moved it, then the first of the list: a better one stands before the owner.
    let better = |to: &IncarnationOf| {
        let mut before = candidates.iter().take_while(|(node, _)| node.as_str() != here);
        group.moved_to == Some(to.node) || before.any(|(_, verdict)| *verdict == Verdict::Fit(*to))
    };
    let mut rule = if stays {
        format!(
            "an operator moved it to {here}; to let its list decide: regent group move {} --restore",
            config.name
        )
    } else {
        format!("{here} has it, and nothing asks it to move")
    };
    if let Some(moved_to) = group.moved_to.filter(|_| !stays) {
        rule = format!(
            "{here} has it; that an operator moved it to {} is remembered (to undo it: regent group move {} --restore)",
            state.name_of(moved_to),
            config.name
        );
    }
    if let Some(to) = other.filter(|to| !stays && better(to)) {
        match back(state, view, group, config, to) {
            Back::Now => {
                let rule = "failback: a better node of its list has returned";
                let intent = leave(ownership, ReleaseReason::Reintegration(to.node));
                return Placement::of(intent, rule, candidates);
            }
            Back::Later(_) if config.policy.failback == Failback::Never && group.moved_to.is_none() => {}
            Back::Later(when) => rule = format!("{here} has it; {when}"),
        }
    }
    Placement::of(Intent::Stay, rule, candidates)
}

/// What it means that a group is held, and what ends it.
fn held_words(hold: &Hold, config: &GroupConfig) -> String {
    format!("it is {hold}, and nothing is done with it by itself until: regent group resume {}", config.name)
}

/// That it is held, unless somebody has ordered meanwhile that it is brought up.
pub(crate) fn kept(group: &Group) -> Option<&Hold> {
    group.held.as_ref().filter(|hold| !hold.ordered)
}

/// It is down, held, and nobody has ordered it up.
pub(crate) fn kept_down(group: &Group, name: &GroupName) -> Option<Intent> {
    let hold = kept(group)?;
    Some(Intent::Blocked {
        reason: format!("it is {hold}: nothing brings it up by itself"),
        advice: format!("regent group resume {name}; to run it while it is held: regent group enable {name}"),
    })
}

/// The owner is not heard, or its end is proven by less than the group needs.
fn unproven(
    state: &State,
    group: &Group,
    name: &GroupName,
    ownership: &Ownership,
    here: &str,
    candidates: Vec<(NodeName, Verdict)>,
) -> Placement {
    let needs = needed(state, name);
    if state.living(ownership.owner.node).is_some_and(|life| life != ownership.owner) {
        let rule = format!("{here} is back in the same boot and adopts what it left running");
        return Placement::of(Intent::Underway, rule, candidates);
    }
    if let Some(hold) = kept(group) {
        let intent = Intent::Blocked {
            reason: format!("{here} owned it and is silent; it is {hold}, and nothing is done about it"),
            advice: format!("regent group resume {name}"),
        };
        return Placement::of(intent, "what is held stays as it is", candidates);
    }
    if let Some(request) = state.fence_requests.get(&ownership.owner) {
        let intent = Intent::Blocked {
            reason: format!(
                "{here} owned it and is silent; {} {} cutting {} (attempt {})",
                request.words(),
                if request.devices.len() > 1 { "are" } else { "is" },
                if request.is_storage() { "it off from its disks" } else { "its power" },
                request.attempt
            ),
            advice: format!(
                "wait for the device; if it fails, make sure that {here} is off, then: \
                 regent node confirm-dead {here} --why TEXT"
            ),
        };
        return Placement::of(intent, "no takeover without proof", candidates);
    }
    let dead = format!("regent node confirm-dead {here} --why TEXT");
    if ownership.without_lease {
        let intent = Intent::Blocked {
            reason: format!("{here} was stopped and left it running, without lease (stop --forced)"),
            advice: format!("on {here}: regent node start. Only if {here} is off: {dead}"),
        };
        return Placement::of(intent, "what was left running stays where it is", candidates);
    }
    if ownership.phase == Phase::AwaitsReboot && !reboot::is_wanted(group) {
        let rule = format!("its release is complete only after a reboot of {here}");
        return Placement::of(Intent::Rest(reboot::rest(group, name, here)), rule, candidates);
    }
    let over = state.is_ended(ownership.owner);
    let what = if over {
        "its lease has ended, but that is no proof for this group"
    } else {
        "nothing proves yet that it is gone"
    };
    let needed = if needs.is_empty() { String::new() } else { format!("{}, or ", needs.join(", or ")) };
    let intent = Intent::Blocked {
        reason: format!("{here} owned it and is silent: {what}. Needed: {needed}{here} coming back"),
        advice: format!("make sure that {here} is off, then: {dead}"),
    };
    Placement::of(intent, "no takeover without proof", candidates)
}

fn vacant(
    state: &State,
    view: &View,
    group: &Group,
    config: &GroupConfig,
    proof: &Proof,
    look: Look,
    candidates: Vec<(NodeName, Verdict)>,
) -> Placement {
    if !group.enabled {
        let rest = Intent::Rest(format!("disabled; to run it: regent group enable {}", config.name));
        return Placement::of(rest, "it is disabled", candidates);
    }
    if let Some(intent) = kept_down(group, &config.name) {
        return Placement::of(intent, "what is held stays as it is", candidates);
    }
    if let Some((reason, advice)) = relations::waits(state, view, config, look) {
        return Placement::of(Intent::Waits { reason, advice }, "it waits for another group", candidates);
    }
    if let Some((home, left)) = waits_for_home(view, group, config, proof, &candidates) {
        let reason = format!("the cluster was down: it waits for its home node {home}, at most {left} more");
        let advice = candidates.iter().find_map(|(node, verdict)| {
            matches!(verdict, Verdict::Fit(_)).then(|| format!("regent group move {} {node}", config.name))
        });
        let advice = advice.unwrap_or_else(|| format!("start {home}"));
        return Placement::of(Intent::Waits { reason, advice }, "settling time", candidates);
    }
    if let Some((to, why)) = figures::best(state, view, group, config, &candidates) {
        let rule = format!("failover to the node with the {why} ({proof})");
        return Placement::of(Intent::Assign(to), rule, candidates);
    }
    if let Some(to) = best(state, group, config, &candidates) {
        let rule = if config.is_concurrent() {
            "it runs on every node of its list".to_owned()
        } else if group.moved_to == Some(to.node) {
            "an operator moved it".to_owned()
        } else if group.started {
            format!("failover: the first node of its list that can have it ({proof})")
        } else {
            "startup".to_owned()
        };
        return Placement::of(Intent::Assign(to), rule, candidates);
    }
    if config.is_concurrent()
        && let [
            (
                _,
                Verdict::Unfit(
                    why @ (Why::NoMember | Why::Down | Why::Silent | Why::Standby | Why::Stopping(_)),
                ),
            ),
        ] = candidates.as_slice()
    {
        let rest = Intent::Rest(format!("{} {why}", config.nodes[0]));
        return Placement::of(rest, "it runs when its node does", candidates);
    }
    nowhere(group, config, candidates)
}

pub(crate) fn nowhere(
    group: &Group,
    config: &GroupConfig,
    candidates: Vec<(NodeName, Verdict)>,
) -> Placement {
    let list: Vec<String> = candidates
        .iter()
        .filter_map(
            |(node, v)| if let Verdict::Unfit(why) = v { Some(format!("{node} {why}")) } else { None },
        )
        .collect();
    let reason = list.join("; ");
    let name = &config.name;
    if group.parked_on.is_some() {
        let rest = Intent::Rest(format!("{reason}; to run it now: regent group enable {name}"));
        return Placement::of(rest, "it went down gracefully with its node", candidates);
    }
    let failed = candidates.iter().any(|(_, v)| matches!(v, Verdict::Unfit(Why::Failed(_))));
    if failed {
        let intent =
            Intent::Failed { reason, advice: format!("mend the cause, then: regent group enable {name}") };
        return Placement::of(intent, "no node is left that can have it", candidates);
    }
    if let Some((reason, advice)) = relations::nowhere(&config.name, &candidates, &reason) {
        return Placement::of(Intent::Waits { reason, advice }, "it waits for another group", candidates);
    }
    let elsewhere = candidates
        .iter()
        .find(|(_, v)| matches!(v, Verdict::Unfit(Why::NotHome | Why::NotLast | Why::CarriesAnother(_))))
        .map(|(node, _)| format!("regent group move {name} {node}"));
    let advice = elsewhere.unwrap_or_else(|| "start one of its nodes: regent node start".to_owned());
    Placement::of(Intent::Blocked { reason, advice }, "no node is there that may have it", candidates)
}
