//! What is typed of an instance: `directory=/store1/c port=1973`, and how it stands in the configuration.

use regent_model::config::InstanceConfig;
use toml_edit::{Array, InlineTable, Table, Value};

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
    /// Names with values, typed `name=value,name=value`.
    Table,
}

/// The keys of `[[instance]]` that can be typed.
const KEYS: [(&str, Shape); 20] = [
    ("directory", Shape::Text),
    ("kind", Shape::Text),
    ("port", Shape::Number),
    ("address", Shape::Text),
    ("autostart", Shape::Flag),
    ("default", Shape::Flag),
    ("networked", Shape::Flag),
    ("data_servers", Shape::Table),
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
];

/// The word for the version: it is no key of the configuration, but a fact.
const VERSION: &str = "versionid";

/// Words that the vendor's command knows and that mean nothing here.
const IGNORED: [&str; 3] = ["quietly", "nostu", "bypass"];

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// Keys with their values as they are written, in the order in which they were typed.
    keys: Vec<(&'static str, String, Value)>,
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
        for (key, _, value) in &self.keys {
            edit::set(table, key, value.clone());
        }
    }

    /// What of it is not what the instance has: the key, what it has, and what was typed.
    #[must_use]
    pub fn differences(&self, has: &InstanceConfig) -> Vec<(&'static str, String, String)> {
        let differs = |(key, typed, _): &(&'static str, String, Value)| {
            let known = value_of(has, key);
            (!same(key, &known, typed)).then(|| (*key, known, typed.clone()))
        };
        self.keys.iter().filter_map(differs).collect()
    }
}

fn usage(what: String) -> Trouble {
    let keys: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    Trouble::usage(what).next(format!("known are versionid, {}", keys.join(", ")))
}

impl Shape {
    fn written(self, text: &str) -> Option<Value> {
        match self {
            Self::Text => Some(text.into()),
            Self::Number => text.parse::<i64>().ok().map(Value::from),
            Self::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Some(true.into()),
                "false" | "no" | "0" => Some(false.into()),
                _ => None,
            },
            Self::List => Some(Value::from(parts(text).collect::<Array>())),
            Self::Table => {
                let pairs: Option<Vec<_>> = parts(text).map(|pair| pair.split_once('=')).collect();
                Some(Value::from(pairs?.into_iter().collect::<InlineTable>()))
            }
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Flag => "true or false",
            Self::List => "a list with commas",
            Self::Table => "NAME=ADDRESS:PORT, with commas between them",
        }
    }
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// What an instance has for a key, as it would be typed.
fn value_of(has: &InstanceConfig, key: &str) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let shown = |value: Option<String>| value.unwrap_or_default();
    match key {
        "directory" => has.directory.display().to_string(),
        "kind" => has.kind.word().to_owned(),
        "port" => has.port.to_string(),
        "address" => shown(has.address.map(|a| a.to_string())),
        "autostart" => has.autostart.to_string(),
        "default" => has.default.to_string(),
        "networked" => has.networked.to_string(),
        "data_servers" => {
            let all: Vec<_> = has.data_servers.iter().map(|d| format!("{}={}", d.name, d.address)).collect();
            all.join(",")
        }
        "max_data_servers" => has.max_data_servers.to_string(),
        "max_application_servers" => has.max_application_servers.to_string(),
        "license_servers" => {
            has.license_servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        }
        "vendor" => shown(has.vendor.as_ref().map(|v| v.display().to_string())),
        "user" => text(&has.user),
        "start" => text(&has.commands.start),
        "stop" => text(&has.commands.stop),
        "force" => text(&has.commands.force),
        "status" => text(&has.commands.status),
        "version" => text(&has.commands.version),
        "start_timeout" => regent_model::config::duration_text(has.start_timeout),
        _ => regent_model::config::duration_text(has.stop_timeout),
    }
}

/// Whether both mean the same: a path with a `/` more at its end, `yes` for true.
fn same(key: &str, known: &str, typed: &str) -> bool {
    let plain = |text: &str| {
        let text = if text.len() > 1 { text.trim_end_matches('/') } else { text };
        text.to_ascii_lowercase().replace([' ', '"'], "")
    };
    match key {
        "directory" | "vendor" => known == if typed.len() > 1 { typed.trim_end_matches('/') } else { typed },
        "autostart" | "default" | "networked" => {
            Shape::Flag.written(typed).is_some_and(|v| v.as_bool() == Some(known == "true"))
        }
        _ => plain(known) == plain(typed),
    }
}
