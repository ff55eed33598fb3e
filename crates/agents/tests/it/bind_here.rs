//! Wildcard binds that go to the service address, by programs that the kernel has checked.

use regent_model::action::Op;
use regent_model::config::{ApplicationConfig, BindTo, MainProcess};

use crate::support::{Node, app, application, eventually, interface, isolated, sh};

const FOUR: BindTo = BindTo { v4: Some(std::net::Ipv4Addr::new(10, 0, 0, 50)), v6: None };

/// Listens on every address for IPv4, for both families with one socket, and on one that it names; and says what became
/// of a socket for IPv6 alone.
const LISTENER: &str = r#"
import socket, time, threading
def at(family, address, port, only=None):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if only is not None:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
    try:
        s.bind((address, port))
    except OSError as e:
        print("port", port, "refused", e.errno, flush=True)
        return
    s.listen(5)
    print("port", port, "on", s.getsockname()[0], flush=True)
    kept.append(s)
kept = []
at(socket.AF_INET, "0.0.0.0", 4001)
at(socket.AF_INET6, "::", 4002, 0)
at(socket.AF_INET, "10.0.0.4", 4003)
at(socket.AF_INET6, "::", 4004, 1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("", 4005))
print("port 4005 on", u.getsockname()[0], flush=True)
print("ready", flush=True)
time.sleep(300)
"#;

fn bound(node: &Node, bind: BindTo) -> ApplicationConfig {
    let program = node.run_dir.0.join("listen.py");
    std::fs::write(&program, LISTENER).unwrap();
    let told = node.run_dir.0.join("told");
    let start = format!("exec python3 {} > {}", program.display(), told.display());
    let status = format!("grep -q ready {}", told.display());
    let stop = Some(format!("rm {}", told.display()));
    ApplicationConfig {
        bind: Some(bind),
        stop,
        status: Some(status),
        ..application(&start, MainProcess::Child)
    }
}

fn told(node: &Node) -> String {
    std::fs::read_to_string(node.run_dir.0.join("told")).unwrap()
}

#[test]
fn wildcard_binds_of_an_application_go_to_the_service_address_and_others_stay_what_they_are() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        sh("ip addr add 10.0.0.50/24 dev lan0");
        let mut node = Node::new();
        let resource = app(bound(&node, FOUR));
        let story = node.run(Op::Acquire, &resource).runs().story();
        assert!(story.contains("wildcard binds to the service address"), "{story}");
        let said = told(&node);
        assert!(said.contains("port 4001 on 10.0.0.50\n"), "{said}");
        assert!(said.contains("port 4002 on ::ffff:10.0.0.50\n"), "{said}");
        assert!(said.contains("port 4003 on 10.0.0.4\n"), "{said}");
        assert!(said.contains("port 4004 refused"), "for IPv6 alone there is no address: {said}");
        assert!(said.contains("port 4005 on 10.0.0.50\n"), "{said}");
        let connects =
            |to: &str| sh(&format!("timeout 2 bash -c 'echo > /dev/tcp/{to}' 2>&1 || true")).is_empty();
        assert!(connects("10.0.0.50/4001") && connects("10.0.0.50/4002"));
        assert!(!connects("10.0.0.4/4001") && !connects("127.0.0.1/4001") && !connects("10.0.0.4/4002"));
        // A program that somebody else starts has every address, as ever.
        let other =
            "python3 -c 'import socket; s=socket.socket(); s.bind((\"\",4006)); print(s.getsockname()[0])'";
        assert_eq!(sh(other).trim(), "0.0.0.0");
        node.run(Op::Release, &resource).stopped();
    });
}

#[test]
fn two_applications_with_the_same_port_listen_beside_each_other_each_on_its_own_address() {
    isolated(|| {
        interface("lan0", Some("10.0.0.4/24"));
        sh("ip addr add 10.0.0.50/24 dev lan0 && ip addr add 10.0.0.51/24 dev lan0");
        sh("ip -6 addr add fd00::51/64 dev lan0 nodad");
        let (mut one, mut two) = (Node::new(), Node::new());
        let first = app(bound(&one, FOUR));
        one.run(Op::Acquire, &first).runs();
        let both = BindTo { v4: "10.0.0.51".parse().ok(), v6: "fd00::51".parse().ok() };
        let second = app(bound(&two, both));
        two.run(Op::Acquire, &second).runs();
        let said = told(&two);
        assert!(
            said.contains("port 4001 on 10.0.0.51\n") && said.contains("port 4002 on fd00::51\n"),
            "{said}"
        );
        assert!(said.contains("port 4004 on fd00::51\n"), "{said}");
        one.run(Op::Release, &first).stopped();
        two.run(Op::Release, &second).stopped();
    });
}

#[test]
fn another_address_takes_the_place_of_the_one_before_in_a_control_group_that_stays() {
    isolated(|| {
        interface("lan0", Some("10.0.0.50/24"));
        sh("ip addr add 10.0.0.51/24 dev lan0");
        let node = Node::new();
        let folder = node.cgroup.0.join("kept");
        std::fs::create_dir(&folder).unwrap();
        for address in ["10.0.0.50", "10.0.0.51"] {
            let to = BindTo { v4: address.parse().ok(), v6: None };
            regent_agents::bind_here::attach(&folder, to).unwrap();
            let ask = format!(
                "echo $$ > {}/cgroup.procs; exec python3 -c 'import socket; s=socket.socket(); s.bind((\"\",4007)); \
                 print(s.getsockname()[0])'",
                folder.display()
            );
            assert_eq!(sh(&ask).trim(), address);
        }
        eventually("nobody is left", || std::fs::remove_dir(&folder).is_ok());
    });
}

#[test]
fn what_is_missing_is_said_in_words() {
    assert_eq!(regent_agents::bind_here::is_possible(), Ok(()));
    let no_group = std::env::temp_dir();
    let error = regent_agents::bind_here::attach(&no_group, FOUR).unwrap_err();
    assert!(error.contains("is it a control group of version 2"), "{error}");
}
