//! Which daemon is asked: this node's, one behind a socket, or a node's of a lab.

use std::path::{Path, PathBuf};

use regent_lab::{Folder, Lab, LabStatus, MachineStatus, Power, Role};
use regent_node::Paths;

use crate::args::Global;
use crate::client::{Client, Whose};
use crate::trouble::{Result, Trouble};

/// The daemon that the options name.
///
/// # Errors
/// When a lab is named that is not there, or none of its nodes runs.
pub fn client(global: &Global) -> Result<Client> {
    if let Some(name) = &global.lab {
        let lab = attach(Some(name.as_str()).filter(|n| !n.is_empty()))?;
        return in_lab(&lab.status()?, global.on.as_deref());
    }
    if let Some(node) = &global.on {
        return Err(Trouble::usage(format!("--on {node} names a node of a lab, but no lab is named"))
            .next(format!("--lab --on {node}")));
    }
    let paths = Paths::from_environment();
    let named = std::env::var_os(regent_api::SOCKET_VARIABLE).filter(|v| !v.is_empty());
    let socket = global.socket.clone().or(named.map(PathBuf::from)).unwrap_or_else(|| paths.api_socket());
    let whose = Whose::Local {
        member: paths.identity().exists(),
        refused: std::fs::read_to_string(paths.refused()).ok().map(|why| why.trim().to_owned()),
        labs: labs(),
    };
    Ok(Client { socket, whose })
}

/// The labs that can be asked.
fn labs() -> Vec<String> {
    let is_lab = |name: &String| Folder::of(name).is_ok_and(|folder| folder.record().is_ok());
    regent_lab::all_labs().into_iter().filter(is_lab).collect()
}

/// Whether the options name another daemon than this machine's own.
#[must_use]
pub fn is_elsewhere(global: &Global) -> bool {
    global.lab.is_some() || global.socket.is_some()
}

/// The lab of that name, or the only one there is.
///
/// # Errors
/// When there is none, or more than one and no name.
pub fn attach(name: Option<&str>) -> Result<Lab> {
    Ok(Lab::attach(&lab_name(name, &regent_lab::all_labs())?)?)
}

/// The name of the lab that is meant.
///
/// # Errors
/// When no name is given and there is not exactly one lab.
pub fn lab_name(name: Option<&str>, labs: &[String]) -> Result<String> {
    match (name, labs) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [one]) => Ok(one.clone()),
        (None, []) => Err(Trouble::refused("there is no lab on this machine").next("regent lab up")),
        (None, many) => Err(Trouble::usage(format!("there are {} labs: {}", many.len(), many.join(", ")))
            .next(format!(
                "name the one you mean: --name {} (regent lab), --lab={} (elsewhere)",
                many[0], many[0]
            ))),
    }
}

/// The daemon of a node of a lab: the one that is named, or the first that runs.
///
/// # Errors
/// When there is no such node, or it is off.
pub fn in_lab(status: &LabStatus, node: Option<&str>) -> Result<Client> {
    let members = || status.machines.iter().filter(|m| m.role != Role::Client);
    let runs = |m: &&MachineStatus| m.power == Power::On && !m.paused;
    let chosen = match node {
        Some(name) => {
            let names: Vec<&str> = members().map(|m| m.name.as_str()).collect();
            let machine = members().find(|m| m.name == name).ok_or_else(|| {
                Trouble::usage(format!("the lab {} has no node {name}", status.name))
                    .next(format!("use one of {}", names.join(", ")))
            })?;
            if machine.power != Power::On {
                return Err(Trouble::unreachable(format!("{name} is off"))
                    .next(format!("regent lab on {name} --name {}", status.name))
                    .next("or ask another node: --on NODE"));
            }
            if machine.paused {
                return Err(Trouble::unreachable(format!("{name} is frozen"))
                    .next(format!("regent lab resume {name} --name {}", status.name))
                    .next("or ask another node: --on NODE"));
            }
            machine
        }
        None => members()
            .filter(runs)
            .find(|m| std::os::unix::net::UnixStream::connect(socket_of(m)).is_ok())
            .or_else(|| members().find(runs))
            .ok_or_else(|| {
                Trouble::unreachable(format!("no node of the lab {} runs", status.name))
                    .next(format!("regent lab status --name {}", status.name))
            })?,
    };
    let whose = Whose::Lab { lab: status.name.clone(), node: chosen.name.clone() };
    Ok(Client { socket: socket_of(chosen), whose })
}

/// A machine's socket as this process sees it, through the machine's first process.
#[must_use]
pub fn socket_of(machine: &MachineStatus) -> PathBuf {
    Path::new("/proc").join(machine.pid.to_string()).join(format!("root{}", regent_api::SOCKET))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn machine(name: &str, role: Role, power: Power, paused: bool) -> MachineStatus {
        MachineStatus {
            name: name.into(),
            role,
            power,
            boot: 1,
            boot_id: String::new(),
            pid: 41,
            cgroup: PathBuf::new(),
            env: BTreeMap::new(),
            paused,
            disk: None,
            networks: Vec::new(),
            trouble: None,
        }
    }

    fn lab(machines: Vec<MachineStatus>) -> LabStatus {
        LabStatus { name: "lab".into(), folder: PathBuf::new(), fabric: 1, machines }
    }

    #[test]
    fn the_only_lab_needs_no_name() {
        let name =
            |name, labs: &[&str]| lab_name(name, &labs.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(name(None, &["one"]).unwrap(), "one");
        assert_eq!(name(Some("x"), &["one"]).unwrap(), "x");
        assert!(name(None, &[]).unwrap_err().next[0].contains("lab up"));
        assert!(name(None, &["one", "two"]).unwrap_err().what.contains("one, two"));
    }

    #[test]
    fn the_first_node_that_runs_is_asked_unless_one_is_named() {
        let status = lab(vec![
            machine("lx4", Role::Node, Power::Off, false),
            machine("lx5", Role::Node, Power::On, true),
            machine("client", Role::Client, Power::On, false),
            machine("wit", Role::Witness, Power::On, false),
        ]);
        assert_eq!(
            in_lab(&status, None).unwrap().whose,
            Whose::Lab { lab: "lab".into(), node: "wit".into() }
        );
        let socket = in_lab(&status, Some("wit")).unwrap().socket;
        assert_eq!(socket, Path::new("/proc/41/root/run/regent/api.sock"));
        assert!(in_lab(&status, Some("lx4")).unwrap_err().next[0].contains("regent lab on lx4"));
        assert!(in_lab(&status, Some("lx5")).unwrap_err().next[0].contains("regent lab resume lx5"));
        assert!(in_lab(&status, Some("client")).unwrap_err().next[0].contains("lx4, lx5, wit"));
    }
}
