//! Reads `[cluster]`, `[[node]]` and `[[witness]]`.

use std::time::Duration;

use super::draft::{ClusterDraft, MemberDraft};
use super::finding::{Finding, Findings};
use super::reader::{Reader, Zero};
use super::tree::{At, Table, Value};
use super::{DEFAULT_PORT, NodeConfig, Timers, event, network, scalar, spelling};
use crate::ids::NodeName;

const TAKEOVER_HELP: &str = "write \"fast\" (120 ms), \"normal\" (600 ms), \"slow\" (4 s) or a duration in \
                             between, such as \"800ms\"";

pub(super) fn cluster(table: Table, findings: &mut Findings) -> ClusterDraft {
    let mut reader = Reader::new("[cluster]", table, findings);
    let header = reader.header.clone();
    let name = reader.need_name("\"ward7\"");
    let written = reader.has("takeover");
    let takeover = takeover(&mut reader);
    let settling_time = reader.duration("settling_time", Zero::Allowed, "\"30s\"");
    let port = reader.number("port", 1..=u32::from(u16::MAX), "7410");
    let rules = event::rules(&mut reader);
    let verify_at = reader.text("verify_at", "\"00:00\"");
    let verify_at = reader.checked("verify_at", verify_at, time_of_day).map_or(Some(0), |at| at.value);
    reader.finish();
    let timers = match (&takeover, written) {
        (Some(takeover), _) => Some(takeover.value.1),
        (None, true) => None,
        (None, false) => Some(Timers::normal()),
    };
    ClusterDraft {
        header,
        name,
        takeover_span: takeover.as_ref().map(|t| t.span.clone()),
        takeover: takeover.map_or_else(|| "normal".to_string(), |t| t.value.0),
        timers,
        settling_time: settling_time.map_or(Duration::ZERO, |s| s.value),
        rules,
        port: port.and_then(|p| u16::try_from(p.value).ok()).unwrap_or(DEFAULT_PORT),
        verify_at,
    }
}

/// `"HH:MM"` in minutes after midnight, or `"never"`.
fn time_of_day(text: &str) -> Result<Option<u16>, scalar::Refused> {
    if text == "never" {
        return Ok(None);
    }
    let is_two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let two = |part: &str| part.parse::<u16>().ok().filter(|_| is_two_digits(part));
    let time = text.split_once(':').and_then(|(hour, minute)| two(hour).zip(two(minute)));
    match time {
        Some((hour @ 0..24, minute @ 0..60)) => Ok(Some(hour * 60 + minute)),
        _ => scalar::refused(
            format!("`{}` is no time of day", text.escape_debug()),
            "write it as \"00:00\" to \"23:59\", or \"never\"",
        ),
    }
}

fn takeover(reader: &mut Reader<'_>) -> Option<At<(String, Timers)>> {
    let profiles = [("fast", Timers::fast()), ("normal", Timers::normal()), ("slow", Timers::slow())];
    if reader.is_number("takeover") {
        reader.duration("takeover", Zero::Refused, "\"800ms\"");
        return None;
    }
    let text = reader.text("takeover", "\"normal\"")?;
    let At { value: word, span } = text.clone();
    if let Some((_, timers)) = profiles.iter().find(|(name, _)| *name == word) {
        return Some(At::new((word, *timers), span));
    }
    if !word.starts_with(|c: char| c.is_ascii_digit()) {
        let near = spelling::nearest(&word, &profiles.map(|(name, _)| name));
        let meant = near.map_or_else(String::new, |near| format!("did you mean \"{near}\"? Otherwise "));
        let message = format!("`takeover` cannot be \"{}\"", word.escape_debug());
        reader.findings.add(Finding::error(&span, message).help(format!("{meant}{TAKEOVER_HELP}")));
        return None;
    }
    let lease = reader.checked("takeover", Some(text), scalar::duration)?;
    match Timers::for_lease(lease.value) {
        Ok(timers) => Some(At::new((word, timers), span)),
        Err(error) => {
            reader.findings.add(Finding::error(&span, format!("`takeover`: {error}")).help(TAKEOVER_HELP));
            None
        }
    }
}

pub(super) fn member(place: &'static str, table: Table, findings: &mut Findings) -> MemberDraft {
    let mut reader = Reader::new(place, table, findings);
    let header = reader.header.clone();
    let name = reader.need_name("\"lx4\"");
    let (list, addresses) = member_addresses(&mut reader);
    let (mut adapters, mut persistent) = (Vec::new(), Vec::new());
    let mut watchdog = None;
    if place == "[[node]]" {
        persistent = network::persistent(&mut reader);
        watchdog = reader.path("watchdog", "watchdog device", "\"/dev/watchdog0\"");
        let tables = reader.tables("adapter", "node.adapter");
        adapters = tables.into_iter().map(|t| network::adapter(t, reader.findings)).collect();
    }
    reader.finish();
    let all = addresses.iter().map(|a| a.as_ref().map(|at| at.value)).collect::<Option<Vec<_>>>();
    let config =
        name.as_ref().and_then(|n| NodeName::new(&n.value).ok()).zip(all).map(|(name, addresses)| {
            NodeConfig {
                name,
                addresses,
                // Filled in when the names of the networks are known.
                adapters: Vec::new(),
                persistent: persistent.iter().map(|at| at.value).collect(),
                watchdog: watchdog.as_ref().map(|at| at.value.clone()),
            }
        });
    MemberDraft { header, name, addresses, list, adapters, persistent, watchdog, config }
}

type Addresses = (Option<super::finding::Span>, Vec<Option<At<std::net::IpAddr>>>);

fn member_addresses(reader: &mut Reader<'_>) -> Addresses {
    const EXAMPLE: &str = "[\"10.77.0.4\", \"10.78.0.4\"]";
    reader.require("addresses", EXAMPLE);
    let Some(list) = reader.texts("addresses", EXAMPLE) else { return (None, Vec::new()) };
    if list.value.is_empty() {
        reader.findings.add_missing(
            Finding::error(&list.span, "`addresses` is empty: the others could not reach it")
                .help(format!("give one address per network: addresses = {EXAMPLE}")),
        );
    }
    let read = |text: At<String>| {
        let address = reader.checked("addresses", Some(text), scalar::address)?;
        let refused = unusable(address.value);
        if let Some((what, help)) = refused {
            let message = format!("{} {what}", address.value);
            reader.findings.add(Finding::error(&address.span, message).help(help));
            return None;
        }
        Some(address)
    };
    (Some(list.span), list.value.into_iter().map(read).collect())
}

/// Why an address cannot be one machine's own.
fn unusable(address: std::net::IpAddr) -> Option<(&'static str, &'static str)> {
    const OWN: &str = "write the address that this machine has on that network";
    if address.is_unspecified() {
        return Some(("is no machine's address", OWN));
    }
    if address.is_multicast() {
        return Some(("is a multicast address; keepalives go from one machine to one other", OWN));
    }
    match address {
        std::net::IpAddr::V4(v4) if v4.is_broadcast() => Some(("is the broadcast address", OWN)),
        std::net::IpAddr::V6(v6) if v6.is_unicast_link_local() => Some((
            "is a link-local address, which means nothing without an interface",
            "write a global or unique local address (fd...) of that interface",
        )),
        _ => None,
    }
}

/// A table with keys of the user's own; numbers and flags are taken as they are written.
pub(super) fn free_table(
    reader: &mut Reader<'_>,
    key: &'static str,
    example: &str,
    reserved: &[&str],
) -> Vec<(At<String>, String)> {
    let Some(table) = reader.table(key, example) else { return Vec::new() };
    let mut inner = Reader::new("[[fence]]", table, reader.findings);
    let mut pairs = Vec::new();
    for (name, value) in inner.rest() {
        let value = inner.quoted(value);
        let text = match value.value {
            Value::Text(text) if !text.contains(['\n', '\0']) => text,
            Value::Number(number) => number,
            Value::Flag(flag) => flag.to_string(),
            Value::Broken => continue,
            other => {
                let message =
                    format!("`{key}.{}` must be a text in one line, not {}", name.value, other.kind());
                let finding = Finding::error(&value.span, message).help(format!("write {key} = {example}"));
                inner.findings.add(finding);
                continue;
            }
        };
        if name.value.is_empty() || name.value.contains(['=', '\n', '\0']) || name.value.starts_with('#') {
            let message = format!("`{}` cannot be a key of `{key}`", name.value.escape_debug());
            inner.findings.add(Finding::error(&name.span, message).help(format!("write {key} = {example}")));
            continue;
        }
        if reserved.contains(&name.value.as_str()) {
            let message = format!("`{}` is given to the agent by Regent itself", name.value);
            inner.findings.add(
                Finding::error(&name.span, message).help(
                    "delete it; what the device calls a node stands in `plugs`, what to do in `action`",
                ),
            );
            continue;
        }
        pairs.push((name, text));
    }
    pairs
}
