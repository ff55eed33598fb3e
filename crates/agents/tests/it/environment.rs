//! What scripts are told of the node's addresses.

use regent_model::action::Op;
use regent_model::config::MainProcess;

use crate::support::{Node, app, application, interface, isolated, sh};

fn told(node: &Node) -> String {
    sh(&format!("cat {}", node.run_dir.0.join("told").display()))
}

fn telling(node: &Node) -> regent_model::action::Resource {
    let told = node.run_dir.0.join("told");
    let line = "\"$REGENT_EXCLUDED_ADDRESSES|$RPC_UNSUPPORTED_NETADDRS\"";
    let mut config =
        application(&format!("echo {line} > {}; exec sleep 300", told.display()), MainProcess::Child);
    config.status = Some(format!("echo {line} > {0}; test ! -e {0}.stopped", told.display()));
    config.stop = Some(format!("touch {}.stopped; exit 1", told.display()));
    app(config)
}

#[test]
fn every_other_address_is_excluded_also_one_that_nothing_configures_and_as_it_is_now() {
    isolated(|| {
        interface("eth0", Some("10.0.0.4/24"));
        sh("ip addr add 10.0.0.99/24 dev eth0");
        let mut node = Node::new();
        let resource = telling(&node);
        let story = node.run(Op::Acquire, &resource).runs().story();
        assert_eq!(told(&node).trim(), "10.0.0.4|10.0.0.4", "{story}");
        // Another group is taken over beside it, and somebody adds a network card.
        interface("eth9", Some("192.168.9.4/24"));
        sh("ip addr add 10.0.0.77/24 dev eth0; ip addr del 10.0.0.4/24 dev eth0; true");
        sh(
            "ip addr add 10.0.0.99/24 dev eth0 2>/dev/null; ip addr add 10.0.0.77/24 dev eth0 2>/dev/null; true",
        );
        node.run(Op::Monitor, &resource).runs();
        let told = told(&node);
        let (excluded, netaddrs) = told.trim().split_once('|').unwrap();
        assert_eq!(excluded.replace(' ', ":"), netaddrs);
        for address in ["10.0.0.4", "10.0.0.77", "192.168.9.4"] {
            assert!(excluded.split(' ').any(|a| a == address), "{address}: {excluded}");
        }
        assert!(!excluded.contains("10.0.0.99"), "{excluded}");
    });
}

#[test]
fn ipv6_is_not_put_between_colons_and_that_is_said_once() {
    isolated(|| {
        interface("eth0", Some("10.0.0.4/24"));
        sh("ip addr add fd00::4/64 dev eth0 nodad");
        let mut node = Node::new();
        let resource = telling(&node);
        let story = node.run(Op::Acquire, &resource).runs().story();
        assert!(story.contains("leaves out fd00::4"), "{story}");
        node.run(Op::Monitor, &resource).runs();
        assert_eq!(told(&node).trim(), "10.0.0.4 fd00::4|10.0.0.4");
        node.run(Op::Release, &resource).stopped();
        sh(&format!("rm {}.stopped", node.run_dir.0.join("told").display()));
        assert!(!node.run(Op::Acquire, &resource).runs().story().contains("leaves out"), "once");
    });
}
