//! The registry on the screen, and what changes it.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::tz::TimeZone;
use regent_api::{InstanceStatus, NodeWord, NodesAnswer, Registry, SeenStatus, VersionStatus};
use regent_model::Epoch;
use regent_model::config::{InstanceKind, parse};
use regent_model::ids::InstanceName;
use regent_model::instance::{Condition, InstanceLook, Lock, LockFile};

use super::samples::{group_name, node_name};
use crate::instance::{check, layout, show};
use crate::paint::Paint;

pub(super) const CONFIG: &str = r#"# The ward's cluster.
[cluster]
name = "ward7"

[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]

[[group]]
name = "cacheha1"                       # the guide's first service
nodes = ["lx4", "lx5"]
needs = ["lease-ended"]
[[group.filesystem]]
device = "/dev/sdc4"
mount = "/store1"
type = "ext4"
[[group.address]]
address = "10.77.0.100/24"

[[group]]
name = "cacheha2"
nodes = ["lx5", "lx4"]
needs = ["lease-ended"]
[[group.filesystem]]
device = "/dev/sdd4"
mount = "/store2"
type = "ext4"
[[group.address]]
address = "10.77.0.101/24"
"#;

pub(super) fn name(text: &str) -> InstanceName {
    InstanceName::new(text).unwrap()
}

pub(super) fn look(node: &str) -> InstanceLook {
    let file = LockFile { node: node.into(), epoch: 7, boot: "b0b0".into() };
    InstanceLook {
        mounted: true,
        directory: true,
        running: true,
        listening: true,
        version: None,
        listed: None,
        lock: Some(Lock::Of(file)),
        application_servers: 0,
    }
}

/// An instance that runs on lx4, as lx4 sees it.
pub(super) fn running(text: &str, port: u16, directory: &str) -> InstanceStatus {
    InstanceStatus {
        name: name(text),
        group: group_name(text),
        owner: Some(node_name("lx4")),
        epoch: Epoch(7),
        online: true,
        kind: InstanceKind::Cache,
        directory: directory.into(),
        port,
        address: "10.77.0.100".parse().ok(),
        autostart: false,
        default: false,
        networked: true,
        data_servers: vec![("CACHEHA2".into(), "10.77.0.101:1972".parse().unwrap())],
        max_data_servers: 2,
        max_application_servers: 1,
        license_servers: vec!["10.77.0.4:4001".parse().unwrap(), "10.77.0.5:4001".parse().unwrap()],
        version: Some(VersionStatus {
            version: "5.2.0.400".into(),
            by: "read by lx4".into(),
            at_ms: 1_157_097_600_000,
        }),
        installed: Some("5.2.0.400".into()),
        seen: Some(SeenStatus {
            condition: Condition::Running,
            node: "lx4".into(),
            since_ms: 1_157_097_600_000,
        }),
        here: Some(look("lx4")),
        misfits: Vec::new(),
    }
}

/// As lx4 shows it: the first runs there, the second on lx5.
pub(crate) fn registry() -> Registry {
    let second = InstanceStatus {
        owner: Some(node_name("lx5")),
        seen: Some(SeenStatus {
            condition: Condition::Running,
            node: "lx5".into(),
            since_ms: 1_157_184_000_000,
        }),
        here: Some(InstanceLook::default()),
        ..running("cacheha2", 1972, "/store2/c52ha2")
    };
    Registry {
        node: node_name("lx4"),
        quorate: true,
        instances: vec![running("cacheha1", 1973, "/store1/c52ha"), second],
    }
}

fn listed(registry: &Registry) -> String {
    registry.instances.iter().map(|i| layout::list(registry, i, &TimeZone::UTC)).collect()
}

fn lines(registry: &Registry) -> String {
    registry.instances.iter().map(|i| layout::qlist(registry, i, &TimeZone::UTC)).collect()
}

/// What a script makes of a screen.
fn piped(screen: &str, filter: &str) -> String {
    let mut shell =
        Command::new("sh").args(["-c", filter]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(screen.as_bytes()).unwrap();
    String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn the_screens_of_ccontrol_are_laid_out_as_scripts_expect_them() {
    let mut registry = registry();
    let down = SeenStatus { condition: Condition::Down, node: "lx4".into(), since_ms: 1_157_097_600_000 };
    let crashed = SeenStatus { condition: Condition::Crashed, ..down.clone() };
    let here = Some(InstanceLook { mounted: true, directory: true, ..InstanceLook::default() });
    let with = |text: &str, port, seen: &SeenStatus, kind| InstanceStatus {
        seen: Some(seen.clone()),
        here: here.clone(),
        kind,
        version: None,
        ..running(text, port, "/store1/other")
    };
    registry.instances.push(with("archive", 1974, &down, InstanceKind::Gtm));
    registry.instances.push(with("teaching", 1975, &crashed, InstanceKind::Iris));
    insta::assert_snapshot!("ccontrol_list", listed(&registry));
    insta::assert_snapshot!("ccontrol_all", layout::all(&registry));
    insta::assert_snapshot!("ccontrol_qlist", lines(&registry));
}

#[test]
fn a_script_finds_directory_and_state_in_the_way_it_always_did() {
    let registry = registry();
    let one = layout::list(&registry, &registry.instances[0], &TimeZone::UTC);
    assert_eq!(piped(&one, "grep -i directory | awk {'print $2'}"), "/store1/c52ha\n");
    let all = layout::all(&registry);
    assert_eq!(piped(&all, "grep -i cacheha1 | awk {'print $1'}"), "up\n");
    assert_eq!(piped(&all, "grep -i cacheha2 | awk {'print $1'}"), "dn\n", "it runs on the other node");
    assert_eq!(
        piped(&all, "grep -i cacheha1 | awk {'print $2, $3, $4, $5'}"),
        "CACHEHA1 5.2.0.400 1973 /store1/c52ha\n"
    );
    let qlist = lines(&registry);
    assert_eq!(piped(&qlist, "grep ^CACHEHA1 | cut -d^ -f2,3,6"), "/store1/c52ha^5.2.0.400^1973\n");
    assert_eq!(piped(&qlist, "grep ^CACHEHA2 | cut -d^ -f4"), "in use by node lx5\n");
}

#[test]
fn a_node_that_lost_touch_shows_no_version_that_may_be_old() {
    let mut registry = Registry { quorate: false, ..registry() };
    assert_eq!(layout::version(&registry, &registry.instances[0]), "?");
    registry.instances[0].here = Some(InstanceLook { version: Some("5.3".into()), ..look("lx4") });
    assert_eq!(layout::version(&registry, &registry.instances[0]), "5.3", "it sees this one itself");
    // What it would open it with, were it there, says nothing of what it is.
    let away = InstanceLook { version: Some("5.1".into()), ..InstanceLook::default() };
    registry.instances[0].here = Some(away);
    assert_eq!(layout::version(&registry, &registry.instances[0]), "?");
}

#[test]
fn instances_are_read_at_a_glance_and_one_in_full() {
    let mut registry = registry();
    insta::assert_snapshot!("instance_list", show::table(&registry, Paint(false)));
    let instance = &mut registry.instances[0];
    instance.here = Some(InstanceLook { listening: false, ..look("lx4") });
    let config = with_two();
    let (group, its) = config.instance(&instance.name).unwrap();
    let holder = regent_model::instance::Holder { node: "lx4", epoch: 7, online: true };
    instance.misfits = regent_model::instance::misfits(
        group,
        its,
        regent_model::instance::Versions { registered: Some("5.2.0.400"), read: None },
        Some(holder),
        &node_name("lx4"),
        instance.here.as_ref().unwrap(),
    );
    let page = show::page(&registry, &registry.instances[0], &TimeZone::UTC, Paint(false));
    insta::assert_snapshot!("instance_status", page);
}

/// [`CONFIG`] with the instances of [`registry`].
pub(super) fn with_two_text() -> String {
    format!(
        "{CONFIG}[[instance]]\nname = \"cacheha1\"\nkind = \"cache\"\ndirectory = \"/store1/c52ha\"\nport = 1973\n\
         [[instance]]\nname = \"cacheha2\"\nkind = \"cache\"\ndirectory = \"/store2/c52ha2\"\nport = 1972\n"
    )
}

fn with_two() -> regent_model::config::Config {
    parse(&with_two_text()).config.unwrap()
}

#[test]
fn every_node_is_asked_what_it_sees_and_what_does_not_fit_is_told() {
    let registry = registry();
    let looks = |one: InstanceLook, two: InstanceLook| {
        NodeWord::Instances(BTreeMap::from([(name("cacheha1"), one), (name("cacheha2"), two)]))
    };
    let away = InstanceLook::default;
    let well = NodesAnswer {
        told: BTreeMap::from([
            (node_name("lx4"), looks(look("lx4"), away())),
            (node_name("lx5"), looks(away(), look("lx5"))),
        ]),
        ..NodesAnswer::default()
    };
    assert_eq!(check::found(&with_two(), &registry.instances, &well), []);
    insta::assert_snapshot!("instance_check_well", check::report(&well, 2, &[], Paint(false)));
    let mut told_otherwise = registry.clone();
    told_otherwise.instances[0].version.as_mut().unwrap().version = "6".into();
    let found = check::found(&with_two(), &told_otherwise.instances, &well);
    assert!(
        found[0].misfit.text.contains("registered as version 6, and 5.2.0.400 is installed"),
        "{found:?}"
    );
    let taken = InstanceLook { listening: true, ..away() };
    let mut odd = well.clone();
    odd.told.insert(node_name("lx5"), looks(taken, look("lx5")));
    odd.told.insert(node_name("lx6"), NodeWord::Unable("it can hold nothing".into()));
    let found = check::found(&with_two(), &registry.instances, &odd);
    let told: Vec<&str> = found.iter().map(|f| f.misfit.text.as_str()).collect();
    assert_eq!((found[0].instance.clone(), found[1].instance.clone()), (Some(name("cacheha1")), None));
    assert!(told[0].contains("the port 1973 of CACHEHA1 is taken on lx5"), "{told:?}");
    assert!(told[1].contains("lx6 could not look"), "{told:?}");
    odd.silent = vec![node_name("lx7")];
    insta::assert_snapshot!("instance_check_odd", check::report(&odd, 2, &found, Paint(false)));
}

#[test]
fn one_license_server_that_answers_is_enough() {
    let registry = registry();
    let (on, off) = ("10.77.0.4:4001".parse().unwrap(), "10.77.0.5:4001".parse().unwrap());
    let refused = || Err("Connection refused (os error 111)".to_owned());
    let answer = |lx4| NodesAnswer {
        told: BTreeMap::from([(node_name("lx4"), NodeWord::License(vec![(on, lx4), (off, refused())]))]),
        silent: vec![node_name("lx5")],
        ..NodesAnswer::default()
    };
    let (text, served) = check::license_report(&registry.instances[0], &answer(Ok(())), Paint(false));
    assert!(served);
    insta::assert_snapshot!("instance_license", text);
    let (_, served) = check::license_report(&registry.instances[0], &answer(refused()), Paint(false));
    assert!(!served, "none answers the node that has it");
}
