//! File systems, service addresses, applications and policies.

use super::*;
use regent_model::config::{Check, MainProcess, Policy, Startup};

/// [`GOOD`] with a line more in its file system.
fn filesystem(line: &str) -> String {
    with("type = \"ext4\"\n", &format!("type = \"ext4\"\n{line}\n"))
}

/// [`GOOD`] with lines more in its application.
fn application(lines: &str) -> String {
    with("name = \"cache\"\n", &format!("name = \"cache\"\n{lines}\n"))
}

/// [`GOOD`] with a file system more in its group `db`.
fn second_mount(device: &str, mount: &str) -> String {
    let more =
        format!("[[group.filesystem]]\ndevice = \"{device}\"\nmount = \"{mount}\"\ntype = \"xfs\"\n\n");
    with("[[group.address]]", &format!("{more}[[group.address]]"))
}

/// [`GOOD`] with a file system in its group `web`.
fn other_groups_mount(device: &str, mount: &str) -> String {
    format!("{GOOD}\n[[group.filesystem]]\ndevice = \"{device}\"\nmount = \"{mount}\"\ntype = \"xfs\"\n")
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = good(GOOD);
    assert_eq!(config.port, regent_model::config::DEFAULT_PORT);
    let group = &config.groups[0];
    assert_eq!(group.policy, Policy::CASCADING);
    assert_eq!(config.groups[1].policy, Policy::CASCADING);
    let disk = &group.filesystems[0];
    assert_eq!((disk.name.as_str(), disk.check, disk.force_unmount), ("storage2", Check::Never, true));
    assert_eq!(group.addresses[0].name.as_str(), "10.77.0.100");
    let app = &group.applications[0];
    assert_eq!(app.main, MainProcess::Cgroup);
    assert_eq!((app.start_timeout.as_secs(), app.stop_timeout.as_secs()), (60, 60));
    assert!(app.lapse_grace.is_zero() && app.status.is_none() && app.stop.is_none());
    assert_eq!(good(&good6()).groups[0].addresses[0].name.as_str(), "fd00-77--100");
}

#[test]
fn mount_options_are_a_text_or_a_list() {
    for options in ["options = \"noatime,nodev\"", "options = [\"noatime\", \"nodev\"]"] {
        assert_eq!(good(&filesystem(options)).groups[0].filesystems[0].options, "noatime,nodev");
    }
    refused(
        &filesystem("options = \"noatime nodev\""),
        "\"noatime nodev\"",
        "without blanks",
        "noatime,nodev",
    );
    refused(&filesystem("options = [1]"), "1", "mount options in quotes", "noatime,nodev");
}

#[test]
fn a_mount_point_is_a_folder_of_its_own() {
    let mount = |to: &str| with("\"/storage2\"", &format!("\"{to}\""));
    refused(&mount("/"), "\"/\"", "own root", "/storage2");
    refused(&mount("storage2"), "\"storage2\"", "not an absolute path", "/storage2");
    refused(&mount("/usr/"), "\"/usr/\"", "belongs to the machine", "folder of its own");
    refused(&mount("/dev/shm/x"), "\"/dev/shm/x\"", "belongs to the machine", "folder of its own");
    refused(&mount("/srv/../etc"), "\"/srv/../etc\"", "contains `..`", "without detours");
}

#[test]
fn a_device_is_an_absolute_path_to_a_disk() {
    let device = |to: &str| with("\"/dev/sdc4\"", &format!("'{to}'"));
    refused(&device("sdc4"), "'sdc4'", "not an absolute path", "/dev/sdc4");
    refused(&device("UUID=12-34"), "'UUID=12-34'", "no path", "/dev/disk/by-uuid/12-34");
    refused(&with("\"ext4\"", "\"nfs\""), "\"nfs\"", "one shared block device", "ext4");
    refused(
        &filesystem("check = \"sometimes\""),
        "\"sometimes\"",
        "`check` cannot be",
        "\"never\", \"auto\"",
    );
    assert_eq!(
        good(&filesystem("check = \"always\"")).groups[0].filesystems[0].acquire_timeout.as_secs(),
        600
    );
}

#[test]
fn groups_share_neither_device_nor_mount() {
    let both = other_groups_mount;
    refused(&both("/dev/sdc4", "/a"), "\"/dev/sdc4\"", "already a device of `db`", "one group");
    refused(&both("/dev//sdc4", "/a"), "\"/dev//sdc4\"", "already a device of `db`", "one group");
    refused(&both("/dev/sdd", "/storage2/"), "\"/storage2/\"", "already the mount point", "elsewhere");
    refused(
        &both("/dev/sdd", "/storage2/in"),
        "\"/storage2/in\"",
        "lies inside /storage2",
        "make them one group",
    );
    let outer = GOOD.replace("/storage2", "/storage2/in");
    let outer =
        format!("{outer}\n[[group.filesystem]]\ndevice=\"/dev/sdd\"\nmount=\"/storage2\"\ntype=\"xfs\"\n");
    refused(&outer, "\"/storage2\"", "would hide /storage2/in", "make them one group");
    good(&both("/dev/sdd", "/storage22"));
}

#[test]
fn inside_a_group_the_outer_mount_comes_first() {
    let config = good(&second_mount("/dev/sdd", "/storage2/in"));
    assert_eq!(config.groups[0].filesystems.len(), 2);
    let wrong = second_mount("/dev/sdd", "/");
    refused(&wrong, "\"/\"", "own root", "folder of its own");
    let wrong = second_mount("/dev/sdd", "/srv").replace("/storage2", "/srv/in");
    let mounts = good(&wrong).groups[0].filesystems.iter().map(|f| f.mount.clone()).collect::<Vec<_>>();
    assert_eq!(mounts, [std::path::Path::new("/srv"), std::path::Path::new("/srv/in")]);
    let both = second_mount("/dev/sdc4", "/b");
    refused(&both, "\"/dev/sdc4\"", "already a device", "destroy the data");
    let parsed = parse(&second_mount("/dev/sdd", "/storage2"));
    assert!(parsed.findings.iter().any(|f| f.message.contains("already a mount point")));
}

#[test]
fn names_in_a_group_are_unique_also_those_made_up() {
    let app = application("").replace("name = \"cache\"", "name = \"storage2\"");
    refused(&app, "\"storage2\"", "already a resource of `db` called `storage2`", "own name");
    refused(&with("name = \"web\"", "name = \"db\""), "\"db\"", "already a group called `db`", "own name");
    good(&app.replace("type = \"ext4\"", "type = \"ext4\"\nname = \"disk\""));
}

#[test]
fn a_service_address_has_a_prefix_and_is_a_hosts() {
    let address = |to: &str| with("10.77.0.100/24", to);
    refused(&address("10.77.0.100"), "\"10.77.0.100\"", "no prefix length", "\"10.77.0.100/24\"");
    refused(&address("10.77.0.100/33"), "\"10.77.0.100/33\"", "not a prefix length of an IPv4", "1 to 32");
    refused(&address("10.77.0.0/24"), "\"10.77.0.0/24\"", "name of the network 10.77.0.0/24", "host address");
    refused(&address("10.77.0.255/24"), "\"10.77.0.255/24\"", "broadcast address of 10.77.0.0/24", "host");
    refused(&address("224.1.2.3/24"), "\"224.1.2.3/24\"", "multicast", "host address");
    refused(&address("127.0.0.9/8"), "\"127.0.0.9/8\"", "loopback", "host address");
    refused(&address("0.0.0.0/8"), "\"0.0.0.0/8\"", "no address that a client", "host address");
    refused(&address("10.77.0.300/24"), "\"10.77.0.300/24\"", "not an IP address", "write for example");
    let six = |to: &str| good6().replacen("fd00:77::100/64", to, 1);
    refused(&six("fd00:77::100/129"), "\"fd00:77::100/129\"", "an IPv6 address", "1 to 128");
    refused(&six("fd00:77::/64"), "\"fd00:77::/64\"", "any router in fd00:77::/64", "host address");
    refused(&six("ff02::1/64"), "\"ff02::1/64\"", "multicast", "host address");
    refused(&six("::1/64"), "\"::1/64\"", "loopback", "host address");
    refused(&six("fe80::1%eth0/64"), "\"fe80::1%eth0/64\"", "not an IP address", "interface = ");
}

#[test]
fn a_service_address_needs_a_node_network_or_an_interface() {
    let far = with("10.77.0.100/24", "192.9.202.197/16");
    refused(&far, "\"192.9.202.197/16\"", "no node of `db` has an address in 192.9.0.0/16", "interface = ");
    let named = far.replace("192.9.202.197/16\"", "192.9.202.197/16\"\ninterface = \"eth0\"");
    assert_eq!(good(&named).groups[0].addresses[0].interface.as_deref(), Some("eth0"));
    let half = GOOD.replace("10.77.0.5\"", "10.99.0.5\"").replace("10.77.0.101/24", "10.78.0.101/24");
    refused(&half, "\"10.77.0.100/24\"", "`lx5` has no address in 10.77.0.0/24", "interface = ");
    let long = with("10.77.0.100/24\"", "10.77.0.100/24\"\ninterface = \"a-very-long-interface\"");
    refused(&long, "\"a-very-long-interface\"", "no name of a network interface", "15 bytes");
    let six = good6().replacen("fd00:77::100/64", "fd00:99::100/64", 1);
    refused(&six, "\"fd00:99::100/64\"", "has an address in fd00:99::/64", "interface = ");
}

#[test]
fn the_main_process_is_what_the_user_says() {
    let main = |lines: &str| good(&application(lines)).groups[0].applications[0].main.clone();
    assert_eq!(main("foreground = true"), MainProcess::Child);
    assert_eq!(main("foreground = false"), MainProcess::Cgroup);
    assert_eq!(main("main = \"child\""), MainProcess::Child);
    assert_eq!(main("main = \"cgroup\""), MainProcess::Cgroup);
    assert_eq!(main("pid_file = \"/run/c.pid\""), MainProcess::PidFile("/run/c.pid".into()));
    let wrong =
        |lines: &str, culprit: &str, message: &str| refused(&application(lines), culprit, message, "");
    wrong("foreground = true\npid_file = \"/run/c.pid\"", "true", "contradict");
    wrong("main = \"cgroup\"\npid_file = \"/run/c.pid\"", "\"cgroup\"", "contradict");
    wrong("foreground = true\nmain = \"cgroup\"", "true", "contradict");
    wrong("pid_file = \"c.pid\"", "\"c.pid\"", "not an absolute path");
    wrong("main = \"fork\"", "\"fork\"", "cannot be");
    wrong("user = \"a b\"", "\"a b\"", "no name of a user");
}

#[test]
fn status_and_the_monitors_command_are_one_thing() {
    let same = "status = \"/bin/s\"\nmonitor = { command = \"/bin/s\" }";
    assert_eq!(good(&application(same)).groups[0].applications[0].status.as_deref(), Some("/bin/s"));
    let command = "monitor = { command = \"/bin/c\", failures = 5 }";
    let app = good(&application(command)).groups[0].applications[0].clone();
    assert_eq!((app.status.as_deref(), app.monitor.failures), (Some("/bin/c"), 5));
    let differ = "status = \"/bin/s\"\nmonitor = { command = \"/bin/c\" }";
    refused(&application(differ), "\"/bin/c\"", "are the same thing, and differ", "keep one");
    let disk = filesystem("monitor = { command = \"/bin/c\" }");
    refused(&disk, "command", "unknown key", "interval, timeout, failures");
    let long = application("start_timeout = \"5s\"\nmonitor = { command = \"/bin/c\", timeout = \"6s\" }");
    warned(&long, "\"6s\"", "start and its first check together only 5 s", "raise `start_timeout`");
}

#[test]
fn restart_limits_that_count_nothing_are_warned_of() {
    let limits =
        good(&application("retries = 0\nrestarts = 5\nwindow = \"1h\"")).groups[0].applications[0].limits;
    assert_eq!((limits.retries, limits.restarts, limits.window.as_secs()), (0, 5, 3600));
    warned(&application("restarts = 0\nwindow = \"1h\""), "\"1h\"", "counts nothing", "restarts = 2");
    refused(&application("restarts = -1"), "-1", "`restarts` cannot be -1", "from 0 to 1000");
    refused(&application("monitor = { failures = 0 }"), "0", "`failures` cannot be 0", "from 1 to 1000");
}

#[test]
fn a_policy_is_a_preset_or_the_triple() {
    let policy = |to: &str| with("policy = \"cascading\"", &format!("policy = {to}"));
    assert_eq!(good(&policy("\"rotating\"")).groups[0].policy, Policy::ROTATING);
    let triple = "{ startup = \"first-available\", failover = \"next\", failback = \"never\" }";
    assert_eq!(good(&policy(triple)).groups[0].policy.startup, Startup::FirstAvailable);
    refused(&policy("\"cascade\""), "\"cascade\"", "`policy` cannot be", "\"cascading\", \"rotating\"");
    refused(
        &policy("{ startup = \"home\", failover = \"next\" }"),
        "{ startup = \"home\", failover = \"next\" }",
        "`failback` is missing",
        "failback = \"never\"",
    );
    refused(
        &policy(&triple.replace("next", "nxt")),
        "\"nxt\"",
        "`failover` cannot be",
        "did you mean \"next\"?",
    );
    refused(
        &policy(&triple.replace("first-available", "all")),
        triple.replace("first-available", "all").as_str(),
        "nowhere to go",
        "policy = \"concurrent\"",
    );
}

#[test]
fn a_rotating_group_is_bound_to_its_address() {
    let rotating = with("policy = \"cascading\"", "policy = \"rotating\"").replacen(
        "[[group.address]]\naddress = \"10.77.0.100/24\"\n",
        "",
        1,
    );
    refused(&rotating, "\"rotating\"", "by its address, and has none", "[[group.address]]");
    let third = "\n[[group]]\nname = \"g\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"rotating\"\n\
                 [[group.address]]\naddress = \"10.77.0.102/24\"\n";
    let three = format!("{GOOD}{third}")
        .replace("policy = \"cascading\"", "policy = \"rotating\"")
        .replace("nodes = [\"lx5\", \"lx4\"]\n", "nodes = [\"lx5\", \"lx4\"]\npolicy = \"rotating\"\n");
    warned(&three, "\"rotating\"", "3 groups are distributed one per node over 2 nodes", "first-available");
}

#[test]
fn a_group_that_holds_nothing_is_warned_of() {
    let empty = with("[[group.address]]\naddress = \"10.77.0.101/24\"\n", "");
    warned(&empty, "\"web\"", "holds nothing", "[[group.application]]");
}

#[test]
fn stale_files_are_patterns_below_a_folder_of_the_applications() {
    let list = "stale = [\"/storage2/dced/Ep.db\", \"/run/cache/*\"]";
    assert_eq!(
        good(&application(list)).groups[0].applications[0].stale,
        ["/storage2/dced/Ep.db", "/run/cache/*"]
    );
    refused(&application("stale = [\"/*\"]"), "\"/*\"", "the machine itself", "Ep.db");
    refused(&application("stale = [\"/\"]"), "\"/\"", "the machine itself", "Ep.db");
    refused(&application("stale = [\"creds/*\"]"), "\"creds/*\"", "no absolute path", "Ep.db");
    refused(&application("stale = [\"/var/*\"]"), "\"/var/*\"", "everything in /var", "Ep.db");
    refused(&application("stale = \"/run/x\""), "\"/run/x\"", "a list of texts", "[\"/run/x\"]");
    let odd = application("stale = [\"/opt/dcelocal/var/*\"]");
    warned(&odd, "\"/opt/dcelocal/var/*\"", "lies on no file system of `db`", "if that is what you mean");
}

#[test]
fn a_groups_host_name_is_given_to_each_of_its_applications() {
    let hostname =
        |to: &str| with("policy = \"cascading\"", &format!("policy = \"cascading\"\nhostname = {to}"));
    let group = &good(&hostname("\"dce.ward7.example\"")).groups[0];
    assert_eq!(group.hostname.as_deref(), Some("dce.ward7.example"));
    assert_eq!(group.applications[0].hostname, group.hostname);
    for bad in ["\"-dce\"", "\"dce..ward7\"", "\"dce ward7\"", "\"dce_1\""] {
        refused(&hostname(bad), bad, "is no name of a host", "dce.ward7.example");
    }
}

#[test]
fn what_the_form_with_colons_cannot_carry_is_said_of_the_group() {
    let mut text = GOOD.to_owned();
    for n in 1..=12 {
        text += &format!("[[group.address]]\naddress = \"10.77.0.{}/24\"\n", 200 + n);
    }
    let config = good(&text);
    let remarks =
        |config: &Config, at: usize| regent_model::config::exclusion_remarks(config, &config.groups[at]);
    assert!(remarks(&good(GOOD), 0).is_empty());
    let said = remarks(&config, 0);
    assert!(said[0].contains("RPC_UNSUPPORTED_NETADDRS holds 15 addresses"), "those of `web` too: {said:?}");
    assert!(remarks(&config, 1).is_empty(), "it has no application");
    let said = remarks(&good(&good6()), 0);
    assert!(said[0].contains("leaves out fd00:77::"), "{said:?}");
}

/// A file whose application is a script, with these lines beside it.
fn script(lines: &str) -> String {
    GOOD.replace("start = \"/usr/local/etc/cache start\"", lines)
}

#[test]
fn a_script_takes_the_place_of_the_three_commands() {
    let app = |lines: &str| good(&script(lines)).groups[0].applications[0].clone();
    let plain = app("script = \"/etc/init.d/cache-cacheha1\"");
    assert_eq!(plain.start, "/etc/init.d/cache-cacheha1 start");
    assert_eq!(plain.stop.as_deref(), Some("/etc/init.d/cache-cacheha1 stop"));
    assert_eq!(plain.status.as_deref(), Some("/etc/init.d/cache-cacheha1 status"));
    assert_eq!(plain.main, MainProcess::None);
    assert_eq!(plain.commands(), [("script", "/etc/init.d/cache-cacheha1")]);
    let with = app("script = \"/usr/local/etc/cache-init  cacheha1 failover\"");
    assert_eq!(with.start, "/usr/local/etc/cache-init start cacheha1 failover");
    let dumb = app("script = \"/etc/init.d/x\"\nstatus = \"none\"\nmonitor = { interval = \"0\" }");
    assert_eq!((dumb.status.as_deref(), dumb.monitor.interval.is_zero()), (None, true));
    assert_eq!(app("script = \"/etc/init.d/x\"\nmain = \"cgroup\"").main, MainProcess::Cgroup);
    assert_eq!(app("script = \"/etc/init.d/x\"\nforeground = true").main, MainProcess::Child);
    assert_eq!(app("start = \"/bin/x\"\nmain = \"none\"").main, MainProcess::None);
}

#[test]
fn a_script_beside_commands_or_with_a_verb_is_refused() {
    let one = "script = \"/etc/init.d/x\"\n";
    let wrong = |lines: &str, culprit: &str, message: &str, help: &str| {
        refused(&script(lines), culprit, message, help);
    };
    wrong(
        &format!("{one}start = \"/bin/s\""),
        "\"/bin/s\"",
        "takes the place of `start`",
        "called with `start`",
    );
    wrong(&format!("{one}stop = \"/bin/s\""), "\"/bin/s\"", "takes the place of `stop`", "keep one");
    wrong(
        &format!("{one}status = \"/bin/s\""),
        "\"/bin/s\"",
        "takes the place of `status`",
        "status = \"none\"",
    );
    let monitor = format!("{one}monitor = {{ command = \"/bin/s\" }}");
    wrong(&monitor, "\"/bin/s\"", "takes the place of `monitor.command`", "kind = \"custom\"");
    wrong(
        "script = \"/etc/init.d/x start\"",
        "\"/etc/init.d/x start\"",
        "says `start` already",
        "delete the word",
    );
    wrong("script = \"init.d/x\"", "\"init.d/x\"", "not an absolute path", "/etc/init.d");
    wrong("start = \"/bin/x\"\nstatus = \"none\"", "\"none\"", "is no command", "delete the line");
}

#[test]
fn a_broadcast_address_belongs_to_the_subnet() {
    let with = |broadcast: &str| {
        GOOD.replace("10.77.0.100/24\"", &format!("10.77.0.100/24\"\nbroadcast = \"{broadcast}\""))
    };
    let broadcast = |text: &str| good(&with(text)).groups[0].addresses[0].broadcast.map(|b| b.to_string());
    assert_eq!(broadcast("10.77.0.255").as_deref(), Some("10.77.0.255"));
    assert_eq!(broadcast("10.77.0.0").as_deref(), Some("10.77.0.0"), "as hosts of old have it");
    assert_eq!(good(GOOD).groups[0].addresses[0].broadcast, None);
    let wrong = |text: &str, message: &str| {
        refused(&with(text), &format!("\"{text}\""), message, "broadcast = \"10.77.0.255\"");
    };
    wrong("10.78.0.255", "is not in 10.77.0.0/24");
    wrong("10.77.0.100", "is the service address itself");
    refused(&with("255.255.255"), "\"255.255.255\"", "is no IPv4 address", "last address of the subnet");
    warned(&with("10.77.0.77"), "\"10.77.0.77\"", "is a host's address", "10.77.0.255");
    let six = good6().replacen("::100/64\"", "::100/64\"\nbroadcast = \"10.77.0.255\"", 1);
    refused(&six, "\"10.77.0.255\"", "IPv6 has no broadcast address", "delete the line");
}

#[test]
fn wildcard_binds_go_to_an_address_of_the_group() {
    let with = |bind: &str| application(&format!("bind = {bind}"));
    let to = |text: &str| good(&with(text)).groups[0].applications[0].bind.unwrap();
    let four = Some("10.77.0.100".parse().unwrap());
    assert_eq!((to("\"service-address\"").v4, to("\"service-address\"").v6), (four, None));
    assert_eq!(to("\"10.77.0.100\"").v4, four);
    assert_eq!(good(GOOD).groups[0].applications[0].bind, None);
    refused(
        &with("\"10.77.0.4\""),
        "\"10.77.0.4\"",
        "no service address of `db`",
        "the group has 10.77.0.100",
    );
    refused(&with("\"eth0\""), "\"eth0\"", "eth0", "bind = \"service-address\"");
    let more = |address: &str| format!("10.77.0.100/24\"\n\n[[group.address]]\naddress = \"{address}\"");
    let two = with("\"service-address\"").replace("10.77.0.100/24\"", &more("10.77.0.102/24"));
    refused(&two, "\"service-address\"", "these are 2 of IPv4", "bind = \"10.77.0.100\"");
    let both =
        with("\"service-address\"").replace("10.77.0.100/24\"", &more("fd00::7/64\"\ninterface = \"eth0"));
    let parsed = parse(&both);
    assert!(
        parsed.findings.iter().any(|f| f.message.contains("IPv6 address alone")),
        "{}",
        listed(&both, &parsed)
    );
    let none = with("\"service-address\"").replace("\n[[group.address]]\naddress = \"10.77.0.100/24\"\n", "");
    refused(&none, "\"service-address\"", "`db` has no service address", "[[group.address]]");
}

#[test]
fn a_portal_is_a_port_that_nothing_else_listens_on_there() {
    let at =
        |lines: &str| with("address = \"10.77.0.100/24\"", &format!("address = \"10.77.0.100/24\"\n{lines}"));
    assert_eq!(good(GOOD).groups[0].addresses[0].portal, None);
    assert_eq!(good(&at("portal = 8080")).groups[0].addresses[0].portal, Some(8080));
    refused(&at("portal = 0"), "0", "cannot be 0", "from 1 to 65535");
    refused(&at("portal = \"8080\""), "\"8080\"", "a whole number", "portal = 8080");
    let taken =
        at("portal = 8080").replace("name = \"cache\"\n", "name = \"cache\"\nports = [\"8080/tcp\"]\n");
    refused(&taken, "8080", "`db` listens on port 8080 itself", "nothing else uses");
    good(&taken.replace("8080/tcp", "8080/udp"));
    let instance =
        "[[instance]]\nname = \"hal\"\nkind = \"gtm\"\ndirectory = \"/storage2/hal\"\nport = 1972\n";
    refused(
        &format!("{}\n{instance}", at("portal = 1972")),
        "1972",
        "the instance `hal` listens",
        "nothing else uses",
    );
}
