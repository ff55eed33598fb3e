//! The fence device of a node, operated by hand: through the agent and the options of the configuration in force.
//!
//! As when Regent fences: what the agent reports is not believed, the device itself has to say that the power is off.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regent_model::NodeName;
use regent_model::config::{Config, FenceConfig};

use crate::trouble::{Result, Trouble};

/// What `status` exits with when the power is off.
const IS_OFF: i32 = 2;
const PAUSE: Duration = Duration::from_millis(200);

/// The first device that can cut the power of a node.
///
/// # Errors
/// When there is none.
pub(super) fn of<'a>(config: &'a Config, node: &NodeName) -> Result<&'a FenceConfig> {
    config.fences.iter().find(|f| f.nodes.contains(node)).map(|f| &**f).ok_or_else(|| {
        Trouble::refused(format!("no fence device can cut the power of {node}"))
            .next("add a [[fence]] that names it, or drill in a lab: --lab")
    })
}

/// Cuts the power of a node, and waits until its device says that it is off.
///
/// # Errors
/// When the device does not say so in time.
pub(super) fn off(device: &FenceConfig, node: &NodeName) -> Result<String> {
    let said = call(device, node, "off")?;
    let until = Instant::now() + device.timeout;
    loop {
        let status = call(device, node, "status")?;
        if status.code == Some(IS_OFF) {
            return Ok(format!("the power of {node} is cut, confirmed by {}", device.name));
        }
        if Instant::now() >= until {
            let what = format!("{} does not say that {node} is off", device.name);
            let evidence = format!("off: {}; status: {}", said.in_words(), status.in_words());
            return Err(Trouble::refused(format!("{what}: {evidence}"))
                .next("look at the device; the node may run on, and the cluster still has it"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Gives a node its power back.
///
/// # Errors
/// When the device refuses.
pub(super) fn on(device: &FenceConfig, node: &NodeName) -> Result<String> {
    let said = call(device, node, "on")?;
    if said.code == Some(0) {
        return Ok(format!("{} has switched {node} on", device.name));
    }
    Err(Trouble::refused(format!("{} does not switch {node} on: {}", device.name, said.in_words()))
        .next(format!("switch {node} on by hand; it returns when it boots")))
}

/// Whether the device can say something about a node.
///
/// # Errors
/// When it cannot.
pub(super) fn answers(device: &FenceConfig, node: &NodeName) -> Result<()> {
    let said = call(device, node, "status")?;
    match said.code {
        Some(0) => Ok(()),
        _ => Err(Trouble::refused(format!(
            "the fence device {} does not say that {node} has power: {}",
            device.name,
            said.in_words()
        ))
        .next("mend that first: without it the drill could neither fail the node nor return it")),
    }
}

struct Said {
    code: Option<i32>,
    output: String,
}

impl Said {
    fn in_words(&self) -> String {
        let code = self.code.map_or_else(|| "it was killed".to_owned(), |c| format!("exit code {c}"));
        let last = self.output.lines().last().unwrap_or_default().trim();
        if last.is_empty() { code } else { format!("{code} ({last})") }
    }
}

/// One call of the agent. The options go to its standard input, one a line; ours come last, for the last one counts.
fn call(device: &FenceConfig, node: &NodeName, action: &str) -> Result<Said> {
    let plug = device.plugs.get(node).map_or(node.as_str(), String::as_str);
    let ours = [("action", action), ("nodename", node.as_str()), ("plug", plug), ("port", plug)];
    let mut input = String::new();
    let configured = device.options.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    for (key, value) in configured.chain(ours) {
        if value.contains('\n') {
            return Err(Trouble::refused(format!("the option {key} of {} has two lines", device.name)));
        }
        let _ = writeln!(input, "{key}={value}");
    }
    let failed = |error: std::io::Error| {
        Trouble::refused(format!("cannot run {} for {action} of {node}: {error}", device.agent.display()))
            .next("run the drill as root on a machine that has the agent, best on the witness")
    };
    let mut child = Command::new(&device.agent)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        let _what_it_did_not_read_shows = stdin.write_all(input.as_bytes());
    }
    let until = Instant::now() + device.timeout;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() >= until {
            let _it_has_ended = child.kill();
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = [output.stdout, output.stderr].map(|o| String::from_utf8_lossy(&o).into_owned()).concat();
    Ok(Said { code: output.status.code(), output: text })
}
