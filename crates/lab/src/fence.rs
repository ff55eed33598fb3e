//! The lab's power switch as a fence device, and as a node's own reset line.
//!
//! A machine reaches the switch through a socket of its own, so the switch knows who asks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Doing, LabError, Result};

/// Where a machine of the lab finds the power switch.
pub const SOCKET: &str = "/run/regent-lab/power.sock";
/// Where a machine of the lab finds the fence agent.
pub const AGENT: &str = "/usr/sbin/fence_lab";

/// Where it finds the one that keeps nodes from writing to the SAN.
pub const STORAGE_AGENT: &str = "/usr/sbin/fence_lab_san";

const PATIENCE: Duration = Duration::from_secs(20);

/// What a machine asks of the power switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum PowerRequest {
    On { plug: String },
    Off { plug: String },
    Reboot { plug: String },
    Status { plug: String },
    List,
    Monitor,
    ResetSelf,
    San { verb: SanVerb, plug: String },
}

/// What is asked of the SAN about a node's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SanVerb {
    Register,
    Preempt,
    Status,
}

/// What the switch answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PowerAnswer {
    Done { at: u64 },
    State { on: bool },
    Plugs(Vec<(String, bool)>),
    Failed { why: String },
}

pub(crate) fn ask(socket: &Path, request: &PowerRequest) -> Result<PowerAnswer> {
    let doing = || format!("ask the power switch at {}", socket.display());
    let stream = UnixStream::connect(socket).doing(doing)?;
    stream.set_read_timeout(Some(PATIENCE)).doing(doing)?;
    let mut line = serde_json::to_string(request).doing(doing)?;
    line.push('\n');
    (&stream).write_all(line.as_bytes()).doing(doing)?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).doing(doing)?;
    if answer.is_empty() {
        return Err(LabError::new("the power switch hung up"));
    }
    serde_json::from_str(&answer).doing(|| "understand the power switch".into())
}

/// The fence agent: options as `key=value` lines on `input`, the answer on `output`. Gives the exit code: 0 is
/// done or on, 2 is off (for `status`), 1 is everything else.
///
/// `plug` or `port` (else `nodename`) names the machine; `socket` names the switch, by default
/// [`SOCKET`].
pub fn fence_agent(input: impl Read, output: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    agent(input, output, errors, false)
}

/// The same for the keys of nodes at the SAN: `on` registers the machine where it runs, `off` takes another's key away.
pub fn storage_agent(input: impl Read, output: &mut dyn Write, errors: &mut dyn Write) -> u8 {
    agent(input, output, errors, true)
}

fn agent(input: impl Read, output: &mut dyn Write, errors: &mut dyn Write, storage: bool) -> u8 {
    let options = match read_options(input) {
        Ok(options) => options,
        Err(error) => return complain(errors, &error.to_string()),
    };
    let action = options.get("action").map_or("reboot", String::as_str);
    if action == "metadata" {
        let text = if storage { STORAGE_METADATA } else { METADATA };
        return if output.write_all(text.as_bytes()).is_ok() { 0 } else { 1 };
    }
    match act(action, &options, output, storage) {
        Ok(code) => code,
        Err(error) => complain(errors, &error.to_string()),
    }
}

fn complain(errors: &mut dyn Write, what: &str) -> u8 {
    let _nobody_reads_it = writeln!(errors, "fence_lab: {what}");
    1
}

fn read_options(mut input: impl Read) -> Result<BTreeMap<String, String>> {
    let mut text = String::new();
    input.read_to_string(&mut text).doing(|| "read the options".into())?;
    let pairs = text.lines().filter(|l| !l.trim_start().starts_with('#')).filter_map(|l| l.split_once('='));
    Ok(pairs.map(|(key, value)| (key.trim().to_owned(), value.to_owned())).collect())
}

fn act(
    action: &str,
    options: &BTreeMap<String, String>,
    output: &mut dyn Write,
    storage: bool,
) -> Result<u8> {
    let socket = options.get("socket").map_or(SOCKET, String::as_str);
    let plug = || {
        let named = ["plug", "port", "nodename"].into_iter().find_map(|key| options.get(key));
        named.cloned().ok_or_else(|| LabError::new("no machine is named; add a line plug=NAME"))
    };
    let san = |verb| Ok::<_, LabError>(PowerRequest::San { verb, plug: plug()? });
    let request = match action {
        "on" if storage => san(SanVerb::Register)?,
        "off" if storage => san(SanVerb::Preempt)?,
        "status" if storage => san(SanVerb::Status)?,
        "on" => PowerRequest::On { plug: plug()? },
        "off" => PowerRequest::Off { plug: plug()? },
        "reboot" => PowerRequest::Reboot { plug: plug()? },
        "status" => PowerRequest::Status { plug: plug()? },
        "list" | "list-status" => PowerRequest::List,
        "monitor" | "validate-all" => PowerRequest::Monitor,
        other => {
            return Err(LabError::new(format!("the action `{other}` is unknown"))
                .hint("use on, off, reboot, status, list, monitor or metadata"));
        }
    };
    match ask(Path::new(socket), &request)? {
        PowerAnswer::Done { .. } => Ok(0),
        PowerAnswer::State { on } => Ok(if on { 0 } else { 2 }),
        PowerAnswer::Plugs(plugs) => {
            for (name, on) in plugs {
                let state = if on { "on" } else { "off" };
                let line = if action == "list" {
                    format!("{name},{name}")
                } else {
                    format!("{name},{name},{state}")
                };
                writeln!(output, "{line}").doing(|| "answer".into())?;
            }
            Ok(0)
        }
        PowerAnswer::Failed { why } => Err(LabError::new(why)),
    }
}

/// Pulls this machine's own reset line: the fabric cuts its power and boots it again. Returns only if that
/// failed.
///
/// # Errors
/// When the switch does not answer or refuses.
pub fn reset_self(socket: &Path) -> Result<()> {
    match ask(socket, &PowerRequest::ResetSelf)? {
        PowerAnswer::Failed { why } => Err(LabError::new(why)),
        _ => Ok(()),
    }
}

const METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_lab" shortdesc="Power switch of a Regent lab">
<longdesc>Cuts and restores the power of the machines of a Regent lab.
It is reached over the lab's networks: a machine cut off from all of them cannot use it.</longdesc>
<parameters>
<parameter name="action" unique="0" required="1"><content type="string" default="reboot"/><shortdesc lang="en">Fencing action</shortdesc></parameter>
<parameter name="plug" unique="0" required="1"><content type="string"/><shortdesc lang="en">Name of the machine</shortdesc></parameter>
<parameter name="port" unique="0" required="0" deprecated="1"><content type="string"/><shortdesc lang="en">Name of the machine</shortdesc></parameter>
<parameter name="socket" unique="0" required="0">
<content type="string" default="/run/regent-lab/power.sock"/><shortdesc lang="en">Socket of the power switch</shortdesc>
</parameter>
</parameters>
<actions>
<action name="on" automatic="0"/>
<action name="off"/>
<action name="reboot"/>
<action name="status"/>
<action name="list"/>
<action name="list-status"/>
<action name="monitor"/>
<action name="metadata"/>
<action name="validate-all"/>
</actions>
</resource-agent>
"#;

const STORAGE_METADATA: &str = r#"<?xml version="1.0" ?>
<resource-agent name="fence_lab_san" shortdesc="Keys at the SAN of a Regent lab">
<longdesc>Only nodes whose key is registered write to the shared disks of a Regent lab. A node registers itself by `on`, and
who is registered takes the key of another one away by `off`.</longdesc>
<parameters>
<parameter name="action" unique="0" required="1"><content type="string" default="off"/><shortdesc lang="en">Fencing action</shortdesc></parameter>
<parameter name="plug" unique="0" required="1"><content type="string"/><shortdesc lang="en">Name of the node</shortdesc></parameter>
<parameter name="devices" unique="0" required="0">
<content type="string"/><shortdesc lang="en">Not looked at: the SAN has one set of keys</shortdesc>
</parameter>
<parameter name="key" unique="0" required="0">
<content type="string"/><shortdesc lang="en">Not looked at: a key is a node's name</shortdesc>
</parameter>
<parameter name="socket" unique="0" required="0">
<content type="string" default="/run/regent-lab/power.sock"/><shortdesc lang="en">Socket of the lab</shortdesc>
</parameter>
</parameters>
<actions>
<action name="on" on_target="1" automatic="1"/>
<action name="off"/>
<action name="status"/>
<action name="monitor"/>
<action name="metadata"/>
</actions>
</resource-agent>
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = fence_agent(text.as_bytes(), &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn metadata_needs_no_switch_and_names_every_action() {
        let (code, out, _) = run("# comment\naction=metadata\nunknown=x\n");
        assert_eq!(code, 0);
        for action in ["on", "off", "reboot", "status", "list", "monitor"] {
            assert!(out.contains(&format!("<action name=\"{action}\"")), "{action}");
        }
    }

    #[test]
    fn the_last_line_of_an_option_counts_and_failures_are_told() {
        let (code, _, err) = run("action=metadata\naction=explode\n");
        assert_eq!(code, 1);
        assert!(err.contains("`explode` is unknown"), "{err}");
        let (code, _, err) = run("action=off\n");
        assert_eq!((code, err.contains("plug=NAME")), (1, true));
        let (code, _, err) = run("action=off\nplug=a\nsocket=/nowhere/at/all\n");
        assert_eq!((code, err.contains("/nowhere/at/all")), (1, true));
    }
}
