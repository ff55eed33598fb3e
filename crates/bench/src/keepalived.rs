//! keepalived: VRRP on the clients' network. It moves an address and calls scripts; it has no storage, no quorum and no
//! fencing.

use std::process::{Command, Stdio};

use regent_lab::{Lab, LabSpec, Role, SeedFile};
use serde_json::{Value, json};

use crate::Result;
use crate::contestant::{Contestant, said};
use crate::script::{self, SCRIPT};
use crate::service::{INTERFACE, Kind, NODES, PREFIX, SERVICE};
use crate::stand::{answering, at_boot};

const CONFIG: &str = "/etc/keepalived/keepalived.conf";
const RUN: [&str; 6] = ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--use-file", CONFIG];

/// keepalived with a group that is an address, alone or with the ledger.
pub(crate) struct Keepalived {
    /// Adverts every 50 ms at real-time priority instead of every second.
    pub(crate) tuned: bool,
    /// What the group consists of.
    pub(crate) kind: Kind,
}

impl Keepalived {
    fn config(&self, node: &str) -> String {
        let application = self.kind != Kind::Address;
        let mut text =
            format!("global_defs {{\n  router_id {node}\n  script_user root\n  enable_script_security\n");
        if self.tuned {
            // Without the last one, half of the heals leave the clients with the wrong hardware address.
            text += "  vrrp_version 3\n  vrrp_rt_priority 50\n  vrrp_higher_prio_send_advert true\n";
        }
        text += "}\n";
        if application {
            text += &format!("vrrp_script ledger {{\n  script \"{SCRIPT} check\"\n  interval 1\n}}\n");
        }
        let (priority, interval) =
            (if node == NODES[0] { 150 } else { 140 }, if self.tuned { "0.05" } else { "1" });
        text += &format!(
            "vrrp_instance service {{\n  state BACKUP\n  nopreempt\n  interface {INTERFACE}\n  \
             virtual_router_id 51\n  priority {priority}\n  advert_int {interval}\n  \
             virtual_ipaddress {{\n    {SERVICE}/{PREFIX}\n  }}\n"
        );
        if application {
            text += &format!(
                "  track_script {{\n    ledger\n  }}\n  notify_master \"{SCRIPT} master\"\n  \
                 notify_backup \"{SCRIPT} backup\"\n  notify_fault \"{SCRIPT} backup\"\n  \
                 notify_stop \"{SCRIPT} backup\"\n"
            );
        }
        text + "}\n"
    }
}

impl Contestant for Keepalived {
    fn programs(&self) -> &'static [&'static str] {
        &["keepalived"]
    }

    fn prepare(&self, spec: &mut LabSpec) {
        let run = RUN.join(" ");
        at_boot(spec, Role::Node, &format!("{}exec {run}\n", answering(self.kind)));
        script::install(spec, self.kind);
        for node in NODES {
            let content = self.config(node).into_bytes();
            if let Some(machine) = spec.machine_mut(node) {
                machine.files.push(SeedFile { path: CONFIG.into(), mode: 0o644, content });
            }
        }
    }

    fn form(&self, _lab: &Lab) -> Result<()> {
        Ok(())
    }

    fn is_steady(&self, lab: &Lab) -> bool {
        let ask = format!(
            "kill -0 $(cat /run/keepalived.pid) && ip -4 -o addr show dev {INTERFACE} | grep -c ' {SERVICE}/'; true"
        );
        let carried = |node| said(lab, node, &["sh", "-c", &ask]).ok()?.trim().parse::<u32>().ok();
        let found: Option<Vec<u32>> = NODES.into_iter().map(carried).collect();
        found.is_some_and(|counts| counts.iter().sum::<u32>() == 1)
    }

    /// There is no command for a move: keepalived is stopped where it is master.
    fn order_move(&self, lab: &Lab, from: &str, _to: &str) -> Result<()> {
        said(lab, from, &["sh", "-c", "kill $(cat /run/keepalived.pid)"]).map(|_| ())
    }

    fn after_move(&self, lab: &Lab, from: &str) -> Result<()> {
        said(lab, from, &["sh", "-c", "while [ -e /run/keepalived.pid ]; do sleep 0.05; done"])?;
        let mut command = Command::new(RUN[0]);
        command.args(&RUN[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It belongs to the machine and ends with it.
        lab.spawn(from, command).map(drop).map_err(Into::into)
    }

    fn about(&self, lab: &Lab) -> Value {
        let words = ["sh", "-c", "keepalived --version 2>&1 | head -1"];
        let version = said(lab, NODES[0], &words).unwrap_or_default();
        json!({ "version": version.trim(), "configuration": self.config(NODES[0]) })
    }
}
