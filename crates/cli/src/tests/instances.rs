//! The registry on the screen, and what changes it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use jiff::tz::TimeZone;
use regent_api::{
    Answer, InstanceStatus, InstanceVerb, NodeWord, NodesAnswer, Registry, Request, SeenStatus, VersionStatus,
};
use regent_model::config::{InstanceKind, parse};
use regent_model::ids::InstanceName;
use regent_model::instance::{Condition, InstanceLook, Lock, LockFile};
use regent_model::{Epoch, NodeName};

use super::samples::{group_name, node_name};
use crate::client::Asks;
use crate::instance::{ccontrol, change, check, layout, show};
use crate::paint::Paint;
use crate::screen::Screen;
use crate::trouble::{Exit, Result};

const CONFIG: &str = r#"# The ward's cluster.
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
        lock: Some(Lock::Of(file)),
    }
}

/// An instance that runs on lx4, as lx4 sees it.
fn running(text: &str, port: u16, directory: &str) -> InstanceStatus {
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
pub(super) fn registry() -> Registry {
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
}

#[test]
fn instances_are_read_at_a_glance_and_one_in_full() {
    let mut registry = registry();
    insta::assert_snapshot!("instance_list", show::table(&registry, Paint(false)));
    let instance = &mut registry.instances[0];
    instance.here = Some(InstanceLook { listening: false, ..look("lx4") });
    let config = with_two();
    let (_, its) = config.instance(&instance.name).unwrap();
    let holder = regent_model::instance::Holder { node: "lx4", epoch: 7, online: true };
    instance.misfits = regent_model::instance::misfits(
        its,
        Some("5.2.0.400"),
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
    let mut told_otherwise = registry.clone();
    told_otherwise.instances[0].version.as_mut().unwrap().version = "6".into();
    let found = check::found(&with_two(), &told_otherwise.instances, &well);
    assert!(found[0].1.text.contains("registered as version 6, and 5.2.0.400 is installed"), "{found:?}");
    let taken = InstanceLook { listening: true, ..away() };
    let mut odd = well.clone();
    odd.told.insert(node_name("lx5"), looks(taken, look("lx5")));
    odd.told.insert(node_name("lx6"), NodeWord::Unable("it can hold nothing".into()));
    let found = check::found(&with_two(), &registry.instances, &odd);
    let told: Vec<&str> = found.iter().map(|(_, m)| m.text.as_str()).collect();
    assert!(told[0].contains("the port 1973 of CACHEHA1 is taken on lx5"), "{told:?}");
    assert!(told[1].contains("lx6 could not look"), "{told:?}");
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

/// A daemon with a configuration, and what it knows of versions.
struct Daemon {
    text: RefCell<String>,
    versions: RefCell<BTreeMap<InstanceName, String>>,
    orders: RefCell<Vec<Request>>,
}

impl Daemon {
    fn new() -> Self {
        Self { text: CONFIG.to_owned().into(), versions: RefCell::default(), orders: RefCell::default() }
    }

    fn registry(&self) -> Registry {
        let config = parse(&self.text.borrow()).config.unwrap();
        let versions = self.versions.borrow();
        let status = |(_, i): (_, &std::sync::Arc<regent_model::config::InstanceConfig>)| InstanceStatus {
            version: versions.get(&i.name).map(|v| VersionStatus {
                version: v.clone(),
                by: "told by root".into(),
                at_ms: 0,
            }),
            seen: None,
            default: i.default,
            here: Some(InstanceLook::default()),
            ..running(i.name.as_str(), i.port, &i.directory.display().to_string())
        };
        let instances = config.instances().map(status).collect();
        Registry { node: NodeName::new("lx4").unwrap(), quorate: true, instances }
    }

    fn say(&self, words: &[&str]) -> u8 {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        ccontrol::run(self, &Screen::silent(), &words)
    }

    fn change(
        &self,
        what: fn(&dyn Asks, &str, &[String]) -> Result<String>,
        words: &[&str],
    ) -> Result<String> {
        let values: Vec<String> = words[1..].iter().map(|w| (*w).to_owned()).collect();
        what(self, words[0], &values)
    }
}

impl Asks for Daemon {
    fn ask(&self, request: &Request) -> Result<Answer> {
        self.orders.borrow_mut().push(request.clone());
        Ok(match request {
            Request::Config => Answer::Config { text: self.text.borrow().clone(), serial: 1 },
            Request::Instances => Answer::Instances(Box::new(self.registry())),
            Request::Change { text, serial: 1, .. } => {
                *self.text.borrow_mut() = text.clone();
                Answer::Done("done".into())
            }
            Request::Instance { name, verb: InstanceVerb::Version { version, .. } } => {
                self.versions.borrow_mut().insert(InstanceName::new(name).unwrap(), version.clone());
                Answer::Done("done".into())
            }
            Request::Instance { name, verb: InstanceVerb::Stop } => {
                Answer::refused(format!("{name} hangs"), "force")
            }
            _ => Answer::Done("done".into()),
        })
    }
}

#[test]
fn the_guides_own_create_registers_an_instance_for_every_node_with_a_free_port() {
    let daemon = Daemon::new();
    let directory = "directory=/store1/c52ha";
    assert_eq!(daemon.say(&["create", "cacheha1", directory, "versionid=5.2.0.400"]), 0);
    assert_eq!(daemon.say(&["create", "cacheha2", "directory=/store2/c52ha2", "versionid=5.2.0.400"]), 0);
    let text = daemon.text.borrow().clone();
    assert!(text.starts_with(CONFIG.trim_end()), "comments and all stay:\n{text}");
    let config = parse(&text).config.unwrap();
    let ports: Vec<u16> = config.instances().map(|(_, i)| i.port).collect();
    assert_eq!(ports, [1972, 1973]);
    assert_eq!(daemon.versions.borrow()[&name("CacheHa2")], "5.2.0.400");
    // On the second node, or once more.
    let again =
        daemon.change(change::create, &["CACHEHA1", "directory=/store1/c52ha/", "versionid=5.2.0.400"]);
    assert!(again.unwrap().contains("already, with the same values"));
    assert_eq!(*daemon.text.borrow(), text);
}

#[test]
fn other_values_for_a_registered_name_are_refused_with_both_shown() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "versionid=5.2.0.400"]).unwrap();
    let words = ["cacheha1", "directory=/store1/other", "versionid=5.3", "port=1980"];
    let refused = daemon.change(change::create, &words).unwrap_err();
    assert_eq!(refused.exit, Exit::Refused);
    assert_eq!(
        refused.what,
        "CACHEHA1 is registered already, with other values: directory is /store1/c52ha, and /store1/other was \
         typed; port is 1972, and 1980 was typed; versionid is 5.2.0.400, and 5.3 was typed"
    );
    assert_eq!(
        refused.next,
        ["to change it: regent instance update CACHEHA1 directory=/store1/other port=1980 versionid=5.3"]
    );
}

#[test]
fn what_would_be_no_valid_configuration_is_not_put_in_force() {
    let daemon = Daemon::new();
    let refused = daemon.change(change::create, &["one", "directory=/srv/one"]).unwrap_err();
    assert!(refused.what.contains("lies on no file system of a group"), "{refused}");
    let node =
        daemon.change(change::create, &["one", "directory=/store1/one", "address=10.77.0.4"]).unwrap_err();
    assert!(node.what.contains("stays with that node"), "{node}");
    assert_eq!(*daemon.text.borrow(), CONFIG);
    for (words, what) in [
        (vec!["one"], "where is ONE installed?"),
        (vec!["one", "directory"], "is no KEY=VALUE"),
        (vec!["one", "dir=/store1/one"], "nothing that an instance has"),
        (vec!["one", "directory=/store1/one", "port=x"], "a whole number"),
        (vec!["one", "directory=/store1/one", "autostart=maybe"], "true or false"),
        (vec!["o e", "directory=/store1/one"], "no name of an instance"),
    ] {
        let trouble = daemon.change(change::create, &words).unwrap_err();
        assert!(trouble.exit == Exit::Usage && trouble.what.contains(what), "{trouble}");
    }
}

#[test]
fn an_update_changes_the_version_everywhere_or_the_configuration_in_its_place() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha"]).unwrap();
    let before = daemon.text.borrow().clone();
    assert_eq!(daemon.say(&["update", "CacheHA1", "versionid=5.2.0.400"]), 0);
    assert_eq!(
        (daemon.versions.borrow()[&name("cacheha1")].as_str(), &*daemon.text.borrow()),
        ("5.2.0.400", &before)
    );
    let servers = "license_servers=10.77.0.4,10.77.0.5";
    let data = "data_servers=cacheha2=10.77.0.101:1973";
    daemon.change(change::update, &["cacheha1", "port=1975", "autostart=yes", servers, data]).unwrap();
    let config = parse(&daemon.text.borrow()).config.unwrap();
    let (_, instance) = config.instance(&name("cacheha1")).unwrap();
    assert_eq!((instance.port, instance.autostart, instance.license_servers.len()), (1975, true, 2));
    assert_eq!(instance.data_servers[0].name, name("CACHEHA2"));
    let same = daemon.change(change::update, &["cacheha1", "port=1975"]).unwrap();
    assert!(same.contains("nothing changes"), "{same}");
    assert!(daemon.change(change::update, &["none", "port=1"]).is_err());
    assert!(daemon.change(change::update, &["cacheha1"]).is_err());
}

/// The data servers of an instance as they stand in the text.
fn servers_line(daemon: &Daemon) -> String {
    let text = daemon.text.borrow();
    text.lines().find(|l| l.starts_with("data_servers")).unwrap_or_default().to_owned()
}

#[test]
fn data_servers_are_typed_with_the_globals_that_live_there() {
    let daemon = Daemon::new();
    let one = ["cacheha1", "directory=/store1/c52ha", "kind=gtm"];
    daemon.change(change::create, &one).unwrap();
    daemon.change(change::create, &["cacheha2", "directory=/store2/c52ha2", "kind=gtm"]).unwrap();
    let at = |rest: &str| format!("data_servers=cacheha2=10.77.0.101:1973{rest}");
    let both = format!("{},far=192.9.202.8:1972/Z*@/store/mumps.dat", at("/Y*+ORDERS"));
    daemon.change(change::update, &["cacheha1", &both]).unwrap();
    let config = parse(&daemon.text.borrow()).config.unwrap();
    let servers = config.instance(&name("cacheha1")).unwrap().1.data_servers.clone();
    assert_eq!(servers[0].globals, ["Y*", "ORDERS"]);
    assert_eq!(servers[0].database, Some("/store2/c52ha2/mumps.dat".into()), "known of this cluster's own");
    assert_eq!((servers[1].globals.len(), &servers[1].database), (1, &Some("/store/mumps.dat".into())));

    // What is left out stays, and a server that is not named goes.
    daemon
        .change(change::update, &["cacheha1", "data_servers=FAR=192.9.202.9:1972,cacheha2=10.77.0.101"])
        .unwrap();
    assert_eq!(
        servers_line(&daemon),
        "data_servers = { far = { address = \"192.9.202.9:1972\", globals = [\"Z*\"], database = \
         \"/store/mumps.dat\" }, cacheha2 = { address = \"10.77.0.101\", globals = [\"Y*\", \"ORDERS\"] } }"
    );
    daemon.change(change::update, &["cacheha1", &at("")]).unwrap();
    let own =
        "data_servers = { cacheha2 = { address = \"10.77.0.101:1973\", globals = [\"Y*\", \"ORDERS\"] } }";
    assert_eq!(servers_line(&daemon), own);
    let same = daemon.change(change::update, &["cacheha1", &at("/Y*+ORDERS")]).unwrap();
    assert!(same.contains("nothing changes"), "{same}");

    // Once more on the other node: with the same globals it is the same, with others it is not.
    let create = |servers: &str| daemon.change(change::create, &[one[0], one[1], one[2], servers]);
    assert!(create(&at("/Y*+ORDERS")).unwrap().contains("the same values"));
    let other = create(&at("/Y*")).unwrap_err();
    assert!(
        other
            .what
            .contains("data_servers is CACHEHA2=10.77.0.101:1973/Y*+ORDERS@/store2/c52ha2/mumps.dat, and")
            && other.what.contains("cacheha2=10.77.0.101:1973/Y* was typed"),
        "{other}"
    );
    daemon.change(change::update, &["cacheha1", &at("/")]).unwrap();
    assert_eq!(servers_line(&daemon), "data_servers = { cacheha2 = \"10.77.0.101:1973\" }");
    daemon.change(change::update, &["cacheha1", "data_servers="]).unwrap();
    assert_eq!(servers_line(&daemon), "");
    for wrong in ["data_servers=cacheha2", "data_servers=cacheha2=/Y*", "data_servers=10.77.0.101:1973"] {
        let trouble = daemon.change(change::update, &["cacheha1", wrong]).unwrap_err();
        assert!(
            trouble.exit == Exit::Usage && trouble.what.contains("NAME=ADDRESS:PORT/GLOBAL"),
            "{trouble}"
        );
    }
    let odd = daemon.change(change::update, &["cacheha1", &at("/^Y")]).unwrap_err();
    assert!(odd.to_string().contains("without ^"), "{odd}");
}

#[test]
fn every_key_of_an_instance_can_be_typed_and_taken_out() {
    let daemon = Daemon::new();
    daemon
        .change(change::create, &["cacheha1", "directory=/store1/c52ha", "monitor=30s", "user=cacheusr"])
        .unwrap();
    let words = [
        "cacheha1",
        "monitor=failures=3,of=5,slow_after=5s",
        "retries=3",
        "restarts=1",
        "window=5m",
        "user=",
    ];
    daemon.change(change::update, &words).unwrap();
    let config = parse(&daemon.text.borrow()).config.unwrap();
    let (_, instance) = config.instance(&name("cacheha1")).unwrap();
    let monitor = &instance.monitor;
    assert_eq!((monitor.interval.as_secs(), monitor.failures, monitor.of), (30, 3, 5), "the interval stays");
    assert_eq!(
        (instance.limits.retries, instance.limits.restarts, instance.limits.window.as_secs()),
        (3, 1, 300)
    );
    assert_eq!(instance.user, None);
    let same = daemon
        .change(change::update, &["cacheha1", "window=300s", "monitor=30s", "directory=/store1/c52ha/"]);
    assert!(same.unwrap().contains("nothing changes"));
    let licensed = ["cacheha1", "license_servers=10.77.0.4,10.77.0.5"];
    daemon.change(change::update, &licensed).unwrap();
    let again = ["cacheha1", "directory=/store1/c52ha", "license_servers=10.77.0.4,10.77.0.5:4001"];
    assert!(daemon.change(change::create, &again).unwrap().contains("the same values"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/every-key.toml");
    let every: toml_edit::DocumentMut = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let told = daemon.change(change::update, &["cacheha1", "unknown=1"]).unwrap_err().to_string();
    for table in every["instance"].as_array_of_tables().unwrap() {
        for (key, _) in table.iter().filter(|(key, _)| *key != "name") {
            assert!(told.contains(&format!(" {key}")), "{key} cannot be typed: {told}");
        }
    }
}

#[test]
fn what_is_deleted_leaves_nothing_in_the_configuration() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha"]).unwrap();
    daemon.change(change::create, &["cacheha2", "directory=/store2/c"]).unwrap();
    assert_eq!(daemon.say(&["default", "CACHEHA2"]), 0);
    assert_eq!(daemon.say(&["default", "cacheha1"]), 0, "only one is");
    assert!(layout::is_default(&daemon.registry(), &daemon.registry().instances[0]));
    assert_eq!((daemon.say(&["delete", "CACHEHA2"]), daemon.say(&["delete", "cacheha1"])), (0, 0));
    assert_eq!(parse(&daemon.text.borrow()).config.unwrap().instances().count(), 0);
    assert_eq!(daemon.say(&["delete", "cacheha1"]), 1, "it is gone");
}

#[test]
fn ccontrol_ends_with_0_or_1_and_nothing_else() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha"]).unwrap();
    for (words, code) in [
        (vec!["list"], 0),
        (vec!["LIST", "CacheHA1"], 0),
        (vec!["list", "other"], 1),
        (vec!["qlist", "cacheha1"], 0),
        (vec!["all"], 0),
        (vec!["help"], 0),
        (vec![], 1),
        (vec!["console", "cacheha1"], 1),
        (vec!["start", "cacheha1", "quietly"], 0),
        (vec!["start"], 1),
        (vec!["start", "cacheha1", "other.cpf"], 1),
        (vec!["stop", "cacheha1", "quietly"], 1),
        (vec!["stopstart", "cacheha1", "quietly"], 1),
        (vec!["force", "cacheha1", "quietly"], 0),
        (vec!["create", "x"], 1),
    ] {
        assert_eq!(daemon.say(&words), code, "{words:?}");
    }
    let started = daemon.orders.borrow();
    let verbs: Vec<_> =
        started.iter().filter(|r| matches!(r, Request::Instance { verb: InstanceVerb::Start, .. })).collect();
    assert_eq!(verbs.len(), 1, "after a stop that failed nothing is started");
}

/// A daemon that does not run.
struct Nobody;

impl Asks for Nobody {
    fn ask(&self, _: &Request) -> Result<Answer> {
        Err(crate::trouble::Trouble::unreachable("the daemon of this node does not run")
            .next("regent node start"))
    }
}

#[test]
fn without_a_daemon_ccontrol_says_so_and_starts_nothing() {
    for words in [vec!["list"], vec!["all"], vec!["start", "cacheha1", "quietly"], vec!["stop", "cacheha1"]] {
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        assert_eq!(ccontrol::run(&Nobody, &Screen::silent(), &words), 1);
    }
}
