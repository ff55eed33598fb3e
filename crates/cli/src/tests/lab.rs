//! What `regent lab status` shows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regent_lab::{Direction, DiskState, LabStatus, MachineStatus, NetworkStatus, Power, Role};

use crate::lab::machines;
use crate::paint::Paint;

fn machine(name: &str, role: Role, host: u8) -> MachineStatus {
    let network = |network: usize| NetworkStatus {
        network,
        interface: format!("eth{network}"),
        addresses: vec![format!("10.{}.0.{host}/24", 77 + network).parse().unwrap()],
        cut: None,
        loses: 0,
    };
    MachineStatus {
        name: name.into(),
        role,
        power: Power::On,
        boot: 1,
        boot_id: "b0b0".into(),
        pid: 41,
        cgroup: PathBuf::from("/cg"),
        env: BTreeMap::new(),
        paused: false,
        disk: (role == Role::Node).then_some(DiskState::Ok),
        networks: vec![network(0), network(1)],
        trouble: None,
    }
}

#[test]
fn every_switch_that_is_not_as_usual_is_seen() {
    let mut lx4 = machine("lx4", Role::Node, 4);
    lx4.networks[1].cut = Some(Direction::Both);
    lx4.disk = Some(DiskState::Slow(20));
    let mut lx5 = machine("lx5", Role::Node, 5);
    lx5.power = Power::Off;
    lx5.networks[0].loses = 20;
    lx5.trouble = Some("lx5 cannot boot: no loop device is free".into());
    let mut wit = machine("wit", Role::Witness, 3);
    wit.paused = true;
    wit.networks[0].cut = Some(Direction::Out);
    let machine_list = vec![lx4, lx5, wit, machine("client", Role::Client, 254)];
    let status = LabStatus {
        name: "lab".into(),
        folder: "/run/regent-lab/lab".into(),
        fabric: 40,
        machines: machine_list,
    };
    insta::assert_snapshot!(machines(&status, Paint(false)));
}
