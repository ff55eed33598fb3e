//! Profiles: named defaults of applications. What a profile says is put into the application's own table before that
//! is read, so that a profile may say whatever an application may.

use std::collections::BTreeMap;

use super::application;
use super::finding::{Finding, Findings, Span};
use super::spelling;
use super::tree::{self, At, Table, Value};

/// The profiles that Regent brings along.
pub(super) const BUILT_IN: &str = include_str!("profiles.toml");

/// Keys that together say one thing: whoever says one of them says it all.
/// What a `script` takes the place of.
const COMMANDS: [&str; 3] = ["start", "stop", "status"];
const MAIN_PROCESS: [&str; 3] = ["main", "foreground", "pid_file"];
/// Keys that are each application's own.
const NOT_TAKEN_OVER: [&str; 2] = ["name", "profile"];

/// Keys of an application's profile that are its group's: the group's own come first.
const OF_THE_GROUP: [&str; 1] = ["release"];

/// The profiles of a file, and those that come along.
pub(super) struct Profiles {
    by_name: BTreeMap<String, Profile>,
}

struct Profile {
    table: Table,
    built_in: bool,
}

impl Profiles {
    /// Takes the `[[profile]]` tables of a file; one of them may replace one that comes along. Each is read once
    /// as an application would be, so that one that nobody uses yet is checked too.
    pub(super) fn read(tables: Vec<Table>, findings: &mut Findings) -> Self {
        let mut profiles = Self { by_name: built_in() };
        for table in tables {
            let Some(name) = name_of(&table, findings) else { continue };
            if let Some(first) = profiles.by_name.get(&name.value).filter(|p| !p.built_in) {
                findings.add(
                    Finding::error(&name.span, format!("there is already a profile called `{}`", name.value))
                        .help("give each profile a name of its own")
                        .related(&first.table.header, "the first"),
                );
                continue;
            }
            profiles.by_name.insert(name.value, Profile { table, built_in: false });
        }
        profiles.check(findings);
        profiles
    }

    fn check(&self, findings: &mut Findings) {
        for (name, profile) in self.by_name.iter().filter(|(_, p)| !p.built_in) {
            let mut sample = profile.table.clone();
            self.fill(&mut sample, findings);
            let _of_the_group = lift(&mut sample);
            let header = sample.header.clone();
            let stand_ins = [("name", name.as_str()), ("start", "/usr/bin/true")];
            for (key, value) in stand_ins {
                if sample.get(key).is_none() {
                    sample.put(key, Value::Text(value.to_owned()), &header);
                }
            }
            let _only_its_findings = application::application(sample, findings);
        }
    }

    /// Fills the applications of these groups from the profiles that they name.
    pub(super) fn spread(&self, groups: &mut [Table], findings: &mut Findings) {
        for group in groups {
            let mut lifted = Vec::new();
            for application in group.tables_mut("application") {
                self.fill(application, findings);
                lifted.extend(lift(application));
            }
            lifted.retain(|(key, _)| group.get(&key.value).is_none());
            for (key, value) in lifted {
                match group.get(&key.value) {
                    None => group.entries.push((key, value)),
                    Some(first) => at_odds(&key.value, first, &value, findings),
                }
            }
        }
    }

    /// Adds to `table` what it does not say itself, from its profile, and from the profile of that, and so on.
    fn fill(&self, table: &mut Table, findings: &mut Findings) {
        let mut seen: Vec<String> = Vec::new();
        let mut wanted = profile_of(table);
        while let Some(name) = wanted {
            if seen.contains(&name.value) {
                let message = format!("the profile `{}` builds on itself", name.value);
                findings.add(
                    Finding::error(&name.span, message).help("delete one of the `profile` lines in between"),
                );
                return;
            }
            let Some(profile) = self.by_name.get(&name.value) else {
                self.unknown(&name, findings);
                return;
            };
            seen.push(name.value.clone());
            let mut source = profile.table.clone();
            if profile.built_in {
                // Its text is not the user's: whatever is wrong with it, here, is wrong with naming it.
                source.place_at(&name.span);
            }
            wanted = profile_of(&source);
            merge(table, source);
        }
    }

    fn unknown(&self, name: &At<String>, findings: &mut Findings) {
        let known: Vec<_> = self.by_name.keys().map(String::as_str).collect();
        let meant = spelling::nearest(&name.value, &known)
            .map_or_else(String::new, |near| format!("did you mean \"{near}\"? "));
        let message = format!("there is no profile called \"{}\"", name.value.escape_debug());
        findings.add(Finding::error(&name.span, message).help(format!(
            "{meant}There are {}; write your own as a [[profile]] with name = \"{}\"",
            known.join(", "),
            name.value.escape_debug()
        )));
    }
}

fn built_in() -> BTreeMap<String, Profile> {
    let mut findings = Findings::default();
    let mut root = tree::read(BUILT_IN, &mut findings);
    let tables = root.tables_mut("profile").into_iter().filter_map(|table| {
        let name = name_of(table, &mut Findings::default())?;
        Some((name.value, Profile { table: table.clone(), built_in: true }))
    });
    tables.collect()
}

fn name_of(table: &Table, findings: &mut Findings) -> Option<At<String>> {
    match table.get("name").map(|at| (&at.value, &at.span)) {
        Some((Value::Text(text), span)) => match super::scalar::name(text) {
            Ok(name) => Some(At::new(name, span.clone())),
            Err(why) => {
                findings.add(Finding::error(span, format!("`name`: {}", why.message)).help(why.help));
                None
            }
        },
        Some((_, span)) => {
            findings.add(
                Finding::error(span, "`name` must be a text in quotes").help("write name = \"kerberos\""),
            );
            None
        }
        None => {
            findings.add_missing(
                Finding::error(&table.header, "`name` is missing in [[profile]]")
                    .help("add a line: name = \"kerberos\"; applications say profile = \"kerberos\""),
            );
            None
        }
    }
}

fn profile_of(table: &Table) -> Option<At<String>> {
    let at = table.get("profile")?;
    let Value::Text(name) = &at.value else { return None };
    Some(At::new(name.clone(), at.span.clone()))
}

/// Takes out what a profile says of the group.
fn lift(application: &mut Table) -> Vec<(At<String>, At<Value>)> {
    application.entries.extract_if(.., |(key, _)| OF_THE_GROUP.contains(&key.value.as_str())).collect()
}

/// Two applications that want something else of their group: neither is left unheard.
fn at_odds(key: &str, first: &At<Value>, second: &At<Value>, findings: &mut Findings) {
    if let (Value::Text(one), Value::Text(other)) = (&first.value, &second.value)
        && one != other
    {
        let message = format!("an application says {key} = {other:?} of the group, and another one {one:?}");
        findings.add(
            Finding::error(&second.span, message)
                .help(format!("decide it in the [[group]]: {key} = {one:?} or {key} = {other:?}"))
                .related(&first.span, "the other one"),
        );
    }
}

fn merge(table: &mut Table, mut profile: Table) {
    let says = |table: &Table, key: &str| table.get(key).is_some();
    let says_main = MAIN_PROCESS.iter().any(|key| says(table, key));
    // A script takes the place of the commands, and they that of a script.
    let says_script = says(table, "script");
    let says_commands = COMMANDS.iter().any(|key| says(table, key));
    // `status` and the command of `monitor` are one thing.
    let own_command = table.get("monitor").is_some_and(|m| match &m.value {
        Value::Table(monitor) => monitor.get("command").is_some(),
        _ => false,
    });
    if (says(table, "status") || says_script)
        && let Some(Value::Table(monitor)) = profile.get_mut("monitor").map(|at| &mut at.value)
    {
        monitor.entries.retain(|(key, _)| key.value != "command");
    }
    for (key, value) in profile.entries {
        let name = key.value.as_str();
        let rival = (says_main && MAIN_PROCESS.contains(&name))
            || (own_command && name == "status")
            || (says_script && COMMANDS.contains(&name))
            || (says_commands && name == "script");
        if !NOT_TAKEN_OVER.contains(&name) && !rival && !says(table, name) {
            table.entries.push((key, value));
        }
    }
}

/// The place of a profile's word in a file, for messages.
pub(super) fn said_by(span: &Span, profile: Option<&At<String>>) -> Option<String> {
    profile.filter(|p| p.span == *span).map(|p| p.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_that_come_along_are_good_applications() {
        let mut findings = Findings::default();
        let mut root = tree::read(BUILT_IN, &mut findings);
        let tables: Vec<_> = root.tables_mut("profile").into_iter().map(|t| t.clone()).collect();
        assert_eq!(tables.len(), 2);
        for table in tables {
            let mut table = table;
            let _of_the_group = lift(&mut table);
            let _draft = application::application(table, &mut findings);
        }
        assert_eq!(findings.sorted(), []);
    }
}
