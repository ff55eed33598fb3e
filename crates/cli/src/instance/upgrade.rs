//! `regent instance upgrade NAME -- COMMAND`: in place, on the node that has it.

use std::ffi::OsString;
use std::process::Command;

use regent_api::{Answer, InstanceStatus, InstanceVerb, Request};
use serde_json::json;

use super::ask::{find, order, registry};
use super::check::found;
use super::layout;
use crate::client::{self, Asks};
use crate::nodes;
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

/// Runs the command with the instance's environment, reads its version again, and shows that every node has it right.
///
/// # Errors
/// The instance's group is not on this node, the command fails, or the nodes do not fit the registry afterwards.
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
    let had = layout::version(&before, instance);
    run(asks, instance, command)?;
    if let Some(version) = versionid {
        let who = "upgrade".to_owned();
        order(asks, &instance.name, InstanceVerb::Version { version: version.to_owned(), who })?;
    }
    let after = registry(asks)?;
    let has = layout::version(&after, find(&after, name)?);
    let (text, _) = client::config(asks)?;
    let answer = nodes::ask(asks, regent_api::NodesAsk::Instances)?;
    let left = regent_model::config::parse(&text)
        .config
        .map(|config| found(&config, &registry(asks).map(|r| r.instances).unwrap_or_default(), &answer))
        .unwrap_or_default();
    screen
        .value(&json!({ "instance": instance.name, "before": had, "version": has, "misfits": left.len() }))?;
    screen
        .say(&format!("{} is version {has} in the registry of every node (it was {had})\n", instance.name))?;
    if left.is_empty() {
        return Ok(Exit::Done as u8);
    }
    let mut trouble = Trouble::refused("not everything fits the registry now");
    for (_, misfit) in left {
        trouble = trouble.next(format!("{}: {}", misfit.text, misfit.advice));
    }
    Err(trouble)
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

fn run(asks: &dyn Asks, instance: &InstanceStatus, command: &[OsString]) -> Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Trouble::usage("which command upgrades it?"));
    };
    let asked = Request::Environment { group: instance.name.to_string(), instance: true };
    let variables = match client::accepted(asks.ask(&asked)?)? {
        Answer::Environment { variables, .. } => variables,
        other => return Err(client::mismatch(&other)),
    };
    let shown = program.to_string_lossy();
    let mut child = Command::new(program);
    child.args(arguments).envs(variables);
    child.env("REGENT_INSTANCE", instance.name.as_str());
    child.env("REGENT_INSTANCE_DIRECTORY", &instance.directory);
    child.env("REGENT_INSTANCE_PORT", instance.port.to_string());
    let status = child.status().map_err(|e| Trouble::refused(format!("{shown} cannot be run: {e}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Trouble::refused(format!("{shown} ended with {status}; {} may be half upgraded", instance.name))
        .next(format!(
            "when it is whole: regent instance start {}, then regent instance check",
            instance.name
        )))
}
