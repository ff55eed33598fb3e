//! A machine's management board (BMC), spoken to over IPMI by the fence agent that people use, unchanged.
//!
//! The board is simulated, and its chassis is a machine of the lab: what it switches off is off.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regent_lab::Running;

use crate::cluster::{Cluster, head, ledger_group, told};
use crate::machine::sh;

/// What has to be installed: `.ci/run` does it, where the packages can be had.
const NEEDED: [(&str, &str); 3] = [
    ("/usr/sbin/fence_ipmilan", "fence-agents"),
    ("/usr/bin/ipmitool", "ipmitool"),
    ("/usr/bin/ipmi_sim", "openipmi"),
];
/// The client's address in the first network; the board is reached through it.
const BOARD: &str = "10.77.0.254";

/// The board of lx4, of which the guard knows nothing: user admin, and a chassis that is switched by the lab.
const PREPARE: &str = r#"
mkdir -p /tmp/bmc/state && cd /tmp/bmc
cat > lan.conf <<'END'
name "lx4"
set_working_mc 0x20
  startlan 1
    addr 10.77.0.254 6230
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "/tmp/bmc/chassis"
  user 2 true "admin" "geheim" admin 10 none md2 md5 straight
END
cat > bmc.emu <<'END'
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
mc_enable 0x20
END
cat > chassis <<'END'
#!/bin/sh
# get WHAT... | set WHAT VALUE, after the options that say for which board
while [ $# -gt 0 ] && [ "$1" != get ] && [ "$1" != set ]; do shift; done
ask() { printf 'action=%s\nplug=lx4\n' "$1" | /usr/sbin/fence_lab; }
echo "$*" >> /tmp/bmc/asked
case "$1 $2 $3" in
"get power "*) ask status; case $? in 0) echo power:1 ;; 2) echo power:0 ;; *) exit 1 ;; esac ;;
"set power 0") ask off ;;
"set power 1") ask on ;;
*) exit 1 ;;
esac
END
chmod +x chassis
"#;

fn config() -> String {
    let board = format!(
        r#"
[[fence]]
name    = "bmc-lx4"
agent   = "/usr/sbin/fence_ipmilan"
nodes   = ["lx4"]
options = {{ ip = "{BOARD}", ipport = "6230", lanplus = "true", cipher = "3", username = "admin", password = "geheim" }}
"#
    );
    head("normal").replace("nodes = [\"lx4\", \"lx5\"]\n", "nodes = [\"lx5\"]\n")
        + &board
        + &ledger_group("rotating", "\"fenced\"")
}

fn board(cluster: &Cluster) -> Running {
    sh(cluster, "client", PREPARE);
    let mut command = Command::new("ipmi_sim");
    command.args(["-c", "/tmp/bmc/lan.conf", "-f", "/tmp/bmc/bmc.emu", "-s", "/tmp/bmc/state", "-n"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = cluster.lab.spawn("client", command).unwrap();
    let began = Instant::now();
    loop {
        let said = cluster.on("wit", &["fence", "status", "lx4"]);
        if said.status.success() {
            return running;
        }
        assert!(began.elapsed() < Duration::from_secs(60) && !running.has_ended(), "{}", told(&said));
    }
}

#[test]
fn a_node_is_cut_over_ipmi_by_the_unchanged_agent_and_the_takeover_rests_on_that() {
    let missing: Vec<_> = NEEDED.iter().filter(|(file, _)| !Path::new(file).exists()).map(|n| n.1).collect();
    if !missing.is_empty() {
        println!("not tested: install {}", missing.join(" "));
        return;
    }
    let cluster = Cluster::up("ipmi", &config());
    let board = board(&cluster);
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let said = cluster.order("wit", &["verify"]);
    assert!(said.contains("bmc-lx4: the agent knows every option, off and status"), "{said}");
    let boot = cluster.boot("lx4");
    cluster.lab.cut("lx4", None).unwrap();
    cluster.written_on(&writer, "lx5");
    let said = cluster.order("wit", &["events"]);
    for words in ["bmc-lx4 confirms: lx4 is off", "proof: fenced"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(!said.contains("geheim"), "{said}");
    // The board gives the power back, too.
    cluster.heal("lx4");
    cluster.is_up("lx4");
    assert_ne!(cluster.boot("lx4"), boot, "it was really off");
    let asked = sh(&cluster, "client", "cat /tmp/bmc/asked");
    let (off, on) = (asked.find("set power 0").unwrap(), asked.find("set power 1").unwrap());
    assert!(off < on && asked[off..on].contains("get power"), "{asked}");
    cluster.nothing_lost(writer);
    cluster.one_writer();
    board.kill().unwrap();
}
