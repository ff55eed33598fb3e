//! Volumes below a group's file systems.

use super::*;
use regent_model::action::{Resource, Tier};
use regent_model::config::Finding;
use regent_model::proof::Need;

/// The good file with this in the group `db`, before its file systems.
fn with_volume(volume: &str) -> String {
    with("[[group.filesystem]]", &format!("{volume}\n[[group.filesystem]]"))
}

const DATA: &str = "[[group.volume]]\nvg = \"datavg\"\nlv = \"data\"\n";

/// The configuration of a file in which nothing is wrong but that volumes are unproven.
fn taken(text: &str) -> Config {
    let parsed = parse(text);
    let others: Vec<&Finding> =
        parsed.findings.iter().filter(|f| !f.message.contains("stand-in of LVM's commands")).collect();
    assert!(others.is_empty(), "{}", listed(text, &parsed));
    parsed.config.unwrap_or_else(|| panic!("refused without a word"))
}

/// The one finding that is an error or a warning; its text is at `culprit`.
#[track_caller]
fn found(text: &str, severity: Severity, culprit: &str, message: &str, help: &str) {
    let parsed = parse(text);
    let all: Vec<_> = parsed.findings.iter().filter(|f| f.severity != Severity::Note).collect();
    assert_eq!(all.len(), 1, "{}", listed(text, &parsed));
    assert_eq!(all[0].severity, severity, "{}", listed(text, &parsed));
    assert_eq!(&text[all[0].span.clone()], culprit, "{}", listed(text, &parsed));
    assert!(all[0].message.contains(message) && all[0].help.contains(help), "{}", listed(text, &parsed));
}

#[test]
fn a_volume_comes_before_the_file_systems_and_has_a_name_of_its_own_and_times() {
    let text = with_volume(DATA).replace("/dev/sdc4", "/dev/datavg/data");
    let group = taken(&text).groups[0].clone();
    let resources = group.resources();
    let Resource::Volume(volume) = &resources[0] else { panic!("{resources:?}") };
    assert_eq!((volume.name.as_str(), volume.id().as_str()), ("datavg-data", "datavg/data"));
    assert!(matches!(resources[1], Resource::Filesystem(_)));
    assert_eq!((resources[0].tier(), resources[0].kind()), (Tier::Storage, "volume"));
    assert_eq!((volume.acquire_timeout.as_secs(), volume.release_timeout.as_secs()), (60, 30));
    let all = taken(&with_volume("[[group.volume]]\nvg = \"datavg\"\nacquire_timeout = \"90s\"\n"));
    let volume = &all.groups[0].volumes[0];
    assert_eq!((volume.id().as_str(), volume.lv.as_deref()), ("datavg", None));
    assert_eq!(volume.acquire_timeout.as_secs(), 90);
}

#[test]
fn a_volume_is_the_same_thing_only_with_the_same_names() {
    let volume = |text: &str| taken(&with_volume(text)).groups[0].resources()[0].clone();
    let data = volume(DATA);
    assert!(data.is_the_same_thing_as(&volume(&format!("{DATA}release_timeout = \"9s\"\n"))));
    for other in [
        "[[group.volume]]\nname = \"datavg-data\"\nvg = \"datavg\"\n",
        "[[group.volume]]\nname = \"datavg-data\"\nvg = \"datavg\"\nlv = \"log\"\n",
        "[[group.volume]]\nname = \"datavg-data\"\nvg = \"logvg\"\nlv = \"data\"\n",
    ] {
        assert!(!data.is_the_same_thing_as(&volume(other)), "{other}");
    }
}

#[test]
fn a_group_that_writes_a_bare_volume_needs_a_fence() {
    let disk = "[[group.filesystem]]\ndevice = \"/dev/sdc4\"\nmount = \"/storage2\"\ntype = \"ext4\"\n";
    let text = GOOD.replace(disk, DATA);
    let group = taken(&text).groups[0].clone();
    assert!(group.has_shared_writer());
    assert_eq!(group.needs, [Need::Fenced]);
    let lease = text.replace("policy = \"cascading\"", "policy = \"cascading\"\nneeds = [\"lease-ended\"]");
    found(&lease, Severity::Warning, "[\"lease-ended\"]", "activates a shared volume", "fenced");
}

#[test]
fn that_volumes_are_unproven_is_said_where_one_is() {
    let text = with_volume(DATA);
    let parsed = parse(&text);
    assert_eq!((parsed.findings.len(), parsed.count(Severity::Note)), (1, 1), "{}", listed(&text, &parsed));
    assert_eq!(&text[parsed.findings[0].span.clone()], "\"datavg\"");
    assert!(parse(GOOD).findings.is_empty());
}

#[test]
fn names_that_lvm_would_not_take_are_refused() {
    for name in ["", "-vg", "..", "data vg", "data/vg", "a;b", "@tag"] {
        let text = with_volume(&format!("[[group.volume]]\nvg = \"{name}\"\n"));
        let parsed = parse(&text);
        assert!(parsed.config.is_none() && parsed.count(Severity::Error) == 1, "{}", listed(&text, &parsed));
    }
    let lv = with_volume("[[group.volume]]\nvg = \"datavg\"\nlv = \"/dev/datavg/data\"\n");
    found(&lv, Severity::Error, "\"/dev/datavg/data\"", "is no name of LVM's", "lv = \"data\"");
    let none = with_volume("[[group.volume]]\nlv = \"data\"\n");
    assert!(parse(&none).config.is_none());
}

#[test]
fn a_volume_stands_once_in_its_group_and_all_of_a_volume_group_includes_each() {
    let twice = with_volume(&format!("{DATA}{}name = \"again\"\n", DATA.replace("\"datavg\"", "'datavg'")));
    found(&twice, Severity::Error, "'datavg'", "datavg/data stands here twice", "delete one");
    let all = with_volume(&format!("{DATA}[[group.volume]]\nvg = 'datavg'\n"));
    found(&all, Severity::Error, "'datavg'", "all volumes of datavg", "delete one");
    taken(&with_volume(&format!("{DATA}{}", DATA.replace("\"data\"", "\"log\""))));
}

#[test]
fn a_volume_group_belongs_to_one_group() {
    for lv in ["lv = \"data\"\n", "lv = \"log\"\n", ""] {
        let text = format!("{}\n[[group.volume]]\nvg = 'datavg'\n{lv}", with_volume(DATA));
        found(&text, Severity::Error, "'datavg'", "the volume group datavg is `db`'s already", "one owner");
    }
}

#[test]
fn a_file_system_on_a_volume_that_its_group_does_not_activate_is_told_what_to_write() {
    for device in ["/dev/datavg/log", "/dev/mapper/datavg-log"] {
        let text = with_volume(DATA).replace("/dev/sdc4", device);
        let culprit = format!("\"{device}\"");
        found(&text, Severity::Warning, &culprit, "datavg/log, which `db` does not activate", "lv = \"log\"");
    }
    for device in ["/dev/mapper/datavg-data", "/dev/datavg/data"] {
        taken(&with_volume(DATA).replace("/dev/sdc4", device));
        taken(&with_volume("[[group.volume]]\nvg = \"datavg\"\n").replace("/dev/sdc4", device));
    }
    let elsewhere = format!("{}\n{DATA}", GOOD.replace("/dev/sdc4", "/dev/datavg/data"));
    found(&elsewhere, Severity::Warning, "\"/dev/datavg/data\"", "`db` does not activate", "into `web`");
}

#[test]
fn a_concurrent_group_holds_no_volume() {
    let group = "\n[[group]]\nname = \"rpc\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"concurrent\"\n";
    let text = format!("{GOOD}{group}{DATA}");
    found(&text, Severity::Error, "\"datavg\"", "cannot hold a volume", "a group of its own");
}
