//! What a node could not do is said before it is asked.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use regent_model::NodeName;
use regent_model::config::{Config, parse};

use crate::support::{Folder, Node};

fn config(agent: &str, start: &str, rest: &str) -> Config {
    let text = format!(
        "[cluster]\nname = \"w\"\ntakeover = \"normal\"\n\
         [[node]]\nname = \"lx4\"\naddresses = [\"10.0.0.4\"]\n\
         [[node]]\nname = \"lx5\"\naddresses = [\"10.0.0.5\"]\n\
         [[witness]]\nname = \"wit\"\naddresses = [\"10.0.0.3\"]\n\
         [[fence]]\nname = \"power\"\nagent = \"{agent}\"\nnodes = [\"lx4\", \"lx5\"]\ntimeout = \"1s\"\n\
         [[group]]\nname = \"g\"\nnodes = [\"lx4\"]\npolicy = \"cascading\"\n\
         [[group.application]]\nname = \"app\"\nstart = \"{start}\"\nforeground = true\n{rest}"
    );
    let parsed = parse(&text);
    parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings))
}

fn doubts(node: &Node, me: &str, config: &Config) -> Vec<String> {
    node.hands().inspector().doubts(&NodeName::new(me).unwrap(), config)
}

/// An agent with this body.
fn agent(folder: &Folder, body: &str) -> String {
    let path = folder.0.join("agent");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_node_that_could_do_everything_has_no_doubts_whether_a_peer_has_power_or_not() {
    let (node, folder) = (Node::new(), Folder::new());
    for status in [0, 2] {
        let config = config(&agent(&folder, &format!("exit {status}")), "/bin/sleep 300", "");
        assert_eq!(doubts(&node, "lx4", &config), [""; 0]);
    }
}

#[test]
fn a_missing_start_command_and_an_unknown_user_are_said_where_the_group_may_run_and_only_there() {
    let (node, folder) = (Node::new(), Folder::new());
    let config = config(&agent(&folder, "exit 0"), "/opt/missing/run --now", "user = \"nobody-at-all\"\n");
    let found = doubts(&node, "lx4", &config);
    assert!(found.iter().any(|d| d.contains("start command") && d.contains("/opt/missing/run")), "{found:?}");
    assert!(found.iter().any(|d| d.contains("nobody-at-all")), "{found:?}");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(doubts(&node, "lx5", &config), [""; 0]);
}

#[test]
fn a_fence_agent_that_is_missing_fails_prints_garbage_or_hangs_is_said_before_it_is_needed() {
    let (node, folder) = (Node::new(), Folder::new());
    let found = doubts(&node, "lx4", &config("/usr/sbin/fence_nowhere", "/bin/sleep 300", ""));
    assert!(found.len() == 1 && found[0].contains("/usr/sbin/fence_nowhere"), "{found:?}");
    for (body, word) in [
        ("echo cannot log in >&2; exit 1", "exited with 1 (0 would mean on, 2 off): cannot log in"),
        ("head -c 3000000 /dev/urandom; exit 77", "exited with 77"),
        ("sleep 300 & sleep 300", "did not end in its time"),
    ] {
        let began = Instant::now();
        let found = doubts(&node, "lx4", &config(&agent(&folder, body), "/bin/sleep 300", ""));
        assert!(began.elapsed() < Duration::from_secs(5), "{body}: {:?}", began.elapsed());
        assert!(
            found.len() == 1 && found[0].contains("power") && found[0].contains(word),
            "{body}: {found:?}"
        );
        assert!(found[0].contains("lx5") && found[0].len() < 6_000, "{found:?}");
    }
}

#[test]
fn what_does_not_fit_the_metadata_of_a_fence_agent_is_said_before_it_is_needed() {
    let (node, folder) = (Node::new(), Folder::new());
    let filler = "<parameter name=\"some%d\"><content type=\"string\"/></parameter>\\n";
    let body = format!(
        "while read -r line; do case $line in action=metadata) about=1;; esac; done\n[ -z \"$about\" ] && exit 0\n\
         echo '<resource-agent name=\"x\"><parameters><parameter name=\"ip\" required=\"1\"/>'\n\
         for n in $(seq 1 400); do printf '{filler}' $n; done\n\
         echo '</parameters><actions><action name=\"off\"/><action name=\"status\"/></actions></resource-agent>'"
    );
    let found = doubts(&node, "lx4", &config(&agent(&folder, &body), "/bin/sleep 300", ""));
    assert!(found.len() == 1 && found[0].contains("write ip into its options"), "{found:?}");
}

#[test]
fn a_node_without_lvm_says_so_where_a_group_has_a_volume() {
    let (node, folder) = (Node::new(), Folder::new());
    let volume = "[[group.volume]]\nvg = \"datavg\"\n";
    let config = config(&agent(&folder, "exit 0"), "/bin/sleep 300", volume);
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let missing: Vec<&str> = ["vgs", "lvs", "vgchange", "lvchange"]
        .into_iter()
        .filter(|program| !folders.iter().any(|f| std::path::Path::new(f).join(program).exists()))
        .collect();
    let found = doubts(&node, "lx4", &config);
    assert_eq!(found.len(), usize::from(!missing.is_empty()), "{found:?}");
    for doubt in &found {
        assert!(doubt.contains(&missing.join(", ")) && doubt.contains("lvm2"), "{doubt}");
    }
    assert_eq!(doubts(&node, "lx5", &config), [""; 0]);
}
