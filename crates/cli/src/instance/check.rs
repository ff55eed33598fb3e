//! What every node sees of the instances, asked now: `regent instance check`, and whether the license servers answer:
//! `regent instance license`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use regent_api::{InstanceStatus, NodeWord, NodesAnswer, NodesAsk};
use regent_model::NodeName;
use regent_model::config::{Config, parse_shown};
use regent_model::ids::InstanceName;
use regent_model::instance::{Holder, Misfit, Versions, misfits};
use serde_json::{Value, json};

use super::ask::{find, registry};
use crate::client::{self, Asks};
use crate::nodes::{ask, silence};
use crate::paint::{Paint, Tone, printable};
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

/// `regent instance check`: exit code 1 when something does not fit, or a node said nothing.
///
/// # Errors
/// When the daemon does not answer.
pub fn check(asks: &dyn Asks, screen: &Screen) -> Result<u8> {
    let (text, _) = client::config(asks)?;
    let config = parse_shown(&text, None).config.ok_or_else(unreadable)?;
    let registry = registry(asks)?;
    let answer = ask(asks, NodesAsk::Instances)?;
    let found = found(&config, &registry.instances, &answer);
    screen.value(&json!({
        "misfits": found.iter().map(as_json).collect::<Vec<_>>(),
        "silent": answer.silent,
        "nodes": answer.told,
    }))?;
    screen.say(&report(&answer, registry.instances.len(), &found, screen.paint))?;
    let fits = found.is_empty() && answer.silent.is_empty();
    Ok(if fits { Exit::Done as u8 } else { Exit::Refused as u8 })
}

fn as_json(found: &Found) -> Value {
    let Found { node, instance, misfit } = found;
    json!({ "node": node, "instance": instance, "text": misfit.text, "next": misfit.advice })
}

fn unreadable() -> Trouble {
    Trouble::refused("this version of Regent cannot read the configuration in force")
        .next("regent config show")
}

/// Something that does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The node.
    pub node: NodeName,
    /// The instance; without one, nothing is known of any of them there.
    pub instance: Option<InstanceName>,
    /// What.
    pub misfit: Misfit,
}

/// What does not fit, and on which node.
#[must_use]
pub fn found(config: &Config, known: &[InstanceStatus], answer: &NodesAnswer) -> Vec<Found> {
    let mut found = Vec::new();
    for (node, word) in &answer.told {
        let looks = match word {
            NodeWord::Instances(looks) => looks,
            NodeWord::Unable(why) => {
                let advice = format!("regent status shows how {node} is");
                found.push(unknown(node, format!("{node} could not look: {why}"), advice));
                continue;
            }
            _ => {
                let text = format!("{node} answered something else; is it of another version?");
                found.push(unknown(node, text, "regent status shows the versions".to_owned()));
                continue;
            }
        };
        for instance in known {
            let Some((group, its)) = config.instance(&instance.name) else { continue };
            let Some(look) = looks.get(&instance.name) else { continue };
            let holder = instance.owner.as_ref().map(|owner| Holder {
                node: owner.as_str(),
                epoch: instance.epoch.0,
                online: instance.online,
            });
            let versions = Versions {
                registered: instance.version.as_ref().map(|v| v.version.as_str()),
                read: instance.installed.as_deref(),
            };
            let look = instance.as_installed(node, look);
            let misfits = misfits(group, its, versions, holder, node, &look);
            found.extend(misfits.into_iter().map(|misfit| Found {
                node: node.clone(),
                instance: Some(instance.name.clone()),
                misfit,
            }));
        }
    }
    found
}

fn unknown(node: &NodeName, text: String, advice: String) -> Found {
    Found { node: node.clone(), instance: None, misfit: Misfit { text, advice } }
}

/// What was found, for people.
#[must_use]
pub fn report(answer: &NodesAnswer, count: usize, found: &[Found], paint: Paint) -> String {
    let mut out = String::new();
    let asked: Vec<&str> = answer.told.keys().map(NodeName::as_str).collect();
    let _ = writeln!(out, "asked: {}", asked.join(", "));
    for line in silence(answer) {
        let _ = writeln!(out, "{}", paint.tone(Tone::Bad, &line));
    }
    for Found { misfit, .. } in found {
        let _ =
            writeln!(out, "{}\n  next: {}", paint.tone(Tone::Bad, &printable(&misfit.text)), misfit.advice);
    }
    if found.is_empty() {
        let many = if count == 1 { "" } else { "s" };
        let _ = writeln!(
            out,
            "{}",
            paint.tone(Tone::Good, &format!("{count} instance{many}: what is there fits the registry"))
        );
    }
    out
}

/// `regent instance license NAME`: exit code 1 when a node of its group reaches none of them.
///
/// # Errors
/// When the daemon does not answer, or there is no such instance.
pub fn license(asks: &dyn Asks, screen: &Screen, name: &str) -> Result<u8> {
    let registry = registry(asks)?;
    let instance = find(&registry, name)?;
    if instance.license_servers.is_empty() {
        return Err(Trouble::refused(format!("{} has no license servers", instance.name))
            .next(format!("regent instance update {} license_servers=10.77.0.4,10.77.0.5", instance.name)));
    }
    let answer = ask(asks, NodesAsk::License { instance: instance.name.to_string() })?;
    screen.value(&json!({ "nodes": answer.told, "silent": answer.silent, "owner": instance.owner }))?;
    let (text, served) = license_report(instance, &answer, screen.paint);
    screen.say(&text)?;
    Ok(if served { Exit::Done as u8 } else { Exit::Refused as u8 })
}

/// What each node reaches, and whether the node that has the instance (without one: every node) reaches one of them.
#[must_use]
pub fn license_report(instance: &InstanceStatus, answer: &NodesAnswer, paint: Paint) -> (String, bool) {
    let mut out = String::new();
    let mut served: BTreeMap<&NodeName, bool> = BTreeMap::new();
    for (node, word) in &answer.told {
        let NodeWord::License(servers) = word else {
            let _ = writeln!(out, "{}", paint.tone(Tone::Bad, &format!("{node} could not ask them")));
            served.insert(node, false);
            continue;
        };
        let owns = if instance.owner.as_ref() == Some(node) {
            format!(" (has {})", instance.name)
        } else {
            String::new()
        };
        let _ = writeln!(out, "from {node}{owns}:");
        for (server, answered) in servers {
            let words = match answered {
                Ok(()) => paint.tone(Tone::Good, "answers"),
                Err(why) => paint.tone(Tone::Bad, &format!("does not answer: {}", printable(why))),
            };
            let _ = writeln!(out, "  {server}  {words}");
        }
        served.insert(node, servers.iter().any(|(_, answered)| answered.is_ok()));
    }
    for line in silence(answer) {
        let _ = writeln!(out, "{}", paint.tone(Tone::Bad, &line));
    }
    let well = match &instance.owner {
        Some(owner) => served.get(owner).copied().unwrap_or(false),
        None => !served.is_empty() && served.values().all(|s| *s),
    };
    let words = if well {
        paint.tone(Tone::Good, "one that answers is enough")
    } else {
        paint.tone(Tone::Bad, "none answers: start a license server on one of these machines")
    };
    let _ = writeln!(out, "{words}");
    (out, well)
}
