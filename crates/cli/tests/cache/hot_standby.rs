//! The hot standby, set up by typing what the guide has typed.

use std::time::Duration;

use crate::active_active::drill_passes;
use crate::cluster::{Cluster, told};
use crate::examples::{equipment, example};
use crate::far::{Data, Far};
use crate::held::hears_of_a_power_cut;
use crate::machine::sh;
use crate::terminal::Terminal;
use crate::typed::{self, Service};
use crate::writers::nothing_is_lost_while;

const DATA: Data<'_> =
    Data { name: "cachehal", address: "10.77.0.100", port: 1972, file: "/storage2/c52ha/mumps.dat" };

const SERVICE: Service<'_> = Service {
    name: "cachehal",
    preferred: "lx4",
    address: "10.77.0.100",
    device: "/dev/san0",
    mount: "/storage2",
};

/// What stands in the first column of `ccontrol all` for an instance, as the guide's script looks for it.
fn word(cluster: &Cluster, node: &str, instance: &str) -> String {
    sh(cluster, node, &format!("ccontrol all | grep -i {instance} | awk '{{print $1}}'"))
}

/// A line of M on the node that has the instance.
pub(crate) fn m(cluster: &Cluster, node: &str, instance: &str, line: &str) -> String {
    m_if_there(cluster, node, instance, line)
        .unwrap_or_else(|| panic!("{line}: {node} is off\n{}", cluster.evidence()))
}

/// The same where the node may be off.
pub(crate) fn m_if_there(cluster: &Cluster, node: &str, instance: &str, line: &str) -> Option<String> {
    let mumps = "exec $gtm_dist/mumps -run %XCMD \"$0\"";
    let words = ["regent", "instance", "env", instance, "--", "sh", "-c", mumps, line];
    let output = cluster.lab.output(node, &words).ok()?;
    Some(told(&output).trim().to_owned())
}

#[test]
fn the_hot_standby_is_set_up_by_typing_and_loses_nothing_that_was_flushed() {
    let names = std::env::temp_dir().join(format!("regent-test-names-{}", std::process::id()));
    let equipment = equipment(&names);
    let mut words: Vec<&str> = equipment.iter().map(String::as_str).collect();
    words.extend(["--disk", "/dev/san0", "--disk", "/dev/san1"]);
    let cluster = Cluster::up_with("cachehs", &example("nodes"), &words);
    std::fs::remove_dir_all(&names).unwrap();
    let mut cluadmin = Terminal::open(&cluster.lab, "lx4", "cluadmin");
    typed::service(&mut cluadmin, &SERVICE);
    cluadmin.answers(&[("cluadmin>", "service show state"), ("running  lx4", "exit")]);
    assert_eq!(cluadmin.ends(), 0);
    the_instance_is_installed_on_both_nodes(&cluster);
    the_script_is_added(&cluster);
    typed::is_what_the_example_says(&cluster, "hot-standby");
    takeover(&cluster);
    held(&cluster);
    nothing_is_lost_while(&cluster, &DATA, |_| drop(drill_passes(&cluster)));
    cluster.one_writer();
}

/// Sections 2.2 and 3: installed where the service is; then relocated, and registered on the second node, too.
fn the_instance_is_installed_on_both_nodes(cluster: &Cluster) {
    let mut shell = Terminal::open(&cluster.lab, "lx4", "env PS1='typed> ' sh -i");
    shell.answers(&[
        ("typed>", "ccontrol create cachehal directory=/storage2/c52ha kind=gtm"),
        ("typed>", "ccontrol update cachehal license_servers=10.77.0.4,10.77.0.5"),
        ("typed>", "ccontrol start cachehal quietly; echo started with $?"),
        ("started with 0", "test -s $(ccontrol console cachehal) && ccontrol list cachehal"),
        ("running, since", "exit"),
    ]);
    assert_eq!(word(cluster, "lx4", "cachehal"), "up");
    assert_eq!(m(cluster, "lx4", "cachehal", "set ^Made=\"on lx4\" write ^Made"), "on lx4");
    sh(cluster, "lx4", "ccontrol stop cachehal quietly");
    assert_eq!(word(cluster, "lx4", "cachehal"), "dn");

    sh(cluster, "lx4", "cluadmin -- service relocate cachehal");
    cluster.online_on("cachehal", "lx5");
    installed_again(cluster);
    // Something else than before is refused, with both.
    let other = cluster.lab.output("lx5", &["ccontrol", "create", "CACHEHAL", "directory=/storage2/other"]);
    let other = other.unwrap();
    let (code, said) = (other.status.code(), told(&other));
    assert!(
        code == Some(1) && said.contains("/storage2/c52ha") && said.contains("/storage2/other"),
        "{said}"
    );
    let wrong = cluster.lab.output("lx4", &["ccontrol", "start", "cachehal", "quietly"]).unwrap();
    assert!(wrong.status.code() == Some(1) && told(&wrong).contains("which lx5 has"), "{}", told(&wrong));
    sh(cluster, "lx5", "ccontrol start cachehal quietly");
    assert_eq!(m(cluster, "lx5", "cachehal", "write ^Made"), "on lx4", "what was installed was kept");
    let versions = ["lx4", "lx5"].map(|node| sh(cluster, node, "ccontrol qlist cachehal | cut -d^ -f3"));
    assert!(versions[0] == versions[1] && versions[0].contains("7."), "{versions:?}");
    sh(cluster, "lx5", "ccontrol stop cachehal quietly");
}

/// A vendor's installation: what it finds in the directory is kept, what belongs to the node is made on it, and the
/// instance is registered.
const INSTALLATION: &str = "cd /storage2/c52ha && { test -e own.cfg || echo made on $(uname -n) > own.cfg; } && \
                            echo web server of $(uname -n) > /etc/web-cachehal.conf && \
                            ccontrol create cachehal directory=$PWD kind=gtm";

/// The guide's first way for the second node; the second one is its last line alone.
fn installed_again(cluster: &Cluster) {
    sh(cluster, "lx5", "echo changed since > /storage2/c52ha/own.cfg");
    sh(cluster, "lx4", "echo changed on lx4 > /etc/web-cachehal.conf");
    let registered =
        || ["lx4", "lx5"].map(|node| sh(cluster, node, "ccontrol qlist cachehal | cut -d^ -f1-3,6"));
    let before = registered();
    sh(cluster, "lx5", INSTALLATION);
    assert_eq!(sh(cluster, "lx5", "cat /storage2/c52ha/own.cfg"), "changed since");
    let web = ["lx4", "lx5"].map(|node| sh(cluster, node, "cat /etc/web-cachehal.conf"));
    assert_eq!(web, ["changed on lx4", "web server of lx5"], "each node has its own");
    assert_eq!(registered(), before);
    assert!(cluster.order("lx5", &["config", "show"]).contains("10.77.0.5\"]"), "license servers are kept");
}

/// Section 4: the script is added to the service that runs, and counts from its next enable on.
fn the_script_is_added(cluster: &Cluster) {
    let epoch = || crate::cluster::find(&cluster.status().unwrap(), "cachehal").epoch;
    let before = epoch();
    let mut cluadmin = Terminal::open(&cluster.lab, "lx5", "cluadmin");
    typed::script(&mut cluadmin, "cachehal", "/usr/local/etc/cachesys/cache-cachehal");
    assert_eq!(epoch(), before, "nothing was interrupted");
    what_waits_waits(cluster);
    assert_eq!(word(cluster, "lx5", "cachehal"), "dn", "nor was the script called");
    assert_eq!(epoch(), before);
    cluadmin.types("service disable cachehal");
    cluadmin.answers(&[("cluadmin>", "service enable cachehal"), ("cluadmin>", "exit")]);
    assert_eq!(cluadmin.ends(), 0);
    sh(cluster, "lx5", "cluadmin -- service relocate cachehal lx4");
    cluster.online_on("cachehal", "lx4");
    assert_eq!(word(cluster, "lx4", "cachehal"), "up", "{}", cluster.evidence());
    let clustat = sh(cluster, "lx5", "clustat");
    assert!(clustat.contains("cachehal") && clustat.contains("running  lx4"), "{clustat}");
}

/// Something else that is put in force, here a second instance, does not bring the script up, but waits with it.
fn what_waits_waits(cluster: &Cluster) {
    sh(cluster, "lx5", "ccontrol create other directory=/storage2/other kind=gtm");
    let start = cluster.lab.output("lx5", &["ccontrol", "start", "other", "quietly"]).unwrap();
    let said = told(&start);
    assert_eq!(start.status.code(), Some(1), "{said}");
    assert!(said.contains("as it was acquired") && said.contains("group restart cachehal"), "{said}");
    sh(cluster, "lx5", "ccontrol delete other");
    let status = cluster.order("lx5", &["status"]);
    assert!(status.contains("application cache-cachehal comes"), "{status}");
}

/// The owner's power is cut while one writes over the network and one beside the server.
fn takeover(cluster: &Cluster) {
    license_servers_run(cluster);
    nothing_is_lost_while(cluster, &DATA, |_| {
        cluster.lab.off("lx4").unwrap();
        cluster.online_on("cachehal", "lx5");
    });
    let license = cluster.order("lx5", &["instance", "license", "cachehal"]);
    assert_eq!(license.matches("  answers").count(), 1, "the other node's is enough:\n{license}");
    assert_eq!(word(cluster, "lx5", "cachehal"), "up");
    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    cluster.online_on("cachehal", "lx5");
    // The others count it among them before it has caught up with them.
    let knows = |s: &regent_api::Status| s.quorate && s.groups.iter().any(|g| g.name.as_str() == "cachehal");
    cluster.wait_for("lx4 knows the service", |_| cluster.status_of("lx4").as_ref().is_some_and(knows));
    assert_eq!(
        sh(cluster, "lx4", "ccontrol list cachehal | grep -i directory | awk '{print $2}'"),
        "/storage2/c52ha"
    );
}

/// Back again by another power cut, with a process in the middle of a request.
fn held(cluster: &Cluster) {
    let mut far = Far::start(cluster, &DATA);
    assert_eq!(far.insists("set ^H=1 write ^H,!"), "1");
    let at = (DATA.address, DATA.port);
    let heard = hears_of_a_power_cut(cluster, &mut far, "client", at, ("lx5", "lx4"));
    assert!(heard < Duration::from_secs(1), "{heard:?} after the address was up\n{}", cluster.evidence());
    assert_eq!(far.insists("set ^H=\"back\" write ^H,!"), "back");
    far.ends();
    cluster.online_on("cachehal", "lx4");
    cluster.lab.on("lx5").unwrap();
    cluster.is_up("lx5");
}

/// A license server on each node, at the node's own address.
fn license_servers_run(cluster: &Cluster) {
    for (node, address) in [("lx4", "10.77.0.4:4001"), ("lx5", "10.77.0.5:4001")] {
        let (ready, is_ready) = std::sync::mpsc::channel();
        let serve = move || {
            let listener = std::net::TcpListener::bind(address).unwrap();
            ready.send(()).unwrap();
            // As long as the test takes.
            drop(listener.incoming().map_while(Result::ok).collect::<Vec<_>>());
        };
        drop(cluster.lab.thread_on(node, "license", serve).unwrap());
        is_ready.recv_timeout(Duration::from_secs(10)).expect("it listens");
    }
    let license = cluster.order("lx4", &["instance", "license", "cachehal"]);
    assert_eq!(license.matches("  answers").count(), 4, "both from both:\n{license}");
}
