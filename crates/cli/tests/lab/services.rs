//! Services by the commands of Red Hat Cluster Manager: typed into `cluadmin`, called by a link of that name.

use crate::cluster::{Cluster, SERVICE, address_group, find, head};
use crate::machine::sh;

/// What is typed, line by line; the output reads as a talk.
fn typed(cluster: &Cluster, node: &str, lines: &[&str]) -> String {
    sh(cluster, node, &format!("cluadmin <<'END'\n{}\nEND", lines.join("\n")))
}

/// What every machine has, also after it was off: the names that people know, and the script of the service.
fn equip(tools: &std::path::Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let script = "#!/bin/sh\ncase $1 in\nstart) sleep 3600 > /dev/null 2>&1 & echo $! > /run/hall;;\n\
                  stop) kill $(cat /run/hall); rm -f /run/hall;;\nstatus) kill -0 $(cat /run/hall);;\nesac\n";
    std::fs::create_dir_all(tools).unwrap();
    for name in ["cluadmin", "clustat"] {
        symlink("/usr/local/bin/regent", tools.join(name)).unwrap();
    }
    std::fs::write(tools.join("hall"), script).unwrap();
    std::fs::set_permissions(tools.join("hall"), PermissionsExt::from_mode(0o755)).unwrap();
}

/// Relocate yes, typed while the service is away from its preferred member lx5.
fn it_goes_home_when_its_member_joins_and_at_no_other_time(cluster: &Cluster) {
    let hall = || {
        let status = cluster.status().unwrap();
        let hall = find(&status, "hall");
        (hall.owner.as_ref().map(ToString::to_string), hall.epoch.0)
    };
    let on = |node: &str, epoch| (Some(node.to_owned()), epoch);
    let (_, epoch) = hall();
    let said = typed(cluster, "lx4", &["service modify hall", "", "yes", "", "", "f", "", "yes"]);
    assert!(said.contains("Modified hall."), "{said}");
    let shown = sh(cluster, "lx5", "cluadmin -- service show config hall");
    assert!(shown.contains("preferred node: lx5\nrelocate: yes\n"), "{shown}");
    is_looked_at_again(cluster);
    assert_eq!(hall(), on("lx4", epoch), "lx5 was there before: it does not join");

    cluster.lab.off("lx5").unwrap();
    cluster
        .wait_for("lx5 is gone", |s| s.nodes.iter().any(|n| n.name.as_str() == "lx5" && n.state == "down"));
    assert_eq!(hall(), on("lx4", epoch));
    cluster.lab.on("lx5").unwrap();
    cluster.online_on("hall", "lx5");
    sh(cluster, "lx5", "test -e /run/hall");
    assert_eq!(hall().1, epoch + 1, "{}", cluster.evidence());

    // Somebody has it elsewhere: there it stays, whatever else is put in force.
    sh(cluster, "lx4", "cluadmin -- service relocate hall lx4");
    cluster.online_on("hall", "lx4");
    cluster.apply("lx4", &(cluster.order("lx4", &["config", "show"]) + "\n# nothing that matters\n"));
    is_looked_at_again(cluster);
    assert_eq!(hall(), on("lx4", epoch + 2), "{}", cluster.evidence());
}

/// Something is decided that has nothing to do with the service: whatever was due to happen to it is decided, too.
fn is_looked_at_again(cluster: &Cluster) {
    cluster.order("lx4", &["group", "disable", "front"]);
    cluster.order("lx4", &["group", "enable", "front"]);
}

#[test]
fn a_service_is_defined_changed_relocated_and_deleted_in_the_shell_of_the_guide() {
    let config = head("normal") + "\n# kept by hand\n" + &address_group("cascading");
    let tools = std::env::temp_dir().join(format!("regent-test-tools-{}", std::process::id()));
    equip(&tools);
    let put = format!("{}:/usr/bin", tools.display());
    let cluster = Cluster::up_with("cluadm", &config, &["--put", &put]);
    std::fs::remove_dir_all(&tools).unwrap();
    sh(&cluster, "lx4", "cluadmin -- cluster backup");
    // Defined as the guide does it, first without its script, disabled, then enabled.
    let address = SERVICE.replace(".100", ".101");
    let add = [
        "service add hall",
        "lx5",
        "no",
        "None",
        "0",
        "yes",
        &address,
        "255.255.255.0",
        "None",
        "f",
        "no",
        "yes",
        "yes",
    ];
    let said = typed(&cluster, "lx4", &add);
    assert!(said.contains("Added hall. It is disabled"), "{said}");
    assert_eq!(find(&cluster.status().unwrap(), "hall").epoch.0, 0, "it was never begun");
    assert!(typed(&cluster, "lx4", &["service enable hall"]).contains("notice: Started service hall on lx5"));
    let config = cluster.order("lx4", &["config", "show"]);
    assert!(config.contains("# kept by hand"), "{config}");

    // The script is added while it runs; the address does not go away for it.
    let modify = ["service modify hall", "", "", "/usr/bin/hall", "0", "f", "", "yes"];
    let said = typed(&cluster, "lx5", &modify);
    assert!(
        said.contains("Modified hall.") && find(&cluster.status().unwrap(), "hall").epoch.0 == 1,
        "{said}"
    );
    assert!(said.contains("this takes effect when hall is next enabled or relocated"), "{said}");
    sh(&cluster, "lx5", "test ! -e /run/hall");
    sh(&cluster, "lx4", "cluadmin -- service relocate hall");
    cluster.online_on("hall", "lx4");
    sh(&cluster, "lx4", "test -e /run/hall");
    assert!(sh(&cluster, "wit", "regent clustat -s hall").contains("hall           running  lx4"));

    it_goes_home_when_its_member_joins_and_at_no_other_time(&cluster);

    // Who has the lock is seen on the other node; when its shell has died there, only there nobody asks.
    let holds = "mkfifo /tmp/types; (cluadmin < /tmp/types > /tmp/said & echo $! > /tmp/shell); exec 3> /tmp/types; \
                 until grep -q '> ' /tmp/said; do sleep 0.05; done; kill -9 $(cat /tmp/shell)";
    sh(&cluster, "lx4", holds);
    let refused = sh(&cluster, "lx5", "echo no | cluadmin -- service delete hall || echo code $?");
    assert!(
        refused.contains("on lx4 has been changing the configuration") && refused.ends_with("code 1"),
        "{refused}"
    );
    let status = cluster.order("lx5", &["status"]);
    assert!(status.contains("on lx4 is changing the configuration with cluadmin"), "{status}");
    let told = cluster.apply("lx5", &(cluster.order("lx5", &["config", "show"]) + "\n# by somebody else\n"));
    assert!(told.contains("on lx4 is changing it too, with cluadmin"), "{told}");
    assert!(sh(&cluster, "lx4", "echo yes | cluadmin -- service delete hall").ends_with("Deleted hall."));
    let kept = "\n# by somebody else";
    assert!(cluster.order("lx4", &["config", "show"]).contains(kept));
    sh(&cluster, "lx4", "echo yes | cluadmin -- cluster restore");
    let config = cluster.order("lx4", &["config", "show"]);
    assert!(!config.contains("hall") && !config.contains(kept), "{config}");
    sh(&cluster, "lx4", "test ! -e /run/hall && ! ip -4 -o address | grep -q 10.77.0.101");
}
