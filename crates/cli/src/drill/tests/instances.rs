//! What a drill expects of instances, and where it asks what has a portal.

use regent_api::VersionStatus;
use regent_model::ids::InstanceName;
use regent_model::instance::Condition;

use super::*;
use crate::drill::instance::{running, up, versions};

const CONFIG: &str = r#"
[cluster]
name = "ward7"
[[node]]
name = "lx4"
addresses = ["10.77.0.4", "2001:db8::4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5", "2001:db8::5"]
[[witness]]
name = "wit"
addresses = ["10.77.0.3", "2001:db8::3"]
[[fence]]
name = "power"
agent = "/usr/sbin/fence_lab"
nodes = ["lx4", "lx5"]

[[group]]
name = "cacheha1"
nodes = ["lx4", "lx5"]
policy = { startup = "home", failover = "next", failback = "never" }
[[group.filesystem]]
device = "/dev/sdc1"
mount = "/store1"
type = "ext4"
[[group.address]]
address = "10.77.0.100/24"
portal = 8080
[[group.address]]
address = "2001:db8::100/64"
portal = 8080
[[instance]]
name = "cacheha1"
kind = "gtm"
directory = "/store1/c"
port = 1972
address = "10.77.0.100"
autostart = true

[[group]]
name = "cacheha2"
nodes = ["lx5", "lx4"]
policy = { startup = "home", failover = "next", failback = "never" }
[[group.filesystem]]
device = "/dev/sdd1"
mount = "/store2"
type = "ext4"
[[group.address]]
address = "10.77.0.101/24"
[[group.application]]
name = "cache"
script = "/usr/local/etc/cache"
[[instance]]
name = "cacheha2"
kind = "gtm"
directory = "/store2/c"
port = 1973
[[instance]]
name = "idle"
kind = "gtm"
directory = "/store2/idle"
port = 1974
"#;

fn config() -> Config {
    let parsed = parse_config(CONFIG);
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

fn name(text: &str) -> InstanceName {
    InstanceName::new(text).unwrap()
}

fn registry() -> Registry {
    crate::tests::instances::registry()
}

/// The instance CACHEHA1 runs where its group is.
fn follows(status: &Status) -> Registry {
    let mut registry = registry();
    let group = status.groups.iter().find(|g| g.name.as_str() == "cacheha1").unwrap();
    registry.instances[0].owner.clone_from(&group.owner);
    let seen = registry.instances[0].seen.as_mut().unwrap();
    seen.node = group.owner.as_ref().unwrap().to_string();
    registry
}

/// As it does, and on lx5 another version is installed.
fn follows_in_another_version(status: &Status) -> Registry {
    let mut registry = follows(status);
    if registry.instances[0].owner == Some(node("lx5")) {
        let by = "read by lx5".to_owned();
        registry.instances[0].version =
            Some(VersionStatus { version: "5.2.1".into(), by, at_ms: 1_157_097_600_000 });
    }
    registry
}

#[test]
fn the_guides_plan_asks_portals_and_instances_and_expects_instances_that_run() {
    let running = [name("cacheha1"), name("cacheha2")].into();
    let plan = guide::plan(&config(), &status(), &running).unwrap();
    insta::assert_snapshot!(plan);
    let read = parse(&plan);
    assert_eq!(read.findings, []);
    assert_eq!(check(&read.steps, &config(), Ground::Lab), []);
    // One that nothing starts again is not expected to be there.
    let by_hand = CONFIG.replace("autostart = true", "");
    let plan = guide::plan(&parse_config(&by_hand).config.unwrap(), &status(), &running).unwrap();
    assert!(plan.contains("#   instance CACHEHA1: nothing of cacheha1 starts it\n"), "{plan}");
    assert!(!plan.contains("EXPECT INSTANCE CACHEHA1"), "{plan}");
}

#[test]
fn what_is_expected_of_an_instance_is_held_against_the_cluster() {
    let text = "EXPECT INSTANCE nothing UP\nEXPECT INSTANCE cacheha1 UP ON lx9\nFAIL_NODE lx4\n\
                EXPECT INSTANCE cacheha1 UP ON lx4\nEXPECT INSTANCE cacheha1 UP ON lx5 WITHIN 5s\nRETURN_NODE lx4\n";
    let read = parse(text);
    assert_eq!(read.findings, []);
    insta::assert_snapshot!(shown(text, &check(&read.steps, &config(), Ground::Lab)));
}

#[test]
fn an_instance_is_up_where_its_owner_has_seen_it_run_in_the_version_that_it_had() {
    let before = versions(&registry());
    let is = |registry: &Registry, on: &str, failed: &[&str]| {
        let failed = failed.iter().map(|n| node(n)).collect();
        up(registry, &name("cacheha1"), Some(&node(on)), &failed, &before)
    };
    assert_eq!(is(&registry(), "lx4", &[]).unwrap(), "CACHEHA1 is running on lx4, version 5.2.0.400");
    assert_eq!(is(&registry(), "lx5", &[]).unwrap_err(), "CACHEHA1 is running on lx4, version 5.2.0.400");
    assert!(is(&registry(), "lx4", &["lx4"]).unwrap_err().contains("which has failed"));
    let mut other = registry();
    other.instances[0].seen.as_mut().unwrap().condition = Condition::Crashed;
    assert!(is(&other, "lx4", &[]).unwrap_err().starts_with("CACHEHA1 is crashed on lx4"));
    assert!(!running(&other).contains(&name("cacheha1")));
    // What the owner before said is not the owner's word.
    let mut other = registry();
    other.instances[0].owner = Some(node("lx5"));
    assert!(is(&other, "lx5", &[]).unwrap_err().contains("has not said how CACHEHA1 is"));
    assert_eq!(running(&other), [name("cacheha2")].into());
    let mut other = registry();
    other.quorate = false;
    assert!(is(&other, "lx4", &[]).is_err());
    let mut other = registry();
    other.instances[0].version = None;
    assert!(is(&other, "lx4", &[]).unwrap_err().ends_with("it was 5.2.0.400 when the drill began"));
}

const PLAN: &str = "EXPECT INSTANCE cacheha1 UP ON lx4 WITHIN 5s\n\
                    FAIL_NODE lx4\n\
                    EXPECT INSTANCE cacheha1 UP ON lx5 WITHIN 5s\n";

#[test]
fn an_instance_that_is_taken_over_is_up_there_and_one_of_another_version_fails_the_drill() {
    let mut stage = Scripted { registry: |status| Some(follows(status)), ..good() };
    let run = stage.play(PLAN);
    assert_eq!(outcomes(&run), [Outcome::Held; 3], "{run:#?}");
    assert_eq!(run.steps[2].seen, "CACHEHA1 is running on lx5, version 5.2.0.400");
    let mut stage = Scripted { registry: |status| Some(follows_in_another_version(status)), ..good() };
    let run = stage.play(PLAN);
    assert_eq!(outcomes(&run), [Outcome::Held, Outcome::Held, Outcome::Failed], "{run:#?}");
    assert!(run.steps[2].seen.contains("it was 5.2.0.400 when the drill began"), "{}", run.steps[2].seen);
}

#[test]
fn a_drill_that_expects_an_instance_does_not_begin_without_the_registry() {
    let mut stage = good();
    let refused = run(&mut stage, &parse(PLAN).steps, &mut |_, _, _| Ok(())).unwrap_err();
    assert_eq!(refused.what, "nobody knows of instances");
    assert_eq!(stage.done, Vec::<String>::new(), "nothing was done");
}
