//! The entries that the leader should propose next.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use regent_model::GroupName;
use regent_model::config::{FenceLevel, Startup};
use regent_model::ids::{IncarnationOf, NodeId};
use regent_model::proof::{Need, Proof};
use regent_model::state::{Change, Command, FenceRequest, NodeMode, Phase, State, Tenure};

use crate::place::{Intent, kept, place};
use crate::reboot;
use crate::view::View;

/// Everything that should be proposed, in order. Empty when the cluster is as it should be, or nothing can be
/// done. Each entry checks its condition again when it is applied.
#[must_use]
pub fn decide(state: &State, view: &View) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut taken = BTreeSet::new();
    for about in suspects(state) {
        if let Some(command) = end(state, view, about, &mut taken) {
            commands.push(command);
        } else if let Some(command) = fence(state, view, about) {
            commands.push(command);
        }
    }
    // What is decided for one group counts for those after it: two of them may exclude each other.
    let mut ahead: Option<State> = None;
    for name in in_order(state) {
        if taken.contains(&name) {
            continue;
        }
        let seen = ahead.as_ref().unwrap_or(state);
        match place(seen, view, &name).intent {
            Intent::Release(reason) => {
                if let Some(o) = seen.ownership(&name) {
                    let release = Command::Release { group: name.clone(), epoch: o.epoch, reason };
                    ahead = Some(seen.preview(&release, &view.voters).0);
                    commands.push(release);
                }
            }
            Intent::Assign(to) => {
                let assign = Command::Assign { group: name.clone(), after: seen.groups[&name].epoch, to };
                ahead = Some(seen.preview(&assign, &view.voters).0);
                commands.push(assign);
            }
            Intent::Reacquire => {
                let epoch = seen.groups[&name].epoch;
                commands.push(Command::Reacquire { group: name, epoch });
            }
            Intent::Reboot => {
                if let Some(o) = seen.ownership(&name)
                    && !commands.contains(&Command::Reboot { about: o.owner })
                {
                    commands.push(Command::Reboot { about: o.owner });
                }
            }
            _ => {}
        }
    }
    commands
}

/// Who is looked at first: a higher priority, then among groups that are distributed the one with fewer nodes to
/// choose from, then the name.
fn in_order(state: &State) -> Vec<GroupName> {
    let mut names: Vec<GroupName> = state.groups.keys().cloned().collect();
    names.sort_by_cached_key(|name| {
        state.config.group(name).map(|config| {
            let distributed = config.policy.startup == Startup::Distribute;
            (Reverse(config.relations.priority), if distributed { config.nodes.len() } else { 0 })
        })
    });
    names
}

/// The incarnations whose end could matter: the registered ones, and any that still own something, with the life that
/// their node has begun since.
fn suspects(state: &State) -> BTreeSet<IncarnationOf> {
    let registered = state.lives.keys().filter_map(|node| state.living(*node));
    let owners = state.groups.values().filter_map(|g| match &g.tenure {
        Tenure::Owned(o) => Some(o.owner),
        Tenure::Vacant(_) => None,
    });
    let last = owners.clone().filter_map(|o| {
        let life = state.lives.get(&o.node)?;
        Some(IncarnationOf { node: o.node, incarnation: life.incarnation })
    });
    registered.chain(owners).chain(last).collect()
}

/// `node_down`, proof and new epochs in one entry, if there is a proof.
fn end(state: &State, view: &View, about: IncarnationOf, taken: &mut BTreeSet<GroupName>) -> Option<Command> {
    let storage = state.fence_requests.get(&about).is_some_and(FenceRequest::is_storage);
    let fenced = view.fenced.get(&about).cloned().map(|device| match storage {
        true => Proof::CutOff { device },
        false => Proof::Fenced { device },
    });
    let lease_ended = || {
        let promises = view.majority_matured(state, about)?;
        (!state.is_ended(about)).then_some(Proof::LeaseEnded { promises })
    };
    let proof = fenced.or_else(lease_ended)?;
    let bare = Command::NodeDown { about, proof: proof.clone(), takeovers: Vec::new() };
    let (mut after, changes) = state.preview(&bare, &view.voters);
    if changes.iter().any(|c| matches!(c, Change::Void(_))) {
        return None;
    }
    let mut takeovers = Vec::new();
    let vacated = |name: &GroupName| changes.iter().any(|c| matches!(c, Change::Vacated(n, _) if n == name));
    let mut left: Vec<GroupName> = in_order(state).into_iter().filter(vacated).collect();
    // One may go where another one has just gone.
    loop {
        let before = left.len();
        left.retain(|name| {
            let Intent::Assign(to) = place(&after, view, name).intent else { return true };
            let assign = Command::Assign { group: name.clone(), after: after.groups[name].epoch, to };
            after = after.preview(&assign, &view.voters).0;
            taken.insert(name.clone());
            takeovers.push((name.clone(), to));
            false
        });
        if left.len() == before {
            break;
        }
    }
    Some(Command::NodeDown { about, proof, takeovers })
}

/// A request to cut `about` off, if it is suspected by a majority and owns something that needs it.
fn fence(state: &State, view: &View, about: IncarnationOf) -> Option<Command> {
    let suspected = state.is_ended(about) || view.majority_suspects(state, about);
    // A machine that is back in the same boot adopts what it left; its past cannot be cut.
    let past = state.lives.get(&about.node).is_none_or(|life| life.incarnation != about.incarnation);
    // One that reboots as it was told is given time.
    if past || !suspected || view.rebooting.contains(&about) {
        return None;
    }
    let power = is_needed(state, about, Need::Fenced);
    // Only when the lease has ended: whoever is cut off from its disks alone must not go on with the rest.
    let storage = is_needed(state, about, Need::Storage) && state.has_lost_lease(about);
    let before = state.fence_requests.get(&about);
    let heard = |id: NodeId| state.living(id).is_some_and(|life| view.heard.contains(&life));
    // Nothing more is heard of what a node does that is not heard.
    let lost = before.is_some_and(|request| !heard(request.by));
    // It is done, and what is still owned needs another device.
    let done = before.is_some_and(|request| {
        let left = if request.is_storage() { power } else { false };
        left && view.fenced.contains_key(&about)
    });
    if before.is_some() && !lost && !done && !view.fence_failed.contains(&about) {
        return None;
    }
    let victim = &state.members.get(&about.node)?.name;
    let mut levels = state.config.fence_levels(victim);
    levels.retain(|level| if level.is_storage() { storage && !done } else { power });
    let (at, round) = next_level(&levels, before, lost);
    let level = levels.get(at)?;
    let operators = operators(state, view, about.node, level);
    // In every round another node operates a level: each gets to try each.
    let by = *operators.get((at + round as usize) % operators.len().max(1))?;
    let devices = level.devices.iter().map(|device| device.name.clone()).collect();
    let attempt = before.map_or(0, |r| r.attempt) + 1;
    let request =
        FenceRequest { level: level.level, devices, by, attempt, round, barriers: level.barriers() };
    Some(Command::RequestFence { about, request })
}

/// Whether `about` owns something whose takeover waits for this. What was left running on purpose (`stop --forced`) is not
/// answered by cutting it off, nor is what is down and is to be down, or is held: nothing takes it over, unless an operator
/// has ordered it.
fn is_needed(state: &State, about: IncarnationOf, need: Need) -> bool {
    state.owned_up_to(about).any(|(name, o)| {
        let rests = o.phase == Phase::AwaitsReboot && !reboot::is_wanted(&state.groups[name]);
        let cut = !o.without_lease && !rests && state.groups.get(name).is_some_and(|g| kept(g).is_none());
        cut && state.definition(name).is_some_and(|g| g.needs.contains(&need))
    })
}

/// Which level is tried after `before`, and in which round: the same by another node when its operator was lost, the
/// next when it failed, and the first again after the last.
fn next_level(levels: &[FenceLevel<'_>], before: Option<&FenceRequest>, lost: bool) -> (usize, u32) {
    let Some(before) = before else { return (0, 0) };
    let here = levels.iter().position(|level| level.level == before.level);
    match here {
        Some(at) if lost => (at, before.round),
        Some(at) if at + 1 < levels.len() => (at + 1, before.round),
        _ => (0, before.round + 1),
    }
}

/// The nodes that can operate a level against `victim`: those that are heard, nodes before witnesses; where it cuts off from
/// disks, those that are registered there themselves.
fn operators(state: &State, view: &View, victim: NodeId, level: &FenceLevel<'_>) -> Vec<NodeId> {
    let registered = |id: &NodeId| {
        let there = |(name, barrier): (&String, &_)| state.lives[id].registered.get(name) == Some(barrier);
        level.barriers().iter().all(there)
    };
    let mut there: Vec<NodeId> = state
        .members
        .keys()
        .copied()
        .filter(|id| *id != victim)
        .filter(|id| state.living(*id).is_some_and(|about| view.heard.contains(&about)))
        .filter(|id| !matches!(state.lives[id].mode, NodeMode::Stopping(_)))
        .filter(registered)
        .collect();
    there.sort_by_key(|id| state.members[id].witness);
    there
}
