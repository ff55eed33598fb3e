//! Two instances on two nodes that use each other's data, before, during and after a takeover, and the guide's test
//! procedure.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, regent, told};
use crate::examples::{equipment, example};
use crate::far::{Data, Far};
use crate::held::hears_of_a_power_cut;
use crate::hot_standby::m;
use crate::machine::sh;
use crate::portal::page_names;
use crate::terminal::Terminal;
use crate::typed::{self, Service};
use crate::writers::nothing_is_lost_while;

/// A line of M on whichever node has the instance, tried until it is no error.
fn insists(cluster: &Cluster, instance: &str, line: &str) -> String {
    let (began, mut said) = (Instant::now(), String::new());
    while began.elapsed() < Duration::from_secs(40) {
        let owner = cluster.status().and_then(|s| crate::cluster::find(&s, instance).owner.clone());
        if let Some(owner) = owner.filter(|o| cluster.status_of(o.as_str()).is_some()) {
            said = m(cluster, owner.as_str(), instance, line);
            if !said.is_empty() && !said.contains("%GTM") && !said.contains("regent") {
                return said;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{line} at {instance}: {said}\n{}", cluster.evidence())
}

/// Each sets a global of the other's, and both see both.
fn each_uses_the_others_data(cluster: &Cluster, round: u32) {
    insists(cluster, "cacheha1", &format!("set ^XA={round} write ^XA"));
    insists(cluster, "cacheha2", &format!("set ^YA={round} write ^YA"));
    assert_eq!(insists(cluster, "cacheha1", "write ^YA"), round.to_string());
    assert_eq!(insists(cluster, "cacheha2", "write ^XA"), round.to_string());
    assert_eq!(insists(cluster, "cacheha1", &format!("set ^YB={round} write ^YB")), round.to_string());
    assert_eq!(insists(cluster, "cacheha2", "write ^YB"), round.to_string(), "written by the other one");
}

const SERVICES: [Service<'_>; 2] = [
    Service {
        name: "cacheha1",
        preferred: "lx4",
        address: "10.77.0.101",
        device: "/dev/san0",
        mount: "/store1",
    },
    Service {
        name: "cacheha2",
        preferred: "lx5",
        address: "10.77.0.102",
        device: "/dev/san1",
        mount: "/store2",
    },
];

/// The guide's two data servers, each installed on its own node and told of the other; then their scripts, and what of the
/// example the guide's dialogue has no question for.
fn two_services_with_an_instance_each_are_typed(cluster: &Cluster) {
    let mut cluadmin = Terminal::open(&cluster.lab, "lx4", "cluadmin");
    SERVICES.iter().for_each(|service| typed::service(&mut cluadmin, service));
    for (service, port) in SERVICES.iter().zip([1972, 1973]) {
        let Service { name, preferred, mount, .. } = service;
        cluster.online_on(name, preferred);
        let number = &name["cacheha".len()..];
        let mut shell = Terminal::open(&cluster.lab, preferred, "env PS1='typed> ' sh -i");
        shell.answers(&[
            ("typed>", &format!("ccontrol create {name} directory={mount}/c52ha{number} kind=gtm")),
            ("typed>", &format!("ccontrol update {name} license_servers=10.77.0.4,10.77.0.5")),
            ("typed>", &format!("ccontrol list {name}")),
            (&format!("SuperServer port = {port}"), "exit"),
        ]);
    }
    sh(cluster, "lx4", "ccontrol update cacheha1 data_servers=cacheha2=10.77.0.102:1973/Y*");
    sh(cluster, "lx5", "ccontrol update cacheha2 data_servers=cacheha1=10.77.0.101:1972/X*");
    for Service { name, .. } in &SERVICES {
        typed::script(&mut cluadmin, name, &format!("/usr/local/etc/cachesys/cache-{name}"));
        // At the next prompt.
        cluadmin.types(&format!("service disable {name}"));
        cluadmin.answers(&[("cluadmin>", &format!("service enable {name}"))]);
    }
    cluadmin.answers(&[("cluadmin>", "exit")]);
    assert_eq!(cluadmin.ends(), 0);
    typed::is_what_the_example_says(cluster, "active-active");
    cluster.apply("lx5", &example("active-active"));
}

#[test]
fn two_data_servers_use_each_others_data_through_a_takeover_and_pass_the_guides_test_procedure() {
    let names = std::env::temp_dir().join(format!("regent-test-names-aa-{}", std::process::id()));
    let equipment = equipment(&names);
    let mut words: Vec<&str> = equipment.iter().map(String::as_str).collect();
    words.extend(["--disk", "/dev/san0", "--disk", "/dev/san1"]);
    let cluster = Cluster::up_with("cacheaa", &example("nodes"), &words);
    std::fs::remove_dir_all(&names).unwrap();
    two_services_with_an_instance_each_are_typed(&cluster);
    cluster.online_on("cacheha1", "lx4");
    cluster.online_on("cacheha2", "lx5");
    each_uses_the_others_data(&cluster, 1);
    page_names(&cluster, "10.77.0.102", "cacheha2", "lx5", "/store2/c52ha2");
    // An instance whose node is lost: a process of the other one, in the middle of a request to it, hears of it on the
    // very node that takes it over, and goes on with the same data.
    let mut beside = Far::start_beside(&cluster, "lx4", "cacheha1");
    assert_eq!(beside.insists("write ^YA,!"), "1");
    let at = ("10.77.0.102", 1973);
    let heard = hears_of_a_power_cut(&cluster, &mut beside, "lx4", at, ("lx5", "lx4"));
    assert!(heard < Duration::from_secs(1), "{heard:?} after the address was up\n{}", cluster.evidence());
    assert_eq!(beside.insists("write ^YA,!"), "1");
    beside.ends();
    cluster.online_on("cacheha2", "lx4");
    each_uses_the_others_data(&cluster, 2);
    let both = sh(&cluster, "lx4", "ccontrol all | awk '$1 == \"up\" { print $2 }' | sort | tr '\\n' ' '");
    assert_eq!(both, "CACHEHA1 CACHEHA2", "both on one node, each at its port");
    page_names(&cluster, "10.77.0.102", "cacheha2", "lx4", "/store2/c52ha2");
    cluster.lab.on("lx5").unwrap();
    cluster.is_up("lx5");
    cluster.order("wit", &["group", "move", "cacheha2", "lx5"]);
    cluster.online_on("cacheha2", "lx5");
    each_uses_the_others_data(&cluster, 3);

    let cacheha2 =
        Data { name: "cacheha2", address: "10.77.0.102", port: 1973, file: "/store2/c52ha2/mumps.dat" };
    nothing_is_lost_while(&cluster, &cacheha2, |_| {
        // Portals and instances are asked without being told to.
        let said = drill_passes(&cluster);
        let steps = [
            "PROBE 10.77.0.101:8080",
            "EXPECT INSTANCE CACHEHA1 UP ON lx4",
            "EXPECT INSTANCE CACHEHA2 UP ON lx5",
        ];
        for step in steps {
            assert!(said.contains(step), "{step}: {said}");
        }
        assert!(said.contains("CACHEHA2 is running on lx4, version "), "{said}");
    });
    each_uses_the_others_data(&cluster, 4);
    cluster.one_writer();
}

/// The guide's test procedure, as made for this cluster; what it says.
pub(crate) fn drill_passes(cluster: &Cluster) -> String {
    let saved = std::env::temp_dir().join(format!("regent-test-{}", cluster.name));
    let lab = format!("--lab={}", cluster.name);
    let output = regent(&["drill", &lab, "--report", saved.to_str().unwrap()]);
    for end in ["txt", "json"] {
        std::fs::remove_file(saved.with_extension(end)).unwrap();
    }
    let said = told(&output);
    assert!(output.status.success(), "{said}\n{}", cluster.evidence());
    said
}
