//! What is measured: a cluster of whatever make that keeps the service alive in the lab.

use std::ffi::OsStr;

use regent_lab::{Lab, LabSpec};
use serde_json::Value;

use crate::Result;
use crate::steps::Step;

/// A cluster that can be measured. `&self` methods are called from one thread, in the order of a fault.
pub(crate) trait Contestant {
    /// Programs of this machine that it cannot do without.
    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    /// Adds to the lab what it needs: files, programs, and what the nodes start when they boot.
    fn prepare(&self, spec: &mut LabSpec);

    /// Makes one cluster of the machines, once they have booted.
    fn form(&self, lab: &Lab) -> Result<()>;

    /// Whether every machine that has power has joined, the service runs, and nothing is pending.
    fn is_steady(&self, lab: &Lab) -> bool;

    /// Moves the service in an orderly way. May return before it has moved.
    fn order_move(&self, lab: &Lab, from: &str, to: &str) -> Result<()>;

    /// Undoes what a move leaves behind.
    fn after_move(&self, _lab: &Lab, _from: &str) -> Result<()> {
        Ok(())
    }

    /// Told as soon as a fault was made. Nobody tells a cluster; the floor has nobody else to tell it.
    fn fault_made(&self, _lab: &Lab, _fault: Made<'_>) -> Result<()> {
        Ok(())
    }

    /// Told when a node that had lost its power has booted.
    fn booted(&self, _lab: &Lab, _node: &str) -> Result<()> {
        Ok(())
    }

    /// Whether it notices a partition at all.
    fn survives_partition(&self) -> bool {
        true
    }

    /// Whether it has daemons whose memory and processor time can be measured.
    fn has_daemons(&self) -> bool {
        true
    }

    /// What it did between two times of the lab's clock, if it keeps a journal that says so.
    fn steps(&self, _lab: &Lab, _from: u64, _until: u64, _owner: &str) -> Vec<Step> {
        Vec::new()
    }

    /// What it says about itself now, to understand why it does not do what it should.
    fn evidence(&self, _lab: &Lab) -> String {
        String::new()
    }

    /// Its version and settings, for the record.
    fn about(&self, lab: &Lab) -> Value;
}

/// A fault that was just made.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Made<'a> {
    /// This node has lost its power.
    PowerCut(&'a str),
    /// The application was killed on this node.
    Killed(&'a str),
}

/// Those of `programs` that are not on this machine.
pub(crate) fn missing(programs: &[&str]) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let is_there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    programs.iter().filter(|p| !is_there(p)).map(|p| (*p).to_owned()).collect()
}

/// Runs a command in a machine, and gives what it printed if it ended with 0.
///
/// # Errors
/// What it said otherwise.
pub(crate) fn said(lab: &Lab, machine: &str, words: &[impl AsRef<OsStr>]) -> Result<String> {
    let output = lab.output(machine, words)?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let command: Vec<_> = words.iter().map(|w| w.as_ref().to_string_lossy()).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` failed on {machine}: {}{}", command.join(" "), out.trim(), errors.trim()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named_and_what_is_there_is_not() {
        assert_eq!(missing(&["sh", "no-such-program", "mount"]), ["no-such-program"]);
    }
}
