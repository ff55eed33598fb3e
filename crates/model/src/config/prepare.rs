//! What every node of a group needs before it can run it, made once by `regent prepare`: folders, links and lines of
//! `/etc/services`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::claims::{Port, Protocol};
use super::finding::{Finding, Findings, Span};
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::{Table, Value};

/// What a node of a group is prepared with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareConfig {
    /// Folders, in the order of the file.
    pub directories: Vec<PreparedFolder>,
    /// Links, and what each points to.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Entries of `/etc/services`.
    pub services: Vec<ServiceEntry>,
}

impl PrepareConfig {
    /// Whether there is nothing to prepare.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty() && self.links.is_empty() && self.services.is_empty()
    }
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedFolder {
    /// Where.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The user it belongs to.
    pub owner: String,
}

/// One entry of `/etc/services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// The service's name.
    pub name: String,
    /// Its port.
    pub port: Port,
    /// Its other names.
    pub aliases: Vec<String>,
}

impl fmt::Display for ServiceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\t{}", self.name, self.port)?;
        self.aliases.iter().try_for_each(|alias| write!(f, "\t{alias}"))
    }
}

/// The same with the places of its paths.
#[derive(Debug, Default)]
pub(super) struct PrepareDraft {
    pub(super) paths: Vec<(PathBuf, Span)>,
    pub(super) config: PrepareConfig,
}

const FOLDERS: &str = "[{ path = \"/...\", mode = \"0755\", owner = \"root\" }]";
const LINKS: &str = "{ \"/:\" = \"/.../cell.example/fs\" }";
const SERVICES: &str = "[{ name = \"kerberos5\", port = 88, protocol = \"udp\", aliases = [\"kdc\"] }]";

/// Reads `[group.prepare]`.
pub(super) fn prepare(group: &mut Reader<'_>) -> PrepareDraft {
    let Some(table) = group.table("prepare", "a table: [group.prepare]") else {
        return PrepareDraft::default();
    };
    let mut reader = Reader::new("[group.prepare]", table, group.findings);
    let mut draft = PrepareDraft::default();
    for table in reader.braces("directories", "a list of tables", FOLDERS) {
        draft.folder(table, reader.findings);
    }
    draft.links(&mut reader);
    for table in reader.braces("services", "a list of tables", SERVICES) {
        draft.service(table, reader.findings);
    }
    reader.finish();
    draft
}

impl PrepareDraft {
    fn folder(&mut self, table: Table, findings: &mut Findings) {
        let mut reader = Reader::new("prepare.directories", table, findings);
        let path = reader.need_path("path", "folder", "\"/...\"");
        let mode = reader.text("mode", "\"0755\"");
        let mode = reader.checked("mode", mode, permissions);
        let owner = reader.text("owner", "\"root\"");
        let owner = reader.checked("owner", owner, scalar::user_name);
        reader.finish();
        let Some(path) = path else { return };
        self.paths.push((path.value.clone(), path.span));
        self.config.directories.push(PreparedFolder {
            path: path.value,
            mode: mode.map_or(0o755, |m| m.value),
            owner: owner.map_or_else(|| "root".to_owned(), |o| o.value),
        });
    }

    fn links(&mut self, reader: &mut Reader<'_>) {
        let Some(table) = reader.table("links", LINKS) else { return };
        let mut inner = Reader::new("prepare.links", table, reader.findings);
        for (link, target) in inner.rest() {
            let at =
                inner.checked("links", Some(link.clone()), |text| scalar::absolute_path(text, "link", LINKS));
            let target = inner.quoted(target);
            let to = match target.value {
                Value::Text(text) if !text.trim().is_empty() && !text.contains(['\0', '\n']) => text,
                _ => {
                    let finding = Finding::error(&target.span, "a link points to a path, in quotes")
                        .help(format!("write links = {LINKS}"));
                    inner.findings.add(finding);
                    continue;
                }
            };
            let Some(at) = at else { continue };
            self.paths.push((at.value.clone(), at.span));
            self.config.links.insert(at.value, PathBuf::from(to));
        }
    }

    fn service(&mut self, table: Table, findings: &mut Findings) {
        let mut reader = Reader::new("prepare.services", table, findings);
        reader.require("name", "\"kerberos5\"");
        reader.require("port", "88");
        let name = reader.text("name", "\"kerberos5\"");
        let name = reader.checked("name", name, service);
        let number = reader.number("port", 1..=65_535, "88");
        let protocol = reader.choice("protocol", &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]);
        let aliases = reader.checked_texts("aliases", "[\"kdc\"]", service);
        reader.finish();
        let number = number.and_then(|n| u16::try_from(n.value).ok());
        if let (Some(name), Some(number)) = (name, number) {
            let protocol = protocol.map_or(Protocol::Tcp, |p| p.value);
            self.config.services.push(ServiceEntry {
                name: name.value,
                port: Port { number, protocol },
                aliases: aliases.into_iter().map(|a| a.value).collect(),
            });
        }
    }
}

fn permissions(text: &str) -> Result<u32, Refused> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(mode),
        _ => refused(
            format!("`{}` are no permissions", text.escape_debug()),
            "write them as chmod takes them in digits, for example \"0755\"",
        ),
    }
}

fn service(text: &str) -> Result<String, Refused> {
    let plain = |c: char| c.is_ascii_graphic() && !"#/".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    refused(
        format!("`{}` is no name in /etc/services", text.escape_debug()),
        "write a name without blanks, for example \"kerberos5\"",
    )
}
