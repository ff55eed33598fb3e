//! Data servers as they are typed: `cacheha2=10.77.0.102:1973/Y*+ORDERS,far=192.9.202.8:1972/Z*@/store/mumps.dat`.
//!
//! Of a server that is there already, what is left out stays as it is: its globals, and the file of its database. A `/`
//! or an `@` with nothing behind it takes them away. A server that is not named is one no more.

use regent_model::config::DataServer;
use toml_edit::{Array, InlineTable, Item, Value};

use super::values::parts;

/// What is to be typed.
pub(super) const WANTED: &str = "NAME=ADDRESS:PORT/GLOBAL+GLOBAL, with commas between the servers; an @FILE behind it is the database of one \
     that is of another cluster";

/// What was typed of one data server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    name: String,
    address: String,
    globals: Option<Vec<String>>,
    database: Option<String>,
}

/// Reads all of them. None if one is no `NAME=ADDRESS`.
pub(super) fn read(text: &str) -> Option<Vec<Server>> {
    parts(text).map(one).collect()
}

fn one(text: &str) -> Option<Server> {
    let (name, rest) = text.split_once('=')?;
    let (rest, database) = match rest.split_once('@') {
        Some((rest, database)) => (rest, Some(database.trim().to_owned())),
        None => (rest, None),
    };
    let (address, globals) = match rest.split_once('/') {
        Some((address, globals)) => (address, Some(globals)),
        None => (rest, None),
    };
    let list =
        |text: &str| text.split('+').map(str::trim).filter(|g| !g.is_empty()).map(str::to_owned).collect();
    let (name, address) = (name.trim(), address.trim());
    let whole = !name.is_empty() && !address.is_empty();
    let server =
        Server { name: name.to_owned(), address: address.to_owned(), globals: globals.map(list), database };
    whole.then_some(server)
}

/// What stands in the configuration then, where `was` stands now.
pub(super) fn written(servers: &[Server], was: Option<&Item>) -> Value {
    let known = was.and_then(Item::as_table_like);
    let mut all = InlineTable::new();
    for server in servers {
        let same = known.and_then(|k| k.iter().find(|(name, _)| name.eq_ignore_ascii_case(&server.name)));
        let (name, was) = same.map_or((server.name.as_str(), None), |(name, was)| (name, Some(was)));
        all.insert(name, server.written(was));
    }
    Value::InlineTable(all)
}

impl Server {
    fn written(&self, was: Option<&Item>) -> Value {
        let mut table = match was.and_then(|was| was.clone().into_value().ok()) {
            Some(Value::InlineTable(mut table)) => {
                table.decor_mut().clear();
                table
            }
            _ => InlineTable::new(),
        };
        table.insert("address", self.address.as_str().into());
        match &self.globals {
            Some(none) if none.is_empty() => drop(table.remove("globals")),
            Some(globals) => drop(table.insert("globals", globals.iter().collect::<Array>().into())),
            None => {}
        }
        match self.database.as_deref() {
            Some("") => drop(table.remove("database")),
            Some(file) => drop(table.insert("database", file.into())),
            None => {}
        }
        if table.len() == 1 { self.address.as_str().into() } else { Value::InlineTable(table) }
    }
}

/// What an instance has, as it would be typed; in the order of their names.
pub(super) fn shown(servers: &[DataServer]) -> String {
    let one = |server: &DataServer| {
        let mut text = format!("{}={}", server.name, server.address);
        if !server.globals.is_empty() {
            text += &format!("/{}", server.globals.join("+"));
            text += &server.database.as_ref().map_or(String::new(), |file| format!("@{}", file.display()));
        }
        text
    };
    let mut all: Vec<String> = servers.iter().map(one).collect();
    all.sort_unstable();
    all.join(",")
}
