//! Reads the commands of an application: `start`, `stop` and `status`, or one `script` that knows all three.

use super::application::refuse_nul;
use super::finding::Finding;
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::At;

/// What is written in the place of a status that a script does not have.
const NO_STATUS: &str = "none";
const EXAMPLE: &str = "\"/etc/init.d/cache-cacheha1\"";

/// The commands, as they are run.
pub(super) struct Commands {
    /// The script as it is written, where one takes the place of the commands.
    pub(super) script: Option<At<String>>,
    pub(super) start: Option<At<String>>,
    pub(super) stop: Option<At<String>>,
    pub(super) status: Option<At<String>>,
}

pub(super) fn commands(reader: &mut Reader<'_>) -> Commands {
    if !reader.has("script") {
        // Named here, so that a misspelt `scirpt` is told of it.
        reader.take("script");
        let start = reader.need_text("start", "\"/usr/local/etc/cache start\"");
        let stop = reader.text("stop", "\"/usr/local/etc/cache stop\"");
        let status = reader.text("status", "\"/usr/local/etc/cache status\"");
        for (key, text) in [("start", &start), ("stop", &stop), ("status", &status)] {
            refuse_nul(key, text.as_ref(), reader);
        }
        return Commands { script: None, start, stop, status: status.and_then(|s| really(s, reader)) };
    }
    let script = reader.text("script", EXAMPLE);
    refuse_nul("script", script.as_ref(), reader);
    let script = reader.checked("script", script, path_and_arguments);
    for key in ["start", "stop"] {
        let also = reader.text(key, "\"...\"");
        beside(key, also.as_ref(), script.as_ref(), reader);
    }
    let status = reader.text("status", "\"none\"");
    let has_none = status.as_ref().is_some_and(|s| s.value == NO_STATUS);
    beside("status", status.as_ref().filter(|_| !has_none), script.as_ref(), reader);
    let call = |verb: &str| script.as_ref().map(|s| At::new(call(&s.value, verb), s.span.clone()));
    let (start, stop, status) = (call("start"), call("stop"), call("status").filter(|_| !has_none));
    Commands { script, start, stop, status }
}

/// The script with its verb, which every such script looks for in its first argument.
fn call(script: &str, verb: &str) -> String {
    match script.split_once(char::is_whitespace) {
        Some((path, arguments)) => format!("{path} {verb} {}", arguments.trim()),
        None => format!("{script} {verb}"),
    }
}

fn path_and_arguments(text: &str) -> Result<String, Refused> {
    let text = text.trim();
    let path = text.split_ascii_whitespace().next().unwrap_or_default();
    scalar::absolute_path(path, "script", EXAMPLE)?;
    let verb =
        ["start", "stop", "status"].into_iter().find(|v| text.split_ascii_whitespace().any(|w| w == *v));
    match verb {
        Some(verb) => refused(
            format!("it is called with start, stop and status by itself, and says `{verb}` already"),
            format!(
                "delete the word: the script gets it as its first argument, before those that follow the path \
                     ({path} {verb} ...)"
            ),
        ),
        None => Ok(text.to_owned()),
    }
}

fn beside(key: &str, also: Option<&At<String>>, script: Option<&At<String>>, reader: &mut Reader<'_>) {
    let Some(also) = also else { return };
    let help = match key {
        "status" | "monitor.command" => {
            "keep one of them; `status = \"none\"` beside a script says that it has no status, and a further \
                     check is a monitor with kind = \"custom\""
                .to_owned()
        }
        _ => format!("keep one of them: the script is called with `{key}`"),
    };
    let mut finding = Finding::error(&also.span, format!("`script` takes the place of `{key}`")).help(help);
    if let Some(script) = script {
        finding = finding.related(&script.span, "the script");
    }
    reader.findings.add(finding);
}

/// Without a script, having no status is said by leaving it out.
fn really(status: At<String>, reader: &mut Reader<'_>) -> Option<At<String>> {
    if status.value != NO_STATUS {
        return Some(status);
    }
    let finding = Finding::error(&status.span, "`none` is no command that could tell whether it runs").help(
        "delete the line: without `status` its processes are watched; \"none\" is for a `script` without one",
    );
    reader.findings.add(finding);
    None
}

/// What `monitor = { command = ... }` is, beside a script.
pub(super) fn no_second_status(script: &At<String>, command: Option<At<String>>, reader: &mut Reader<'_>) {
    beside("monitor.command", command.as_ref(), Some(script), reader);
}
