//! Fence devices that work, lie, hang and fail.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regent_agents::{Report, Step};
use regent_model::NodeName;
use regent_model::action::{Failure, FenceRun, RunId};
use regent_model::config::{FenceAction, FenceConfig};

use crate::support::{Folder, Node, eventually};

/// A power switch made of a file that holds `on` or `off`, and a log of what it was asked.
struct Switch {
    folder: Folder,
}

impl Switch {
    /// `body` may use `$action`, and `$state` as the name of the file.
    fn new(body: &str) -> Self {
        let folder = Folder::new();
        let (state, log, agent) = (folder.0.join("state"), folder.0.join("log"), folder.0.join("agent"));
        std::fs::write(&state, "on").unwrap();
        let script = format!(
            "#!/bin/sh\nstate={}\nwhile read -r line; do echo \"$line\" >> {1}; case $line in action=*) \
             action=${{line#action=}};; esac; done\n{body}\n",
            state.display(),
            log.display()
        );
        std::fs::write(&agent, script).unwrap();
        std::fs::set_permissions(&agent, PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn state(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("state")).unwrap().trim().to_owned()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }

    fn actions(&self) -> Vec<String> {
        let log = self.log();
        log.lines().filter_map(|l| l.strip_prefix("action=").map(str::to_owned)).collect()
    }

    fn fence(&self, node: &mut Node, action: FenceAction) -> (Result<String, Failure>, Vec<Step>, Duration) {
        let id = RunId(900);
        let victim = NodeName::new("lx5").unwrap();
        node.hands().fence(FenceRun {
            id,
            victim: victim.clone(),
            device: Arc::new(FenceConfig {
                name: "pdu 1".into(),
                agent: self.folder.0.join("agent"),
                nodes: vec![victim.clone()],
                plugs: BTreeMap::from([(victim, "outlet7".into())]),
                options: BTreeMap::from([("ip".into(), "10.0.0.200".into())]),
                action,
                timeout: Duration::from_secs(1),
            }),
        });
        let begun = Instant::now();
        let report = node.wait(Duration::from_secs(10), |r| matches!(r, Report::Fenced { .. }));
        match report {
            Some(Report::Fenced { id: found, result, steps }) if found == id => {
                (result, steps, begun.elapsed())
            }
            other => panic!("{other:?}"),
        }
    }
}

const HONEST: &str = "case $action in
    on|off) echo $action > $state; exit 0;;
    status) [ $(cat $state) = off ] && exit 2; exit 0;;
esac
exit 1";

#[test]
fn reboot_is_off_confirmed_and_then_on_in_the_background() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    let (result, steps, _) = switch.fence(&mut node, FenceAction::Reboot);
    assert_eq!(result, Ok("pdu 1".into()), "{steps:#?}");
    eventually("the power is on again", || switch.state() == "on");
    assert_eq!(switch.actions(), ["status", "off", "status", "on"]);
    let log = switch.log();
    for line in ["ip=10.0.0.200", "nodename=lx5", "plug=outlet7", "port=outlet7"] {
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn off_stays_off() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    switch.fence(&mut node, FenceAction::Off).0.unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((switch.state().as_str(), switch.actions().len()), ("off", 3));
}

#[test]
fn a_node_that_is_off_already_is_fenced_and_stays_off() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    std::fs::write(switch.folder.0.join("state"), "off").unwrap();
    switch.fence(&mut node, FenceAction::Reboot).0.unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(switch.actions(), ["status"]);
}

#[test]
fn off_that_exits_0_without_effect_is_not_believed() {
    let lies = "case $action in status) exit 0;; off) exit 0;; esac; exit 1";
    let (mut node, switch) = (Node::new(), Switch::new(lies));
    let (result, ..) = switch.fence(&mut node, FenceAction::Reboot);
    let failure = result.unwrap_err();
    assert!(failure.reason.contains("did not confirm that lx5 is off"), "{failure:?}");
    assert!(!switch.actions().contains(&"on".to_owned()));
}

#[test]
fn an_agent_that_hangs_is_a_failure_in_bounded_time() {
    let hangs = "case $action in status) exit 0;; esac; trap '' TERM; sleep 300 & sleep 300";
    let (mut node, switch) = (Node::new(), Switch::new(hangs));
    let (result, _, took) = switch.fence(&mut node, FenceAction::Reboot);
    assert!(result.is_err());
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(node.hands().hung(), 0);
}

#[test]
fn a_device_that_is_slow_to_switch_off_is_asked_until_it_has() {
    let slow = "case $action in
        off) (sleep 0.4; echo off > $state) > /dev/null 2>&1 & sleep 0.5; exit 0;;
        status) [ $(cat $state) = off ] && exit 2; exit 0;;
    esac";
    let (mut node, switch) = (Node::new(), Switch::new(slow));
    let (result, steps, _) = switch.fence(&mut node, FenceAction::Off);
    assert!(result.is_ok(), "{steps:#?}");
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    std::fs::remove_file(switch.folder.0.join("agent")).unwrap();
    let failure = switch.fence(&mut node, FenceAction::Off).0.unwrap_err();
    assert!(failure.reason.contains("/agent"), "{failure:?}");
}
