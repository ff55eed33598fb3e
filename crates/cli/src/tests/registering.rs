//! Registering instances by what is typed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use regent_api::{Answer, InstanceStatus, InstanceVerb, Registry, Request, VersionStatus};
use regent_model::NodeName;
use regent_model::config::parse;
use regent_model::ids::InstanceName;
use regent_model::instance::InstanceLook;

use super::instances::{CONFIG, name, running};
use crate::client::Asks;
use crate::instance::{ccontrol, change, layout, ports};
use crate::screen::Screen;
use crate::trouble::{Exit, Result};

/// A daemon with a configuration, and what it knows of versions.
pub(super) struct Daemon {
    pub(super) text: RefCell<String>,
    pub(super) versions: RefCell<BTreeMap<InstanceName, String>>,
    pub(super) orders: RefCell<Vec<Request>>,
    /// What it answers when a configuration is in force.
    in_force: &'static str,
}

impl Daemon {
    pub(super) fn new() -> Self {
        Self {
            text: CONFIG.to_owned().into(),
            versions: RefCell::default(),
            orders: RefCell::default(),
            in_force: "configuration 2 is in force",
        }
    }

    pub(super) fn registry(&self) -> Registry {
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
            kind: i.kind,
            here: Some(InstanceLook::default()),
            ..running(i.name.as_str(), i.port, &i.directory.display().to_string())
        };
        let instances = config.instances().map(status).collect();
        Registry { node: NodeName::new("lx4").unwrap(), quorate: true, instances }
    }

    pub(super) fn say(&self, words: &[&str]) -> u8 {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        ccontrol::run(self, &Screen::silent(), &words)
    }

    pub(super) fn change(
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
                Answer::Done(self.in_force.into())
            }
            Request::Instance { name, verb: InstanceVerb::Version { version, .. }, .. } => {
                self.versions.borrow_mut().insert(InstanceName::new(name).unwrap(), version.clone());
                Answer::Done("done".into())
            }
            Request::Instance { name, verb: InstanceVerb::Stop, .. } => {
                Answer::refused(format!("{name} hangs"), "force")
            }
            _ => Answer::Done("done".into()),
        })
    }
}

/// Folders as the storage of both groups, with a Caché in the first one and nothing in the other.
fn installed() -> (std::path::PathBuf, Daemon) {
    let folder = std::env::temp_dir().join(format!("regent-test-kinds-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("store1/c52ha")).unwrap();
    std::fs::create_dir_all(folder.join("store2/c52ha2")).unwrap();
    std::fs::write(folder.join("store1/c52ha/cache.cpf"), "[ConfigFile]\n").unwrap();
    let daemon = Daemon::new();
    *daemon.text.borrow_mut() = CONFIG.replace("\"/store", &format!("\"{}/store", folder.display()));
    (folder, daemon)
}

#[test]
fn the_guides_own_create_registers_an_instance_for_every_node_with_a_free_port() {
    let (folder, daemon) = installed();
    let begun = daemon.text.borrow().clone();
    let (at, version) = (folder.display(), "versionid=5.2.0.400");
    let (first, second) = (format!("directory={at}/store1/c52ha"), format!("directory={at}/store2/c52ha2"));
    let done = daemon.change(change::create, &["cacheha1", &first, version]).unwrap();
    assert_eq!(
        done,
        "CACHEHA1 is registered on every node, as an instance of the kind cache, with the free port 1972"
    );
    assert_eq!(daemon.say(&["create", "cacheha2", &second, version]), 0);
    let away =
        daemon.change(change::create, &["three", &format!("directory={at}/store1/three")]).unwrap_err();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(away.what.contains("here (yet): what is THREE?") && away.next[0].contains("kind=gtm"), "{away}");
    let word = daemon.change(change::create, &["quietly", "directory=/store1/q", "kind=gtm"]).unwrap_err();
    assert!(word.what.contains("QUIETLY is a word of ccontrol"), "{word}");
    let text = daemon.text.borrow().clone();
    assert!(text.starts_with(begun.trim_end()), "comments and all stay:\n{text}");
    let config = parse(&text).config.unwrap();
    let ports: Vec<_> = config.instances().map(|(_, i)| (i.port, i.kind.word())).collect();
    assert_eq!(ports, [(1972, "cache"), (1973, "gtm")]);
    assert_eq!(daemon.versions.borrow()[&name("CacheHa2")], "5.2.0.400");
    // On the second node, or once more: the storage need not be there.
    let again = daemon.change(change::create, &["CACHEHA1", &format!("{first}/"), version]);
    assert!(again.unwrap().contains("already, with the same values"));
    assert_eq!(*daemon.text.borrow(), text);
}

#[test]
fn a_port_is_free_that_nothing_claims_and_where_nobody_listens() {
    let needs = "needs = [\"lease-ended\"]\n";
    let text =
        CONFIG.replacen(needs, &format!("{needs}requires = {{ ports = [\"1972/tcp\"] }}\n"), 1).replacen(
            "address = \"10.77.0.100/24\"\n",
            "address = \"10.77.0.100/24\"\nportal = 1975\n[[group.application]]\nname = \"web\"\n\
             start = \"/usr/bin/web\"\nports = [\"1973/tcp\", \"1974/udp\"]\n",
            1,
        );
    let parsed = parse(&text);
    let config = parsed.config.unwrap_or_else(|| panic!("{:#?}", parsed.findings));
    assert_eq!(ports::free(&config, BTreeSet::new), 1974, "UDP is something else");
    assert_eq!(ports::free(&config, || [1974, 1976].into()), 1977);
}

#[test]
fn other_values_for_a_registered_name_are_refused_with_both_shown() {
    let daemon = Daemon::new();
    daemon
        .change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=gtm", "versionid=5.2.0.400"])
        .unwrap();
    let words = ["cacheha1", "directory=/store1/other", "kind=gtm", "versionid=5.3", "port=1980"];
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
    let refused = daemon.change(change::create, &["one", "directory=/srv/one", "kind=gtm"]).unwrap_err();
    assert!(refused.what.contains("lies on no file system of a group"), "{refused}");
    let node = daemon
        .change(change::create, &["one", "directory=/store1/one", "kind=gtm", "address=10.77.0.4"])
        .unwrap_err();
    assert!(node.what.contains("stays with that node"), "{node}");
    assert_eq!(*daemon.text.borrow(), CONFIG);
    for (words, what) in [
        (vec!["one"], "where is ONE installed?"),
        (vec!["one", "directory"], "is no KEY=VALUE"),
        (vec!["one", "dir=/store1/one"], "nothing that an instance has"),
        (vec!["one", "directory=/store1/one", "port=x"], "a whole number"),
        (vec!["one", "directory=/store1/one", "kind=gtm", "autostart=maybe"], "true or false"),
        (vec!["o e", "directory=/store1/one", "kind=gtm"], "no name of an instance"),
    ] {
        let trouble = daemon.change(change::create, &words).unwrap_err();
        assert!(trouble.exit == Exit::Usage && trouble.what.contains(what), "{trouble}");
    }
}

#[test]
fn an_update_changes_the_version_everywhere_or_the_configuration_in_its_place() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=gtm"]).unwrap();
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

#[test]
fn who_changes_the_registry_while_another_one_has_its_lock_is_told() {
    let lock = "configuration 2 is in force; root on lx5 is changing it too, with cluadmin, and will be told";
    let daemon = Daemon { in_force: lock, ..Daemon::new() };
    let remark = format!("\nnote: {lock}");
    for (what, words) in [
        (
            change::create as fn(&dyn Asks, &str, &[String]) -> Result<String>,
            vec!["one", "directory=/store1/one", "kind=gtm"],
        ),
        (change::update, vec!["one", "port=1980"]),
        (|asks: &dyn Asks, name: &str, _: &[String]| change::make_default(asks, name), vec!["one"]),
        (|asks: &dyn Asks, name: &str, _: &[String]| change::delete(asks, name), vec!["one"]),
    ] {
        let done = daemon.change(what, &words).unwrap();
        assert!(done.ends_with(&remark), "{done}");
    }
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
        .change(
            change::create,
            &["cacheha1", "directory=/store1/c52ha", "kind=gtm", "monitor=30s", "user=cacheusr"],
        )
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
    let diagnosed = |typed: &str| {
        daemon.change(change::update, &["cacheha1", typed]).unwrap();
        let config = parse(&daemon.text.borrow()).config.unwrap();
        let diagnose = config.instance(&name("cacheha1")).unwrap().1.diagnose.clone();
        diagnose.map(|d| (d.command.unwrap_or_default(), d.budget.as_secs()))
    };
    assert_eq!(diagnosed("diagnose=no"), None);
    assert_eq!(diagnosed("diagnose=/x dump a=1,b"), Some(("/x dump a=1,b".to_owned(), 5)));
    assert_eq!(diagnosed("diagnose=timeout=9s"), Some(("/x dump a=1,b".to_owned(), 9)));
    assert_eq!(diagnosed("diagnose="), Some((String::new(), 5)));
    let same = daemon.change(
        change::update,
        &["cacheha1", "window=300s", "monitor=30s", "directory=/store1/c52ha/", "kind=gtm"],
    );
    assert!(same.unwrap().contains("nothing changes"));
    let licensed = ["cacheha1", "license_servers=10.77.0.4,10.77.0.5"];
    daemon.change(change::update, &licensed).unwrap();
    let again =
        ["cacheha1", "directory=/store1/c52ha", "kind=gtm", "license_servers=10.77.0.4,10.77.0.5:4001"];
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
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=gtm"]).unwrap();
    daemon.change(change::create, &["cacheha2", "directory=/store2/c", "kind=gtm"]).unwrap();
    assert_eq!(daemon.say(&["default", "CACHEHA2"]), 0);
    assert_eq!(daemon.say(&["default", "cacheha1"]), 0, "only one is");
    assert!(layout::is_default(&daemon.registry(), &daemon.registry().instances[0]));
    assert_eq!((daemon.say(&["delete", "CACHEHA2"]), daemon.say(&["delete", "cacheha1"])), (0, 0));
    assert_eq!(parse(&daemon.text.borrow()).config.unwrap().instances().count(), 0);
    assert_eq!(daemon.say(&["delete", "cacheha1"]), 1, "it is gone");
}
