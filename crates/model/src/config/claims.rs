//! What an application says it is: its profile, its role, where its state and its cache lie, and what must run before
//! it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::finding::{Finding, Span};
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::At;

/// Whether an application serves others or uses what they serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It keeps what others depend on: one of it, and its state moves with it.
    Server,
    /// It runs on every node and stays there.
    Client,
}

/// The transport of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port that an application listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its transport.
    pub protocol: Protocol,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// What an application says it is. Nothing of it changes how it is run; it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The profile that it took its defaults from.
    pub profile: Option<String>,
    /// Its role.
    pub role: Option<Role>,
    /// Where it keeps what the next node must find.
    pub state: Vec<PathBuf>,
    /// Where it keeps what is this node's own.
    pub cache: Vec<PathBuf>,
    /// Applications of the same group that start before it, by name or profile.
    pub after: Vec<String>,
    /// Whether it may not run where nodes take over each other's groups.
    pub no_mutual_takeover: bool,
    /// Services of the machine that must not start it at boot: units of systemd, init scripts.
    pub not_at_boot: Vec<String>,
    /// The ports that it listens on.
    pub ports: Vec<Port>,
}

/// The same with their places, for the cross-checks.
#[derive(Debug, Default)]
pub(super) struct ClaimsDraft {
    pub(super) profile: Option<At<String>>,
    pub(super) role: Option<At<Role>>,
    pub(super) state: Vec<At<PathBuf>>,
    pub(super) cache: Vec<At<PathBuf>>,
    pub(super) after: Vec<At<String>>,
    /// Where it says that it conflicts with mutual takeover.
    pub(super) no_mutual_takeover: Option<Span>,
    pub(super) ports: Vec<At<Port>>,
}

/// Reads the claims out of an application's table.
pub(super) fn claims(reader: &mut Reader<'_>) -> (ClaimsDraft, Claims) {
    let draft = ClaimsDraft {
        profile: reader.name("profile", "\"dce\""),
        role: reader.choice("role", &[("server", Role::Server), ("client", Role::Client)]),
        state: reader.checked_texts("state", "[\"/var/dce\"]", |text| path(text, "state path")),
        cache: reader.checked_texts("cache", "[\"/var/dce/adm/dfs/cache\"]", |text| path(text, "cache path")),
        after: reader.checked_texts("after", "[\"dce\"]", scalar::name),
        no_mutual_takeover: conflicts(reader),
        ports: reader.checked_texts("ports", "[\"88/udp\"]", port),
    };
    let values = |list: &[At<PathBuf>]| list.iter().map(|at| at.value.clone()).collect();
    let claims = Claims {
        profile: draft.profile.as_ref().map(|p| p.value.clone()),
        role: draft.role.as_ref().map(|r| r.value),
        state: values(&draft.state),
        cache: values(&draft.cache),
        after: draft.after.iter().map(|at| at.value.clone()).collect(),
        no_mutual_takeover: draft.no_mutual_takeover.is_some(),
        not_at_boot: texts(reader.checked_texts("not_at_boot", "[\"slapd\"]", service_name)),
        ports: draft.ports.iter().map(|at| at.value).collect(),
    };
    (draft, claims)
}

fn texts<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|at| at.value).collect()
}

fn path(text: &str, what: &str) -> Result<PathBuf, Refused> {
    scalar::absolute_path(text, what, "\"/var/dce\"")
}

fn conflicts(reader: &mut Reader<'_>) -> Option<Span> {
    const WORD: &str = "mutual-takeover";
    let texts = reader.texts("conflicts", "[\"mutual-takeover\"]")?;
    let mut found = None;
    for text in &texts.value {
        if text.value == WORD {
            found = Some(text.span.clone());
        } else {
            let message = format!("`conflicts` cannot name \"{}\"", text.value.escape_debug());
            reader
                .findings
                .add(Finding::error(&text.span, message).help(format!("write conflicts = [\"{WORD}\"]")));
        }
    }
    found
}

fn service_name(text: &str) -> Result<String, Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@:\\".contains(c);
    if !text.is_empty() && !text.starts_with(['-', '.']) && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    refused(
        format!("`{}` is no name of a service", text.escape_debug()),
        "write the name of a unit or of an init script, for example \"slapd\" or \"krb5-kdc.service\"",
    )
}

pub(super) fn port(text: &str) -> Result<Port, Refused> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    };
    match (number.parse::<u16>(), protocol) {
        (Ok(number @ 1..), Some(protocol)) => Ok(Port { number, protocol }),
        _ => refused(
            format!("`{}` is no port", text.escape_debug()),
            "write its number and its transport, for example \"88/udp\" or \"389/tcp\"",
        ),
    }
}
