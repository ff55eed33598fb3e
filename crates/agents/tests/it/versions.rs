//! Which version would open an instance on a node is found out, whether the instance is held there or not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use regent_agents::Inspector;
use regent_model::NodeName;
use regent_model::action::{Hand, Op};
use regent_model::config::{Config, parse};
use regent_model::ids::InstanceName;
use regent_model::instance::{InstanceLook, Listed};

use crate::instance::{by_hand, instance, node};
use crate::support::{Folder, Node};

/// An instance of the group that the requests of these tests name.
fn config(kind: &str, directory: &Path, rest: &str) -> Config {
    let directory = directory.display();
    let text = format!(
        "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.0.0.4\"]\n\
         [[node]]\nname = \"lx5\"\naddresses = [\"10.0.0.5\"]\n[[node]]\nname = \"lx6\"\naddresses = [\"10.0.0.6\"]\n\
         [[group]]\nname = \"{GROUP}\"\nnodes = [\"lx4\", \"lx5\"]\nneeds = [\"lease-ended\"]\n\
         [[group.filesystem]]\ndevice = \"/dev/sdc4\"\nmount = \"{directory}\"\ntype = \"ext4\"\n\
         [[group.address]]\naddress = \"10.0.0.100/24\"\n\
         [[instance]]\nname = \"cacheha1\"\nkind = \"{kind}\"\ndirectory = \"{directory}/c\"\nport = 1972\n{rest}"
    );
    let parsed = parse(&text);
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

const GROUP: &str = "g1";

/// What `me` sees, after it has read what is due, or everything.
fn look(inspector: &Inspector, me: &str, config: &Config, at_once: bool) -> (bool, InstanceLook) {
    let news = inspector.read_versions(&NodeName::new(me).unwrap(), config, at_once);
    (news, inspector.instances(config)[&InstanceName::new("cacheha1").unwrap()].clone())
}

/// A program with this body.
fn program(path: &Path, body: &str) -> String {
    // Put in place in one go, as a package does it.
    let new = path.with_extension("new");
    std::fs::write(&new, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::rename(&new, path).unwrap();
    format!("vendor = \"{}\"\n", path.display())
}

/// The instance of the configuration, for a request to the hands.
fn resource(config: &Config) -> regent_model::action::Resource {
    instance((**config.instances().next().unwrap().1).clone())
}

#[test]
fn gt_m_is_known_on_a_node_that_does_not_hold_the_instance_and_opens_nothing_there() {
    let (node, folder) = (Node::new(), Folder::new());
    let config = config("gtm", &folder.0, "");
    let inspector = node.hands().inspector();
    assert_eq!(inspector.instances(&config)[&InstanceName::new("cacheha1").unwrap()].version, None);
    let (news, seen) = look(&inspector, "lx5", &config, false);
    assert!(news && seen.version.as_deref().is_some_and(|v| v.starts_with('V')), "{seen:?}");
    assert!(!seen.directory && std::fs::read_dir(&folder.0).unwrap().next().is_none(), "nothing was made");
    assert!(!look(&inspector, "lx5", &config, true).0, "no news");
    let other = Node::new();
    assert_eq!(
        look(&other.hands().inspector(), "lx6", &config, true).1.version,
        None,
        "it never comes there"
    );
}

#[test]
fn another_gt_m_in_its_place_is_noticed_at_the_next_look() {
    let (node, folder, dist) = (Node::new(), Folder::new(), Folder::new());
    let inspector = node.hands().inspector();
    let say = |version: &str| program(&dist.0.join("mumps"), &format!("echo 'GT.M {version} Linux x86_64'"));
    say("V6.3-014");
    std::fs::write(dist.0.join("mupip"), "").unwrap();
    let config = config("gtm", &folder.0, &format!("vendor = \"{}\"\n", dist.0.display()));
    assert_eq!(look(&inspector, "lx5", &config, false).1.version.as_deref(), Some("V6.3-014"));
    assert!(!look(&inspector, "lx5", &config, false).0);
    say("V7.0-005");
    let (news, seen) = look(&inspector, "lx5", &config, false);
    assert!(news && seen.version.as_deref() == Some("V7.0-005"), "{seen:?}");
    std::fs::remove_file(dist.0.join("mumps")).unwrap();
    assert_eq!(look(&inspector, "lx5", &config, false), (true, InstanceLook::default()), "it is gone");
}

#[test]
fn a_vendors_registry_is_asked_on_every_node_and_its_version_is_the_owners_alone() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    let (directory, tool) = (folder.0.join("c"), folder.0.join("ccontrol"));
    std::fs::create_dir_all(directory.join("mgr")).unwrap();
    let list = |version: &str| {
        let line =
            format!("CACHEHA1^{}^{version}^down, last used Fri^cache.cpf^1972^0^0^^", directory.display());
        program(&tool, &format!("[ \"$1\" = qlist ] && echo '{line}'"))
    };
    let config = config("cache", &folder.0, &list("5.2.0.300"));
    let at = |version: &str| Some(Listed::At { directory: directory.clone(), version: version.to_owned() });
    let inspector = node.hands().inspector();
    let (_, seen) = look(&inspector, "lx4", &config, false);
    assert_eq!((seen.version, seen.listed), (None, at("5.2.0.300")), "it is not held here");

    let cache = resource(&config);
    node.run(Op::Acquire, &cache).runs();
    let (_, seen) = look(&inspector, "lx4", &config, false);
    assert_eq!((seen.version.as_deref(), seen.listed), (Some("5.2.0.300"), at("5.2.0.300")));
    // Its agent has read another version since: what was read before does not come back.
    list("5.2.0.400");
    by_hand(&mut node, Hand::Status, &cache).stopped();
    let seen = &inspector.instances(&config)[&InstanceName::new("cacheha1").unwrap()];
    assert_eq!(seen.version.as_deref(), Some("5.2.0.400"));
    node.run(Op::Release, &cache).stopped();
    let (_, seen) = look(&inspector, "lx4", &config, false);
    assert_eq!((seen.version, seen.listed), (None, at("5.2.0.400")), "it went elsewhere");

    program(&tool, "echo 'no such configuration'; exit 1");
    assert_eq!(look(&inspector, "lx4", &config, false).1.listed, Some(Listed::Nowhere));
    program(&tool, "exit 127");
    assert_eq!(look(&inspector, "lx4", &config, true).1.listed, None, "that is no answer");
}

#[test]
fn a_version_command_is_run_where_the_instance_is_held_with_what_its_commands_are_told() {
    let (folder, mut node) = (Folder::new(), node("lx4", "boot-1", 7));
    std::fs::create_dir_all(folder.0.join("c/mgr")).unwrap();
    let rest = "start = \"sleep 1000 &\"\nversion = \"echo $REGENT_INSTANCE $REGENT_BOOT $REGENT_ACTION\"\n";
    let config = config("command", &folder.0, rest);
    let inspector = node.hands().inspector();
    assert_eq!(look(&inspector, "lx4", &config, true).1.version, None);
    let index = resource(&config);
    node.run(Op::Acquire, &index).runs();
    let (_, seen) = look(&inspector, "lx4", &config, false);
    assert_eq!(seen.version.as_deref(), Some("CACHEHA1 boot-1 version"), "{seen:?}");
    node.run(Op::Release, &index).stopped();
    assert!(node.guard.holds_nothing());
}
