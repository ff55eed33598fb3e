//! What the guide has typed in `cluadmin`, and whether it comes to what the examples say.

use crate::cluster::Cluster;
use crate::examples::example;
use crate::terminal::Terminal;

/// A service as it is first added: with address and storage, and without a script.
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    pub(crate) preferred: &'a str,
    pub(crate) address: &'a str,
    pub(crate) device: &'a str,
    pub(crate) mount: &'a str,
}

/// Section 2.1. Ends before the next prompt.
pub(crate) fn service(cluadmin: &mut Terminal, service: &Service<'_>) {
    let Service { name, preferred, address, device, mount } = *service;
    cluadmin.answers(&[
        ("cluadmin>", "service add"),
        ("Service name:", name),
        ("Preferred member", preferred),
        ("Relocate when", "?"),
        ("Relocate when", "no"),
        ("User script", "None"),
        ("interval [0]:", ""),
        ("add an IP address", "yes"),
        ("IP address:", address),
        ("Netmask", "255.255.255.0"),
        ("Broadcast", ""),
        ("inished adding IP addresses [f]:", ""),
        ("add a disk device", "yes"),
        ("Device special file", device),
        ("Filesystem type", "ext4"),
        ("Mount point", mount),
        ("Mount options", ""),
        ("Forced unmount support", ""),
        ("NFS access", ""),
        ("Windows clients", ""),
        ("inished adding devices [f]:", ""),
        ("Disable service", ""),
    ]);
    cluadmin.answers(&[(&format!("Add {name} service as shown?"), "yes")]);
    cluadmin.sees(&format!("Added {name}."));
    cluadmin.types(&format!("service show config {name}"));
    cluadmin.sees(&format!("name: {name}"));
    let shown = cluadmin.sees("samba share, device 0: None");
    for line in [
        &format!("preferred node: {preferred}"),
        "relocate: no",
        "user script: None",
        "monitor interval: 0",
        &format!("IP address 0: {address}"),
        "  netmask 0: 255.255.255.0",
        "  broadcast 0: 10.77.0.255",
        &format!("device 0: {device}"),
        &format!("  mount point, device 0: {mount}"),
        "  mount fstype, device 0: ext4",
        "  force unmount, device 0: yes",
    ] {
        assert!(shown.lines().any(|l| l.trim_end() == line), "{line:?} in\n{shown}");
    }
}

/// Section 4. Ends before the next prompt.
pub(crate) fn script(cluadmin: &mut Terminal, name: &str, script: &str) {
    cluadmin.answers(&[
        ("cluadmin>", &format!("service modify {name}")),
        ("Preferred member", ""),
        ("Relocate when", ""),
        ("User script", script),
        ("interval [0]:", ""),
        ("inished adding IP addresses [f]:", "f"),
        ("inished adding devices [f]:", "f"),
        (&format!("Modify {name} service as shown?"), "yes"),
    ]);
    cluadmin.sees("cluadmin>");
}

/// What was typed means what the example says, as far as the guide's dialogue goes.
pub(crate) fn is_what_the_example_says(cluster: &Cluster, name: &str) {
    let parsed = |text: &str| {
        let parsed = regent_model::config::parse(text);
        parsed.config.unwrap_or_else(|| panic!("{:#?}\n{text}", parsed.findings))
    };
    let typed = parsed(&cluster.order("wit", &["config", "show"]));
    let meant = parsed(&example(name));
    assert_eq!(typed.groups.len(), meant.groups.len());
    for meant in &meant.groups {
        let typed = typed.group(&meant.name).unwrap();
        assert_eq!((&typed.nodes, &typed.policy, &typed.needs), (&meant.nodes, &meant.policy, &meant.needs));
        assert_eq!(typed.filesystems, meant.filesystems);
        assert_eq!(typed.instances, meant.instances);
        let addresses = |group: &regent_model::config::GroupConfig| -> Vec<_> {
            group.addresses.iter().map(|a| (a.address, a.prefix)).collect()
        };
        assert_eq!(addresses(typed), addresses(meant));
        let script = |group: &regent_model::config::GroupConfig| group.applications[0].start.clone();
        assert_eq!(script(typed), script(meant));
    }
}
