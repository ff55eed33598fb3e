//! The environment of a group, or of an instance: the engine knows the configuration, and what this node has is looked
//! at here.

use regent_api::{Answer, Request};
use regent_model::config;
use regent_model::ids::InstanceName;
use regent_model::instance::Condition;

use crate::desk::Desk;
use crate::registry::Registrar;

/// Says whether an instance runs here.
const STATE: &str = "REGENT_INSTANCE_STATE";

/// The answer to somebody who asks for the environment of `name`: a group, or else an instance; with `only_instance` the
/// instance, though a group be named so too.
pub(crate) fn answer(desk: &Desk, registrar: Option<&Registrar>, name: &str, only_instance: bool) -> Answer {
    let found = match desk.ask(Request::Config) {
        Answer::Config { text, .. } => config::parse(&text).config,
        other => return other,
    };
    let config = found.filter(|c| only_instance || c.groups_named(name).next().is_none());
    let wanted = InstanceName::new(name).ok();
    let instance = config.as_ref().zip(wanted.as_ref()).and_then(|(config, name)| config.instance(name));
    if only_instance && instance.is_none() {
        return Answer::refused(format!("no instance is named {name}"), "regent instance list");
    }
    let group = instance.map_or(name.to_owned(), |(group, _)| group.name.to_string());
    let answer = with_real_addresses(desk.ask(Request::Environment { group, instance: false }));
    let (Some((_, instance)), Answer::Environment { node, owner, mut variables, remarks }) =
        (instance, answer.clone())
    else {
        return answer;
    };
    let own = registrar.ok_or_else(|| "this node can hold nothing".to_owned());
    match own.and_then(|registrar| {
        // As it is now.
        registrar.look_now();
        registrar.inspector().environment_of(instance)
    }) {
        Ok(own) => variables.extend(own),
        Err(why) => return Answer::refused(why, "regent status shows which node has it"),
    }
    let condition = match desk.ask(Request::Instances) {
        Answer::Instances(registry) if owner.as_ref() == Some(&node) => {
            let here = registry.instances.into_iter().find(|i| i.name == instance.name);
            here.and_then(|i| i.here).map_or(Condition::Down, |look| look.condition())
        }
        _ => Condition::Down,
    };
    variables.push((STATE.to_owned(), condition.word().to_owned()));
    Answer::Environment { node, owner, variables, remarks }
}

fn with_real_addresses(answer: Answer) -> Answer {
    let Answer::Environment { node, owner, mut variables, .. } = answer else { return answer };
    let remarks = regent_agents::complete_environment(&mut variables);
    Answer::Environment { node, owner, variables, remarks }
}
