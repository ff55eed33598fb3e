//! `[arbiter]`: what it says, and what it does not go together with.

use std::time::Duration;

use regent_model::config::{Arbiter, parse};
use regent_model::ids::AreaId;

use crate::{listed, refused};

const DISK: &str = include_str!("../../../../examples/two-nodes-disk.toml");

#[test]
fn the_disk_and_its_area_are_read_and_nobody_asks_for_a_third_vote() {
    let parsed = parse(DISK);
    assert!(parsed.findings.is_empty(), "{}", listed(DISK, &parsed));
    let config = parsed.config.unwrap();
    let Some(Arbiter::Disk { disk, area }) = &config.arbiter else { panic!("{:?}", config.arbiter) };
    assert_eq!(disk.to_str(), Some("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1"));
    assert_eq!(area.to_string(), "5bd1e995c6a4a7935f3759df9e3779b9");
    assert_ne!(*area, AreaId::default());
    assert!(config.summary().contains("1 arbiter"), "{}", config.summary());
}

#[test]
fn without_it_two_nodes_are_told_of_both_ways_to_a_third_vote() {
    let at = DISK.find("\n[arbiter]").unwrap();
    let end = DISK.find("\n[[group]]").unwrap();
    let text = format!("{}{}", &DISK[..at], &DISK[end..]);
    let parsed = parse(&text);
    let all = listed(&text, &parsed);
    assert!(all.contains("[[witness]]") && all.contains("regent arbiter init"), "{all}");
    assert!(parsed.config.unwrap().arbiter.is_none());
}

#[test]
fn an_arbiter_decides_between_two_and_beside_no_witness() {
    let witness = "[[witness]]\nname = \"wit\"\naddresses = [\"10.77.0.6\", \"10.78.0.6\"]\n";
    refused(&format!("{DISK}\n{witness}"), "[arbiter]", "`wit` has one", "witness is the better one");
    let third = "[[node]]\nname = \"lx6\"\naddresses = [\"10.77.0.6\", \"10.78.0.6\"]\n";
    refused(
        &format!("{DISK}\n{third}"),
        "[arbiter]",
        "between two nodes, and here are 3",
        "delete [arbiter]",
    );
}

#[test]
fn what_is_no_area_and_no_disk_of_its_own_is_refused_at_its_place() {
    let with = |from: &str, to: &str| DISK.replace(from, to);
    let area = "5bd1e995c6a4a7935f3759df9e3779b9";
    refused(&with(area, "5bd1"), "\"5bd1\"", "32 hex digits", "regent arbiter init");
    refused(&with("area = ", "arena = "), "arena", "unknown key `arena`", "did you mean `area`");
    let disk = "\"/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1\"";
    refused(&with(disk, "\"sdb1\""), "\"sdb1\"", "sdb1", "/dev/disk/by-id");
    let filesystem =
        "\n  [[group.filesystem]]\n  device = \"/dev/mapper/a\"\n  mount = \"/a\"\n  type = \"ext4\"\n";
    let text = format!("{}{filesystem}", with(disk, "\"/dev/mapper/a\""));
    refused(&text, "\"/dev/mapper/a\"", "holds a file system of the group `front`", "of its own");
    let text = with(disk, "\"/dev/sdb\"");
    let parsed = parse(&text);
    assert!(listed(&text, &parsed).contains("another disk after the next boot"));
    assert!(parsed.config.is_some());
}

const FENCES: &str = include_str!("../../../../examples/two-nodes-fence.toml");

#[test]
fn the_fence_devices_decide_where_each_node_can_be_cut() {
    let parsed = parse(FENCES);
    assert!(parsed.findings.is_empty(), "{}", listed(FENCES, &parsed));
    let config = parsed.config.unwrap();
    assert_eq!(config.arbiter, Some(Arbiter::Fence { delay: Duration::from_secs(2) }));
    let text = FENCES.replace("delay = \"2s\"\n", "");
    assert_eq!(parse(&text).config.unwrap().arbiter, config.arbiter);
    let bare = FENCES.replace("nodes   = [\"lx5\"]", "nodes   = [\"lx4\"]");
    refused(&bare, "true", "no fence device turns `lx5` off", "add `lx5`");
    refused(
        &FENCES.replace("fence = true", "fence = false"),
        "false",
        "leaves nobody to decide",
        "fence = true",
    );
    let both = FENCES.replace("fence = true", "fence = true\ndisk = \"/dev/mapper/a\"");
    refused(&both, "\"/dev/mapper/a\"", "a disk decides, or the fence devices", "The disk is the better one");
}

#[test]
fn what_cuts_off_from_disks_alone_decides_nothing() {
    let disks = "nodes   = [\"lx5\"]\nkind = \"storage\"\ndisks = [\"/dev/disk/by-id/wwn-1\"]";
    let text = FENCES.replace("nodes   = [\"lx5\"]", disks);
    let parsed = parse(&text);
    assert!(listed(&text, &parsed).contains("no fence device turns `lx5` off"), "{}", listed(&text, &parsed));
}

#[test]
fn two_nodes_that_could_turn_each_other_off_are_told_of_that_way_too() {
    let text = FENCES.replace("[arbiter]\nfence = true\ndelay = \"2s\"\n", "");
    let all = listed(&text, &parse(&text));
    assert!(all.contains("regent arbiter fence") && all.contains("[[witness]]"), "{all}");
}
