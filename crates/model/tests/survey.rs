//! The nodes held side by side: every finding, with the node to do something about and what to type.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
#[path = "config/two_nodes.rs"]
mod two_nodes;

use std::collections::BTreeMap;

use regent_model::config::{Config, Port, Protocol, Severity, parse};
use regent_model::survey::{Device, Difference, Limits, Point, Seen, Survey, differences};
use regent_model::{GroupName, NodeName};

const TEXT: &str = concat!(
    two_nodes!(),
    r#"
[[group]]
name = "db"
nodes = ["lx4", "lx5"]
requires = { memory = "6G", huge_pages = 10, open_files = 100 }

[[group.filesystem]]
device = "/dev/sdc"
mount = "/var/db"
type = "ext4"

[[group.filesystem]]
local = true
devices = { lx4 = "/dev/sdx", lx5 = "/dev/sdy" }
mount = "/var/db/cache"
type = "ext4"

[[group.application]]
name = "db"
start = "/usr/sbin/dbd -c /etc/db.conf --pid /run/db.pid"
stop = "dbctl stop"
user = "db"
role = "server"
state = ["/var/db"]
ports = ["1972/tcp"]
not_at_boot = ["dbd"]

[[group]]
name = "web"
nodes = ["lx4", "lx5"]
requires = { memory = "3G", shared_memory = "1G", semaphores = 9 }
"#
);

fn config(text: &str) -> Config {
    let parsed = parse(text);
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

const GIB: u64 = 1 << 30;

/// A node without a fault.
fn fit(name: &str) -> Survey {
    let own = if name == "lx4" { "/dev/sdx" } else { "/dev/sdy" };
    let disk =
        |bytes, uuid: &str, minor| Device::Found { bytes, uuid: Some(uuid.into()), number: (8, minor) };
    Survey {
        clock_ahead_ms: -3,
        zone: "Europe/Berlin".into(),
        files: [
            ("/usr/sbin/dbd".into(), Seen::Sum("aa".into())),
            ("/etc/db.conf".into(), Seen::Sum("bb".into())),
            ("dbctl".into(), Seen::There),
        ]
        .into(),
        points: [("/var/db".into(), if name == "lx4" { Point::Mounted } else { Point::Empty })].into(),
        unprepared: BTreeMap::new(),
        users: [("db".into(), Some(990))].into(),
        devices: [
            ("/dev/sdc".into(), disk(GIB, "s", 32)),
            (own.into(), disk(GIB, name, if name == "lx4" { 1 } else { 2 })),
        ]
        .into(),
        limits: Limits {
            memory: 16 * GIB,
            huge_pages: 10,
            shared_memory: 4 * GIB,
            semaphores: 32_000,
            open_files: 100_000,
        },
        at_boot: BTreeMap::new(),
        listening: Vec::new(),
        connections: None,
        no_bind: None,
        no_address_leases: None,
        listening_everywhere: Default::default(),
        semaphores: vec![250, 32_000, 32, 128],
    }
}

/// What is found when lx5 is `changed`; the group is on lx4.
fn found(change: impl FnOnce(&mut Survey)) -> Vec<Difference> {
    let mut other = fit("lx5");
    change(&mut other);
    let surveys = [(node("lx4"), fit("lx4")), (node("lx5"), other)].into();
    let owners = [(GroupName::new("db").unwrap(), node("lx4"))].into();
    differences(&config(TEXT), &surveys, &owners)
}

#[track_caller]
fn one(change: impl FnOnce(&mut Survey), severity: Severity, topic: &str, text: &str, help: &str) {
    let found = found(change);
    let [only] = found.as_slice() else { panic!("one finding expected: {found:#?}") };
    assert_eq!((only.severity, only.topic.as_str()), (severity, topic), "{only:?}");
    assert!(only.text.contains(text), "{:?} lacks {text:?}", only.text);
    assert!(only.help.contains(help), "{:?} lacks {help:?}", only.help);
    assert!(only.nodes.contains(&node("lx5")));
}

#[test]
fn nodes_that_fit_together_have_no_finding() {
    assert_eq!(found(|_| {}), []);
}

#[test]
fn a_script_that_differs_and_one_that_is_missing_are_said_with_the_copy_to_make() {
    let set = |path: &'static str, seen| move |s: &mut Survey| drop(s.files.insert(path.into(), seen));
    one(
        set("/usr/sbin/dbd", Seen::Sum("cc".into())),
        Severity::Warning,
        "file",
        "aa on lx4; cc on lx5",
        "scp -p lx4:/usr/sbin/dbd lx5:/usr/sbin/dbd",
    );
    one(
        set("/usr/sbin/dbd", Seen::Missing("No such file".into())),
        Severity::Error,
        "program",
        "cannot be used on lx5",
        "scp -p lx4:/usr/sbin/dbd lx5:/usr/sbin/dbd",
    );
    one(
        set("/etc/db.conf", Seen::Missing("gone".into())),
        Severity::Warning,
        "file",
        "/etc/db.conf",
        "lx5:/etc/db.conf",
    );
    one(set("dbctl", Seen::Missing("none".into())), Severity::Error, "program", "dbctl", "install it on lx5");
}

#[test]
fn every_command_and_every_owner_that_a_monitor_names_is_looked_for() {
    let text = TEXT.replace(
        "stop = \"dbctl stop\"",
        "stop = \"dbctl stop\"\ncleanup = \"/opt/clean\"\nmonitor = [{ kind = \"custom\", command = \"/opt/ask\" }, \
         { kind = \"process\", processes = [\"dbd\"], owner = \"dbwatch\" }]",
    );
    let mut survey = fit("lx5");
    survey.files.extend(["/opt/clean", "/opt/ask"].map(|p| (p.into(), Seen::Missing("gone".into()))));
    survey.users.insert("dbwatch".into(), None);
    let found = differences(&config(&text), &[(node("lx5"), survey)].into(), &BTreeMap::new());
    let topics: Vec<_> = found.iter().map(|d| d.topic.as_str()).collect();
    assert_eq!(topics, ["program", "program", "user"], "{found:#?}");
    assert!(found[0].text.contains("/opt/ask (the custom monitor command of db)"), "{found:#?}");
}

#[test]
fn a_server_that_looks_configured_on_the_standby_is_said() {
    let point = |p| move |s: &mut Survey| s.points = [("/var/db".into(), p)].into();
    one(
        point(Point::Used),
        Severity::Warning,
        "mount point",
        "the server db looks configured on lx5",
        "unconfigure",
    );
    one(point(Point::Missing), Severity::Note, "mount point", "no folder /var/db", "mkdir -p /var/db");
    one(point(Point::NoFolder), Severity::Error, "mount point", "is no folder", "move it away");
    one(point(Point::Mounted), Severity::Error, "mount point", "does not own the group", "umount /var/db");
}

#[test]
fn what_is_not_prepared_is_said_with_the_command() {
    let unprepared = |s: &mut Survey| {
        s.unprepared = [(GroupName::new("db").unwrap(), vec!["to do: make the link /:".into()])].into();
    };
    one(unprepared, Severity::Warning, "preparation", "make the link /:", "regent prepare db");
}

#[test]
fn users_are_everywhere_and_have_the_same_number() {
    let user = |n| move |s: &mut Survey| s.users = [("db".into(), n)].into();
    one(user(None), Severity::Error, "user", "no user db on lx5", "useradd -r -u 990 db");
    one(user(Some(991)), Severity::Error, "user", "990 on lx4, 991 on lx5", "usermod");
}

#[test]
fn a_shared_device_is_the_same_disk_everywhere_and_a_nodes_own_is_not_compared() {
    let disk = |d: Device| move |s: &mut Survey| drop(s.devices.insert("/dev/sdc".into(), d));
    let found_as = |bytes, uuid: &str| Device::Found { bytes, uuid: Some(uuid.into()), number: (8, 32) };
    one(disk(found_as(GIB, "t")), Severity::Error, "device", "not the same disk", "/dev/disk/by-id");
    one(disk(found_as(2 * GIB, "s")), Severity::Error, "device", "not the same disk", "/dev/disk/by-id");
    one(
        disk(Device::Missing("no device".into())),
        Severity::Error,
        "device",
        "cannot be used on lx5",
        "lsblk",
    );
    let other = |s: &mut Survey| {
        let own = Device::Found { bytes: 7, uuid: None, number: (8, 2) };
        s.devices.insert("/dev/sdy".into(), own);
    };
    assert_eq!(found(other), []);
}

#[test]
fn a_device_that_is_a_volume_of_the_group_is_there_only_where_the_group_is() {
    let survey = |name: &str| {
        let mut survey = fit(name);
        let disk = survey.devices.remove(std::path::Path::new("/dev/sdc")).unwrap();
        let missing = Device::Missing("no such device".into());
        survey.devices.insert("/dev/datavg/data".into(), if name == "lx4" { disk } else { missing });
        survey
    };
    let surveys: BTreeMap<NodeName, Survey> =
        [(node("lx4"), survey("lx4")), (node("lx5"), survey("lx5"))].into();
    let owners = [(GroupName::new("db").unwrap(), node("lx4"))].into();
    let bare = TEXT.replace("/dev/sdc", "/dev/datavg/data");
    let volume = "[[group.volume]]\nvg = \"datavg\"\n\n[[group.filesystem]]\ndevice";
    let differences = |text: &str| differences(&config(text), &surveys, &owners);
    assert_eq!(differences(&bare.replacen("[[group.filesystem]]\ndevice", volume, 1)), []);
    assert_eq!(differences(&bare).len(), 1);
}

#[test]
fn two_names_for_one_disk_and_two_disks_with_one_identity_are_said() {
    let own = |uuid: &str, minor| {
        let device = Device::Found { bytes: GIB, uuid: Some(uuid.into()), number: (8, minor) };
        move |s: &mut Survey| drop(s.devices.insert("/dev/sdy".into(), device))
    };
    one(own("lx5", 32), Severity::Error, "device", "are one device on lx5", "a disk of its own");
    one(own("s", 9), Severity::Error, "device", "by its UUID", "tune2fs -U random");
}

#[test]
fn what_all_groups_of_a_node_want_together_is_held_against_its_kernel() {
    let limit = |change: fn(&mut Limits)| move |s: &mut Survey| change(&mut s.limits);
    one(limit(|l| l.memory = 8 * GIB), Severity::Warning, "limit", "9663676416", "memory");
    one(
        limit(|l| l.huge_pages = 9),
        Severity::Warning,
        "limit",
        "grants 9 huge pages",
        "vm.nr_hugepages = 10",
    );
    one(limit(|l| l.shared_memory = 1), Severity::Warning, "limit", "want 1073741824 (web)", SHARED);
    one(limit(|l| l.semaphores = 8), Severity::Warning, "limit", "want 9", "kernel.sem = 250 9 32 128\\n");
    one(limit(|l| l.open_files = 99), Severity::Warning, "limit", "open files", "fs.file-max = 100");
}

const SHARED: &str = "on lx5: printf 'kernel.shmmax = 1073741824\\nkernel.shmall = 262144\\n' >> \
                      /etc/sysctl.d/60-regent.conf && sysctl -p /etc/sysctl.d/60-regent.conf";

#[test]
fn groups_that_avoid_each_other_are_never_added_up() {
    let text = TEXT.replace(
        "requires = { memory = \"3G\"",
        "different_node_from = [\"db\"]\nrequires = { memory = \"3G\"",
    );
    let with = |memory: u64| {
        let mut survey = fit("lx5");
        survey.limits.memory = memory;
        differences(&config(&text), &[(node("lx5"), survey)].into(), &BTreeMap::new())
    };
    assert_eq!(with(6 * GIB), []);
    let found = with(6 * GIB - 1);
    assert!(found[0].text.contains("want 6442450944 (db)"), "{found:?}");
}

#[test]
fn a_port_at_the_groups_own_address_is_taken_only_by_who_listens_at_every_address() {
    let bound = TEXT
        .replace("[[group.application]]", "[[group.address]]\naddress = \"10.77.0.100/24\"\n\n[[group.application]]\nbind = \"service-address\"")
        .replace("semaphores = 9 }", "semaphores = 9, ports = [\"80/tcp\"] }");
    let found = |port, everywhere: bool| {
        let mut other = fit("lx5");
        let port = Port { number: port, protocol: Protocol::Tcp };
        other.listening = vec![(port, "process 1 (x)".into())];
        other.listening_everywhere.extend(everywhere.then_some(port));
        let owners = ["db", "web"].map(|g| (GroupName::new(g).unwrap(), node("lx4"))).into();
        let surveys = [(node("lx4"), fit("lx4")), (node("lx5"), other)].into();
        differences(&config(&bound), &surveys, &owners).into_iter().map(|d| d.text).collect::<Vec<_>>()
    };
    assert_eq!(found(1972, false), Vec::<String>::new());
    assert_eq!(found(1972, true), ["db wants the port 1972/tcp, which process 1 (x) has on lx5"]);
    assert_eq!(found(80, false), ["web wants the port 80/tcp, which process 1 (x) has on lx5"]);
}

#[test]
fn rotating_groups_are_added_up_for_the_node_that_is_left_with_them_all() {
    let rotating = |memory: &str| {
        let address = |n| format!("[[group.address]]\naddress = \"10.77.0.10{n}/24\"\n");
        let text = TEXT
            .replace(
                "nodes = [\"lx4\", \"lx5\"]\nreq",
                "nodes = [\"lx4\", \"lx5\"]\npolicy = \"rotating\"\nreq",
            )
            .replace("\"6G\"", &format!("\"{memory}\""))
            .replace("[[group]]\nname = \"web\"", &format!("{}\n[[group]]\nname = \"web\"", address(0)))
            + &address(1);
        let surveys = [(node("lx5"), fit("lx5"))].into();
        let owners = [(GroupName::new("db").unwrap(), node("lx4"))].into();
        differences(&config(&text), &surveys, &owners)
    };
    assert_eq!(rotating("13G"), []);
    assert!(rotating("14G")[0].text.contains("all groups that may be there at once want 18253611008"));
    assert_eq!(rotating("16777215T").len(), 1, "more than can be counted");
}

#[test]
fn ports_that_others_have_and_services_that_start_by_themselves_are_said() {
    let port = Port { number: 1972, protocol: Protocol::Tcp };
    let listening = move |s: &mut Survey| s.listening = vec![(port, "process 7 (nginx)".into())];
    one(listening, Severity::Warning, "port", "process 7 (nginx) has on lx5", "end it");
    let boot = |s: &mut Survey| s.at_boot = [("dbd".into(), "/etc/rc3.d/S20dbd".into())].into();
    one(boot, Severity::Error, "boot", "/etc/rc3.d/S20dbd", "systemctl disable dbd");
}

#[test]
fn clocks_that_are_apart_and_zones_that_differ_are_said() {
    one(|s| s.clock_ahead_ms = 5000, Severity::Warning, "clock", "5000 ms ahead of", "chrony");
    one(|s| s.clock_ahead_ms = -5000, Severity::Warning, "clock", "behind", "chrony");
    one(
        |s| s.zone = "UTC".into(),
        Severity::Warning,
        "clock",
        "Europe/Berlin on lx4, UTC on lx5",
        "timedatectl",
    );
}

#[test]
fn a_node_that_said_nothing_hides_nothing_of_the_others() {
    let surveys = [(node("lx4"), Survey { zone: "UTC".into(), ..fit("lx4") })].into();
    assert_eq!(
        differences(&config(TEXT), &surveys, &BTreeMap::new()).len(),
        1,
        "lx4 has it mounted and does not own it"
    );
}

#[test]
fn a_kernel_that_cannot_tell_clients_is_said_where_an_address_wants_it() {
    let found = |more: &str| {
        let text = format!("{TEXT}\n[[group.address]]\naddress = \"10.77.0.100/24\"\n{more}");
        let lacks = Some("it cannot end a TCP connection".to_owned());
        let other = Survey { connections: lacks, ..fit("lx5") };
        let surveys = [(node("lx4"), fit("lx4")), (node("lx5"), other)].into();
        let owners = [(GroupName::new("db").unwrap(), node("lx4"))].into();
        differences(&config(&text), &surveys, &owners)
    };
    let told = found("");
    assert!(
        told.len() == 1 && told[0].severity == Severity::Warning && told[0].topic == "clients",
        "{told:?}"
    );
    assert!(told[0].text.contains("of the kernel of lx5: it cannot end"), "{told:?}");
    assert!(told[0].help.contains("modprobe tcp_diag"), "{told:?}");
    assert_eq!(found("tickle = false"), []);
}

#[test]
fn an_init_script_is_there_and_the_same_on_every_node_and_on_the_groups_disk_where_that_is_mounted() {
    let text = TEXT
        .replace(
            "start = \"/usr/sbin/dbd -c /etc/db.conf --pid /run/db.pid\"",
            "script = \"/etc/init.d/db one\"",
        )
        .replace("stop = \"dbctl stop\"\n", "");
    let found = |text: &str, here: Option<Seen>, there: Option<Seen>| {
        let with = |name: &str, seen: Option<Seen>| {
            let mut survey = fit(name);
            let path = if text.contains("/var/db/init") { "/var/db/init" } else { "/etc/init.d/db" };
            survey.files = seen.into_iter().map(|seen| (path.into(), seen)).collect();
            (node(name), survey)
        };
        let owners = [(GroupName::new("db").unwrap(), node("lx4"))].into();
        differences(&config(text), &[with("lx4", here), with("lx5", there)].into(), &owners)
    };
    let (sum, other) = (|| Some(Seen::Sum("aa".into())), || Some(Seen::Sum("bb".into())));
    assert_eq!(found(&text, sum(), sum()), []);
    let differ = found(&text, sum(), other());
    assert!(differ[0].text.contains("/etc/init.d/db (the script of db) is not the same"), "{differ:?}");
    let gone = found(&text, sum(), Some(Seen::Missing("it is not executable".into())));
    assert_eq!(gone[0].severity, Severity::Error);
    assert!(gone[0].text.contains("cannot be used on lx5: it is not executable"), "{gone:?}");
    // On the group's own file system only its owner can look.
    let moved = text.replace("/etc/init.d/db", "/var/db/init");
    assert_eq!(found(&moved, sum(), None), []);
    let gone = found(&moved, Some(Seen::Missing("No such file".into())), None);
    assert!(gone[0].text.contains("/var/db/init (the script of db) cannot be used on lx4"), "{gone:?}");
}

#[test]
fn a_node_that_cannot_send_wildcard_binds_to_the_service_address_is_said_before_it_is_needed() {
    let text = TEXT.replace(
        "[[group.application]]",
        "[[group.address]]\naddress = \"10.77.0.100/24\"\n\n[[group.application]]\nbind = \"service-address\"",
    );
    let mut other = fit("lx5");
    other.no_bind = Some("this kernel has none of it".into());
    let owners = [(GroupName::new("db").unwrap(), node("lx4"))].into();
    let found =
        differences(&config(&text), &[(node("lx4"), fit("lx4")), (node("lx5"), other)].into(), &owners);
    let [only] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((only.severity, only.topic.as_str()), (Severity::Error, "bind"));
    assert!(
        only.text.contains("db cannot be started on lx5 with `bind`: this kernel has none of it"),
        "{only:?}"
    );
}

#[test]
fn a_kernel_that_cannot_end_addresses_is_said_where_the_end_of_a_lease_is_a_proof() {
    let found = |needs: &str| {
        let address = "[[group.address]]\naddress = \"10.77.0.100/24\"\ntickle = false\n";
        let text = format!("{TEXT}{needs}\n{address}");
        let mut other = fit("lx5");
        other.no_address_leases = Some("it is too old".into());
        differences(&config(&text), &[(node("lx5"), other)].into(), &BTreeMap::new())
    };
    let told = found("");
    let [only] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!((only.severity, only.topic.as_str()), (Severity::Warning, "address lease"));
    assert!(only.text.contains("of lx5: it is too old; only the guard"), "{only:?}");
    assert_eq!(found("needs = [\"fenced\"]"), []);
}
