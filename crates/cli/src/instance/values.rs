//! What is typed of an instance: `directory=/store1/c port=1973`, and how it stands in the configuration.

use std::path::Path;

use regent_model::config::{Diagnose, InstanceConfig, MonitorTimes, duration_text};
use toml_edit::{Array, InlineTable, Item, Table, Value};

use super::servers::{self, Server};
use crate::edit;
use crate::trouble::{Result, Trouble};

/// How the value of a key is written in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Number,
    Flag,
    /// A list, typed with commas.
    List,
    /// Other instances, with what is used of them.
    Servers,
    /// How it is monitored, typed `interval=10s,failures=2`, or the interval alone.
    Monitor,
    /// What is looked at when it fails: on or off, the command of its own, or `timeout=10s`.
    Diagnose,
}

/// What was typed for a key.
#[derive(Debug, Clone)]
enum Typed {
    /// A value.
    Value(Value),
    /// Nothing behind the `=`: the key is taken out.
    Nothing,
    /// Data servers.
    Servers(Vec<Server>),
    /// Parts of a table; what is not named of it stays.
    Parts(Vec<(String, Value)>),
}

/// The keys of `[[instance]]` that can be typed.
const KEYS: [(&str, Shape); 25] = [
    ("directory", Shape::Text),
    ("kind", Shape::Text),
    ("port", Shape::Number),
    ("address", Shape::Text),
    ("autostart", Shape::Flag),
    ("default", Shape::Flag),
    ("networked", Shape::Flag),
    ("data_servers", Shape::Servers),
    ("max_data_servers", Shape::Number),
    ("max_application_servers", Shape::Number),
    ("license_servers", Shape::List),
    ("vendor", Shape::Text),
    ("user", Shape::Text),
    ("start", Shape::Text),
    ("stop", Shape::Text),
    ("force", Shape::Text),
    ("status", Shape::Text),
    ("version", Shape::Text),
    ("start_timeout", Shape::Text),
    ("stop_timeout", Shape::Text),
    ("monitor", Shape::Monitor),
    ("diagnose", Shape::Diagnose),
    ("retries", Shape::Number),
    ("restarts", Shape::Number),
    ("window", Shape::Text),
];

/// The word for the version: it is no key of the configuration, but a fact.
const VERSION: &str = "versionid";

/// Words that the vendor's command knows and that mean nothing here.
const IGNORED: [&str; 3] = ["quietly", "nostu", "bypass"];

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Keys with their values as they are written, in the order in which they were typed.
    keys: Vec<(&'static str, String, Typed)>,
    /// The version.
    pub version: Option<String>,
}

impl Given {
    /// Reads the words.
    ///
    /// # Errors
    /// A word is no `key=value`, its key is none, or its value is of another kind.
    pub fn read(words: &[String]) -> Result<Self> {
        let mut given = Self::default();
        for word in words.iter().filter(|w| !IGNORED.contains(&w.to_ascii_lowercase().as_str())) {
            let Some((key, value)) = word.split_once('=') else {
                return Err(usage(format!("{word:?} is no KEY=VALUE")));
            };
            let key = key.trim().to_ascii_lowercase();
            let value = value.trim();
            if key == VERSION {
                given.version = Some(value.to_owned());
                continue;
            }
            let Some((known, shape)) = KEYS.iter().find(|(known, _)| *known == key) else {
                return Err(usage(format!("{key:?} is nothing that an instance has")));
            };
            let written = shape
                .written(value)
                .ok_or_else(|| usage(format!("{key} cannot be {value:?}: {}", shape.wanted())))?;
            given.keys.retain(|(other, ..)| other != known);
            given.keys.push((known, value.to_owned(), written));
        }
        Ok(given)
    }

    /// Whether something of the configuration was typed.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether this key was typed.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|(known, ..)| *known == key)
    }

    /// What was typed for a key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(known, ..)| *known == key).map(|(_, text, _)| text.as_str())
    }

    /// Writes all of it into the table of the instance.
    pub fn write(&self, table: &mut Table) {
        for (key, _, typed) in &self.keys {
            match typed {
                Typed::Value(value) => edit::set(table, key, value.clone()),
                Typed::Nothing => edit::unset(table, key),
                Typed::Servers(all) => {
                    let value = servers::written(all, table.get(key));
                    edit::set(table, key, value);
                }
                Typed::Parts(parts) => {
                    let value = merged(table.get(key), parts);
                    edit::set(table, key, value);
                }
            }
        }
    }

    /// What of it is not what the instance has: the key, what it has, and what was typed. `would` is what it would have
    /// with what was typed; without it, that is no instance at all.
    #[must_use]
    pub fn differences(
        &self,
        has: &InstanceConfig,
        would: Option<&InstanceConfig>,
    ) -> Vec<(&'static str, String, String)> {
        let differs = |(key, typed, _): &(&'static str, String, Typed)| {
            let known = value_of(has, key);
            let new = would.map_or_else(|| typed.clone(), |would| value_of(would, key));
            (known != new).then(|| (*key, known, typed.clone()))
        };
        self.keys.iter().filter_map(differs).collect()
    }
}

/// A table with some parts of it changed.
fn merged(was: Option<&Item>, parts: &[(String, Value)]) -> Value {
    let mut table = match was.and_then(|was| was.clone().into_value().ok()) {
        Some(Value::InlineTable(table)) => table,
        _ => InlineTable::new(),
    };
    for (key, value) in parts {
        table.insert(key, value.clone());
    }
    Value::InlineTable(table)
}

fn usage(what: String) -> Trouble {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    Trouble::usage(what).next(format!("known are versionid, {}", keys.join(", ")))
}

impl Shape {
    fn written(self, text: &str) -> Option<Typed> {
        if text.is_empty() {
            return Some(Typed::Nothing);
        }
        let value = match self {
            Self::Text => text.into(),
            Self::Number => text.parse::<i64>().ok()?.into(),
            Self::Flag => flag(text)?.into(),
            Self::Diagnose => match flag(text) {
                Some(on) => on.into(),
                None => return Some(Typed::Parts(vec![diagnose(text)])),
            },
            Self::List => Value::from(parts(text).collect::<Array>()),
            Self::Servers => return servers::read(text).map(Typed::Servers),
            Self::Monitor => return monitor(text).map(Typed::Parts),
        };
        Some(Typed::Value(value))
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Flag => "true or false",
            Self::List => "a list with commas",
            Self::Servers => servers::WANTED,
            Self::Diagnose => "true, false, a command, or timeout=10s",
            Self::Monitor => "its interval, or interval=10s,timeout=20s,failures=2",
        }
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(true),
        "false" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// `timeout=10s`, or else a command.
fn diagnose(text: &str) -> (String, Value) {
    let timeout = text.strip_prefix("timeout=").map(|value| ("timeout".to_owned(), value.trim().into()));
    timeout.unwrap_or_else(|| ("command".to_owned(), text.into()))
}

/// The parts of something, with commas between them.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `10s`, or `interval=10s,failures=2`.
fn monitor(text: &str) -> Option<Vec<(String, Value)>> {
    if !text.contains(['=', ',']) {
        return Some(vec![("interval".to_owned(), text.into())]);
    }
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let number = value.parse::<i64>().ok().filter(|_| matches!(key.as_str(), "failures" | "of"));
        Some((key, number.map_or_else(|| value.into(), Value::from)))
    };
    parts(text).map(pair).collect()
}

/// What an instance has for a key, as it would be typed.
fn value_of(has: &InstanceConfig, key: &str) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let shown = |value: Option<String>| value.unwrap_or_default();
    // Without a `/` too many.
    let path = |path: &Path| path.components().as_path().display().to_string();
    match key {
        "directory" => path(&has.directory),
        "kind" => has.kind.word().to_owned(),
        "port" => has.port.to_string(),
        "address" => shown(has.address.map(|a| a.to_string())),
        "autostart" => has.autostart.to_string(),
        "default" => has.default.to_string(),
        "networked" => has.networked.to_string(),
        "data_servers" => servers::shown(&has.data_servers),
        "max_data_servers" => has.max_data_servers.to_string(),
        "max_application_servers" => has.max_application_servers.to_string(),
        "license_servers" => {
            has.license_servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
        "vendor" => shown(has.vendor.as_deref().map(path)),
        "user" => text(&has.user),
        "start" => text(&has.commands.start),
        "stop" => text(&has.commands.stop),
        "force" => text(&has.commands.force),
        "status" => text(&has.commands.status),
        "version" => text(&has.commands.version),
        "monitor" => monitor_text(&has.monitor),
        "diagnose" => match &has.diagnose {
            None => false.to_string(),
            Some(Diagnose { command, budget }) => {
                let command = command.as_ref().map_or_else(String::new, |line| format!("{line}, "));
                format!("{command}timeout={}", duration_text(*budget))
            }
        },
        "retries" => has.limits.retries.to_string(),
        "restarts" => has.limits.restarts.to_string(),
        "window" => duration_text(has.limits.window),
        "start_timeout" => duration_text(has.start_timeout),
        _ => duration_text(has.stop_timeout),
    }
}

fn monitor_text(times: &MonitorTimes) -> String {
    let mut text = format!(
        "interval={},timeout={},failures={}",
        duration_text(times.interval),
        duration_text(times.timeout),
        times.failures
    );
    if times.of != times.failures {
        text += &format!(",of={}", times.of);
    }
    if let Some(slow) = times.slow_after {
        text += &format!(",slow_after={}", duration_text(slow));
    }
    text
}
