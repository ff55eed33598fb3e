//! Reads `data_servers` of an `[[instance]]`: whose data it uses, and which.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::check_instances;
use super::draft::Draft;
use super::finding::{Finding, Findings};
use super::instance::{DataServer, InstanceDraft, InstanceKind, Mapping, Servers, host_and_port};
use super::reader::Reader;
use super::scalar::refused;
use super::tree::{At, Value};
use crate::ids::InstanceName;

const EXAMPLE: &str = "{ cacheha2 = \"192.9.202.198:1973\" }";
const LONG: &str = "{ address = \"192.9.202.198:1973\", globals = [\"Y*\"] }";

/// An address, and a port if one is written.
type Where = At<(IpAddr, Option<u16>)>;

/// The longest name of a global.
const GLOBAL_BYTES_MAX: usize = 31;

/// `data_servers = { cacheha2 = "192.9.202.198:1973" }`, or with a table in the place of the address.
pub(super) fn read(reader: &mut Reader<'_>) -> (Servers, BTreeMap<String, Mapping>) {
    let (mut servers, mut mappings) = (Vec::new(), BTreeMap::new());
    let Some(table) = reader.table("data_servers", EXAMPLE) else { return (servers, mappings) };
    let mut inner = Reader::new("`data_servers`", table, reader.findings);
    for (name, value) in inner.rest() {
        let value = inner.quoted(value);
        let named = inner.checked("data_servers", Some(name), |text| {
            InstanceName::new(text).map(|_| text.to_owned()).or_else(|why| {
                refused(format!("{text:?} is no name of a data server: {why}"), "write the instance's name")
            })
        });
        let (address, mapping) = match value.value {
            Value::Text(text) => {
                let text = At::new(text, value.span);
                (inner.checked("data_servers", Some(text), host_and_port), Mapping::default())
            }
            Value::Table(table) => one(Reader::new("a data server", table, inner.findings)),
            _ => {
                let finding =
                    Finding::error(&value.span, "a data server is an address and a port, in quotes").help(
                        format!("write data_servers = {EXAMPLE}, or for its globals: cacheha2 = {LONG}"),
                    );
                inner.findings.add(finding);
                continue;
            }
        };
        if let Some(name) = &named {
            mappings.insert(name.value.to_ascii_uppercase(), mapping);
        }
        servers.extend(named.zip(address));
    }
    (servers, mappings)
}

/// `{ address = "192.9.202.198:1973", database = "/store2/c/mumps.dat", globals = ["Y*"] }`.
fn one(mut reader: Reader<'_>) -> (Option<Where>, Mapping) {
    let address = reader.need_text("address", "\"192.9.202.198:1973\"");
    let address = reader.checked("address", address, host_and_port);
    let database = reader.path("database", "database file", "\"/store2/c52ha2/mumps.dat\"");
    let list = reader.texts("globals", "[\"Y*\"]");
    let mut globals = Vec::new();
    for text in list.into_iter().flat_map(|l| l.value) {
        globals.extend(reader.checked("globals", Some(text), global));
    }
    reader.finish();
    (address, Mapping { database, globals })
}

/// The name of a global without `^`, or the beginning of names with `*` behind it.
fn global(text: &str) -> Result<String, super::scalar::Refused> {
    let stem = text.strip_suffix('*').unwrap_or(text);
    let begins = stem.starts_with(|c: char| c.is_ascii_alphabetic() || c == '%');
    let goes_on = stem.chars().skip(1).all(|c| c.is_ascii_alphanumeric());
    if begins && goes_on && stem.len() <= GLOBAL_BYTES_MAX {
        return Ok(text.to_owned());
    }
    refused(
        format!("{text:?} is no name of a global"),
        "write it without ^, for example \"ORDERS\", or \"Y*\" for all that begin with Y",
    )
}

/// What is used of data servers is used by an instance that can, from a database that is known, and once.
pub(super) fn check(draft: &Draft, instance: &InstanceDraft, findings: &mut Findings) {
    if instance.kind.as_ref().is_some_and(|k| k.value == InstanceKind::Gtm) {
        told_apart(instance, findings);
    }
    let mut taken: BTreeMap<&str, &At<String>> = BTreeMap::new();
    for (name, at) in &instance.data_servers {
        let Some(mapping) = instance.mappings.get(&name.value.to_ascii_uppercase()) else { continue };
        let Some(first) = mapping.globals.first() else { continue };
        if let Some(kind) = instance.kind.as_ref().filter(|k| k.value != InstanceKind::Gtm) {
            let message = format!("an instance of the kind {:?} maps globals itself", kind.value.word());
            findings.add(
                Finding::error(&first.span, message)
                    .help(format!("delete `globals`: {} is reached by its address", name.value)),
            );
            continue;
        }
        if mapping.database.is_none() && database_at(draft, at.value).is_none() {
            let message = format!("in which file does {} keep these globals?", name.value);
            findings.add(
                Finding::error(&first.span, message)
                    .help("write database = \"/store2/c52ha2/mumps.dat\", as its server finds it"),
            );
        }
        for global in &mapping.globals {
            if let Some(earlier) = taken.insert(&global.value, global) {
                let message = format!("{} is mapped twice", global.value);
                let finding = Finding::error(&global.span, message).help("keep it at one data server");
                findings.add(finding.related(&earlier.span, "first here"));
            }
        }
    }
}

/// GT.M knows a data server by the letters and digits of its name alone.
fn told_apart(instance: &InstanceDraft, findings: &mut Findings) {
    let mut seen: BTreeMap<String, &At<String>> = BTreeMap::new();
    for (name, _) in &instance.data_servers {
        let known = DataServer::gtm_name(&name.value);
        if known.is_empty() {
            let message = format!("GT.M has no name for {}: it keeps letters and digits alone", name.value);
            findings.add(Finding::error(&name.span, message).help("give it a name with a letter: cacheha2"));
            continue;
        }
        let Some(first) = seen.insert(known.clone(), name) else { continue };
        // The same name twice is told elsewhere.
        if !first.value.eq_ignore_ascii_case(&name.value) {
            let message =
                format!("{} and {} are one data server to GT.M, GTCM_{known}", first.value, name.value);
            let finding = Finding::error(&name.span, message).help(
                "GT.M keeps the letters and digits of a name alone: give one of them a name that differs in those",
            );
            findings.add(finding.related(&first.span, "the first one"));
        }
    }
}

/// The database file of the instance that answers there, if it is of this configuration.
pub(super) fn database_at(
    draft: &Draft,
    (address, port): (IpAddr, Option<u16>),
) -> Option<std::path::PathBuf> {
    let port = port.or_else(|| check_instances::port_at(draft, address))?;
    let mut there = draft.instances.iter().filter(|i| check_instances::listens_at(draft, i, address));
    let there = there.find(|i| i.port.as_ref().is_some_and(|p| p.value == port))?;
    let is_gtm = there.kind.as_ref().is_some_and(|k| k.value == InstanceKind::Gtm);
    let directory: &Path = &there.directory.as_ref()?.value;
    is_gtm.then(|| directory.join(super::instance::GTM_DATABASE))
}
