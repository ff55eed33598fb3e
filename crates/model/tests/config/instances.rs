//! `[[instance]]`: where an instance lies, what it listens on, and whom it knows.

use super::*;
use regent_model::config::{DataServer, InstanceKind};
use regent_model::ids::InstanceName;

const ONE: &str = r#"
[[instance]]
name = "cacheha1"
kind = "gtm"
directory = "/storage2/cacheha1"
port = 1973
"#;

/// [`GOOD`] with [`ONE`] and, in the group `web`, a second one.
fn two(more: &str) -> String {
    let text = format!(
        "{GOOD}\n[[group.filesystem]]\ndevice = \"/dev/sdd1\"\nmount = \"/storage3\"\ntype = \"ext4\"\n{ONE}
[[instance]]\nname = \"cacheha2\"\nkind = \"gtm\"\ndirectory = \"/storage3/c2\"\nport = 1972\n{more}"
    );
    text.replace("name = \"web\"\nnodes", "name = \"web\"\nneeds = [\"fenced\"]\nnodes")
}

fn one(line: &str) -> String {
    format!("{GOOD}{ONE}{line}\n")
}

#[test]
fn an_instance_belongs_to_the_group_whose_storage_holds_it_and_listens_on_its_address() {
    let config = good(&two("data_servers = { cacheha1 = \"10.77.0.100\" }"));
    let (group, instance) = config.instance(&InstanceName::new("CacheHa2").unwrap()).unwrap();
    assert_eq!((group.name.as_str(), instance.port, instance.kind), ("web", 1972, InstanceKind::Gtm));
    assert_eq!(instance.address, "10.77.0.101".parse().ok());
    let server = DataServer {
        name: InstanceName::new("cacheha1").unwrap(),
        address: "10.77.0.100:1973".parse().unwrap(),
        database: Some("/storage2/cacheha1/mumps.dat".into()),
        globals: Vec::new(),
    };
    assert_eq!(instance.data_servers, [server], "the port is known from the other instance");
    assert!(!instance.autostart && instance.networked);
    assert_eq!(config.instances_of(&config.groups[0].name).len(), 1);
    assert_eq!(config.instances().count(), 2);
}

#[test]
fn names_ports_and_directories_are_an_instances_own() {
    let again = |name: &str, port: u16, folder: &str| {
        one(&format!(
            "[[instance]]\nname = \"{name}\"\nkind = \"gtm\"\nport = {port}\ndirectory = \"{folder}\""
        ))
    };
    good(&again("second", 1974, "/storage2/second"));
    refused(&again("CACHEHA1", 1974, "/storage2/b"), "\"CACHEHA1\"", "case does not matter", "its own name");
    refused(
        &again("b", 1973, "/storage2/b"),
        "1973",
        "port 1973 is `cacheha1`'s already",
        "one node may have to run both",
    );
    let both = again("b", 1974, "/storage2/b\"\ndefault = true\nuser = \"x");
    let both = both.replace("port = 1973", "port = 1973\ndefault = true");
    refused(&both, "true", "is the default instance already", "for one of them");
    let taken = "\"/storage2/cacheha1\"";
    refused(&again("b", 1974, "/storage2/cacheha1"), taken, "is `cacheha1`'s directory", "of its own");
    refused(
        &again("b", 1974, "/storage2/cacheha1/b"),
        "\"/storage2/cacheha1/b\"",
        "lies inside",
        "of its own",
    );
    refused(&again("b", 1974, "/storage2"), "\"/storage2\"", "lies inside /storage2", "of its own");
}

#[test]
fn an_instance_lies_on_shared_storage_of_a_group() {
    let at = |folder: &str| one("").replace("/storage2/cacheha1", folder);
    good(&at("/storage2"));
    refused(
        &at("/srv/cacheha1"),
        "\"/srv/cacheha1\"",
        "lies on no file system of a group",
        "moves with its storage",
    );
    refused(&at("storage2/c"), "\"storage2/c\"", "not an absolute path", "begin it with `/`");
    let local = r#"
[[group.filesystem]]
local = true
devices = { lx4 = "/dev/sdb1", lx5 = "/dev/sdb1" }
mount = "/storage2/adm"
type = "ext4"

[[group.address]]
address = "10.77.0.100"#;
    let own = at("/storage2/adm/c").replacen("\n[[group.address]]\naddress = \"10.77.0.100", local, 1);
    refused(&own, "\"/storage2/adm/c\"", "each node has its own", "shared file system");
    let folder = r#"
[[group.filesystem]]
type = "bind"
device = "/storage2/opt"
mount = "/opt/cache"

[[group.address]]
address = "10.77.0.100"#;
    let bound = at("/opt/cache/c").replacen("\n[[group.address]]\naddress = \"10.77.0.100", folder, 1);
    assert_eq!(good(&bound).groups[0].instances.len(), 1);
}

#[test]
fn it_listens_on_a_service_address_never_on_a_nodes_own() {
    good(&one("address = \"10.77.0.100\""));
    refused(
        &one("address = \"10.77.0.4\""),
        "\"10.77.0.4\"",
        "`lx4`'s own address and stays with that node",
        "write address = \"10.77.0.100\"",
    );
    refused(
        &one("address = \"10.77.0.101\""),
        "\"10.77.0.101\"",
        "no service address of `db`",
        "\"10.77.0.100\"",
    );
    let second = one("").replacen(
        "\n[[group.application]]",
        "\n[[group.address]]\naddress = \"10.77.0.102/24\"\n\n[[group.application]]",
        1,
    );
    refused(
        &second,
        "\"cacheha1\"",
        "which one is this instance's?",
        "\"10.77.0.100\" or address = \"10.77.0.102\"",
    );
    let none = one("").replacen("[[group.address]]\naddress = \"10.77.0.100/24\"\n", "", 1);
    warned(&none, "\"cacheha1\"", "no service address", "add a [[group.address]]");
    good(&second.replace("port = 1973", "port = 1973\naddress = \"10.77.0.102\""));
}

#[test]
fn a_data_server_is_named_by_an_address_that_moves_with_it() {
    let servers = |list: &str| two(&format!("data_servers = {{ {list} }}"));
    good(&servers("cacheha1 = \"10.77.0.100:1973\", far = \"192.9.202.8:1972\""));
    good(&servers("six = \"[fd00::8]:1972\""));
    refused(
        &servers("cacheha1 = \"10.77.0.4\""),
        "\"10.77.0.4\"",
        "does not follow `cacheha1`",
        "\"10.77.0.100\"",
    );
    refused(
        &servers("far = \"192.9.202.8\""),
        "\"192.9.202.8\"",
        "on which port",
        "far = \"192.9.202.8:1972\"",
    );
    refused(&servers("far = \"192.9.202.8:0\""), "\"192.9.202.8:0\"", "port 0", "the port");
    refused(&servers("far = \"192.9.202.8:x\""), "\"192.9.202.8:x\"", "`x` is no port", "1 to 65535");
    refused(&servers("far = \"host:1972\""), "\"host:1972\"", "is not an IP address", "");
    refused(
        &servers("me = \"10.77.0.101:1972\""),
        "\"10.77.0.101:1972\"",
        "a data server of its own",
        "another",
    );
    refused(&servers("a = \"10.9.0.1:1\", A = \"10.9.0.2:1\""), "A", "already", "name each once");
    let many = servers("a = \"10.9.0.1:1\", b = \"10.9.0.2:1\", c = \"10.9.0.3:1\"");
    refused(&many, "\"cacheha2\"", "has 3 data servers, and may use at most 2", "max_data_servers = 3");
    good(&format!("{many}\nmax_data_servers = 3"));
    refused(&one("max_data_servers = 255"), "255", "cannot be 255", "0 to 254");
    let off = format!("{}\nnetworked = false", servers("a = \"10.9.0.1:1\""));
    warned(&off, "false", "no data server is used", "networked = true");
}

#[test]
fn license_servers_are_machines_one_for_each_by_its_own_address() {
    let list = |list: &str| one(&format!("license_servers = [{list}]"));
    let config = good(&list("\"10.77.0.4\", \"10.77.0.5:4002\", \"192.9.202.9\""));
    let ports: Vec<_> = config.groups[0].instances[0].license_servers.iter().map(|l| l.port()).collect();
    assert_eq!(ports, [4001, 4002, 4001]);
    let service = list("\"10.77.0.4\", \"10.77.0.100\"");
    refused(&service, "\"10.77.0.100\"", "a service address of `db`, and moves", "the nodes' own addresses");
    refused(
        &list("\"10.77.0.4\", \"10.78.0.4\""),
        "\"10.78.0.4\"",
        "`lx4` has a license server here already",
        "one for each",
    );
    let cache = list("\"10.77.0.4\"").replace("kind = \"gtm\"", "kind = \"cache\"");
    warned(&cache, "\"10.77.0.4\"", "one license server", "one for each node");
}

#[test]
fn commands_belong_to_the_kind_that_is_driven_by_them() {
    refused(&one("start = \"/x\""), "\"/x\"", "knows itself how it is driven", "kind = \"command\"");
    let command = |line: &str| one(line).replace("\"gtm\"", "\"command\"");
    refused(&command(""), "[[instance]]", "`start` is missing", "start =");
    let config = good(&command("start = \"/x\"\nversion = \"/x --version\""));
    let commands = &config.groups[0].instances[0].commands;
    assert_eq!((commands.start.as_deref(), commands.stop.as_deref()), (Some("/x"), None));
    refused(&one("").replace("\"gtm\"", "\"oracle\""), "\"oracle\"", "cannot be", "\"gtm\", \"cache\"");
    refused(&one("").replace("port = 1973", "port = 0"), "0", "cannot be 0", "1 to 65535");
    refused(&one("").replace("port = 1973\n", ""), "[[instance]]", "`port` is missing", "port = 1972");
    refused(&one("prot = 2"), "prot", "unknown key", "did you mean `port`");
    let long = "x".repeat(55);
    refused(
        &one("").replace("cacheha1\"\nkind", &format!("{long}\"\nkind")),
        &format!("\"{long}\""),
        "at most 54",
        "shorter",
    );
}

#[test]
fn nothing_else_in_the_group_is_called_like_the_instances_resource() {
    let text = one("").replace("name = \"cache\"", "name = \"instance-CACHEHA1\"");
    refused(&text, "\"instance-CACHEHA1\"", "how the resource of an instance is called", "another name");
}

#[test]
fn globals_of_a_data_server_are_mapped_once_and_from_a_file_that_is_known() {
    let servers = |list: &str| two(&format!("data_servers = {{ {list} }}"));
    let config = good(&servers("cacheha1 = { address = \"10.77.0.100\", globals = [\"Y*\", \"ORDERS\"] }"));
    let server = &config.instance(&InstanceName::new("cacheha2").unwrap()).unwrap().1.data_servers[0];
    assert_eq!(server.globals, ["Y*", "ORDERS"]);
    assert_eq!(server.database, Some("/storage2/cacheha1/mumps.dat".into()));
    let far = |more: &str| {
        servers(&format!("far = {{ address = \"192.9.202.8:1972\", globals = [\"Z*\"]{more} }}"))
    };
    good(&far(", database = \"/store/mumps.dat\""));
    refused(&far(""), "\"Z*\"", "in which file", "database =");
    let odd = servers("cacheha1 = { address = \"10.77.0.100\", globals = [\"^Y\"] }");
    refused(&odd, "\"^Y\"", "no name of a global", "without ^");
    let twice = "cacheha1 = { address = \"10.77.0.100\", globals = [\"Y*\"] }, far = { address = \"10.9.0.1:1\", \
                 database = \"/d\", globals = [\"Y*\"] }";
    refused(&servers(twice), "\"Y*\"", "mapped twice", "one data server");
}

#[test]
fn two_data_servers_that_are_one_to_gtm_are_refused() {
    let servers = |names: [&str; 2]| {
        let [one, other] = names;
        two(&format!("data_servers = {{ {one} = \"10.9.0.1:1972\", {other} = \"10.9.0.2:1972\" }}"))
    };
    good(&servers(["cache-1", "cache-2"]));
    let (what, help) = ("are one data server to GT.M, GTCM_cache1", "letters and digits");
    refused(&servers(["cache-1", "cache1"]), "cache1", what, help);
    refused(&servers(["cache_1", "CACHE-1"]), "CACHE-1", what, help);
    good(&servers(["cache-1", "cache1"]).replace("kind = \"gtm\"", "kind = \"iris\""));
}

#[test]
fn an_instance_is_not_monitored_unless_it_is_said() {
    let config = good(&one(""));
    assert!(config.groups[0].instances[0].monitor.interval.is_zero());
    let config = good(&one("monitor = { interval = \"20s\" }\nrestarts = 1"));
    let instance = &config.groups[0].instances[0];
    assert_eq!((instance.monitor.interval.as_secs(), instance.limits.restarts), (20, 1));
}
