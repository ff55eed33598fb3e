//! `ccontrol`: the functions of the vendor's command, its words and its screens, over the registry of the cluster.
//! It ends with 0 or 1 and nothing else: scripts that know it ask for these two alone.

use jiff::tz::TimeZone;
use regent_api::{InstanceStatus, Registry};
use regent_model::config::InstanceKind;

use super::ask::{find, registry};
use super::phrases::in_its_words;
use super::switch::{Function, Words, meant, none, switch};
use super::{change, layout, show};
use crate::client::Asks;
use crate::paint::Paint;
use crate::screen::{Reader, Screen, complain};
use crate::trouble::{Result, Trouble};

/// What there is to be typed.
pub const HELP: &str = "\
ccontrol FUNCTION [INSTANCE] [ARGUMENTS]      case does not matter in names

  list    [INSTANCE]        everything of an instance, or of all
  qlist   [INSTANCE]        the same for programs: one line each, ^ between the fields
  all                       one line each: up or dn on this node, name, version, port, directory
  stat    [INSTANCE]        how it is, and what does not fit
  console [INSTANCE]        the path of its log
  create  INSTANCE directory=DIR [kind=KIND] [versionid=V] [port=N] [KEY=VALUE ...]
  update  INSTANCE [versionid=V] [KEY=VALUE ...]
  delete  INSTANCE          its files stay
  default [INSTANCE]        show, or set, the one that is meant where none is named
  start      [INSTANCE] [quietly] [nostu] [nouser] [EmergencyId=USER,PASSWORD] [/PATH/OTHER.cpf]
  stop       [INSTANCE] [quietly] [bypass] [nouser] [restart]
  stopnoshut [INSTANCE]     the same, without the shutdown routines of its users
  stopstart  [INSTANCE]     stops it, and starts it again
  force      [INSTANCE] [quietly]
  help

A KEY is one of [[instance]]: kind, address, autostart, license_servers, data_servers, ...; KEY= takes it out.
  data_servers=cacheha2=10.77.0.102:1973/Y*+ORDERS,far=192.9.202.8:1972/Z*@/store/mumps.dat
                            whose data it uses: name, service address and port; behind / the globals that live there;
                            behind @ the file they are in, where it is of another cluster. What is left out of one that
                            is there already stays.

The registry is the cluster's: what is created or updated here is so on every node. An instance is started and stopped
on the node that has its group. nostu, nouser, bypass, EmergencyId= and another file of settings are passed on to the
vendor's command where the instance has one.
";

/// Does what the words say, and gives the exit code.
#[must_use]
pub fn run(asks: &dyn Asks, screen: &Screen, words: &[String]) -> u8 {
    match act(asks, screen, words) {
        Ok(()) => 0,
        Err(trouble) if trouble.what.is_empty() => 0,
        Err(trouble) => {
            complain(&format!("ccontrol: {}\n", in_its_words(&trouble.to_string())));
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
    let order = |function| ordered(asks, screen, function, rest);
    match function.as_str() {
        "help" | "-h" | "--help" | "-?" => print(screen, HELP),
        "all" => print(screen, &layout::all(&known(asks)?)),
        "list" => each(asks, screen, rest, layout::list),
        "qlist" => each(asks, screen, rest, layout::qlist),
        "stat" => one(asks, screen, rest, stat),
        "console" => one(asks, screen, rest, |_, instance| console(instance)),
        "view" | "load" => one(asks, screen, rest, |_, instance| Err(elsewhere(&function, instance))),
        "create" => told(screen, &change::create(asks, instance(rest)?, &rest[1..])?),
        "update" => told(screen, &change::update(asks, instance(rest)?, &rest[1..])?),
        "delete" => told(screen, &change::delete(asks, instance(rest)?)?),
        "default" if rest.is_empty() => print(screen, &default(&known(asks)?)?),
        "default" => told(screen, &change::make_default(asks, instance(rest)?)?),
        "start" => order(Function::Start),
        "stop" => order(Function::Stop),
        "stopnoshut" => order(Function::StopNoShut),
        "stopstart" => order(Function::StopStart),
        "force" => order(Function::Force),
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

/// What is to be shown of one instance, the default one where none is named.
fn one(
    asks: &dyn Asks,
    screen: &Screen,
    words: &[String],
    show: impl Fn(&Registry, &InstanceStatus) -> Result<String>,
) -> Result<()> {
    let registry = known(asks)?;
    let (instance, _) = meant(&registry, words)?;
    print(screen, &show(&registry, instance)?)
}

fn stat(registry: &Registry, instance: &InstanceStatus) -> Result<String> {
    Ok(in_its_words(&show::page(registry, instance, &TimeZone::system(), Paint(false))))
}

/// Where it writes what becomes of it.
///
/// # Errors
/// Only those who wrote its commands know.
pub fn console(instance: &InstanceStatus) -> Result<String> {
    let directory = instance.directory.display();
    let path = match instance.kind {
        InstanceKind::Cache => format!("{directory}/mgr/cconsole.log"),
        InstanceKind::Iris => format!("{directory}/mgr/messages.log"),
        InstanceKind::Gtm => format!("/run/regent/work/gtm/{}.log", instance.name),
        InstanceKind::Command => {
            let what =
                format!("{} is of the kind command: where it logs, its own commands know", instance.name);
            return Err(Trouble::refused(what)
                .next(format!("what they printed: regent events --verbose --group {}", instance.group)));
        }
    };
    Ok(format!("{path}\n"))
}

/// What only a vendor's command has.
#[must_use]
pub fn elsewhere(function: &str, instance: &InstanceStatus) -> Trouble {
    let name = &instance.name;
    let what =
        format!("{function} looks into a vendor's own files and memory, and the cluster has no part in that");
    Trouble::refused(what).next(match instance.kind {
        InstanceKind::Cache | InstanceKind::Iris => format!(
            "say {function} {name} to the vendor's own command, on the node that has it; how it is: ccontrol stat {name}"
        ),
        InstanceKind::Gtm | InstanceKind::Command => format!("ccontrol stat {name} says how it is"),
    })
}

/// The instance that is meant where none is named.
///
/// # Errors
/// There is none.
pub fn default(registry: &Registry) -> Result<String> {
    let (instance, _) = meant(registry, &[]).map_err(|_| none())?;
    Ok(format!("{}\n", instance.name))
}

fn told(screen: &Screen, words: &str) -> Result<()> {
    print(screen, &in_its_words(&format!("{words}\n")))
}

/// Whoever reads gets the vendor's screens: nothing else is expected of this command.
fn print(screen: &Screen, text: &str) -> Result<()> {
    if screen.reader == Reader::Nobody { Ok(()) } else { screen.write(text) }
}

fn instance(words: &[String]) -> Result<&str> {
    let none = || Trouble::usage("which instance?").next("ccontrol all shows them");
    words.first().map(String::as_str).ok_or_else(none)
}

/// Starts or stops, one after the other.
fn ordered(asks: &dyn Asks, screen: &Screen, function: Function, words: &[String]) -> Result<()> {
    let registry = registry(asks)?;
    let (instance, rest) = meant(&registry, words)?;
    let read = Words::read(rest)?;
    if read.help {
        return print(screen, HELP);
    }
    switch(asks, instance, function, &read, |done| told(screen, done))
}
