//! Shares: a real Samba server for each group, on its own addresses, beside that of another group.

use std::path::Path;
use std::time::Duration;

use regent_model::action::{Op, Resource};
use regent_model::config::{ApplicationConfig, MainProcess, SambaConfig, ShareConfig, ShareSync};

use crate::support::{Folder, Node, PATIENCE, app, application, eventually, interface, isolated, sh};

const START: &str =
    "exec smbd --foreground --no-process-group --debug-stdout --configfile=\"$REGENT_SAMBA_CONFIG\"";

/// A server that shares folders of `disk` at `address`: `data` for everybody, `own` for those who have a password.
fn server(disk: &Path, address: &str) -> Resource {
    let share = |name: &str, guests| ShareConfig {
        name: name.into(),
        path: disk.join(name),
        read_only: false,
        guests,
        users: Vec::new(),
        comment: None,
        sync: ShareSync::Always,
    };
    app(ApplicationConfig {
        samba: Some(SambaConfig {
            addresses: vec![(address.parse().unwrap(), 24)],
            state: disk.join(".regent-samba"),
            shares: vec![share("data", true), share("own", false)],
        }),
        start_timeout: Duration::from_secs(30),
        ..application(START, MainProcess::Child)
    })
}

/// A client that keeps nothing of its own.
fn smb(address: &str, share: &str, who: &str, what: &str) -> (bool, String) {
    let line = format!("smbclient -s /dev/null {who} //{address}/{share} -c '{what}' 2>&1");
    let output = std::process::Command::new("timeout").args(["20", "/bin/sh", "-c", &line]).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

const GUEST: &str = "-N";
const USER: &str = "-U games%secret7";

fn works(address: &str, share: &str, who: &str, what: &str) -> String {
    let (done, said) = smb(address, share, who, what);
    assert!(done, "{who} {what} at {address}: {said}");
    said
}

#[test]
fn what_was_written_and_who_has_a_password_is_known_on_the_next_node_and_another_group_shares_beside_it() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        sh("ip addr add 10.0.0.50/24 dev lan0 && ip addr add 10.0.0.51/24 dev lan0");
        let (disk, other_disk) = (Folder::new(), Folder::new());
        sh(&format!("chmod 755 {} {}", disk.0.display(), other_disk.0.display()));
        let (one, other) = (server(&disk.0, "10.0.0.50"), server(&other_disk.0, "10.0.0.51"));
        let (mut first, mut second) = (Node::new(), Node::new());
        first.run(Op::Acquire, &one).runs();
        second.run(Op::Acquire, &other).runs();
        first.run(Op::Monitor, &one).runs();
        let file = disk.0.join("put");
        std::fs::write(&file, "kept").unwrap();
        works("10.0.0.50", "data", GUEST, &format!("put {} there", file.display()));
        assert!(!works("10.0.0.51", "data", GUEST, "ls").contains("there"), "each has its own files");
        assert!(!smb("10.0.0.4", "data", GUEST, "ls").0, "only at the service address");
        assert!(!smb("10.0.0.50", "own", GUEST, "ls").0, "not without a password");
        let conf = first.run_dir.0.join("samba/g1/smb.conf");
        sh(&format!("printf 'secret7\\nsecret7\\n' | smbpasswd -s -c {} -a games", conf.display()));
        works("10.0.0.50", "own", USER, "ls");
        assert!(!smb("10.0.0.51", "own", USER, "ls").0, "nobody told the other one");
        assert!(!works("10.0.0.50", "data", GUEST, "ls").contains(".regent-samba"));
        first.run(Op::Release, &one).stopped();
        assert!(first.guard.holds_nothing());
        works("10.0.0.51", "data", GUEST, "ls");
        // The next node: nothing but the disk comes along.
        let mut next = Node::new();
        next.run(Op::Acquire, &one).runs();
        assert!(works("10.0.0.50", "data", GUEST, "ls").contains("there"));
        works("10.0.0.50", "data", GUEST, &format!("get there {}", disk.0.join("got").display()));
        assert_eq!(std::fs::read_to_string(disk.0.join("got")).unwrap(), "kept");
        works("10.0.0.50", "own", USER, "ls");
        next.run(Op::Release, &one).stopped();
        second.run(Op::Release, &other).stopped();
    });
}

#[test]
fn a_server_that_cannot_listen_is_not_online_and_one_that_dies_is_news() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        let disk = Folder::new();
        let Resource::Application(config) = server(&disk.0, "10.0.0.50") else { panic!("no application") };
        let quick = ApplicationConfig { start_timeout: Duration::from_secs(3), ..(*config).clone() };
        let mut node = Node::new();
        let failure = node.run(Op::Acquire, &app(quick)).failed();
        let said = format!("{} {}", failure.reason, failure.evidence);
        assert!(said.contains("No sockets available to bind to"), "{said}");
        sh("ip addr add 10.0.0.50/24 dev lan0");
        let resource = Resource::Application(config);
        node.run(Op::Acquire, &resource).runs();
        sh("ip addr del 10.0.0.50/24 dev lan0");
        let main = node.app_cgroup("app").join("main/cgroup.procs");
        sh(&format!("kill -9 $(cat {})", main.display()));
        assert!(node.notice(PATIENCE).is_some());
        node.run(Op::Release, &resource).stopped();
        eventually("it is gone", || !node.app_cgroup("app").exists());
    });
}
