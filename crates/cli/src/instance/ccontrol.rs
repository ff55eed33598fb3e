//! `ccontrol`: the functions of the vendor's command, its words and its screens, over the registry of the cluster.
//! It ends with 0 or 1 and nothing else: scripts that know it ask for these two alone.

use std::io::{IsTerminal, Write};

use jiff::tz::TimeZone;
use regent_api::{InstanceStatus, InstanceVerb, Registry};

use super::ask::{find, named, order, registry};
use super::{change, layout};
use crate::client::Asks;
use crate::screen::{Reader, Screen, complain};
use crate::trouble::{Result, Trouble};

const HELP: &str = "\
ccontrol FUNCTION [INSTANCE] [ARGUMENTS]      case does not matter in names

  list   [INSTANCE]         everything of an instance, or of all
  qlist  [INSTANCE]         the same for programs: one line each, ^ between the fields
  all                       one line each: up or dn on this node, name, version, port, directory
  create INSTANCE directory=DIR [versionid=V] [port=N] [KEY=VALUE ...]
  update INSTANCE [versionid=V] [KEY=VALUE ...]
  delete INSTANCE           its files stay
  default [INSTANCE]        show, or set, the one that is meant where none is named
  start  INSTANCE [quietly]
  stop   INSTANCE [quietly] [restart]
  force  INSTANCE [quietly]
  stopstart INSTANCE [quietly]
  help

A KEY is one of [[instance]]: kind, address, autostart, license_servers, data_servers, ...; KEY= takes it out.
  data_servers=cacheha2=10.77.0.102:1973/Y*+ORDERS,far=192.9.202.8:1972/Z*@/store/mumps.dat
                            whose data it uses: name, service address and port; behind / the globals that live there;
                            behind @ the file they are in, where it is of another cluster. What is left out of one that
                            is there already stays.

The registry is the cluster's: what is created or updated here is so on every node. An instance is started and stopped
on the node that has its group.
";

/// Words that people and scripts give to a start or stop, and that change nothing here.
const ACCEPTED: [&str; 6] = ["quietly", "nostu", "nouser", "bypass", "restart", "help"];

/// Does what the words say, and gives the exit code.
#[must_use]
pub fn run(asks: &dyn Asks, screen: &Screen, words: &[String]) -> u8 {
    match act(asks, screen, words) {
        Ok(()) => 0,
        Err(trouble) if trouble.what.is_empty() => 0,
        Err(trouble) => {
            complain(&format!("ccontrol: {trouble}\n"));
            1
        }
    }
}

fn act(asks: &dyn Asks, screen: &Screen, words: &[String]) -> Result<()> {
    let Some(function) = words.first().map(|w| w.to_ascii_lowercase()) else {
        complain(HELP);
        return Err(Trouble::usage("what is to be done?").next("ccontrol help"));
    };
    let rest = &words[1..];
    match function.as_str() {
        "help" | "-h" | "--help" | "-?" => print(screen, HELP),
        "all" => print(screen, &layout::all(&known(asks)?)),
        "list" => each(asks, screen, rest, layout::list),
        "qlist" => each(asks, screen, rest, layout::qlist),
        "create" => told(screen, &change::create(asks, instance(rest)?, &rest[1..])?),
        "update" => told(screen, &change::update(asks, instance(rest)?, &rest[1..])?),
        "delete" => told(screen, &change::delete(asks, instance(rest)?)?),
        "default" if rest.is_empty() => default(asks, screen),
        "default" => told(screen, &change::make_default(asks, instance(rest)?)?),
        "start" => switch(asks, screen, rest, &[InstanceVerb::Start]),
        "stop" | "stopnoshut" if says(rest, "restart") => {
            switch(asks, screen, rest, &[InstanceVerb::Stop, InstanceVerb::Start])
        }
        "stop" | "stopnoshut" => switch(asks, screen, rest, &[InstanceVerb::Stop]),
        "stopstart" => switch(asks, screen, rest, &[InstanceVerb::Stop, InstanceVerb::Start]),
        "force" => switch(asks, screen, rest, &[InstanceVerb::Force]),
        other => Err(Trouble::usage(format!("{other:?} is no function")).next("ccontrol help")),
    }
}

/// The registry. What of it may be old is said.
fn known(asks: &dyn Asks) -> Result<Registry> {
    let registry = registry(asks)?;
    if !registry.quorate {
        let node = &registry.node;
        complain(&format!(
            "ccontrol: {node} has lost touch with the others: versions that it does not see itself are not told\n"
        ));
    }
    Ok(registry)
}

/// One instance, or all, each by `show`.
fn each(
    asks: &dyn Asks,
    screen: &Screen,
    words: &[String],
    show: fn(&Registry, &InstanceStatus, &TimeZone) -> String,
) -> Result<()> {
    let (registry, zone) = (known(asks)?, TimeZone::system());
    match words.first() {
        Some(name) => print(screen, &show(&registry, find(&registry, name)?, &zone)),
        None => {
            print(screen, &registry.instances.iter().map(|i| show(&registry, i, &zone)).collect::<String>())
        }
    }
}

fn default(asks: &dyn Asks, screen: &Screen) -> Result<()> {
    let registry = known(asks)?;
    match registry.instances.iter().find(|i| layout::is_default(&registry, i)) {
        Some(default) => print(screen, &format!("{}\n", default.name)),
        None => {
            Err(Trouble::refused("no instance is registered").next("ccontrol create INSTANCE directory=DIR"))
        }
    }
}

fn told(screen: &Screen, words: &str) -> Result<()> {
    print(screen, &format!("{words}\n"))
}

/// Whoever reads gets the vendor's screens: nothing else is expected of this command.
fn print(screen: &Screen, text: &str) -> Result<()> {
    if screen.reader == Reader::Nobody { Ok(()) } else { screen.write(text) }
}

fn instance(words: &[String]) -> Result<&str> {
    let none = || Trouble::usage("which instance?").next("ccontrol all shows them");
    words.first().map(String::as_str).ok_or_else(none)
}

fn says(words: &[String], wanted: &str) -> bool {
    words.iter().skip(1).any(|word| word.eq_ignore_ascii_case(wanted))
}

/// Starts or stops, one after the other.
fn switch(asks: &dyn Asks, screen: &Screen, words: &[String], verbs: &[InstanceVerb]) -> Result<()> {
    let name = named(instance(words)?)?;
    if says(words, "help") {
        return print(screen, HELP);
    }
    let accepted = |word: &&String| {
        let word = word.to_ascii_lowercase();
        ACCEPTED.contains(&word.as_str()) || word.starts_with("emergencyid=")
    };
    if let Some(other) = words.iter().skip(1).find(|word| !accepted(word)) {
        return Err(Trouble::usage(format!("{other:?} means nothing for {name}"))
            .next("its settings are those of the cluster's configuration: regent config show"));
    }
    let quietly = says(words, "quietly");
    for verb in verbs {
        if *verb == InstanceVerb::Force && !quietly && !is_sure(&name.to_string()) {
            return Err(Trouble::refused(format!("{name} is left as it is")));
        }
        let done = order(asks, &name, verb.clone())?;
        if !quietly {
            told(screen, &done)?;
        }
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
