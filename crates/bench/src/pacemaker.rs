//! Pacemaker on Corosync: two nodes, two links, and with a shared disk the lab's power switch as its fence device.

use regent_lab::{Lab, LabSpec, Role};
use serde_json::{Value, json};

use crate::Result;
use crate::contestant::{Contestant, said};
use crate::script;
use crate::service::{DEVICE, INTERFACE, Kind, MOUNT, NODES, PREFIX, SERVICE};
use crate::stand::{answering, at_boot};

const COROSYNC: &str = "/etc/corosync/corosync.conf";
const RESOURCES: &str = "/etc/bench-resources.xml";
const GROUP: &str = "service";

/// What a machine with these packages has done by the time it has booted, and then the daemons.
const BOOT: &str = "\
mkdir -p /run/lock /run/crm /run/corosync /run/cluster /run/resource-agents /run/heartbeat /srv/ledger /run/ledger
mkdir -p /var/log/corosync /var/log/pacemaker /var/lib/corosync
for folder in cib pengine blackbox cores; do mkdir -p /var/lib/pacemaker/$folder; done
chown -R hacluster:haclient /var/lib/pacemaker /var/log/pacemaker /run/crm
chmod 750 /var/lib/pacemaker /run/crm
# The agent for file systems asks for modules, which a kernel without modules does not need.
command -v modprobe > /dev/null || { printf '#!/bin/sh\\nexit 0\\n' > /usr/local/sbin/modprobe; chmod 755 /usr/local/sbin/modprobe; }
corosync -f > /dev/null 2>&1 &
until corosync-cfgtool -s > /dev/null 2>&1; do sleep 0.05; done
exec pacemakerd --foreground > /dev/null 2>&1
";

/// Pacemaker and Corosync with a group.
pub(crate) struct Pacemaker {
    /// Shorter timers, a monitor every 200 ms, and resources that stay where they are.
    pub(crate) tuned: bool,
    /// What the group consists of.
    pub(crate) kind: Kind,
}

impl Pacemaker {
    fn corosync(&self) -> String {
        let timers = if self.tuned {
            "  token: 1000\n  token_coefficient: 0\n  consensus: 60\n  join: 30\n"
        } else {
            ""
        };
        let mut text = format!(
            "totem {{\n  version: 2\n  cluster_name: bench\n  crypto_cipher: none\n  crypto_hash: none\n{timers}}}\n\
             quorum {{\n  provider: corosync_votequorum\n  two_node: 1\n}}\n\
             logging {{\n  to_logfile: yes\n  logfile: /var/log/corosync/corosync.log\n  to_syslog: no\n}}\n\
             nodelist {{\n"
        );
        for (name, host) in [(NODES[0], 4), (NODES[1], 5)] {
            text += &format!(
                "  node {{\n    name: {name}\n    nodeid: {host}\n    ring0_addr: 10.77.0.{host}\n    \
                 ring1_addr: 10.78.0.{host}\n  }}\n"
            );
        }
        text + "}\n"
    }

    fn has_fencing(&self) -> bool {
        self.kind == Kind::Ext4
    }

    fn resources(&self) -> String {
        let mut group = String::new();
        if self.kind == Kind::Ext4 {
            let values = [("device", DEVICE), ("directory", MOUNT), ("fstype", "ext4")];
            group += &primitive("disk", "heartbeat", "Filesystem", &values, "20s");
        }
        let (address, prefix) = (SERVICE.to_string(), PREFIX.to_string());
        let values = [("ip", address.as_str()), ("cidr_netmask", &prefix), ("nic", INTERFACE)];
        group += &primitive("address", "heartbeat", "IPaddr2", &values, "10s");
        if self.kind != Kind::Address {
            let interval = if self.tuned { "200ms" } else { "10s" };
            group += &primitive("ledger", "bench", "ledger", &[], interval);
        }
        let fence = if self.has_fencing() {
            format!(
                "<primitive id=\"fence\" class=\"stonith\" type=\"fence_lab\">{}</primitive>\n",
                attributes("fence", &[("pcmk_host_list", &NODES.join(" "))])
            )
        } else {
            String::new()
        };
        format!("<resources>\n<group id=\"{GROUP}\">\n{group}</group>\n{fence}</resources>\n")
    }

    fn properties(&self) -> Vec<[&'static str; 3]> {
        let mut all =
            vec![["crm_config", "stonith-enabled", if self.has_fencing() { "true" } else { "false" }]];
        if self.tuned {
            all.push(["rsc_defaults", "resource-stickiness", "1000"]);
        }
        all
    }

    /// What the cluster says on a node, as XML.
    fn status(lab: &Lab) -> Option<String> {
        NODES.iter().find_map(|node| said(lab, node, &["crm_mon", "-1", "--output-as=xml"]).ok())
    }

    fn both_are_online(xml: &str) -> bool {
        let online = |tag: &&str| tag.contains("online=\"true\"") && tag.contains("pending=\"false\"");
        tags(xml, "node").filter(online).count() == NODES.len()
    }
}

fn attributes(id: &str, values: &[(&str, &str)]) -> String {
    let one = |(name, value): &(&str, &str)| {
        format!("<nvpair id=\"{id}-{name}\" name=\"{name}\" value=\"{value}\"/>")
    };
    let all: String = values.iter().map(one).collect();
    if all.is_empty() {
        all
    } else {
        format!("<instance_attributes id=\"{id}-values\">{all}</instance_attributes>")
    }
}

fn primitive(id: &str, provider: &str, agent: &str, values: &[(&str, &str)], monitor: &str) -> String {
    format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"{provider}\" type=\"{agent}\">{}\
         <operations><op id=\"{id}-monitor\" name=\"monitor\" interval=\"{monitor}\" timeout=\"40s\"/>\
         <op id=\"{id}-start\" name=\"start\" interval=\"0\" timeout=\"60s\"/>\
         <op id=\"{id}-stop\" name=\"stop\" interval=\"0\" timeout=\"60s\"/></operations></primitive>\n",
        attributes(id, values)
    )
}

/// The opening tags of that name.
fn tags<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    xml.split('<').filter_map(move |rest| {
        let tag = rest.split('>').next()?;
        tag.strip_prefix(name).filter(|attributes| attributes.starts_with(' '))
    })
}

impl Contestant for Pacemaker {
    fn programs(&self) -> &'static [&'static str] {
        &["corosync", "pacemakerd", "crm_mon", "arping"]
    }

    fn prepare(&self, spec: &mut LabSpec) {
        at_boot(spec, Role::Node, &format!("{}{BOOT}", answering(self.kind)));
        script::install(spec, self.kind);
        *spec = spec.clone().file(COROSYNC, 0o644, self.corosync()).file(RESOURCES, 0o644, self.resources());
        spec.persistent.extend(["/var/lib/pacemaker".into(), "/var/lib/corosync".into()]);
    }

    fn form(&self, lab: &Lab) -> Result<()> {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(90);
        while !Self::status(lab).is_some_and(|xml| Self::both_are_online(&xml)) {
            if std::time::Instant::now() > end {
                return Err("the nodes do not find each other".into());
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        for [kind, name, value] in self.properties() {
            said(lab, NODES[0], &["crm_attribute", "--type", kind, "--name", name, "--update", value])?;
        }
        let replace = ["cibadmin", "--replace", "--scope", "resources", "--xml-file", RESOURCES];
        said(lab, NODES[0], &replace).map(|_| ())
    }

    fn is_steady(&self, lab: &Lab) -> bool {
        let Some(xml) = Self::status(lab) else { return false };
        let running = |tag: &str| {
            tag.contains("active=\"true\"")
                && ["role=\"Started\"", "blocked=\"false\"", "failed=\"false\""]
                    .iter()
                    .all(|w| tag.contains(w))
        };
        let mut resources = tags(&xml, "resource").peekable();
        let runs = resources.peek().is_some() && resources.all(running);
        let coordinator = tags(&xml, "current_dc")
            .find_map(|tag| tag.split("name=\"").nth(1)?.split('"').next().map(str::to_owned));
        let idle = |node: String| {
            let state = said(lab, &node, &["crmadmin", "--status", &node]).unwrap_or_default();
            state.contains("S_IDLE")
        };
        runs && Self::both_are_online(&xml) && coordinator.is_some_and(idle)
    }

    fn order_move(&self, lab: &Lab, from: &str, to: &str) -> Result<()> {
        let words = ["crm_resource", "--move", "--resource", GROUP, "--node", to];
        said(lab, from, &words).map(|_| ())
    }

    fn after_move(&self, lab: &Lab, from: &str) -> Result<()> {
        said(lab, from, &["crm_resource", "--clear", "--resource", GROUP]).map(|_| ())
    }

    fn about(&self, lab: &Lab) -> Value {
        let versions = "pacemakerd --version | head -1; corosync -v | head -1";
        let version = said(lab, NODES[0], &["sh", "-c", versions]).unwrap_or_default();
        let properties: Vec<String> =
            self.properties().iter().map(|[_, name, value]| format!("{name}={value}")).collect();
        json!({
            "version": version.trim(),
            "configuration": format!("{}{}", self.corosync(), self.resources()),
            "properties": properties,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_of_tags_are_found() {
        let xml =
            "<nodes><node name=\"a\" online=\"true\" pending=\"false\"/><node_history name=\"b\"/></nodes>";
        assert_eq!(tags(xml, "node").count(), 1);
        assert!(!Pacemaker::both_are_online(xml));
    }

    #[test]
    fn a_shared_disk_is_never_without_fencing() {
        for tuned in [false, true] {
            let text = Pacemaker { tuned, kind: Kind::Ext4 };
            assert!(text.resources().contains("fence_lab"));
            assert_eq!(text.properties()[0], ["crm_config", "stonith-enabled", "true"]);
            assert!(!Pacemaker { tuned, kind: Kind::Address }.resources().contains("fence"));
        }
    }
}
