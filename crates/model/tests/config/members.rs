//! Nodes, witnesses, networks and fence devices.

use regent_model::config::{is_secret, parse_shown};

use super::*;

#[test]
fn names_of_nodes_and_witnesses_are_one_set() {
    refused(&with("name = \"wit\"", "name = \"lx5\""), "\"lx5\"", "already a node or witness", "own name");
    let second = with("[[group]]", "[[fence]]\nname=\"power\"\nagent=\"/a\"\nnodes=[\"lx4\"]\n[[group]]");
    refused(&second, "\"power\"", "already a fence device", "own name");
}

#[test]
fn a_text_that_was_shown_without_its_secrets_is_read_as_that_alone() {
    let text = with("agent = \"/usr", "options = { passwd = \"(not shown)\" }\nagent = \"/usr");
    assert!(parse(&text).config.is_none());
    let shown = parse_shown(&text, None).config.unwrap();
    assert_eq!(shown.fences[0].hidden_option(), Some("passwd"));
    for secret in ["passwd", "PASSWORD", "snmp_auth_pass", "pass", "community", "api_key", "apikey", "token"]
    {
        assert!(is_secret(secret), "{secret}");
    }
    for open in ["passwd_script", "ip", "login", "lanplus", "bypass"] {
        assert!(!is_secret(open), "{open}");
    }
}

#[test]
fn a_list_of_very_many_names_is_read_at_once() {
    let many = (0..50_000).map(|n| format!("\"lx4\", \"x{n}\"")).collect::<Vec<_>>().join(",");
    let text = with("nodes = [\"lx4\", \"lx5\"]\n\n[[group]]", &format!("nodes = [{many}]\n\n[[group]]"));
    let began = std::time::Instant::now();
    assert!(parse(&text).config.is_none());
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn an_address_belongs_to_one_machine_or_one_service() {
    refused(&with("\"10.78.0.5\"", "\"10.78.0.4\""), "\"10.78.0.4\"", "already `lx4`'s", "of `lx5`");
    refused(&with("\"10.78.0.6\"", "\"10.77.0.6\""), "\"10.77.0.6\"", "already `wit`'s", "`wit`");
    refused(
        &with("10.77.0.100/24", "10.77.0.5/24"),
        "\"10.77.0.5/24\"",
        "`lx5`'s own address",
        "another free",
    );
    refused(
        &with("10.77.0.101/24", "10.77.0.100/24"),
        "\"10.77.0.100/24\"",
        "already a service address of `db`",
        "one group",
    );
    // The same address in another spelling.
    let six = good6().replacen("fd00:77::101/64", "fd00:77:0:0::0100/64", 1);
    refused(&six, "\"fd00:77:0:0::0100/64\"", "already a service address of `db`", "one group");
}

#[test]
fn every_node_has_one_address_per_network() {
    let fewer = with("[\"10.77.0.5\", \"10.78.0.5\"]", "[\"10.77.0.5\"]");
    refused(&fewer, "[\"10.77.0.5\"]", "`lx5` has 1 address, but `lx4` has 2 addresses", "same order");
    refused(&with("[\"10.77.0.6\", \"10.78.0.6\"]", "[]"), "[]", "is empty", "one address per network");
}

#[test]
fn a_network_has_one_family() {
    let mixed = with("\"10.78.0.5\"", "\"fd00:78::5\"");
    refused(
        &mixed,
        "\"fd00:78::5\"",
        "network 2: `lx5` has an IPv6 address, but `lx4` an IPv4",
        "one family",
    );
}

#[test]
fn addresses_in_another_order_are_warned_of() {
    let crossed = with("[\"10.77.0.6\", \"10.78.0.6\"]", "[\"10.78.0.6\", \"10.77.0.6\"]");
    let parsed = parse(&crossed);
    assert_eq!(parsed.count(Severity::Warning), 2, "{}", listed(&crossed, &parsed));
    assert!(parsed.findings[0].help.contains("looks like network 2"));
    let lone = with("\"10.78.0.6\"", "\"10.99.0.6\"");
    warned(&lone, "\"10.99.0.6\"", "not in the subnet of 10.78.0.4", "router");
    let routed = with("\"10.78.0.6\"", "\"10.99.0.6\"").replace("10.78.0.5", "10.98.0.5");
    assert_eq!(parse(&routed).findings, []);
}

#[test]
fn an_address_of_a_node_is_one_machines_own() {
    let first = |to: &str| with("\"10.77.0.4\"", to);
    refused(&first("\"224.0.0.5\""), "\"224.0.0.5\"", "multicast", "this machine");
    refused(&first("\"0.0.0.0\""), "\"0.0.0.0\"", "no machine's address", "this machine");
    refused(&first("\"127.0.0.1\""), "\"127.0.0.1\"", "loopback", "this machine");
    refused(&first("\"255.255.255.255\""), "\"255.255.255.255\"", "broadcast", "this machine");
    refused(&first("\"10.77.0.4/24\""), "\"10.77.0.4/24\"", "no prefix length", "\"10.77.0.4\"");
    refused(&first("\"lx4.ward\""), "\"lx4.ward\"", "not an IP address", "not a host name");
    let six = |to: &str| good6().replacen("\"fd00:77::4\"", to, 1);
    refused(&six("\"fe80::4\""), "\"fe80::4\"", "link-local", "fd...");
    refused(&six("\"ff02::1\""), "\"ff02::1\"", "multicast", "this machine");
    refused(&six("\"::ffff:10.0.0.1\""), "\"::ffff:10.0.0.1\"", "IPv4 address in disguise", "\"10.0.0.1\"");
}

#[test]
fn a_trial_on_loopback_alone_is_possible_and_said() {
    let trial = "[cluster]\nname=\"t\"\n[[node]]\nname=\"a\"\naddresses=[\"127.0.0.2\",\"127.0.1.2\"]\n\
                 [[node]]\nname=\"b\"\naddresses=[\"127.0.0.3\",\"127.0.1.3\"]\n\
                 [[node]]\nname=\"c\"\naddresses=[\"127.0.0.4\",\"127.0.1.4\"]\n";
    warned(trial, "\"127.0.0.2\"", "this cluster is one machine", "trial");
}

#[test]
fn what_two_nodes_alone_do_not_survive_is_said() {
    let witness = "[[witness]]\nname = \"wit\"\naddresses = [\"10.77.0.6\", \"10.78.0.6\"]\n";
    warned(&with(witness, ""), "\"ward7\"", "stays a learner", "[[witness]]");
    assert_eq!(regent_model::config::guarantees(&good(&with(witness, "")))[0].worst_case, None);
}

#[test]
fn one_network_alone_is_warned_of() {
    let one_net =
        GOOD.replace(", \"10.78.0.4\"", "").replace(", \"10.78.0.5\"", "").replace(", \"10.78.0.6\"", "");
    warned(&one_net, "[\"10.77.0.4\"]", "one network only", "separate cables");
}

#[test]
fn a_cluster_without_nodes_is_refused_and_one_node_is_warned_of() {
    refused("[cluster]\nname = \"w\"\n", "\"w\"", "there is no node", "[[node]]");
    let single = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n";
    warned(single, "[[node]]", "takes nothing over", "regent join");
}

#[test]
fn a_fence_device_names_nodes_and_an_absolute_agent() {
    refused(
        &with("nodes = [\"lx4\", \"lx5\"]\n\n[[group]]", "nodes = [\"lx4\", \"lx5\", \"lx6\"]\n\n[[group]]"),
        "\"lx6\"",
        "no node `lx6`",
        "did you mean",
    );
    refused(
        &with("/usr/sbin/fence_ipmilan", "fence_ipmilan"),
        "\"fence_ipmilan\"",
        "not an absolute path",
        "`/`",
    );
    let fence = |more: &str| with("agent = \"/usr", &format!("{more}\nagent = \"/usr"));
    // The devices of a level are told as "a and b", and the proof names them so.
    for name in ["feed-a and feed-b", "feed-a, feed-b"] {
        let text = with("name = \"power\"", &format!("name = \"{name}\""));
        refused(&text, &format!("\"{name}\""), "name", "write for example");
    }
    refused(&fence("action = \"cycle\""), "\"cycle\"", "`action` cannot be", "\"reboot\", \"off\"");
    refused(&fence("plugs = { lx9 = \"3\" }"), "lx9", "`plugs` names `lx9`", "did you mean `lx4`");
    refused(&fence("options = { ip = 10.77.0.9 }"), "10.77.0.9", "quotes", "\"10.77.0.9\"");
    refused(&fence("options = { action = \"off\" }"), "action", "by Regent itself", "`plugs`");
    refused(
        &fence("options = { passwd = \"(not shown)\" }"),
        "passwd",
        "came from `config show` by somebody without the role admin",
        "regent config show",
    );
    let config =
        good(&fence("options = { lanplus = true, ipport = 623 }\nplugs = { lx4 = 3 }\ntimeout = \"5s\""));
    let fence = &config.fences[0];
    assert_eq!(fence.options.get("lanplus").map(String::as_str), Some("true"));
    assert_eq!(fence.options.get("ipport").map(String::as_str), Some("623"));
    assert_eq!(fence.plugs.len(), 1);
    assert_eq!(fence.timeout.as_secs(), 5);
}

#[test]
fn a_group_lives_on_nodes_each_named_once() {
    let web = |nodes: &str| with("nodes = [\"lx5\", \"lx4\"]", &format!("nodes = {nodes}"));
    refused(&web("[\"lx5\", \"lx44\"]"), "\"lx44\"", "no node `lx44`", "did you mean \"lx4\"?");
    refused(&web("[\"lx5\", \"mars\"]"), "\"mars\"", "no node `mars`", "the nodes are \"lx4\", \"lx5\"");
    refused(&web("[\"lx5\", \"wit\"]"), "\"wit\"", "is a witness", "[[node]]");
    refused(&web("[\"lx5\", \"lx5\"]"), "\"lx5\"", "stands here twice", "delete the other");
    refused(&web("[]"), "[]", "names no node", "[\"lx4\", \"lx5\"]");
    warned(&web("[\"lx5\"]"), "[\"lx5\"]", "nobody takes it over", "second node");
}
