//! File systems of one node inside shared ones, folders put elsewhere, and the order of mounting.

use super::*;
use regent_model::config::Backing;
use regent_model::proof::Need;
use regent_model::{NodeName, action::Resource};

/// The good file with further file systems in the group `db`.
fn with_storage(more: &str) -> String {
    with(
        "[[group.address]]\naddress = \"10.77.0.100/24\"",
        &format!("{more}\n[[group.address]]\naddress = \"10.77.0.100/24\""),
    )
}

const CACHE: &str = "[[group.filesystem]]\nlocal = true\nmount = \"/storage2/adm/cache\"\ntype = \"ext4\"\n\
                     devices = { lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdy1\" }\n";

fn bind(folder: &str, mount: &str) -> String {
    format!("[[group.filesystem]]\ntype = \"bind\"\ndevice = \"{folder}\"\nmount = \"{mount}\"\n")
}

#[test]
fn a_node_local_file_system_has_a_device_of_each_nodes_own() {
    let config = good(&with_storage(CACHE));
    let cache = &config.groups[0].filesystems[1];
    assert!(matches!(&cache.backing, Backing::Local(devices) if devices.len() == 2));
    let on = |node: &str| {
        let resources = config.groups[0].resources_on(&NodeName::new(node).unwrap());
        let Resource::Filesystem(f) = &resources[1] else { panic!("{resources:?}") };
        f.device.display().to_string()
    };
    assert_eq!((on("lx4"), on("lx5")), ("/dev/sdx1".to_owned(), "/dev/sdy1".to_owned()));
}

#[test]
fn a_node_local_file_system_has_a_device_on_every_node_of_its_group_and_on_no_other() {
    let devices =
        |devices: &str| with_storage(&CACHE.replace("lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdy1\"", devices));
    refused(&devices("lx5 = \"/dev/sdy1\""), "{ lx5 = \"/dev/sdy1\" }", "gives none for lx4", "lx4 = ");
    let strange = "lx4 = \"/dev/a\", lx5 = \"/dev/b\", lx6 = \"/dev/c\"";
    refused(&devices(strange), "lx6", "`lx6` is no node of `db`", "each with its own device");
}

#[test]
fn a_group_with_nothing_shared_needs_no_fence() {
    let text = with(
        "device = \"/dev/sdc4\"",
        "local = true\ndevices = { lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdx1\" }",
    );
    let group = good(&text).groups[0].clone();
    assert_eq!(group.needs, [Need::LeaseEnded]);
    assert!(!group.has_shared_writer());
}

#[test]
fn devices_are_named_for_every_node_of_the_group_and_for_no_other() {
    let cache =
        |devices: &str| with_storage(&CACHE.replace("{ lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdy1\" }", devices));
    refused(
        &cache("{ lx4 = \"/dev/sdx1\" }"),
        "{ lx4 = \"/dev/sdx1\" }",
        "gives none for lx5",
        "lx5 = \"/dev/",
    );
    let other = cache("{ lx4 = \"/dev/a\", lx5 = \"/dev/b\", lx9 = \"/dev/c\" }");
    refused(&other, "lx9", "no node of `db`", "group's `nodes`");
    refused(&cache("{ lx4 = 3, lx5 = \"/dev/b\" }"), "3", "a device for each node", "write devices");
    refused(&cache("{ lx4 = \"sdx\", lx5 = \"/dev/b\" }"), "\"sdx\"", "not an absolute path", "/dev/sdc4");
    let both = with_storage(&CACHE.replace("local = true", "local = true\ndevice = \"/dev/sdx\""));
    refused(&both, "\"/dev/sdx\"", "a device of its own", "devices = {");
    let shared = with_storage(&CACHE.replace("local = true\n", ""));
    refused(&shared, "{ lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdy1\" }", "each node's own", "local = true");
}

#[test]
fn a_device_of_one_node_is_not_used_twice_on_it() {
    let twice =
        format!("{CACHE}{}", CACHE.replace("/adm/cache", "/adm/other").replace("/dev/sdy1", "/dev/sdz1"));
    refused(&with_storage(&twice), "\"/dev/sdx1\"", "already a device of `db`", "destroy");
    let crossed = CACHE
        .replace("/adm/cache", "/adm/other")
        .replace("lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdy1\"", "lx4 = \"/dev/sdy1\", lx5 = \"/dev/sdx1\"");
    good(&with_storage(&format!("{CACHE}{crossed}")));
    let shared = with_storage(&CACHE.replace("/dev/sdx1", "/dev/sdc4"));
    refused(&shared, "\"/dev/sdc4\"", "already a device of `db`", "destroy");
}

#[test]
fn mounts_are_ordered_by_what_they_stand_on_whatever_the_order_of_the_file() {
    let text = with_storage(&format!(
        "{}{}{CACHE}",
        bind("/krb5/kdc", "/storage2/kdc"),
        bind("/storage2/krb5", "/krb5")
    ));
    let before = "[[group.filesystem]]\ndevice = \"/dev/sdc4\"\nmount = \"/storage2\"\ntype = \"ext4\"\n";
    let text = text.replace(before, "").replace(
        "[[group.address]]\naddress = \"10.77.0.100/24\"",
        &format!("{before}\n[[group.address]]\naddress = \"10.77.0.100/24\""),
    );
    let mounts: Vec<_> =
        good(&text).groups[0].filesystems.iter().map(|f| f.mount.display().to_string()).collect();
    assert_eq!(mounts, ["/storage2", "/krb5", "/storage2/kdc", "/storage2/adm/cache"]);
}

#[test]
fn a_bind_mount_shows_a_folder_of_the_groups_own_file_systems() {
    let config = good(&with_storage(&bind("/storage2/etc/openafs", "/etc/openafs/server")));
    let found = &config.groups[0].filesystems[1];
    assert!(found.is_bind() && found.name.as_str() == "etc-openafs-server");
    let elsewhere = with_storage(&bind("/srv/openafs", "/etc/openafs/server"));
    refused(
        &elsewhere,
        "\"/srv/openafs\"",
        "lies on none of the file systems of `db`",
        "below one of their mount points",
    );
    let checked = with_storage(&format!("{}check = \"always\"\n", bind("/storage2/x", "/y")));
    refused(&checked, "\"always\"", "nothing to check", "delete");
    let local = with_storage(&format!("{}local = true\n", bind("/storage2/x", "/y")));
    refused(&local, "true", "says nothing of a bind mount", "delete");
}

#[test]
fn mounts_that_wait_for_each_other_are_refused() {
    let circle = format!("{}{}", bind("/a/x", "/b"), bind("/b/x", "/a"));
    refused(&with_storage(&circle), "\"/b\"", "only after /a", "elsewhere");
    refused(
        &with_storage(&bind("/storage2/x", "/storage2/x")),
        "\"/storage2/x\"",
        "where it is already",
        "another",
    );
}

#[test]
fn a_group_says_what_its_nodes_are_prepared_with() {
    let prepare = |what: &str| {
        with(
            "nodes = [\"lx4\", \"lx5\"]\npolicy",
            &format!("nodes = [\"lx4\", \"lx5\"]\nprepare = {{ {what} }}\npolicy"),
        )
    };
    let all = "directories = [{ path = \"/...\" }, { path = \"/opt/dcelocal\", mode = \"0711\", owner = \"db\" }], \
               links = { \"/:\" = \"/.../cell/fs\", \"/.:\" = \"/.../cell\" }, \
               services = [{ name = \"kerberos5\", port = 88, protocol = \"udp\", aliases = [\"kdc\"] }]";
    let found = &good(&prepare(all)).groups[0].prepare;
    assert_eq!((found.directories[0].mode, found.directories[0].owner.as_str()), (0o755, "root"));
    assert_eq!((found.directories[1].mode, found.directories[1].owner.as_str()), (0o711, "db"));
    assert_eq!(found.links.len(), 2);
    assert_eq!(found.services[0].to_string(), "kerberos5\t88/udp\tkdc");
    let bad = |what: &str, culprit: &str, message: &str, help: &str| {
        refused(&prepare(what), culprit, message, help)
    };
    bad("directories = [{ path = \"x\" }]", "\"x\"", "not an absolute path", "begin it with `/`");
    bad("directories = [{ path = \"/x\", mode = \"rwx\" }]", "\"rwx\"", "no permissions", "0755");
    bad("directories = \"/x\"", "\"/x\"", "a list of tables", "directories = [");
    bad("links = { \"/:\" = 3 }", "3", "points to a path", "links = {");
    bad("services = [{ name = \"a b\", port = 88 }]", "\"a b\"", "no name in /etc/services", "kerberos5");
    bad("services = [{ name = \"a\", port = 0 }]", "0", "cannot be 0", "port = 88");
    bad(
        "links = { \"/storage2/x\" = \"/y\" }",
        "\"/storage2/x\"",
        "lies on a file system of the group",
        "moves with the group",
    );
}

#[test]
fn what_a_group_wants_of_the_kernel_is_read_in_powers_of_1024() {
    let requires = |what: &str| {
        with(
            "nodes = [\"lx4\", \"lx5\"]\npolicy",
            &format!("nodes = [\"lx4\", \"lx5\"]\nrequires = {{ {what} }}\npolicy"),
        )
    };
    let found = good(&requires("memory = \"2G\", shared_memory = \"512M\", open_files = 65536")).groups[0]
        .requires
        .clone();
    assert_eq!((found.memory, found.shared_memory, found.open_files), (2 << 30, 512 << 20, 65_536));
    refused(&requires("memory = \"2 GB\""), "\"2 GB\"", "no amount of memory", "\"2G\"");
    refused(&requires("memory = 2"), "2", "no amount of memory", "\"2G\"");
}

#[test]
fn the_nightly_comparison_has_a_time_of_day_or_never_happens() {
    let at =
        |text: &str| with("takeover = \"normal\"", &format!("takeover = \"normal\"\nverify_at = \"{text}\""));
    assert_eq!(good(GOOD).verify_at, Some(0));
    assert_eq!(good(&at("03:30")).verify_at, Some(210));
    assert_eq!(good(&at("never")).verify_at, None);
    for wrong in ["24:00", "3:30", "+3:30", "noon", "03:60"] {
        refused(&at(wrong), &format!("\"{wrong}\""), "no time of day", "never");
    }
}
