//! The commands that change groups and nodes, and wait for the effect.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use regent_api::{ApplicationVerb, GroupStatus, GroupVerb, NodeStatus, NodeVerb, Request, Status};
use regent_model::state::StopMode;
use regent_model::{GroupName, NodeName};
use serde_json::{Value, json};

use crate::args::{ApplicationCommand, GroupCommand, WaitArgs};
use crate::client::{self, Asks};
use crate::consent;
use crate::follow::{Settled, Steps, Wait, until};
use crate::look::manner;
use crate::nodes;
use crate::screen::Screen;
use crate::settle::Wish;
use crate::status::status_json;
use crate::trouble::{Result, Trouble};

/// The group of that name; of a concurrent group every instance.
///
/// # Errors
/// When there is none.
pub fn groups_of<'a>(status: &'a Status, name: &str) -> Result<Vec<&'a GroupStatus>> {
    let named = |g: &&GroupStatus| g.name.as_str() == name || g.name.base() == name;
    let found: Vec<&GroupStatus> = status.groups.iter().filter(named).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known: BTreeSet<&str> = status.groups.iter().map(|g| g.name.base()).collect();
    let trouble = Trouble::refused(format!("there is no group {name} in the cluster {}", status.cluster));
    let known: Vec<&str> = known.into_iter().collect();
    Err(if known.is_empty() {
        trouble
    } else {
        trouble.next(format!("the groups are: {}", known.join(", ")))
    })
}

fn node_of<'a>(status: &'a Status, name: Option<&str>) -> Result<&'a NodeStatus> {
    let name = name.unwrap_or(status.node.as_str());
    status.nodes.iter().find(|n| n.name.as_str() == name).ok_or_else(|| {
        let known: Vec<&str> = status.nodes.iter().map(|n| n.name.as_str()).collect();
        Trouble::refused(format!("there is no node {name} in the cluster {}", status.cluster))
            .next(format!("the nodes are: {}", known.join(", ")))
    })
}

/// An order and what it is to bring about.
struct Order {
    request: Request,
    wish: Wish,
    hold: Duration,
    leaves: Option<String>,
    /// The group that is to be seen to be released on every node in the end.
    released: Option<String>,
}

/// Gives the order, waits for its effect, and says what is so now.
fn carry_out(asks: &dyn Asks, screen: &Screen, args: &WaitArgs, order: Order) -> Result<()> {
    let mut steps = Steps::from_now(asks, manner(screen, false))?;
    let began = Instant::now();
    let words = client::order(asks, &order.request)?;
    if args.no_wait {
        screen.value(&json!({ "done": words, "settled": null }))?;
        return screen.say(&format!("{words}\n"));
    }
    screen.say(&format!("{words}\n"))?;
    let wait = Wait { wish: order.wish, limit: args.wait, hold: order.hold, leaves: order.leaves };
    let settled = until(asks, screen, &wait, &mut steps, began)?;
    let Some(group) = &order.released else { return finish(screen, &settled) };
    let (text, seen) = nodes::released(asks, group, args.wait.saturating_sub(settled.took))?;
    finish_with(screen, &settled, &seen)?;
    screen.say(&text)
}

/// Says how a wait ended.
///
/// # Errors
/// When standard output cannot be written.
pub fn finish(screen: &Screen, settled: &Settled) -> Result<()> {
    finish_with(screen, settled, &Value::Null)
}

/// The same, with what every node saw.
fn finish_with(screen: &Screen, settled: &Settled, seen: &Value) -> Result<()> {
    let seconds = settled.took.as_secs_f64();
    let mut value = json!({
        "done": settled.words,
        "settled": true,
        "took_ms": (seconds * 1e3).round(),
        "status": settled.status.as_ref().map_or(Value::Null, status_json),
    });
    if !seen.is_null() {
        value["released"] = seen.clone();
    }
    screen.value(&value)?;
    screen.say(&format!("after {seconds:.2} s: {}\n", settled.words))
}

/// What has its effect as soon as it is committed.
fn at_once(asks: &dyn Asks, screen: &Screen, status: &Status, group: &str, verb: GroupVerb) -> Result<()> {
    groups_of(status, group)?;
    let words = client::order(asks, &Request::Group { group: group.to_owned(), verb })?;
    screen.value(&json!({ "done": words, "settled": true }))?;
    screen.say(&format!("{words}\n"))
}

/// `regent group ...`.
///
/// # Errors
/// When it is refused, fails, or does not settle.
pub fn group(asks: &dyn Asks, screen: &Screen, verb: &GroupCommand) -> Result<()> {
    let status = client::status(asks)?;
    let (name, wait) = match verb {
        GroupCommand::Hold { group, why } => {
            let who = who(|variable| std::env::var(variable).ok());
            let hold = GroupVerb::Hold { who, why: why.trim().to_owned() };
            return at_once(asks, screen, &status, group, hold);
        }
        GroupCommand::Resume { group } => {
            return at_once(asks, screen, &status, group, GroupVerb::Resume);
        }
        GroupCommand::Enable { group, wait }
        | GroupCommand::Disable { group, wait }
        | GroupCommand::Move { group, wait, .. }
        | GroupCommand::Restart { group, wait } => (group, wait),
    };
    let groups = groups_of(&status, name)?;
    let (order, to) = match verb {
        GroupCommand::Enable { .. } => (GroupVerb::Enable, None),
        GroupCommand::Disable { .. } => (GroupVerb::Disable, None),
        GroupCommand::Restart { .. } => (GroupVerb::Restart, None),
        GroupCommand::Move { node: None, .. } => (GroupVerb::Restore, None),
        GroupCommand::Hold { .. } | GroupCommand::Resume { .. } => return Ok(()),
        GroupCommand::Move { node, .. } => {
            let to = node_of(&status, node.as_deref())?.name.clone();
            (GroupVerb::Move { to: to.to_string() }, Some(to))
        }
    };
    let is_there = |g: &GroupStatus| {
        let node = g.name.node().and_then(|node| status.nodes.iter().find(|n| n.name.as_str() == node));
        node.is_none_or(|node| matches!(node.state.as_str(), "up" | "standby"))
    };
    let wish = |g: &&GroupStatus| match &order {
        GroupVerb::Disable => Wish::Disabled { group: g.name.clone() },
        GroupVerb::Restart => Wish::Online { group: g.name.clone(), after: Some(g.epoch), on: None },
        _ => Wish::Online { group: g.name.clone(), after: None, on: to.clone() },
    };
    // Where its node is not there, nothing of a concurrent group can be waited for.
    let mut wishes: Vec<Wish> = groups.iter().filter(|g| is_there(g)).map(wish).collect();
    let wish = if wishes.len() == 1 { wishes.remove(0) } else { Wish::Every(wishes) };
    let (group, verb) = (name, order);
    let released = (verb == GroupVerb::Disable).then(|| name.clone());
    let request = Request::Group { group: group.to_string(), verb };
    // Where its list decides, it begins to move only after the leader has looked at it.
    let restores = matches!(&request, Request::Group { verb: GroupVerb::Restore, .. });
    let hold = if restores { status.lease * 2 + Duration::from_millis(500) } else { Duration::ZERO };
    carry_out(asks, screen, wait, Order { request, wish, hold, leaves: None, released })
}

/// `regent application ...`.
///
/// # Errors
/// When it is refused.
pub fn application(asks: &dyn Asks, screen: &Screen, verb: &ApplicationCommand) -> Result<()> {
    let (args, verb) = match verb {
        ApplicationCommand::Suspend(args) => (args, ApplicationVerb::Suspend),
        ApplicationCommand::Resume(args) => (args, ApplicationVerb::Resume),
    };
    let (group, application) = (args.group.clone(), args.application.clone());
    let words = client::order(asks, &Request::Application { group, application, verb })?;
    screen.value(&json!({ "done": words }))?;
    screen.say(&format!("{words}\n"))
}

/// `regent node start` (of a node whose daemon runs) and `regent node standby`.
///
/// # Errors
/// When it is refused, fails, or does not settle.
pub fn set_node(
    asks: &dyn Asks,
    screen: &Screen,
    node: Option<&str>,
    verb: NodeVerb,
    wait: &WaitArgs,
) -> Result<()> {
    let status = client::status(asks)?;
    let name = node_of(&status, node)?.name.clone();
    let state = if verb == NodeVerb::Standby { "standby" } else { "up" };
    let request = Request::Node { node: Some(name.to_string()), verb };
    // What is to move begins to move only after the leader has looked at the new state.
    let hold = status.lease * 2 + Duration::from_millis(500);
    let order = Order { request, wish: Wish::Node { node: name, state }, hold, leaves: None, released: None };
    carry_out(asks, screen, wait, order)
}

/// `regent node stop`.
///
/// # Errors
/// When it is refused, fails, or does not settle.
pub fn stop_node(
    asks: &dyn Asks,
    screen: &Screen,
    node: Option<&str>,
    mode: StopMode,
    wait: &WaitArgs,
) -> Result<()> {
    let status = client::status(asks)?;
    let name = node_of(&status, node)?.name.clone();
    let owned = owned_by(&status, &name);
    let own = name == status.node;
    // The daemon that is asked stops with its node; from then on only others can tell what became of its groups.
    let leaves = own.then(|| match mode {
        StopMode::Graceful => format!("{name} has stopped; its groups wait for its return"),
        StopMode::Takeover => format!("{name} has released everything and stopped; the others take over"),
        StopMode::Forced => format!("{name} has stopped; what ran there still runs, unmanaged"),
    });
    let others_take = mode == StopMode::Takeover && !own;
    let groups = if others_take { owned } else { Vec::new() };
    let request = Request::Node { node: Some(name.to_string()), verb: NodeVerb::Stop(mode) };
    let wish = Wish::Stopped { node: name, groups };
    carry_out(asks, screen, wait, Order { request, wish, hold: Duration::ZERO, leaves, released: None })
}

fn owned_by(status: &Status, node: &NodeName) -> Vec<GroupName> {
    status.groups.iter().filter(|g| g.owner.as_ref() == Some(node)).map(|g| g.name.clone()).collect()
}

/// `regent node confirm-dead`.
///
/// # Errors
/// When the person does not confirm, or it is refused.
pub fn confirm_dead(
    asks: &dyn Asks,
    screen: &Screen,
    node: &str,
    (why, minutes): (&str, Option<u32>),
    yes: bool,
) -> Result<()> {
    let status = client::status(asks)?;
    let name = node_of(&status, Some(node))?.name.clone();
    if why.trim().is_empty() {
        return Err(
            Trouble::usage("--why is empty").next("say how you know: --why 'pulled its plug, ticket 311'")
        );
    }
    if !yes {
        ask_to_confirm(&name, &owned_by(&status, &name), is_alone(&status))?;
    }
    let who = who(|variable| std::env::var(variable).ok());
    let request = Request::ConfirmDead { node: name.to_string(), who, why: why.to_owned(), minutes };
    let words = client::order(asks, &request)?;
    screen.value(&json!({ "done": words }))?;
    screen.say(&format!("{words}\nwhat follows from it: regent events --follow\n"))
}

/// Whether this is one of two nodes, and nobody else can say that it may go on.
fn is_alone(status: &Status) -> bool {
    status.nodes.len() == 2 && !status.quorate
}

fn ask_to_confirm(name: &NodeName, groups: &[GroupName], is_alone: bool) -> Result<()> {
    let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    let takes =
        if groups.is_empty() { String::new() } else { format!(" and take over {}", groups.join(", ")) };
    let alone = if is_alone {
        format!(
            "This node then goes on alone. What {name} may have decided without it since is lost, and {name} must stay off \
             until it can hear this node: coming up without, it may go on by what it knows.\n"
        )
    } else {
        String::new()
    };
    let text = format!(
        "Regent cannot prove that {name} is dead. On your word it will believe it{takes}.\n\
         If {name} still runs, two nodes may write to one disk, and data may be lost.\n{alone}\
         Is it off, or cut off from its disks for good? Type its name to confirm: "
    );
    let instead = "look at the machine; if it is off, add --yes";
    consent::typed("confirm-dead", &text, name.as_str(), instead)
}

/// Who gives an order: the person behind sudo, else the user.
#[must_use]
pub fn who(variable: impl Fn(&str) -> Option<String>) -> String {
    ["SUDO_USER", "LOGNAME", "USER"]
        .into_iter()
        .find_map(|name| variable(name).filter(|v| !v.trim().is_empty()))
        .unwrap_or_else(|| "somebody".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_behind_sudo_gives_the_word() {
        let env = |name: &str| match name {
            "SUDO_USER" => Some("maria".to_owned()),
            "USER" => Some("root".to_owned()),
            _ => None,
        };
        assert_eq!(who(env), "maria");
        assert_eq!(who(|n| (n == "USER").then(|| "root".to_owned())), "root");
        assert_eq!(who(|_| None), "somebody");
    }
}
