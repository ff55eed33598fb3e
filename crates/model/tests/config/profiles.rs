//! Profiles, what applications say they are, and the rules of mutual takeover.

use super::*;
use regent_model::config::{MainProcess, ReleaseEnd, Role};

/// Hot standby: the three file systems of the guide, a cache of each node's own inside one of them, DCE, DFS.
const CELL: &str = concat!(
    two_nodes!(),
    r#"
[[group]]
name = "cell"
nodes = ["lx4", "lx5"]

[[group.filesystem]]
device = "/dev/sdc1"
mount = "/krb5"
type = "ext4"

[[group.filesystem]]
device = "/dev/sdc2"
mount = "/var/dce"
type = "ext4"

[[group.filesystem]]
device = "/dev/sdc3"
mount = "/etc/dce"
type = "ext4"

[[group.filesystem]]
local = true
devices = { lx4 = "/dev/sdx1", lx5 = "/dev/sdx1" }
mount = "/var/dce/adm/dfs/cache"
type = "ext4"

[[group.address]]
address = "10.77.0.100/24"

[[group.application]]
name = "security"
profile = "dce"

[[group.application]]
name = "files"
profile = "dfs"
"#
);

fn cell(from: &str, to: &str) -> String {
    assert!(CELL.contains(from), "{from:?}");
    CELL.replacen(from, to, 1)
}

#[test]
fn the_profiles_dce_and_dfs_say_how_they_are_started_and_how_long_that_may_take() {
    let config = good(CELL);
    let [dce, dfs] = config.groups[0].applications.as_slice() else { panic!() };
    assert_eq!((dce.start.as_str(), dce.stop.as_deref()), ("/usr/bin/start.dce", Some("/usr/bin/stop.dce")));
    assert_eq!((dfs.start.as_str(), dfs.stop.as_deref()), ("/usr/bin/start.dfs", Some("/usr/bin/stop.dfs")));
    assert_eq!(dce.start_timeout.as_secs(), 900);
    assert_eq!((dce.claims.role, dfs.claims.role), (Some(Role::Server), Some(Role::Server)));
    assert_eq!(dfs.claims.after, ["dce"]);
    assert!(dce.stale.iter().any(|p| p.to_string().ends_with("dced/Ep.db")), "{:?}", dce.stale);
    assert_eq!(config.groups[0].release, ReleaseEnd::Reboot, "of DFS, some lives in the kernel");
    let otherwise = cell(
        "nodes = [\"lx4\", \"lx5\"]\n\n[[group.filesystem]]",
        "nodes = [\"lx4\", \"lx5\"]\nrelease = \"down\"\n[[group.filesystem]]",
    );
    assert_eq!(good(&otherwise).groups[0].release, ReleaseEnd::Down);
    assert_eq!(dce.claims.profile.as_deref(), Some("dce"));
    assert!(parse(CELL).findings.is_empty(), "{}", listed(CELL, &parse(CELL)));
}

#[test]
fn every_default_of_a_profile_can_be_said_otherwise_in_the_application() {
    let more = "profile = \"dce\"\nstart = \"/opt/start\"\nstart_timeout = \"1m\"\nstate = [\"/krb5\"]\n\
                foreground = true\nrole = \"client\"";
    let config = good(&cell("profile = \"dce\"", more));
    let dce = &config.groups[0].applications[0];
    assert_eq!((dce.start.as_str(), dce.start_timeout.as_secs()), ("/opt/start", 60));
    assert_eq!((dce.claims.role, dce.claims.state.len()), (Some(Role::Client), 1));
    assert_eq!(dce.main, MainProcess::Child);
    assert_eq!(dce.stop.as_deref(), Some("/usr/bin/stop.dce"));
}

#[test]
fn a_user_writes_his_own_profiles_which_may_build_on_others() {
    let own = "\n[[profile]]\nname = \"kerberos\"\nstart = \"/sbin/krb5kdc\"\npid_file = \"/run/kdc.pid\"\n\
               ports = [\"88/udp\", \"88/tcp\"]\nstate = [\"/krb5\"]\nmonitor = { command = \"/usr/bin/check\" }\n\
               [[profile]]\nname = \"kadmin\"\nprofile = \"kerberos\"\nstart = \"/sbin/kadmind\"\nafter = [\"kerberos\"]\n";
    let apps = "name = \"kdc\"\nprofile = \"kerberos\"\n[[group.application]]\nname = \"adm\"\nprofile = \"kadmin\"\n\
                foreground = true\nstatus = \"/usr/bin/other\"\n[[group.application]]\nname = \"security\"";
    let config = good(&format!("{}{own}", cell("name = \"security\"", apps)));
    let [kdc, adm, ..] = config.groups[0].applications.as_slice() else { panic!() };
    assert_eq!(kdc.main, MainProcess::PidFile("/run/kdc.pid".into()));
    assert_eq!(kdc.status.as_deref(), Some("/usr/bin/check"));
    assert_eq!(kdc.claims.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["88/udp", "88/tcp"]);
    assert_eq!((adm.start.as_str(), &adm.main), ("/sbin/kadmind", &MainProcess::Child));
    assert_eq!(adm.status.as_deref(), Some("/usr/bin/other"));
    assert_eq!(adm.claims.state, kdc.claims.state);
}

#[test]
fn profiles_that_want_different_ends_of_a_groups_release_are_not_decided_by_their_order() {
    let own = "\n[[profile]]\nname = \"mine\"\nprofile = \"dce\"\nrelease = \"down\"\n";
    let group = "profile = \"mine\"\nafter = []";
    let text = format!("{}{own}", cell("profile = \"dce\"", group)).replace("\"dfs\"", "\"dfs\"\nafter = []");
    refused(&text, "\"dfs\"", "says release = \"reboot\" of the group", "decide it in the [[group]]");
    let said = text.replace("name = \"cell\"\nnodes", "name = \"cell\"\nrelease = \"reboot\"\nnodes");
    assert_eq!(good(&said).groups[0].release, ReleaseEnd::Reboot);
}

#[test]
fn a_profile_of_the_users_own_may_take_the_place_of_one_that_comes_along() {
    let own = "\n[[profile]]\nname = \"dce\"\nstart = \"/srv/start\"\n";
    let config = good(&format!("{CELL}{own}"));
    assert_eq!(config.groups[0].applications[0].start, "/srv/start");
    assert!(config.groups[0].applications[0].claims.state.is_empty());
}

#[test]
fn what_is_wrong_with_a_profile_is_found_once_at_its_line_used_or_not() {
    let wrong = "\n[[profile]]\nname = \"mine\"\nstart = \"/x\"\nstrat_timeout = \"3s\"\n";
    refused(&format!("{CELL}{wrong}"), "strat_timeout", "unknown key `strat_timeout`", "start_timeout");
    let used = cell("profile = \"dce\"", "profile = \"mine\"") + wrong;
    let parsed = parse(&used);
    assert_eq!(parsed.findings.iter().filter(|f| f.message.contains("strat")).count(), 1);
    let wrong = "\n[[profile]]\nstart = \"/x\"\n";
    refused(&format!("{CELL}{wrong}"), "[[profile]]", "`name` is missing", "kerberos");
    let twice = "\n[[profile]]\nname = \"m\"\nstart = \"/x\"\n[[profile]]\nname = \"m\"\nstart = \"/x\"\n";
    refused(&format!("{CELL}{twice}"), "\"m\"", "already a profile", "of its own");
    let circle = "\n[[profile]]\nname = \"m\"\nprofile = \"n\"\n[[profile]]\nname = \"n\"\nprofile = \"m\"\n";
    let parsed = parse(&format!("{CELL}{circle}"));
    assert!(parsed.findings.iter().any(|f| f.message.contains("builds on itself")), "{:?}", parsed.findings);
    let unknown = cell("profile = \"dce\"", "profile = \"dec\"\nstart = \"/x\"")
        .replace("profile = \"dfs\"", "profile = \"dfs\"\nafter = []");
    refused(&unknown, "\"dec\"", "no profile called \"dec\"", "did you mean \"dce\"?");
}

#[test]
fn dfs_starts_after_dce_in_the_same_group() {
    let without = cell("[[group.application]]\nname = \"security\"\nprofile = \"dce\"\n\n", "");
    refused(&without, "\"dfs\"", "starts after `dce`, and `cell` has none", "profile = \"dce\"");
    let swapped = cell("name = \"security\"\nprofile = \"dce\"", "name = \"x\"\nprofile = \"dfs\"")
        .replace("name = \"files\"\nprofile = \"dfs\"", "name = \"security\"\nprofile = \"dce\"");
    refused(&swapped, "\"dfs\"", "stands before it", "move this one below");
    good(&cell("profile = \"dfs\"", "profile = \"dfs\"\nafter = [\"security\"]"));
}

#[test]
fn state_of_a_server_lies_on_the_groups_shared_file_systems() {
    let text = cell("[[group.filesystem]]\ndevice = \"/dev/sdc1\"\nmount = \"/krb5\"\ntype = \"ext4\"\n", "");
    refused(
        &text,
        "\"dce\"",
        "keeps its state in /krb5, which is on no shared file system",
        "type = \"bind\"",
    );
    let local =
        cell("device = \"/dev/sdc1\"", "local = true\ndevices = { lx4 = \"/dev/a\", lx5 = \"/dev/a\" }");
    refused(&local, "\"dce\"", "/krb5", "mount = \"/krb5\"");
    let bound = cell(
        "device = \"/dev/sdc1\"\nmount = \"/krb5\"\ntype = \"ext4\"",
        "device = \"/var/dce/krb5\"\nmount = \"/krb5\"\ntype = \"bind\"",
    );
    good(&bound);
    let to_local = bound.replace("\"/var/dce/krb5\"", "\"/var/dce/adm/dfs/cache/krb5\"");
    refused(&to_local, "\"dce\"", "/krb5", "type = \"bind\"");
    let client = text.replace("profile = \"dce\"", "profile = \"dce\"\nrole = \"client\"");
    good(&client);
    let own = cell("profile = \"dce\"", "profile = \"dce\"\nstate = [\"/krb5/a\", \"/srv/b\"]");
    refused(&own, "\"/srv/b\"", "`security` keeps its state in /srv/b", "/srv/b");
}

#[test]
fn a_clients_cache_on_shared_storage_is_refused_and_one_inside_it_of_the_nodes_own_is_right() {
    let cache = "[[group.filesystem]]\nlocal = true\ndevices = { lx4 = \"/dev/sdx1\", lx5 = \"/dev/sdx1\" }\n\
                 mount = \"/var/dce/adm/dfs/cache\"\ntype = \"ext4\"\n";
    let without = cell(cache, "");
    refused(&without, "\"dfs\"", "lies on shared storage", "lx4 = \"/dev/sdb1\", lx5 = \"/dev/sdb1\"");
    good(&without.replace("profile = \"dfs\"", "profile = \"dfs\"\ncache = [\"/var/cache/dfs\"]"));
}

/// A second group with its own home, taken over by the first one's.
const CROSSED: &str = "\n[[group]]\nname = \"other\"\nnodes = [\"lx5\", \"lx4\"]\n\
                       [[group.address]]\naddress = \"10.77.0.101/24\"\n";

#[test]
fn servers_are_refused_under_mutual_takeover() {
    let parsed = parse(&format!("{CELL}{CROSSED}"));
    let said: Vec<_> =
        parsed.findings.iter().filter(|f| f.message.contains("take over each other")).collect();
    assert_eq!(said.len(), 2, "dce and dfs: {:?}", parsed.findings);
    assert!(said[0].message.contains("`security` is a server") && said[0].help.contains("one-sided"));
    good(&format!("{CELL}{}", CROSSED.replace("[\"lx5\", \"lx4\"]", "[\"lx5\"]")));
    good(&format!("{CELL}{}", CROSSED.replace("[\"lx5\", \"lx4\"]", "[\"lx4\", \"lx5\"]")));
}

#[test]
fn clients_are_nothing_to_take_over_under_mutual_takeover_and_plain_applications_are() {
    let app =
        |more: &str| format!("{GOOD}\n[[group.application]]\nname = \"a\"\nstart = \"/usr/bin/a\"\n{more}\n");
    good(&app(""));
    refused(&app("role = \"client\""), "\"client\"", "clients are nothing to take over", "concurrent");
    refused(&app("role = \"server\""), "\"server\"", "servers cannot live", "hot standby");
    let conflicts = app("conflicts = [\"mutual-takeover\"]");
    refused(&conflicts, "\"mutual-takeover\"", "cannot live under mutual takeover", "`conflicts`");
    refused(&app("conflicts = [\"x\"]"), "\"x\"", "cannot name", "mutual-takeover");
}

#[test]
fn ports_and_services_are_read_and_refused_with_an_example() {
    let app = |more: &str| with("start = \"/usr/local/etc/cache start\"", &format!("start = \"/x\"\n{more}"));
    good(&app("ports = [\"88/udp\", \"749\"]\nnot_at_boot = [\"krb5-kdc.service\", \"slapd\"]"));
    refused(&app("ports = [\"0/udp\"]"), "\"0/udp\"", "is no port", "389/tcp");
    refused(&app("ports = [\"88/sctp\"]"), "\"88/sctp\"", "is no port", "389/tcp");
    refused(&app("not_at_boot = [\"a b\"]"), "\"a b\"", "no name of a service", "slapd");
}
