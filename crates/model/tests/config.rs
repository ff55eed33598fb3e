//! What a configuration's text may say, and what is found in one that may not stand.

#[macro_use]
#[path = "config/two_nodes.rs"]
mod two_nodes;

#[path = "config/arbiter.rs"]
mod arbiter;

#[path = "config/events.rs"]
mod events;
#[path = "config/instances.rs"]
mod instances;
#[path = "config/members.rs"]
mod members;
#[path = "config/monitors.rs"]
mod monitors;
#[path = "config/networks.rs"]
mod networks;
#[path = "config/ports.rs"]
mod ports;
#[path = "config/profiles.rs"]
mod profiles;
#[path = "config/relations.rs"]
mod relations;
#[path = "config/resources.rs"]
mod resources;
#[path = "config/safety.rs"]
mod safety;
#[path = "config/shares.rs"]
mod shares;
#[path = "config/storage.rs"]
mod storage;
#[path = "config/storage_fences.rs"]
mod storage_fences;
#[path = "config/storm.rs"]
mod storm;
#[path = "config/syntax.rs"]
mod syntax;
#[path = "config/volumes.rs"]
mod volumes;
#[path = "config/watchdogs.rs"]
mod watchdogs;

use regent_model::config::{Config, Parsed, Severity, parse};

/// A file without a fault, IPv4.
const GOOD: &str = concat!(
    two_nodes!(),
    r#"
[[group]]
name = "db"
nodes = ["lx4", "lx5"]
policy = "cascading"

[[group.filesystem]]
device = "/dev/sdc4"
mount = "/storage2"
type = "ext4"

[[group.address]]
address = "10.77.0.100/24"

[[group.application]]
name = "cache"
start = "/usr/local/etc/cache start"

[[group]]
name = "web"
nodes = ["lx5", "lx4"]

[[group.address]]
address = "10.77.0.101/24"
"#
);

/// The same on IPv6.
fn good6() -> String {
    GOOD.replace("10.77.0.", "fd00:77::").replace("10.78.0.", "fd00:78::").replace("/24", "/64")
}

/// [`GOOD`] with one piece of text replaced by another; the piece must be there.
fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the good file");
    GOOD.replacen(from, to, 1)
}

fn listed(text: &str, parsed: &Parsed) -> String {
    let line = |f: &regent_model::config::Finding| {
        let (line, column) = f.line_and_column(text);
        format!(
            "  {line}:{column} {} at {:?}: {} | {}\n",
            f.severity,
            &text[f.span.clone()],
            f.message,
            f.help
        )
    };
    parsed.findings.iter().map(line).collect()
}

fn good(text: &str) -> Config {
    let parsed = parse(text);
    let list = listed(text, &parsed);
    parsed.config.unwrap_or_else(|| panic!("refused:\n{list}"))
}

/// The text has exactly one finding of that severity: at `culprit`, with these parts of message and help.
#[track_caller]
fn one(severity: Severity, text: &str, culprit: &str, message: &str, help: &str) {
    let parsed = parse(text);
    let list = listed(text, &parsed);
    let of_severity: Vec<_> = parsed.findings.iter().filter(|f| f.severity == severity).collect();
    let [found] = of_severity.as_slice() else { panic!("one {severity} expected, found:\n{list}") };
    assert_eq!(parsed.config.is_none(), parsed.count(Severity::Error) > 0, "{list}");
    assert_eq!(&text[found.span.clone()], culprit, "the culprit:\n{list}");
    assert!(found.message.contains(message), "the message lacks {message:?}:\n{list}");
    assert!(found.help.contains(help), "the help lacks {help:?}:\n{list}");
}

#[track_caller]
fn refused(text: &str, culprit: &str, message: &str, help: &str) {
    one(Severity::Error, text, culprit, message, help);
}

#[track_caller]
fn warned(text: &str, culprit: &str, message: &str, help: &str) {
    one(Severity::Warning, text, culprit, message, help);
    good(text);
}

#[test]
fn a_good_file_has_no_finding_on_ipv4_and_on_ipv6() {
    for text in [GOOD.to_string(), good6()] {
        let parsed = parse(&text);
        assert!(parsed.findings.is_empty(), "{}", listed(&text, &parsed));
        assert!(parsed.config.is_some());
    }
}
