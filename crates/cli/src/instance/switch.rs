//! `ccontrol start`, `stop` and `force`: which instance is meant, and what of the words is whose.

use std::io::{IsTerminal, Write};

use regent_api::{InstanceStatus, InstanceVerb, Registry};
use regent_model::config::InstanceKind;

use super::{ask, layout};
use crate::client::Asks;
use crate::screen::complain;
use crate::trouble::{Result, Trouble};

/// The function of a vendor that stops without the shutdown routines of its users.
const STOP_NO_SHUT: &str = "stopnoshut";

/// What is done, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Start,
    Stop,
    StopNoShut,
    StopStart,
    Force,
}

/// What was typed behind a function, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) quietly: bool,
    pub(super) help: bool,
    restart: bool,
    /// What the vendor's command gets of a start, and of a stop.
    start: Vec<String>,
    stop: Vec<String>,
}

impl Words {
    /// Reads the words behind the instance's name.
    ///
    /// # Errors
    /// One of them is none.
    pub(super) fn read(words: &[String]) -> Result<Self> {
        let mut read = Self::default();
        for word in words {
            match known(word) {
                Some(Known::Quietly) => read.quietly = true,
                Some(Known::Help) => read.help = true,
                Some(Known::Restart) => read.restart = true,
                Some(Known::OfStart) => read.start.push(word.clone()),
                Some(Known::OfStop) => read.stop.push(word.clone()),
                Some(Known::OfBoth) => {
                    read.start.push(word.clone());
                    read.stop.push(word.clone());
                }
                None => {
                    let trouble = Trouble::usage(format!("{word:?} means nothing here"));
                    return Err(trouble.next(match word.to_ascii_lowercase().ends_with(".cpf") {
                        true => "give an alternative file by its full path: /store1/c52ha/other.cpf",
                        false => "ccontrol help",
                    }));
                }
            }
        }
        Ok(read)
    }

    fn of(&self, verb: &InstanceVerb) -> &[String] {
        match verb {
            InstanceVerb::Start => &self.start,
            InstanceVerb::Stop => &self.stop,
            _ => &[],
        }
    }
}

/// What a word is for.
enum Known {
    Quietly,
    Help,
    Restart,
    OfStart,
    OfStop,
    OfBoth,
}

fn known(word: &str) -> Option<Known> {
    let lower = word.to_ascii_lowercase();
    Some(match lower.as_str() {
        "quietly" => Known::Quietly,
        "help" => Known::Help,
        "restart" => Known::Restart,
        "nostu" => Known::OfStart,
        "bypass" => Known::OfStop,
        "nouser" => Known::OfBoth,
        other if other.starts_with("emergencyid=") => Known::OfStart,
        other if is_file(other) => Known::OfStart,
        _ => return None,
    })
}

/// An alternative file of settings.
fn is_file(word: &str) -> bool {
    word.starts_with('/') && word.to_ascii_lowercase().ends_with(".cpf")
}

/// The instance that is meant, and the words behind its name; without a name it is the default instance.
///
/// # Errors
/// There is no such instance, or none at all.
pub(super) fn meant<'r, 'w>(
    registry: &'r Registry,
    words: &'w [String],
) -> Result<(&'r InstanceStatus, &'w [String])> {
    if let Some((first, rest)) = words.split_first() {
        match ask::find(registry, first) {
            Ok(instance) => return Ok((instance, rest)),
            Err(trouble) if known(first).is_none() => return Err(trouble),
            Err(_) => {}
        }
    }
    let default = registry.instances.iter().find(|i| layout::is_default(registry, i));
    default.map(|instance| (instance, words)).ok_or_else(none)
}

/// No instance at all.
pub(super) fn none() -> Trouble {
    Trouble::refused("no instance is registered").next("ccontrol create INSTANCE directory=DIR")
}

/// Does it; what was done, in words, as it happens.
///
/// # Errors
/// It is refused or fails; what would come after it is not done.
pub(super) fn switch(
    asks: &dyn Asks,
    instance: &InstanceStatus,
    function: Function,
    words: &Words,
    mut tell: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let verbs: &[InstanceVerb] = match function {
        Function::Start => &[InstanceVerb::Start],
        Function::Stop | Function::StopNoShut if !words.restart => &[InstanceVerb::Stop],
        Function::Stop | Function::StopNoShut | Function::StopStart => {
            &[InstanceVerb::Stop, InstanceVerb::Start]
        }
        Function::Force => &[InstanceVerb::Force],
    };
    let name = &instance.name;
    let is_the_vendors = matches!(instance.kind, InstanceKind::Cache | InstanceKind::Iris);
    if !is_the_vendors {
        remark(instance, words)?;
    }
    for verb in verbs {
        if *verb == InstanceVerb::Force && !words.quietly && !is_sure(name.as_str()) {
            return Err(Trouble::refused(format!("{name} is left as it is")));
        }
        let mut more = Vec::new();
        if is_the_vendors {
            if function == Function::StopNoShut && *verb == InstanceVerb::Stop {
                more.push(STOP_NO_SHUT.to_owned());
            }
            more.extend_from_slice(words.of(verb));
        }
        let done = ask::order_with(asks, name, verb.clone(), more)?;
        if !words.quietly {
            tell(&done)?;
        }
    }
    Ok(())
}

/// What means nothing for an instance that no vendor's command drives is said, and does not keep anybody from starting
/// or stopping it; other settings than its own it cannot have.
fn remark(instance: &InstanceStatus, words: &Words) -> Result<()> {
    let (name, kind) = (&instance.name, instance.kind.word());
    let mut all: Vec<&String> = words.start.iter().collect();
    all.extend(words.stop.iter().filter(|word| !words.start.contains(word)));
    for word in all {
        // Of a password, only that there is one.
        let word = word.split_inclusive('=').next().unwrap_or_default();
        let what = format!("{word} means nothing for {name}, which is of the kind {kind}");
        if is_file(word) {
            return Err(Trouble::usage(what).next(format!(
                "its settings are those of the configuration: regent instance update {name} KEY=VALUE"
            )));
        }
        complain(&format!("ccontrol: {what}\n"));
    }
    Ok(())
}

/// Asks the person at the keyboard; without one, whoever typed it is sure.
fn is_sure(name: &str) -> bool {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return true;
    }
    complain(&format!("Force {name} down? It is recovered at its next start. [y/N] "));
    let _flushed_when_it_can_be = std::io::stderr().flush();
    let mut answer = String::new();
    let read = input.read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}
