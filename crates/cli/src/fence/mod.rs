//! `regent fence`: the devices that cut a node's power, shown, asked, tested and operated from this machine.

use std::fmt::Write as _;
use std::time::Instant;

use regent_api::{HandAct, Status};
use regent_model::NodeName;
use regent_model::config::{self, Config, FenceAction, FenceKind, duration_text};
use serde_json::{Value, json};

use crate::args_fence::FenceCommand;
use crate::client::{self, Asks};
use crate::consent;
use crate::paint::{Cell, Paint, Tone, printable, table};
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

pub mod about;
mod agent;
pub mod device;
mod record;
mod trial;

use device::Power;

/// Does what the words say, and gives the exit code.
///
/// # Errors
/// When a device does not do what it is asked for, or may not be asked.
pub fn run(asks: &dyn Asks, screen: &Screen, verb: &FenceCommand) -> Result<u8> {
    let config = in_force(asks)?;
    if !matches!(verb, FenceCommand::List) {
        with_its_secrets(&config)?;
    }
    match verb {
        FenceCommand::List => list(screen, &config)?,
        FenceCommand::Status { node } => return status(screen, &config, node.as_deref()),
        FenceCommand::Test { node, level, moves, wait, yes } => {
            let wanted = trial::Wanted { node, level: *level, moves: *moves, wait: *wait, yes: *yes };
            return trial::run(asks, screen, &config, &wanted);
        }
        FenceCommand::Off { node, yes } => {
            let seen = client::status(asks)?;
            let node = node_of(&config, node)?;
            device::levels(&config, &node)?;
            not_this_machine(&seen, &node)?;
            if !yes {
                confirm("fence off", &node, &harm(&seen, &node))?;
            }
            let done =
                record::on_record(asks, screen, (HandAct::Off, &node), || device::off(&config, &node))?;
            let text = format!("{done}\nit stays off until: regent fence on {node}\n");
            screen.value(&json!({ "done": done }))?;
            screen.say(&text)?;
        }
        FenceCommand::On { node } => {
            let seen = client::status(asks)?;
            let node = node_of(&config, node)?;
            not_while_it_is_cut(&seen, &node)?;
            let done = record::on_record(asks, screen, (HandAct::On, &node), || device::on(&config, &node))?;
            screen.value(&json!({ "done": done }))?;
            screen.say(&format!("{done}\n"))?;
        }
    }
    Ok(Exit::Done as u8)
}

fn in_force(asks: &dyn Asks) -> Result<Config> {
    let (text, _) = client::config(asks)?;
    config::parse_shown(&text, None)
        .config
        .ok_or_else(|| Trouble::refused("the configuration in force cannot be read").next("regent verify"))
}

/// A device must not be asked with what stands in the place of its password: it may lock its user out.
///
/// # Errors
/// When the configuration was shown without the secrets of its devices.
pub fn with_its_secrets(config: &Config) -> Result<()> {
    let hidden = config.fences.iter().find_map(|device| Some((&device.name, device.hidden_option()?)));
    let Some((device, option)) = hidden else { return Ok(()) };
    let what = format!(
        "the option `{option}` of the fence device {device} is not shown to you: only who has the role admin may run it"
    );
    Err(Trouble::refused(what).next("who you are, and who may what: regent access"))
}

fn node_of(config: &Config, name: &str) -> Result<NodeName> {
    let known = config.nodes.iter().map(|n| &n.name);
    known.clone().find(|n| n.as_str() == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.map(NodeName::as_str).collect();
        Trouble::usage(format!("there is no node {name:?}")).next(format!("nodes: {}", names.join(", ")))
    })
}

fn not_this_machine(status: &Status, node: &NodeName) -> Result<()> {
    if status.node != *node {
        return Ok(());
    }
    Err(Trouble::refused(format!("{node} is this machine: the command would end with it"))
        .next("run it on another node, best on the witness"))
}

/// What is switched on while the cluster is about to confirm that it is off would spoil the proof.
fn not_while_it_is_cut(status: &Status, node: &NodeName) -> Result<()> {
    let by = format!("{node} by ");
    match status.fencing.iter().find(|request| request.starts_with(&by)) {
        None => Ok(()),
        Some(request) => Err(Trouble::refused(format!("the cluster is cutting its power: {request}")).next(
            format!(
                "wait until what {node} owned is taken over: regent status. If the devices cannot confirm, make sure \
                 that {node} is off: regent node confirm-dead {node} --why TEXT"
            ),
        )),
    }
}

fn owned(status: &Status, node: &NodeName) -> Vec<String> {
    let own = status.groups.iter().filter(|g| g.owner.as_ref() == Some(node));
    own.map(|g| g.name.to_string()).collect()
}

fn harm(status: &Status, node: &NodeName) -> String {
    match owned(status, node).as_slice() {
        [] => format!("The power of {node} is cut, without a shutdown. It owns nothing."),
        groups => {
            format!("The power of {node} is cut, without a shutdown, under {}.", groups.join(", "))
        }
    }
}

/// Has a person type the name of the node.
fn confirm(command: &str, node: &NodeName, harm: &str) -> Result<()> {
    consent::typed(command, &format!("{harm}\nType its name to confirm: "), node.as_str(), "add --yes")
}

fn list(screen: &Screen, config: &Config) -> Result<()> {
    screen.value(&listed(config))?;
    screen.say(&list_text(config, screen.paint))
}

/// For programs. What is given to the agent may be a password: only the names of its options are shown.
fn listed(config: &Config) -> Value {
    let devices = config.fences.iter().map(|f| {
        json!({
            "name": f.name,
            "agent": f.agent,
            "level": f.level,
            "action": f.action,
            "kind": f.kind,
            "disks": f.disks,
            "keys": f.keys,
            "nodes": f.nodes.iter().map(|node| json!({
                "node": node,
                "plug": f.plugs.get(node).map_or(node.as_str(), String::as_str),
                "delay_ms": f.delay_of(node).as_millis(),
                "limit_ms": f.limit(node).as_millis(),
            })).collect::<Vec<_>>(),
            "timeout_ms": f.timeout.as_millis(),
            "retries": f.retries,
            "options": f.options.keys().collect::<Vec<_>>(),
        })
    });
    json!({ "devices": devices.collect::<Vec<_>>() })
}

fn list_text(config: &Config, paint: Paint) -> String {
    let head = ["node", "level", "device", "agent", "plug or key", "action", "at most"].map(Cell::plain);
    let mut rows = vec![head.to_vec()];
    let mut bare = Vec::new();
    for node in config.nodes.iter().map(|n| &n.name) {
        let levels = config.fence_levels(node);
        if levels.is_empty() {
            bare.push(node.as_str());
        }
        for level in levels {
            for f in level.devices {
                let action = match (f.kind, f.action) {
                    (FenceKind::Storage, _) => "off its disks",
                    (FenceKind::Power, FenceAction::Reboot) => "reboot",
                    (FenceKind::Power, FenceAction::Off) => "off",
                };
                let known = f.keys.get(node).or_else(|| f.plugs.get(node));
                rows.push(vec![
                    Cell::new(Tone::Strong, node.as_str()),
                    Cell::plain(level.level.to_string()),
                    Cell::plain(&f.name),
                    Cell::plain(f.agent.display().to_string()),
                    Cell::plain(known.map_or(node.as_str(), String::as_str)),
                    Cell::plain(action),
                    Cell::plain(duration_text(f.limit(node))),
                ]);
            }
        }
    }
    let mut text = if rows.len() > 1 { table(&rows, "", paint) } else { String::new() };
    for node in bare {
        let _ = writeln!(text, "no device can cut {node}: add a [[fence]] that names it");
    }
    if rows.len() > 1 {
        text.push_str("next: regent fence status, regent fence test NODE\n");
    }
    text
}

fn status(screen: &Screen, config: &Config, only: Option<&str>) -> Result<u8> {
    let only = only.map(|name| node_of(config, name)).transpose()?;
    let mut told = Vec::new();
    let mut rows = vec![["node", "level", "device", "power or disks", "ms"].map(Cell::plain).to_vec()];
    let mut doubts = 0;
    for node in config.nodes.iter().map(|n| &n.name).filter(|n| only.as_ref().is_none_or(|o| o == *n)) {
        if only.is_some() && config.fences_of(node).next().is_none() {
            device::levels(config, node)?;
        }
        for level in config.fence_levels(node) {
            for f in level.devices {
                let began = Instant::now();
                let power = device::power(f, node).unwrap_or_else(|t| Power::Unknown(t.what));
                let ms = began.elapsed().as_millis();
                let storage = f.kind == FenceKind::Storage;
                let (word, tone, why) = match &power {
                    Power::On if storage => ("registered", Tone::Good, ""),
                    Power::Off if storage => ("not registered", Tone::Warning, ""),
                    Power::On => ("on", Tone::Good, ""),
                    Power::Off => ("off", Tone::Warning, ""),
                    Power::Unknown(why) => ("unknown", Tone::Bad, why.as_str()),
                };
                doubts += usize::from(word == "unknown");
                let shown =
                    if why.is_empty() { word.to_owned() } else { format!("{word}: {}", printable(why)) };
                rows.push(vec![
                    Cell::new(Tone::Strong, node.as_str()),
                    Cell::plain(level.level.to_string()),
                    Cell::plain(&f.name),
                    Cell::new(tone, shown),
                    Cell::plain(ms.to_string()).right(),
                ]);
                told.push(json!({ "node": node, "level": level.level, "device": f.name, "power": word,
                    "why": why, "ms": u64::try_from(ms).unwrap_or(u64::MAX) }));
            }
        }
    }
    screen.value(&json!({ "devices": told }))?;
    if rows.len() == 1 {
        screen.say("there is no fence device\nnext: add a [[fence]]; docs/fencing.md\n")?;
    } else {
        screen.say(&table(&rows, "", screen.paint))?;
    }
    Ok(if doubts == 0 { Exit::Done } else { Exit::Refused } as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[cluster]
name = "w"
[[node]]
name = "lx4"
addresses = ["10.0.0.4"]
[[node]]
name = "lx5"
addresses = ["10.0.0.5"]
[[fence]]
name = "bmc"
agent = "/usr/sbin/fence_ipmilan"
nodes = ["lx4"]
level = 2
delay = { lx4 = "5s" }
options = { password = "geheim" }
[[fence]]
name = "feed"
agent = "/usr/sbin/fence_apc"
nodes = ["lx4"]
plugs = { lx4 = "7" }
retries = 1
timeout = "2s"
"#;

    #[test]
    fn a_device_whose_password_is_not_shown_is_listed_and_not_asked() {
        assert!(with_its_secrets(&config::parse(CONFIG).config.unwrap()).is_ok());
        let shown = config::parse_shown(&CONFIG.replace("geheim", config::HIDDEN), None).config.unwrap();
        let trouble = format!("{:?}", with_its_secrets(&shown).unwrap_err());
        assert!(trouble.contains("`password` of the fence device bmc"), "{trouble}");
        assert!(trouble.contains("regent access"), "{trouble}");
        assert!(list_text(&shown, Paint(false)).contains("bmc"));
    }

    #[test]
    fn the_list_is_in_the_order_of_the_levels_names_who_is_bare_and_shows_no_password() {
        let config = config::parse(CONFIG).config.unwrap();
        let text = list_text(&config, Paint(false));
        let at = |word: &str| text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
        assert!(at("feed") < at("bmc"), "{text}");
        assert!(text.contains("no device can cut lx5"), "{text}");
        assert!(text.contains("12 s") && text.contains("65 s"), "{text}");
        let value = listed(&config).to_string();
        assert!(value.contains("\"password\"") && !value.contains("geheim"), "{value}");
        assert!(!text.contains("geheim"));
    }
}
