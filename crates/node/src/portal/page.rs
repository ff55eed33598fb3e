//! What a portal says, as a page and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use regent_api::portal::PortalPage;
use regent_model::config::{InstanceKind, LocalTime};
use serde_json::json;

use super::http::Pages;

const STYLE: &str = "body{font:16px/1.5 sans-serif;margin:2em auto;max-width:44em;padding:0 1em;color:#222}\
                     h1{font-size:1.5em}h2{font-size:1.1em;margin-top:1.5em}table{border-collapse:collapse}\
                     th,td{text-align:left;padding:.15em 1.5em .15em 0;vertical-align:top}th{color:#666;font-weight:normal}";

/// Both forms of the page. `configuration` is where a copy of the configuration in force lies.
pub(super) fn answer_for(page: &PortalPage, configuration: &Path) -> Pages {
    Pages { html: html(page, configuration), json: as_json(page, configuration) }
}

/// Text as it stands in a page: nothing of it is taken for markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn rows(pairs: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(name), escaped(value))
    };
    pairs.iter().map(row).collect()
}

fn html(page: &PortalPage, configuration: &Path) -> String {
    let title = escaped(&page.title());
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<table>\n"
    );
    let since = LocalTime::of(page.since_ms, 0);
    text.push_str(&rows(&[
        ("State", page.state.clone()),
        ("Epoch", format!("{} since {since} UTC, by proof: {}", page.epoch, page.proof)),
        ("Cluster", page.cluster.clone()),
    ]));
    text.push_str("</table>\n<h2>Resources</h2>\n<table>\n");
    for (name, kind, state) in &page.resources {
        let _ = writeln!(
            text,
            "<tr><th>{}</th><td>{}</td><td>{}</td></tr>",
            escaped(kind),
            escaped(name.as_str()),
            escaped(state)
        );
    }
    text.push_str("</table>\n<h2 id=\"about\">About</h2>\n<table>\n");
    let mut about = vec![(
        "Configuration",
        format!("{}, number {} of this cluster", configuration.display(), page.config_serial),
    )];
    for instance in &page.instances {
        about.push(("Instance", instance.name.clone()));
        about.push(("Its directory", instance.directory.display().to_string()));
        let own = instance.configuration.as_ref();
        let what = match instance.kind {
            InstanceKind::Gtm => "Its global directory",
            _ => "Its configuration file",
        };
        about.extend(own.map(|path| (what, path.display().to_string())));
    }
    about.push(("Regent", page.version.clone()));
    text.push_str(&rows(&about));
    text.push_str("</table>\n</body>\n</html>\n");
    text
}

fn as_json(page: &PortalPage, configuration: &Path) -> String {
    let resources: Vec<_> = page
        .resources
        .iter()
        .map(|(name, kind, state)| json!({ "name": name, "kind": kind, "state": state }))
        .collect();
    let value = json!({
        "title": page.title(),
        "cluster": page.cluster,
        "group": page.group,
        "node": page.node,
        "state": page.state,
        "epoch": page.epoch,
        "since_ms": page.since_ms,
        "proof": page.proof,
        "resources": resources,
        "about": {
            "configuration": configuration,
            "config_serial": page.config_serial,
            "instances": page.instances,
            "version": page.version,
        },
    });
    format!("{value}\n")
}
