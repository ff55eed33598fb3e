//! What tests do inside a machine: shell and Python scripts, looking for processes.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::cluster::{Cluster, told};

/// The command line of a daemon begins so.
pub(crate) const DAEMON: &str = "[^ ]*regent node daemon";
/// That of the service so.
pub(crate) const LEDGER: &str = "regent lab ledger serve";
/// That of a guard so.
pub(crate) const GUARD: &str = "[^ ]*regent-guard";

/// The process of a machine whose command line begins so, if there is one. By its beginning: the shell that looks
/// has the words in its own command line, too.
pub(crate) fn process_of(cluster: &Cluster, machine: &str, beginning: &str) -> Option<String> {
    let script = format!(
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline | grep -q '^{beginning}' && basename $p; done | head -n 1"
    );
    let output = cluster.lab.output(machine, &["sh", "-c", &script]).unwrap();
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|pid| !pid.is_empty())
}

/// Runs a shell script in a machine; it must succeed.
pub(crate) fn sh(cluster: &Cluster, machine: &str, script: &str) -> String {
    let output = cluster.lab.output(machine, &["sh", "-c", script]).unwrap();
    let said = told(&output);
    assert!(output.status.success(), "on {machine}: {script}\n{said}");
    said.trim().to_owned()
}

/// Runs a Python script in a machine with this input; it must succeed.
pub(crate) fn python(cluster: &Cluster, machine: &str, script: &str, input: &str) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = cluster.lab.spawn(machine, command).unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "on {machine}: {script}\n{}", told(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The memory of a process that is really there, in KiB.
pub(crate) fn resident_kib(cluster: &Cluster, machine: &str, pid: &str) -> u64 {
    let line = sh(cluster, machine, &format!("grep VmRSS /proc/{pid}/status"));
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What a node says that is wrong with it, as another node shows it.
pub(crate) fn troubles(cluster: &Cluster, node: &str) -> Vec<String> {
    let status = cluster.status().unwrap();
    status.nodes.into_iter().filter(|n| n.name.as_str() == node).flat_map(|n| n.troubles).collect()
}
