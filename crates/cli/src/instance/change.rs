//! Changing the registry: the configuration is edited, verified and put in force everywhere, and a version is told to
//! all nodes. Nothing of it is kept anywhere else.

use std::path::Path;

use regent_api::{InstanceVerb, Request};
use regent_model::config::{Config, InstanceConfig, parse, parse_shown};
use regent_model::ids::InstanceName;
use regent_model::instance::Condition;
use toml_edit::Table;

use super::ask::{find, named, order, registry};
use super::ports;
use super::values::Given;
use crate::client::{self, Asks};
use crate::edit::Editor;
use crate::trouble::{Result, Trouble};

/// The kind of tables that are edited.
const KIND: &str = "instance";

/// `create NAME KEY=VALUE...`: what was done, in words.
///
/// # Errors
/// It is registered with other values, the configuration would not be valid, or it is refused.
pub fn create(asks: &dyn Asks, name: &str, words: &[String]) -> Result<String> {
    let (name, given) = (named(name)?, Given::read(words)?);
    if WORDS.contains(&lower(&name).as_str()) {
        return Err(Trouble::usage(format!("{name} is a word of ccontrol: no instance can be called so")));
    }
    let (text, serial, config) = in_force(asks)?;
    if let Some((_, has)) = config.instance(&name) {
        return again(asks, &name, has, &given, &text);
    }
    if !given.has("directory") {
        return Err(Trouble::usage(format!("where is {name} installed?"))
            .next(format!("regent instance create {name} directory=/storage2/{} ...", lower(&name))));
    }
    let kind = match given.text("kind") {
        Some(kind) => kind,
        None => kind_of(&name, Path::new(given.text("directory").unwrap_or_default()))?,
    };
    let port = ports::free(&config, ports::listening);
    let mut editor = Editor::read(&text)?;
    let table = editor.add(KIND, &lower(&name))?;
    if !given.has("kind") {
        crate::edit::set(table, "kind", kind);
    }
    given.write(table);
    if !given.has("port") {
        crate::edit::set(table, "port", i64::from(port));
    }
    let remark = apply(asks, editor.text(), serial)?;
    let mut done = format!("{name} is registered on every node, as an instance of the kind {kind}");
    if !given.has("port") {
        done += &format!(", with the free port {port}");
    }
    done += &remark;
    if let Some(version) = given.version {
        tell_version(asks, &name, version)?;
    }
    Ok(done)
}

/// It is registered already: right, if it is with the same values.
fn again(
    asks: &dyn Asks,
    name: &InstanceName,
    has: &InstanceConfig,
    given: &Given,
    text: &str,
) -> Result<String> {
    let would = with(text, name, given)?;
    let mut differences = given.differences(has, instance_of(&would, name).as_ref());
    let registry = registry(asks)?;
    let known = find(&registry, name.as_str())?.version.as_ref().map(|v| v.version.clone());
    if let (Some(known), Some(typed)) = (&known, &given.version)
        && known != typed
    {
        differences.push(("versionid", known.clone(), typed.clone()));
    }
    if differences.is_empty() {
        if let (None, Some(version)) = (known, &given.version) {
            tell_version(asks, name, version.clone())?;
        }
        return Ok(format!("{name} is registered already, with the same values"));
    }
    let mut trouble = Trouble::refused(format!(
        "{name} is registered already, with other values: {}",
        differences
            .iter()
            .map(|(key, has, typed)| format!("{key} is {}, and {typed} was typed", shown(has)))
            .collect::<Vec<_>>()
            .join("; ")
    ));
    let changes: Vec<_> = differences.iter().map(|(key, _, typed)| format!("{key}={typed}")).collect();
    trouble = trouble.next(format!("to change it: regent instance update {name} {}", changes.join(" ")));
    Err(trouble)
}

/// The text with what was typed of an instance.
fn with(text: &str, name: &InstanceName, given: &Given) -> Result<String> {
    let mut editor = Editor::read(text)?;
    given.write(table_of(&mut editor, name)?);
    Ok(editor.text())
}

/// What an instance is according to a text, if that is a configuration.
fn instance_of(text: &str, name: &InstanceName) -> Option<InstanceConfig> {
    parse(text).config?.instance(name).map(|(_, i)| InstanceConfig::clone(i))
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "not set" } else { value }
}

/// `update NAME KEY=VALUE...`.
///
/// # Errors
/// There is no such instance, the configuration would not be valid, or it is refused.
pub fn update(asks: &dyn Asks, name: &str, words: &[String]) -> Result<String> {
    let (name, given) = (named(name)?, Given::read(words)?);
    if !given.has_keys() && given.version.is_none() {
        return Err(Trouble::usage(format!("what of {name} is to change?"))
            .next(format!("regent instance update {name} versionid=5.2.0.400")));
    }
    let (text, serial, config) = in_force(asks)?;
    let has = config.instance(&name).map(|(_, has)| has.clone()).ok_or_else(|| unknown(&name))?;
    let (mut done, mut remark) = (Vec::new(), String::new());
    let new = with(&text, &name, &given)?;
    let would = instance_of(&new, &name);
    if would.is_none() || !given.differences(&has, would.as_ref()).is_empty() {
        remark = apply(asks, new, serial)?;
        done.push(format!("{name} is changed in the registry of every node"));
    }
    if let Some(version) = given.version {
        done.push(tell_version(asks, &name, version)?);
    }
    if done.is_empty() {
        done.push(format!("nothing changes: {name} has these values"));
    }
    Ok(done.join("; ") + &remark)
}

/// `delete NAME`: its files stay.
///
/// # Errors
/// There is no such instance, it runs, or it is refused.
pub fn delete(asks: &dyn Asks, name: &str) -> Result<String> {
    let registry = registry(asks)?;
    let instance = find(&registry, name)?;
    let name = instance.name.clone();
    let up = instance.seen.as_ref().filter(|s| s.condition == Condition::Running);
    if let Some(seen) = up {
        return Err(Trouble::refused(format!("{name} runs on {}", seen.node))
            .next(format!("first, on {}: regent instance stop {name}", seen.node)));
    }
    let (text, serial, _) = in_force(asks)?;
    let mut editor = Editor::read(&text)?;
    let written = written(&editor, &name).ok_or_else(|| unknown(&name))?;
    editor.remove(KIND, &written);
    let remark = apply(asks, editor.text(), serial)?;
    let directory = instance.directory.display();
    Ok(format!("{name} is not registered any more; its files in {directory} stay{remark}"))
}

/// `default NAME`: which one is meant where none is named.
///
/// # Errors
/// There is no such instance, or it is refused.
pub fn make_default(asks: &dyn Asks, name: &str) -> Result<String> {
    let name = named(name)?;
    let (text, serial, config) = in_force(asks)?;
    if config.instance(&name).is_none() {
        return Err(unknown(&name));
    }
    let mut editor = Editor::read(&text)?;
    for (_, other) in config.instances().filter(|(_, i)| i.default && i.name != name) {
        crate::edit::unset(table_of(&mut editor, &other.name)?, "default");
    }
    crate::edit::set(table_of(&mut editor, &name)?, "default", true);
    let new = editor.text();
    let remark = if new == text { String::new() } else { apply(asks, new, serial)? };
    Ok(format!("{name} is the default instance{remark}"))
}

/// Where a script forgets the name, one of these stands in its place.
const WORDS: [&str; 22] = [
    "quietly",
    "restart",
    "stopnoshut",
    "stopstart",
    "nostu",
    "nouser",
    "bypass",
    "help",
    "all",
    "list",
    "qlist",
    "stat",
    "console",
    "view",
    "load",
    "create",
    "update",
    "delete",
    "default",
    "start",
    "stop",
    "force",
];

/// What is installed in a directory that is seen from here; an empty one is made a database in at the first start.
fn kind_of(name: &InstanceName, directory: &Path) -> Result<&'static str> {
    let has = |file: &str| directory.join(file).exists();
    if !directory.is_dir() {
        let what = format!("there is no {} here (yet): what is {name}?", directory.display());
        return Err(Trouble::usage(what)
            .next("say kind=gtm, kind=cache, kind=iris or kind=command")
            .next("or, if it is installed already, type it on the node that has its storage"));
    }
    Ok(if has("iris.cpf") || has("bin/iris") {
        "iris"
    } else if has("cache.cpf") || has("bin/cache") {
        "cache"
    } else {
        "gtm"
    })
}

/// The configuration in force: its text, its serial, and what it means.
fn in_force(asks: &dyn Asks) -> Result<(String, u64, Config)> {
    let (text, serial) = client::config(asks)?;
    let config = parse_shown(&text, None).config.ok_or_else(|| {
        Trouble::refused("this version of Regent cannot read the configuration in force")
            .next("regent config show")
    })?;
    Ok((text, serial, config))
}

/// Verifies a text, and puts it in force, unless another one was since `serial`. What is to be said of that besides, such
/// as that somebody else is changing it: a line of its own, or nothing.
fn apply(asks: &dyn Asks, text: String, serial: u64) -> Result<String> {
    let parsed = parse(&text);
    let mut errors = parsed.errors();
    if let Some(first) = errors.next() {
        let trouble = Trouble::refused(first.message.clone()).next(first.help.clone());
        return Err(errors.fold(trouble, |t, more| t.next(format!("also: {}", more.message))));
    }
    let change = Request::Change { text, serial, lock: None, disabled: Vec::new(), later: false };
    let done = client::order(asks, &change)?;
    Ok(if done.contains("; ") { format!("\nnote: {done}") } else { String::new() })
}

fn tell_version(asks: &dyn Asks, name: &InstanceName, version: String) -> Result<String> {
    order(asks, name, InstanceVerb::Version { version, who: who() })
}

/// Who is at the keyboard, for the journal.
#[must_use]
pub fn who() -> String {
    crate::orders::who(|name| std::env::var(name).ok())
}

fn lower(name: &InstanceName) -> String {
    name.as_str().to_ascii_lowercase()
}

/// The instance's name as the configuration writes it.
fn written(editor: &Editor, name: &InstanceName) -> Option<String> {
    editor.names(KIND).into_iter().find(|written| written.eq_ignore_ascii_case(name.as_str()))
}

fn table_of<'e>(editor: &'e mut Editor, name: &InstanceName) -> Result<&'e mut Table> {
    let written = written(editor, name).ok_or_else(|| unknown(name))?;
    editor.find_mut(KIND, &written).ok_or_else(|| unknown(name))
}

fn unknown(name: &InstanceName) -> Trouble {
    Trouble::refused(format!("there is no instance {name}")).next("regent instance list")
}
