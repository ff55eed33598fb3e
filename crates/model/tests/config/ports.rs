//! Groups that may be on one node at once, and what each of them needs for itself.

use super::*;

/// Both groups of the good file with an application that listens, and further lines for each.
fn listening(first: &str, second: &str) -> String {
    let app = |name: &str, lines: &str| {
        format!("[[group.application]]\nname = \"{name}\"\nstart = \"/bin/x\"\n{lines}\n")
    };
    GOOD.replace(
        "[[group.application]]\nname = \"cache\"\nstart = \"/usr/local/etc/cache start\"\n",
        &app("cache", first),
    ) + "\n"
        + &app("www", second)
}

#[test]
fn groups_that_can_share_a_node_listen_on_ports_of_their_own_or_at_their_own_addresses() {
    let (one, other) = ("ports = [\"1972/tcp\"]", "ports = [\"1973/tcp\", \"1972/udp\"]");
    good(&listening(one, other));
    let same = listening(one, "ports = [\"1972\"]");
    refused(
        &same,
        "\"1972\"",
        "`db` and `web` can be on one node, and both listen on 1972/tcp",
        "bind = \"service-address\"",
    );
    let bound = "\nbind = \"service-address\"";
    good(&listening(&format!("{one}{bound}"), &format!("{one}{bound}")));
    let half = listening(one, &format!("ports = [\"1972\"]{bound}"));
    refused(&half, "\"1972\"", "both listen on 1972/tcp", "another port");
    good(&same.replacen("name = \"web\"", "name = \"web\"\ndifferent_node_from = [\"db\"]", 1));
    good(&same.replacen("nodes = [\"lx5\", \"lx4\"]", "nodes = [\"lx5\"]", 1).replacen(
        "nodes = [\"lx4\", \"lx5\"]\npolicy",
        "nodes = [\"lx4\"]\npolicy",
        1,
    ));
    let wanted = same.replacen("name = \"web\"", "name = \"web\"\nrequires = { ports = [\"1972/tcp\"] }", 1);
    let wanted = wanted.replace("ports = [\"1972\"]", "");
    refused(&wanted, "\"1972/tcp\"", "both listen on 1972/tcp", "another port");
}

#[test]
fn the_port_of_an_instance_and_that_of_shares_are_held_against_those_of_applications() {
    let instance = |kind: &str, port: u16| {
        format!(
            "\n[[instance]]\nname = \"one\"\nkind = \"{kind}\"\ndirectory = \"/storage2/one\"\nport = {port}\n"
        )
    };
    let text = |second: &str, more: &str| listening("", second) + more;
    let clash = "both listen on 1972/tcp";
    let bound = "ports = [\"1972/tcp\"]\nbind = \"service-address\"";
    good(&text(bound, &instance("gtm", 1972)));
    good(&text(bound, &instance("cache", 1973)));
    refused(&text(bound, &instance("cache", 1972)), "1972", clash, "another port");
    refused(&text("ports = [\"1972/tcp\"]", &instance("gtm", 1972)), "1972", clash, "another port");
    let share = "[[group.share]]\nname = \"data\"\npath = \"/storage2/data\"\n\n[[group.application]]\nname = \"cache\"";
    let smb = |lines: &str| text(lines, "").replacen("[[group.application]]\nname = \"cache\"", share, 1);
    good(&smb("ports = [\"445/tcp\"]\nbind = \"service-address\""));
    refused(&smb("ports = [\"445/tcp\"]"), "\"445/tcp\"", "both listen on 445/tcp", "another port");
}

#[test]
fn groups_that_can_share_a_node_have_addresses_devices_and_mount_points_of_their_own() {
    let address = GOOD.replace("10.77.0.101/24", "10.77.0.100/24");
    let parsed = parse(&address);
    assert!(parsed.findings.iter().any(|f| f.message.contains("is already a service address of `db`")));
    let disk = |device: &str, mount: &str| {
        format!("{GOOD}\n[[group.filesystem]]\ndevice = \"{device}\"\nmount = \"{mount}\"\ntype = \"ext4\"\n")
    };
    let with = |text: &str| parse(text).count(Severity::Error);
    assert_eq!(with(&disk("/dev/sdc5", "/storage3")), 0);
    assert_eq!(with(&disk("/dev/sdc4", "/storage3")), 1, "the same partition");
    assert_eq!(with(&disk("/dev/sdc5", "/storage2")), 1, "the same mount point");
}
