//! `regent instance upgrade NAME -- COMMAND`: in place, on the node that has it, while nothing is done with its group by
//! itself. Afterwards every node knows the version that is installed, or the group stays held.

use std::ffi::OsString;
use std::process::Command;

use regent_api::{Answer, GroupVerb, InstanceStatus, InstanceVerb, NodesAsk, Request};
use regent_model::config::parse_shown;
use serde_json::json;

use super::ask::{find, order, registry};
use super::change::who;
use super::check::{Found, found};
use super::layout;
use crate::client::{self, Asks};
use crate::nodes;
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

/// Holds the group, runs the command with the instance's environment, has the version read again, and lets the group go
/// on when every node fits the registry.
///
/// # Errors
/// The instance's group is not on this node, the command fails, or the nodes do not fit the registry afterwards. Once it
/// is held, the group stays so.
pub fn upgrade(
    asks: &dyn Asks,
    screen: &Screen,
    name: &str,
    versionid: Option<&str>,
    command: &[OsString],
) -> Result<u8> {
    let before = registry(asks)?;
    let instance = find(&before, name)?;
    if instance.owner.as_ref() != Some(&before.node) || !instance.online {
        return Err(not_here(instance, before.node.as_str()));
    }
    let (name, group) = (&instance.name, &instance.group);
    let had = layout::version(&before, instance);
    // Whoever held it before lets it go on himself.
    let held_before = client::status(asks)?.groups.iter().any(|g| &g.name == group && g.held.is_some());
    if !held_before {
        let why = format!("{name} is upgraded");
        group_order(asks, instance, GroupVerb::Hold { who: who(), why })?;
        screen.say(&format!("{group} is held: nothing is done with it by itself\n"))?;
    }
    let has = in_place(asks, instance, versionid, command).map_err(|trouble| {
        let next = if held_before { String::new() } else { format!("then: regent group resume {group}") };
        Trouble { what: format!("{}; {group} stays held", trouble.what), ..trouble }.next(next)
    })?;
    if !held_before {
        group_order(asks, instance, GroupVerb::Resume)?;
    }
    screen.value(&json!({ "instance": name, "before": had, "version": has }))?;
    let end = if held_before { "stays held, as it was before" } else { "goes on" };
    screen.say(&format!(
        "{name} is version {has} in the registry of every node (it was {had}); {group} {end}\n"
    ))?;
    Ok(Exit::Done as u8)
}

fn not_here(instance: &InstanceStatus, me: &str) -> Trouble {
    let (name, group) = (&instance.name, &instance.group);
    match &instance.owner {
        Some(owner) if owner.as_str() != me => Trouble::refused(format!(
            "{name} is upgraded on the node that has its group, {owner}, not on {me}"
        ))
        .next(format!("type it on {owner}; or first: regent group move {group} {me}")),
        _ => Trouble::refused(format!("{group}, the group of {name}, is not up on {me}"))
            .next(format!("regent group enable {group}, or regent explain {group}")),
    }
}

fn group_order(asks: &dyn Asks, instance: &InstanceStatus, verb: GroupVerb) -> Result<String> {
    client::order(asks, &Request::Group { group: instance.group.to_string(), verb })
}

/// What is done while the group is held; the version that every node knows afterwards.
fn in_place(
    asks: &dyn Asks,
    instance: &InstanceStatus,
    versionid: Option<&str>,
    command: &[OsString],
) -> Result<String> {
    let name = &instance.name;
    run(asks, instance, command)?;
    // It is looked at by its agent, which reads its version too; one that is down is no failure of the upgrade.
    order(asks, name, InstanceVerb::Status)?;
    if let Some(version) = versionid {
        let version = version.to_owned();
        order(asks, name, InstanceVerb::Version { version, who: who() })?;
    }
    let (text, _) = client::config(asks)?;
    let looks = nodes::ask(asks, NodesAsk::Instances)?;
    let after = registry(asks)?;
    let config = parse_shown(&text, None).config;
    let left = config.map(|config| found(&config, &after.instances, &looks)).unwrap_or_default();
    // What does not fit of another instance is none of its business.
    let is_its = |found: &Found| found.instance.as_ref().is_none_or(|other| other == name);
    let left: Vec<_> = left.into_iter().filter(is_its).collect();
    if left.is_empty() && looks.silent.is_empty() {
        return Ok(layout::version(&after, find(&after, name.as_str())?));
    }
    let mut trouble = Trouble::refused(format!("{name} is upgraded, and not everything fits the registry"));
    for line in nodes::silence(&looks) {
        trouble = trouble.next(line);
    }
    for Found { misfit, .. } in left {
        trouble = trouble.next(format!("{}: {}", misfit.text, misfit.advice));
    }
    Err(trouble)
}

/// Runs the command here, with the environment of the instance and of its group.
fn run(asks: &dyn Asks, instance: &InstanceStatus, command: &[OsString]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Trouble::usage("which command upgrades it?"));
    };
    let shown = program.to_string_lossy();
    let mut child = Command::new(program);
    child.args(arguments).envs(environment(asks, instance)?);
    let status = child.status().map_err(|e| Trouble::refused(format!("{shown} cannot be run: {e}")))?;
    if status.success() {
        return Ok(());
    }
    let name = &instance.name;
    Err(Trouble::refused(format!("{shown} ended with {status}, and {name} may be half upgraded"))
        .next(format!("when it is whole: regent instance start {name}, and regent instance check")))
}

/// What the instance's own processes are told; at the least where it is.
///
/// # Errors
/// When the daemon does not answer, or refuses.
fn environment(asks: &dyn Asks, instance: &InstanceStatus) -> Result<Vec<(String, String)>> {
    let request = Request::Environment { group: instance.name.to_string(), instance: true };
    let mut all = match client::accepted(asks.ask(&request)?)? {
        Answer::Environment { variables, .. } => variables,
        other => return Err(client::mismatch(&other)),
    };
    let own = [
        ("REGENT_INSTANCE", instance.name.to_string()),
        ("REGENT_INSTANCE_DIRECTORY", instance.directory.display().to_string()),
        ("REGENT_INSTANCE_PORT", instance.port.to_string()),
    ];
    all.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Ok(all)
}
