//! Reads `[[group.share]]`: folders that a Samba server of the group's own gives to Windows clients, at the group's
//! service addresses alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::{Draft, FilesystemDraft, GroupDraft, Place};
use super::finding::{Finding, Findings, Span};
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::{At, Table};
use super::{
    ApplicationConfig, Claims, DEFAULT_RESTARTS, DEFAULT_RETRIES, DEFAULT_WINDOW, Diagnose, GroupConfig,
    MainProcess, MonitorTimes, Monitoring, Port, Protocol, RestartLimits,
};
use crate::ids::ResourceName;

/// The name of the server among the group's resources.
const NAME: &str = "samba";
/// Where on the group's file system lies what must follow it: passwords, the server's own identity.
const STATE: &str = ".regent-samba";
/// Its configuration's path is in its environment.
const START: &str =
    "exec smbd --foreground --no-process-group --debug-stdout --configfile=\"$REGENT_SAMBA_CONFIG\"";
const MONITOR: MonitorTimes = MonitorTimes::new(Duration::from_secs(10), Duration::from_secs(5), 2);
const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Where it listens.
pub(super) const PORT: Port = Port { number: 445, protocol: Protocol::Tcp };
/// Names that mean something else to Samba.
const RESERVED: [&str; 5] = ["global", "homes", "printers", "print$", "ipc$"];

/// When what a client has written lies on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShareSync {
    /// Before the client is told that it is written: a takeover loses nothing that was acknowledged.
    #[default]
    Always,
    /// When the client asks for it: faster, and a takeover loses what it did not ask for.
    OnFlush,
}

/// A folder that is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareConfig {
    /// The name by which clients know it.
    pub name: String,
    /// The folder, on one of the group's file systems.
    pub path: PathBuf,
    /// Whether clients can only read.
    pub read_only: bool,
    /// Whether everybody is let in, without a password.
    pub guests: bool,
    /// Who is let in; everybody who has a password where nobody is named.
    pub users: Vec<String>,
    /// What clients are told about it.
    pub comment: Option<String>,
    /// When what is written lies on the disk.
    pub sync: ShareSync,
}

/// The Samba server of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SambaConfig {
    /// The service addresses that it listens on, with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The folder on the group's file system with what must follow it.
    pub state: PathBuf,
    /// What it shares.
    pub shares: Vec<ShareConfig>,
}

impl GroupConfig {
    /// The folders that it shares with Windows clients.
    pub fn shares(&self) -> impl Iterator<Item = &ShareConfig> {
        self.applications.iter().filter_map(|a| a.samba.as_ref()).flat_map(|samba| &samba.shares)
    }
}

#[derive(Debug)]
pub(super) struct ShareDraft {
    header: Span,
    name: Option<At<String>>,
    path: Option<At<PathBuf>>,
    config: Option<ShareConfig>,
}

impl ShareDraft {
    pub(super) fn place(&self) -> &Span {
        self.name.as_ref().map_or(&self.header, |n| &n.span)
    }
}

pub(super) fn share(table: Table, findings: &mut Findings) -> ShareDraft {
    let mut reader = Reader::new("[[group.share]]", table, findings);
    let header = reader.header.clone();
    let name = reader.need_text("name", "\"data\"");
    let name = reader.checked("name", name, share_name);
    let path = reader.need_path("path", "folder", "\"/storage2/data\"");
    let read_only = reader.flag("read_only").is_some_and(|f| f.value);
    let guests = reader.flag("guests");
    let users = reader.checked_texts("users", "[\"anna\"]", scalar::user_name);
    let comment = reader.text("comment", "\"Files of ward 7\"");
    let comment = reader.checked("comment", comment, one_line);
    let words = [("always", ShareSync::Always), ("on-flush", ShareSync::OnFlush)];
    let sync = reader.choice("sync", &words).map(|w| w.value).unwrap_or_default();
    if let (Some(guests), Some(user)) = (guests.as_ref().filter(|g| g.value), users.first()) {
        let finding =
            Finding::error(&guests.span, "everybody is let in, so naming users lets in nobody more")
                .help("write guests = false, or delete `users`")
                .related(&user.span, "users are named here");
        reader.findings.add(finding);
    }
    reader.finish();
    let config = (|| {
        Some(ShareConfig {
            name: name.as_ref()?.value.clone(),
            path: path.as_ref()?.value.clone(),
            read_only,
            guests: guests.as_ref().is_some_and(|g| g.value),
            users: users.into_iter().map(|u| u.value).collect(),
            comment: comment.map(|c| c.value),
            sync,
        })
    })();
    ShareDraft { header, name, path, config }
}

fn share_name(text: &str) -> Result<String, Refused> {
    let wrong = |c: char| c.is_control() || "\\/[]:|<>+=;,*?\"%".contains(c);
    let is_reserved = RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if !is_reserved && text.len() <= 80 && !text.contains(wrong) && text.trim() == text {
        return Ok(text.to_owned());
    }
    let why =
        if is_reserved { "means something else to Samba" } else { "is no name that clients could ask for" };
    refused(
        format!("`{}` {why}", text.escape_debug()),
        "write at most 80 letters, digits, blanks and . _ - $, for example \"data\"",
    )
}

fn one_line(text: &str) -> Result<String, Refused> {
    if !text.contains(char::is_control) && !text.ends_with('\\') {
        return Ok(text.to_owned());
    }
    refused("it does not fit on one line", "write one line of plain text")
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        let Some(first) = group.shares.first() else { continue };
        if group.addresses.is_empty() {
            let message =
                format!("`{}` has no service address at which clients could find the share", group.title());
            let finding = Finding::error(first.place(), message).help("add a [[group.address]] to the group");
            findings.add_missing(finding);
        }
        let rival = group.resource_names().find(|name| name.value == NAME);
        if let Some(rival) = rival {
            let message = format!("the server of the group's shares is called `{NAME}`");
            let finding = Finding::error(&rival.span, message)
                .help("give this one another name")
                .related(first.place(), "because of this share");
            findings.add(finding);
        }
        let mut names: BTreeMap<String, &Span> = BTreeMap::new();
        for share in &group.shares {
            on_the_groups_disk(share, group, findings);
            let Some(name) = &share.name else { continue };
            if let Some(other) = names.insert(name.value.to_lowercase(), &name.span) {
                let message =
                    format!("`{}` has a share of this name already; case does not count", group.title());
                let finding = Finding::error(&name.span, message)
                    .help("give each share of a group a name of its own")
                    .related(other, "the other one");
                findings.add(finding);
            }
        }
    }
}

/// The file system with the longest mount point that a path lies on.
fn lies_on<'a>(path: &At<PathBuf>, group: &'a GroupDraft) -> Option<(&'a FilesystemDraft, &'a At<PathBuf>)> {
    let mounts = group.filesystems.iter().filter_map(|f| Some((f, f.mount.as_ref()?)));
    mounts
        .filter(|(_, mount)| path.value.starts_with(&mount.value))
        .max_by_key(|(_, mount)| mount.value.components().count())
}

fn on_the_groups_disk(share: &ShareDraft, group: &GroupDraft, findings: &mut Findings) {
    let Some(path) = &share.path else { return };
    if group.filesystems.iter().any(|f| f.mount.is_none()) {
        return;
    }
    let shown = path.value.display();
    let mounts: Vec<_> = group
        .filesystems
        .iter()
        .filter_map(|f| Some(f.mount.as_ref()?.value.display().to_string()))
        .collect();
    match lies_on(path, group) {
        None => {
            let message = format!(
                "{shown} is on none of the file systems of `{}`: it would not move with it",
                group.title()
            );
            let help = match mounts.first() {
                Some(mount) => {
                    format!("share a folder below {}, for example path = \"{mount}/data\"", mounts.join(", "))
                }
                None => "give the group a [[group.filesystem]], and share a folder on it".to_owned(),
            };
            findings.add(Finding::error(&path.span, message).help(help));
        }
        Some((filesystem, mount)) if matches!(filesystem.place, Some(Place::Local(_))) => {
            let message =
                format!("{shown} is on a disk of each node's own: every node would share other files");
            let finding = Finding::error(&path.span, message)
                .help("share a folder of a shared file system of the group")
                .related(&mount.span, "each node has its own");
            findings.add(finding);
        }
        Some(_) => {}
    }
}

/// The server of the group's shares, if it has any.
pub(super) fn server(group: &GroupDraft) -> Option<ApplicationConfig> {
    let first = group.shares.first()?;
    let (_, mount) = lies_on(first.path.as_ref()?, group)?;
    let addresses = group.addresses.iter().filter_map(|a| Some(a.address.as_ref()?.value)).collect();
    let samba = SambaConfig {
        addresses,
        state: mount.value.join(STATE),
        shares: group.shares.iter().map(|s| s.config.clone()).collect::<Option<_>>()?,
    };
    let claims = Claims { not_at_boot: vec!["smbd".to_owned()], ports: vec![PORT], ..Claims::default() };
    Some(ApplicationConfig {
        name: ResourceName::new(NAME).ok()?,
        script: None,
        start: START.to_owned(),
        stop: None,
        status: None,
        claims,
        main: MainProcess::Child,
        user: None,
        monitor: MONITOR,
        start_timeout: START_TIMEOUT,
        stop_timeout: STOP_TIMEOUT,
        lapse_grace: Duration::ZERO,
        monitoring: Monitoring::default(),
        stale: Vec::new(),
        hostname: None,
        diagnose: Some(Diagnose::default()),
        bind: None,
        samba: Some(samba),
        limits: RestartLimits {
            retries: DEFAULT_RETRIES,
            restarts: DEFAULT_RESTARTS,
            window: DEFAULT_WINDOW,
        },
        clients: Vec::new(),
    })
}
