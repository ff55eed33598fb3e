//! A lab for a configuration: the machines, networks, disks and the client that it implies.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;

use regent_lab::{ArbiterDisk, LabSpec, Role};

fn lab_for(text: &str) -> LabSpec {
    let parsed = regent_model::config::parse(text);
    let config = parsed.config.unwrap_or_else(|| panic!("the configuration is wrong: {:?}", parsed.findings));
    LabSpec::from_config("derived", &config, Path::new("/bin/true"), &["lab"]).unwrap()
}

const WARD: &str = r#"
[cluster]
name = "ward7"

[[node]]
name = "lx4"
addresses = ["192.9.200.254", "fd00:78::4"]

[[node]]
name = "lx5"
addresses = ["192.9.200.253", "fd00:78::5"]

[[witness]]
name = "quorum"
addresses = ["192.9.200.6", "fd00:78::6"]

[[fence]]
name = "power"
agent = "/usr/sbin/fence_lab"
nodes = ["lx4", "lx5"]

[[group]]
name = "cacheha1"
nodes = ["lx4", "lx5"]

  [[group.filesystem]]
  device = "/dev/sdc4"
  mount = "/storage2"
  type = "ext4"

  [[group.address]]
  address = "192.9.202.197/16"
"#;

#[test]
fn a_configuration_gives_machines_networks_disks_and_a_client() {
    let spec = lab_for(WARD);
    spec.check().unwrap();
    let names: Vec<_> = spec.machines.iter().map(|m| (m.name.as_str(), m.role)).collect();
    let expected =
        [("lx4", Role::Node), ("lx5", Role::Node), ("quorum", Role::Witness), ("client", Role::Client)];
    assert_eq!(names, expected);
    let address = |name: &str, network: usize| spec.machine(name).unwrap().addresses[network][0].to_string();
    assert_eq!(address("lx4", 0), "192.9.200.254/16", "the service address tells the prefix");
    assert_eq!(address("quorum", 1), "fd00:78::6/64");
    assert_eq!(address("client", 0), "192.9.200.252/16", "the highest that nobody has");
    assert_eq!(address("client", 1), "fd00:78::fe/64");
    assert_eq!(spec.disks.len(), 1);
    assert_eq!((spec.disks[0].device.to_str(), spec.disks[0].ext4), (Some("/dev/sdc4"), true));
}

#[test]
fn what_cannot_be_built_is_said_before_anything_is_made() {
    let hand = Path::new("/bin/true");
    let two = |change: &dyn Fn(&mut LabSpec)| {
        let mut spec = LabSpec::default_two_nodes("x", hand, &[]);
        change(&mut spec);
        spec.check().unwrap_err().to_string()
    };
    assert!(two(&|s| s.name = "a/b".into()).contains("cannot stand in a name"));
    assert!(two(&|s| s.name = "n".repeat(33)).contains("longer than 32"));
    assert!(two(&|s| s.disks[0].mib = 1).contains("1 MiB"));
    assert!(two(&|s| s.disks[0].device = "/tmp/x".into()).contains("below /dev"));
    assert!(two(&|s| s.machines[1].name = "lx4".into()).contains("two machines are named lx4"));
    assert!(two(&|s| s.persistent.push("etc".into())).contains("must begin with /"));
}

#[test]
fn the_disk_of_an_arbiter_comes_with_the_area_that_the_configuration_names_and_is_no_file_systems() {
    let text = include_str!("../../../examples/two-nodes-disk.toml");
    let config = regent_model::config::parse(text).config.unwrap();
    let mut spec = LabSpec::from_config("arb", &config, Path::new("/usr/bin/regent"), &["lab"]).unwrap();
    let [disk] = spec.disks.as_slice() else { panic!("{:?}", spec.disks) };
    assert_eq!(disk.device.to_str(), Some("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1"));
    let Some(ArbiterDisk::Made { area, cluster }) = &disk.arbiter else { panic!("{disk:?}") };
    assert_eq!(area.to_string(), "5bd1e995c6a4a7935f3759df9e3779b9");
    assert_eq!((cluster.as_str(), disk.ext4), ("ha1", false));
    spec.share_for_arbiter(Path::new("/dev/san9"));
    assert_eq!(spec.disks[1].arbiter, Some(ArbiterDisk::Blank));
    spec.check().unwrap();
}
