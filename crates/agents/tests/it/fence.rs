//! Fence devices that work, lie, hang and fail.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use regent_agents::{Report, Step};
use regent_model::NodeName;
use regent_model::action::{Failure, FenceAsk, FenceFound, FenceRun, RunId};
use regent_model::config::{FenceAction, FenceConfig, FenceKind};

use crate::support::{Folder, Node};

/// A power switch made of a file that holds `on` or `off`, and a log of what it was asked.
struct Switch {
    folder: Folder,
}

impl Switch {
    /// `body` may use `$action`, `$plug`, and `$state` as the name of the file.
    fn new(body: &str) -> Self {
        let folder = Folder::new();
        let (state, log, agent) = (folder.0.join("state"), folder.0.join("log"), folder.0.join("agent"));
        std::fs::write(&state, "on").unwrap();
        let script = format!(
            "#!/bin/sh\nstate={}\nwhile read -r line; do echo \"$line\" >> {1}; case $line in action=*) \
             action=${{line#action=}};; plug=*) plug=${{line#plug=}};; esac; done\n{body}\n",
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

    fn device(&self, action: FenceAction) -> FenceConfig {
        let victim = NodeName::new("lx5").unwrap();
        FenceConfig {
            name: "pdu 1".into(),
            agent: self.folder.0.join("agent"),
            nodes: vec![victim.clone()],
            kind: FenceKind::Power,
            disks: Vec::new(),
            keys: BTreeMap::new(),
            plugs: BTreeMap::from([(victim, "outlet7".into())]),
            options: BTreeMap::from([("ip".into(), "10.0.0.200".into())]),
            action,
            level: 1,
            timeout: Duration::from_secs(1),
            retries: 0,
            delay: Duration::ZERO,
            delays: BTreeMap::new(),
        }
    }

    fn ask(&self, node: &mut Node, ask: FenceAsk, device: FenceConfig) -> Answered {
        let id = RunId(900);
        let victim = NodeName::new("lx5").unwrap();
        let begun = Instant::now();
        node.hands().fence(FenceRun {
            id,
            ask,
            victim,
            by: NodeName::new("lx4").unwrap(),
            device: Arc::new(device),
        });
        let report = node.wait(Duration::from_secs(30), |r| matches!(r, Report::Fenced { .. }));
        match report {
            Some(Report::Fenced { id: found, result, steps }) if found == id => {
                (result, steps, begun.elapsed())
            }
            other => panic!("{other:?}"),
        }
    }

    fn cut(&self, node: &mut Node) -> Answered {
        self.ask(node, FenceAsk::Cut, self.device(FenceAction::Reboot))
    }
}

type Answered = (Result<FenceFound, Failure>, Vec<Step>, Duration);

const HONEST: &str = "case $action in
    on|off) echo $action > $state; exit 0;;
    status) [ $(cat $state) = off ] && exit 2; exit 0;;
esac
exit 1";

#[test]
fn a_cut_is_confirmed_by_the_status_and_the_power_comes_back_when_it_is_asked_for() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    let (result, steps, _) = switch.cut(&mut node);
    assert_eq!(result, Ok(FenceFound::Cut), "{steps:#?}");
    assert_eq!(switch.actions(), ["status", "off", "status"]);
    let off = switch.ask(&mut node, FenceAsk::Check, switch.device(FenceAction::Reboot)).0;
    assert_eq!((off, switch.state().as_str()), (Ok(FenceFound::WasOff), "off"));
    let on = switch.ask(&mut node, FenceAsk::Restore, switch.device(FenceAction::Reboot)).0;
    assert_eq!((on, switch.state().as_str()), (Ok(FenceFound::Restored), "on"));
    let off = switch.ask(&mut node, FenceAsk::Check, switch.device(FenceAction::Reboot)).0;
    assert!(off.unwrap_err().reason.contains("does not say that lx5 is off"));
    assert_eq!(switch.actions(), ["status", "off", "status", "status", "on", "status"]);
    let log = switch.log();
    for line in ["ip=10.0.0.200", "nodename=lx5", "plug=outlet7", "port=outlet7"] {
        assert!(log.contains(line), "{log}");
    }
}

#[test]
fn a_node_that_is_off_already_is_fenced_without_a_cut() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    std::fs::write(switch.folder.0.join("state"), "off").unwrap();
    assert_eq!(switch.cut(&mut node).0, Ok(FenceFound::WasOff));
    assert_eq!(switch.actions(), ["status"]);
}

#[test]
fn a_device_waits_before_it_cuts_the_node_that_is_to_have_a_start() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    let waits = Duration::from_millis(400);
    let mut device = switch.device(FenceAction::Off);
    device.delays = BTreeMap::from([(NodeName::new("lx5").unwrap(), waits)]);
    let (result, _, took) = switch.ask(&mut node, FenceAsk::Cut, device);
    assert_eq!(result, Ok(FenceFound::Cut));
    assert!(took >= waits, "{took:?}");
}

#[test]
fn a_device_that_fails_is_tried_again_as_often_as_configured() {
    let second = "case $action in
        off) [ -e $state.tried ] && echo off > $state; touch $state.tried; exit 0;;
        status) [ $(cat $state) = off ] && exit 2; exit 0;;
    esac";
    let (mut node, switch) = (Node::new(), Switch::new(second));
    let mut device = switch.device(FenceAction::Off);
    device.retries = 1;
    let (result, steps, _) = switch.ask(&mut node, FenceAsk::Cut, device);
    assert_eq!(result, Ok(FenceFound::Cut), "{steps:#?}");
    assert!(steps.iter().any(|s| s.what.contains("tried again")), "{steps:#?}");
    assert_eq!(switch.actions().iter().filter(|a| *a == "off").count(), 2);
}

#[test]
fn off_that_exits_0_without_effect_is_not_believed() {
    let lies = "case $action in status) exit 0;; off) exit 0;; esac; exit 1";
    let (mut node, switch) = (Node::new(), Switch::new(lies));
    let (result, ..) = switch.cut(&mut node);
    let failure = result.unwrap_err();
    assert!(failure.reason.contains("did not confirm that lx5 is off"), "{failure:?}");
    assert!(!switch.actions().contains(&"on".to_owned()));
}

#[test]
fn an_agent_that_hangs_is_a_failure_in_bounded_time() {
    let hangs = "case $action in status) exit 0;; esac; trap '' TERM; sleep 300 & sleep 300";
    let (mut node, switch) = (Node::new(), Switch::new(hangs));
    let (result, _, took) = switch.cut(&mut node);
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
    let (result, steps, _) = switch.cut(&mut node);
    assert!(result.is_ok(), "{steps:#?}");
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let (mut node, switch) = (Node::new(), Switch::new(HONEST));
    std::fs::remove_file(switch.folder.0.join("agent")).unwrap();
    let failure = switch.cut(&mut node).0.unwrap_err();
    assert!(failure.reason.contains("/agent"), "{failure:?}");
}

#[test]
fn a_machine_registers_itself_at_its_disks_and_cuts_nobody_off_while_it_is_not() {
    let switch = Switch::new(
        "case $action in on) touch $state.$plug;; off) rm $state.$plug; [ ! -e $state.lost ] || rm $state.lx4;; \
         status) [ -e $state.$plug ] || exit 2;; esac",
    );
    let mut node = Node::new();
    let registered = |plug: &str| std::fs::write(switch.folder.0.join(format!("state.{plug}")), "").unwrap();
    registered("outlet7");
    let device = || FenceConfig {
        kind: FenceKind::Storage,
        disks: vec!["/dev/sdb".into(), "/dev/sdc".into()],
        keys: BTreeMap::from([(NodeName::new("lx4").unwrap(), "5a4".into())]),
        ..switch.device(FenceAction::Off)
    };
    let refused = switch.ask(&mut node, FenceAsk::Cut, device()).0.unwrap_err();
    assert!(refused.reason.contains("lx4 itself is registered"), "{refused:?}");
    assert_eq!(switch.actions(), ["status"], "nobody was touched");
    assert_eq!(switch.ask(&mut node, FenceAsk::Register, device()).0, Ok(FenceFound::Registered));
    assert!(switch.log().contains("devices=/dev/sdb,/dev/sdc\nkey=5a4\n"), "{}", switch.log());
    assert_eq!(switch.ask(&mut node, FenceAsk::Cut, device()).0, Ok(FenceFound::Cut));
    // Disks that lose all that they know say of everybody that it is off.
    ["outlet7", "lost"].into_iter().for_each(registered);
    let refused = switch.ask(&mut node, FenceAsk::Cut, device()).0.unwrap_err();
    assert!(refused.reason.contains("lx4 itself is registered"), "{refused:?}");
    let broken = Switch::new("[ $action = on ] && exit 1; exit 0");
    let device = FenceConfig {
        kind: FenceKind::Storage,
        disks: vec!["/dev/sdb".into()],
        ..broken.device(FenceAction::Off)
    };
    let failed = broken.ask(&mut node, FenceAsk::Register, device).0.unwrap_err();
    assert!(failed.reason.contains("did not register lx4"), "{failed:?}");
}

#[test]
fn who_is_registered_at_one_of_two_disks_only_cuts_nobody_off() {
    // As fence_scsi does: the node counts as on when one of the disks that it was asked about has its key.
    let switch = Switch::new(
        "disks=$(sed -n 's/^devices=//p' \"${state%state}log\" | tail -n 1)\n\
         case $action:$disks in status:*sdb*) ;; status:*) exit 2;; esac",
    );
    let mut node = Node::new();
    let device = |disks: &[&str]| FenceConfig {
        kind: FenceKind::Storage,
        disks: disks.iter().map(|disk| (*disk).into()).collect(),
        keys: BTreeMap::from([(NodeName::new("lx4").unwrap(), "5a4".into())]),
        ..switch.device(FenceAction::Off)
    };
    assert_eq!(
        switch.ask(&mut node, FenceAsk::Register, device(&["/dev/sdb"])).0,
        Ok(FenceFound::Registered),
        "at the one it is"
    );
    let refused = switch.ask(&mut node, FenceAsk::Cut, device(&["/dev/sdb", "/dev/sdc"])).0.unwrap_err();
    assert!(refused.reason.contains("lx4 itself is registered at /dev/sdc"), "{refused:?}");
    assert!(!switch.actions().contains(&"off".to_owned()), "nobody was touched");
}
