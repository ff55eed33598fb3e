//! What an owner acquired stays in force while the configuration changes under it.

use regent_model::ids::{BootId, Epoch, Incarnation, IncarnationOf, NodeId, NodeName, Round};
use regent_model::proof::{Promise, Proof};
use regent_model::state::{Change, Command, Phase, ReleaseReason};

use crate::cluster::{Cluster, config, group};

/// The group that is held in these tests.
const DB: &str = r#"
[[group]]
name = "db"
nodes = ["lx4", "lx5"]
needs = ["lease-ended", "fenced"]
[[group.volume]]
vg = "datavg"
lv = "data"
[[group.filesystem]]
device = "/dev/datavg/data"
mount = "/srv/db"
type = "ext4"
[[group.filesystem]]
device = "/dev/sdc4"
mount = "/srv/log"
type = "ext4"
[[group.address]]
address = "10.77.0.100/24"
[[group.application]]
name = "db"
start = "/opt/db start"
stop = "/opt/db stop"
"#;

/// One that nobody holds.
const WEB: &str = r#"
[[group]]
name = "web"
nodes = ["lx5", "lx4"]
[[group.address]]
address = "10.77.0.101/24"
"#;

const CLIENTS: &str = r#"
[[group]]
name = "clients"
nodes = ["lx4", "lx5"]
policy = "concurrent"
[[group.application]]
name = "client"
start = "/opt/client start"
"#;

const LX4: IncarnationOf = IncarnationOf { node: NodeId(1), incarnation: Incarnation(1) };

/// lx4 has the group db.
fn held() -> Cluster {
    let mut cluster = Cluster::founded(&format!("{DB}{WEB}"));
    cluster.assign("db", LX4).unwrap();
    cluster
}

impl Cluster {
    fn apply(&mut self, groups: &str) {
        self.try_apply(groups, false).unwrap_or_else(|why| panic!("{why}"));
    }

    /// The end of the owner's lease, as the other two have promised it.
    fn lease_ends(&mut self) -> Vec<Change> {
        let promise = |voter| Promise { voter: NodeId(voter), about: LX4, round: Round(1) };
        let proof = Proof::LeaseEnded { promises: vec![promise(2), promise(3)] };
        self.commit(Command::NodeDown { about: LX4, proof, takeovers: Vec::new() }).unwrap()
    }

    fn starts_with(&self, name: &str) -> String {
        self.state.definition(&group(name)).unwrap().applications[0].start.clone()
    }
}

fn changed(from: &str, to: &str) -> String {
    let all = format!("{DB}{WEB}");
    assert!(all.contains(from), "{from:?}");
    all.replacen(from, to, 1)
}

#[test]
fn what_an_owner_acquired_counts_until_it_has_let_go_and_the_next_one_acquires_what_is_configured() {
    let mut cluster = held();
    cluster.apply(&changed("/opt/db start", "/opt/db begin"));
    assert_eq!(cluster.starts_with("db"), "/opt/db start");
    assert_eq!(cluster.state.config.group(&group("db")).unwrap().applications[0].start, "/opt/db begin");
    // Neither another life of the owner's guard nor a third configuration changes that.
    let next = IncarnationOf { incarnation: Incarnation(2), ..LX4 };
    cluster.commit(Command::NodeUp { about: next, boot: BootId("boot 1".into()), clean: false }).unwrap();
    cluster.commit(Command::Adopt { group: group("db"), epoch: Epoch(1), to: next }).unwrap();
    cluster.apply(&changed("/opt/db start", "/opt/db third"));
    assert_eq!((cluster.epoch("db"), cluster.starts_with("db").as_str()), (Epoch(2), "/opt/db start"));
    cluster.release("db", ReleaseReason::Restart).unwrap();
    assert_eq!(cluster.starts_with("db"), "/opt/db third");
    cluster.commit(Command::Assign { group: group("db"), after: Epoch(2), to: next }).unwrap();
    assert_eq!(cluster.starts_with("db"), "/opt/db third");
    assert_eq!(cluster.state.waits_for_next_acquisition(&group("db")), None);
}

#[test]
fn a_change_that_is_taken_back_leaves_nothing_that_waits() {
    let mut cluster = held();
    cluster.apply(&changed("10.77.0.100", "10.77.0.110"));
    assert!(cluster.state.waits_for_next_acquisition(&group("db")).is_some());
    cluster.apply(&format!("{DB}{WEB}"));
    assert_eq!(cluster.state.waits_for_next_acquisition(&group("db")), None);
}

#[test]
fn what_is_only_added_is_there_at_once_unless_everything_is_to_wait() {
    let more = "stop = \"/opt/db stop\"\n[[group.application]]\nname = \"more\"\nstart = \"/opt/more\"\n";
    let more = changed("stop = \"/opt/db stop\"\n", more);
    let mut cluster = held();
    cluster.apply(&more);
    assert_eq!(cluster.state.definition(&group("db")).unwrap().applications.len(), 2);
    let mut cluster = held();
    cluster.try_apply(&more, true).unwrap();
    assert_eq!(cluster.state.definition(&group("db")).unwrap().applications.len(), 1);
    let said = cluster.state.waits_for_next_acquisition(&group("db")).unwrap();
    assert_eq!(
        said,
        "db runs on lx4 as it was acquired; this takes effect when db is next enabled, moved or restarted: \
         application more comes"
    );
}

#[test]
fn what_was_told_to_wait_is_not_brought_up_by_something_else_that_is_put_in_force() {
    let more = "stop = \"/opt/db stop\"\n[[group.application]]\nname = \"more\"\nstart = \"/opt/more\"\n";
    let waiting = changed("stop = \"/opt/db stop\"\n", more);
    let mut cluster = held();
    cluster.try_apply(&waiting, true).unwrap();
    let applications = |cluster: &Cluster| cluster.state.definition(&group("db")).unwrap().applications.len();
    let waits =
        |cluster: &Cluster| cluster.state.waits_for_next_acquisition(&group("db")).unwrap_or_default();
    // The same once more, another group, and something more of this one: it all waits.
    cluster.apply(&waiting);
    assert_eq!(applications(&cluster), 1);
    cluster.apply(&waiting.replace("10.77.0.101", "10.77.0.102"));
    assert_eq!(applications(&cluster), 1);
    let third = "[[group.application]]\nname = \"third\"\nstart = \"/opt/third\"\n[[group]]\nname = \"web\"";
    cluster.apply(&waiting.replace("[[group]]\nname = \"web\"", third));
    assert_eq!(applications(&cluster), 1);
    assert!(
        waits(&cluster).ends_with("application more comes, application third comes"),
        "{}",
        waits(&cluster)
    );
    // Taken back, nothing waits, and what is added then is there at once.
    cluster.apply(&format!("{DB}{WEB}"));
    assert_eq!(waits(&cluster), "");
    cluster.apply(&waiting);
    assert_eq!(applications(&cluster), 2);
}

#[test]
fn the_end_of_an_ownership_is_judged_by_the_stricter_of_what_was_acquired_and_what_is_configured() {
    let (both, fenced) = ("[\"lease-ended\", \"fenced\"]", "[\"fenced\"]");
    let mut stricter = held();
    stricter.apply(&changed(both, fenced));
    stricter.lease_ends();
    assert!(!stricter.is_vacant("db"), "a device is wanted by now");
    let mut weaker = Cluster::founded(&changed(both, fenced));
    weaker.assign("db", LX4).unwrap();
    weaker.apply(&format!("{DB}{WEB}"));
    weaker.lease_ends();
    assert!(!weaker.is_vacant("db"), "a device was wanted when it was acquired");
    let mut there_and_back = held();
    there_and_back.apply(&changed(both, fenced));
    there_and_back.apply(&format!("{DB}{WEB}"));
    there_and_back.lease_ends();
    assert!(!there_and_back.is_vacant("db"), "somebody may have relied on it meanwhile");
    let mut other_things = held();
    other_things.apply(&changed("/opt/db start", "/opt/db begin"));
    other_things.lease_ends();
    assert!(other_things.is_vacant("db"));
}

#[test]
fn what_only_a_reboot_ends_is_not_declared_free_by_another_configuration() {
    let (down, reboot) = ("needs = [\"lease-ended\", \"fenced\"]", "release = \"reboot\"");
    let mut cluster = Cluster::founded(&changed(down, reboot));
    cluster.assign("db", LX4).unwrap();
    cluster.apply(&format!("{DB}{WEB}"));
    cluster.release("db", ReleaseReason::Restart).unwrap();
    let phase = |c: &Cluster| c.state.ownership(&group("db")).map(|o| o.phase.clone());
    assert_eq!(phase(&cluster), Some(Phase::AwaitsReboot));
    // And once it was wanted, it is wanted for all of this ownership.
    let mut cluster = held();
    cluster.apply(&changed(down, reboot));
    cluster.apply(&format!("{DB}{WEB}"));
    cluster.release("db", ReleaseReason::Restart).unwrap();
    assert_eq!(phase(&cluster), Some(Phase::AwaitsReboot));
    let rebooted = IncarnationOf { incarnation: Incarnation(2), ..LX4 };
    cluster
        .commit(Command::NodeUp { about: rebooted, boot: BootId("the next".into()), clean: true })
        .unwrap();
    assert!(cluster.is_vacant("db") && !cluster.state.ends_by_reboot(&group("db")));
}

#[test]
fn nobody_is_given_what_a_definition_in_force_still_holds() {
    let web = |more: &str| format!("{WEB}{more}");
    for (what, gone, given) in [
        (
            "the address 10.77.0.100",
            DB.replace("10.77.0.100", "10.77.0.110"),
            "[[group.address]]\naddress = \"10.77.0.100/24\"\n",
        ),
        (
            "the device /dev/sdc4",
            DB.replace("/dev/sdc4", "/dev/sdc5"),
            "[[group.filesystem]]\ndevice = \"/dev/sdc4\"\nmount = \"/srv/web\"\ntype = \"ext4\"\n",
        ),
        (
            "the mount point /srv/log",
            DB.replace("/srv/log", "/srv/logs"),
            "[[group.filesystem]]\ndevice = \"/dev/sdx\"\nmount = \"/srv/log/web\"\ntype = \"ext4\"\n",
        ),
        (
            "the volume group datavg",
            DB.replace("datavg", "newvg"),
            "[[group.volume]]\nvg = \"datavg\"\nlv = \"data\"\n[[group.filesystem]]\ndevice = \"/dev/datavg/data\"\n\
             mount = \"/srv/web\"\ntype = \"ext4\"\n",
        ),
        (
            "the device /dev/sdc4",
            String::new(),
            "[[group.filesystem]]\ndevice = \"/dev/sdc4\"\nmount = \"/srv/web\"\ntype = \"ext4\"\n",
        ),
    ] {
        let mut cluster = held();
        let before = cluster.state.clone();
        let next = format!("{gone}{}", web(given));
        let said = cluster.try_apply(&next, false).unwrap_err();
        assert!(said.contains(&format!("with {what}, which would be given to the group web")), "{said}");
        assert!(said.contains("first: regent group disable db"), "{said}");
        assert_eq!(cluster.state, before);
        // As it says: when it is down, everything is free.
        cluster.commit(Command::Disable(group("db"))).unwrap();
        cluster.release("db", ReleaseReason::Restart).unwrap();
        cluster.apply(&next);
    }
    let mut cluster = held();
    let node = "[[node]]\nname = \"lx6\"\naddresses = [\"10.77.0.100\"]\n";
    let said =
        cluster.try_apply(&format!("{}{node}", changed("10.77.0.100", "10.77.0.110")), false).unwrap_err();
    assert!(said.contains("with the address 10.77.0.100, which would be given to the node lx6"), "{said}");
}

#[test]
fn a_group_that_is_taken_out_while_it_is_held_stays_known_until_its_owner_has_let_go() {
    let mut cluster = held();
    cluster.apply(WEB);
    assert_eq!(cluster.starts_with("db"), "/opt/db start");
    cluster.lease_ends();
    assert!(!cluster.state.groups.contains_key(&group("db")), "its end is proven as ever");
    // One of that name goes on where the other one ended: no epoch is given twice.
    cluster.apply(&format!("{DB}{WEB}"));
    assert_eq!(cluster.epoch("db"), Epoch(1));
}

#[test]
fn a_node_that_is_taken_out_of_the_list_of_what_it_has_goes_on_with_it() {
    let mut cluster = held();
    cluster.apply(&changed("nodes = [\"lx4\", \"lx5\"]", "nodes = [\"lx5\"]"));
    let definition = cluster.state.definition(&group("db")).unwrap();
    assert_eq!(definition.nodes, [NodeName::new("lx5").unwrap()]);
    assert_eq!(definition.resources().len(), 5);
    assert_eq!(cluster.state.ownership(&group("db")).unwrap().owner, LX4);
}

#[test]
fn a_part_of_a_concurrent_group_that_is_taken_out_stays_known_and_the_other_part_is_new() {
    let mut cluster = Cluster::founded(CLIENTS);
    cluster.assign("clients@lx4", LX4).unwrap();
    cluster.apply(&CLIENTS.replace("\"lx4\", ", "").replace("/opt/client start", "/opt/client begin"));
    assert_eq!(cluster.starts_with("clients@lx4"), "/opt/client start");
    assert_eq!(cluster.starts_with("clients@lx5"), "/opt/client begin");
}

#[test]
fn a_device_of_a_nodes_own_may_be_given_to_one_more_node() {
    let local = |devices: &str| {
        DB.replace("device = \"/dev/sdc4\"", &format!("local = true\ndevices = {{ {devices} }}"))
    };
    let mut cluster = Cluster::founded(&local("lx4 = \"/dev/a\", lx5 = \"/dev/b\""));
    cluster.assign("db", LX4).unwrap();
    cluster.apply(&local("lx4 = \"/dev/a\", lx5 = \"/dev/c\""));
    assert_eq!(cluster.state.waits_for_next_acquisition(&group("db")), None);
    cluster.apply(&local("lx4 = \"/dev/x\", lx5 = \"/dev/c\""));
    let said = cluster.state.waits_for_next_acquisition(&group("db")).unwrap();
    assert!(said.contains("restarted: filesystem ") && said.ends_with("log changes"), "{said}");
}

#[test]
fn the_plan_says_what_takes_effect_now_and_what_later() {
    let cluster = held();
    let next = DB.replace("[\"lx4\", \"lx5\"]", "[\"lx5\"]").replace("/opt/db stop", "/opt/db end");
    let next = format!("{next}[[group]]\nname = \"new\"\nnodes = [\"lx4\"]\n");
    let said = cluster.state.effects_of(&config(&next), false);
    assert_eq!(
        said,
        [
            "db runs on lx4 as it was acquired; this takes effect when db is next enabled, moved or restarted: \
             application db changes",
            "db: its nodes, policy and relations count as in the file from now on",
            "lx4, which has db, is not in its list any more",
            "new is new: it starts as its policy says",
            "web is taken out of the configuration",
        ]
    );
    let said = cluster.state.effects_of(&config(WEB), false);
    assert_eq!(said, ["db is taken out of the configuration: lx4 TAKES IT DOWN NOW"]);
}

#[test]
fn what_is_stuck_is_taken_down_by_commands_that_were_mended_meanwhile_and_nothing_else_of_it_changes() {
    let stuck = || {
        let mut cluster = held();
        cluster
            .commit(Command::Stuck { group: group("db"), epoch: Epoch(1), reason: "it runs".into() })
            .unwrap();
        cluster
    };
    let stops_with = |cluster: &Cluster| {
        cluster.state.definition(&group("db")).unwrap().applications[0].stop.clone().unwrap()
    };
    let mut mended = stuck();
    mended.apply(&changed("/opt/db stop", "/opt/db halt"));
    assert_eq!(stops_with(&mended), "/opt/db stop", "before anybody has ordered anything");
    mended.commit(Command::Restart(group("db"))).unwrap();
    assert_eq!(stops_with(&mended), "/opt/db halt");
    // Other things than were acquired are not what is to be taken down.
    for (from, to) in [("10.77.0.100", "10.77.0.110"), ("/dev/sdc4", "/dev/sdc5"), (", \"fenced\"", "")] {
        let mut other = stuck();
        other.apply(&changed(from, to).replace("/opt/db stop", "/opt/db halt"));
        other.commit(Command::Restart(group("db"))).unwrap();
        assert_eq!(stops_with(&other), "/opt/db stop", "{from} to {to}");
    }
    // One that runs is taken down as it was acquired.
    let mut running = held();
    running.apply(&changed("/opt/db stop", "/opt/db halt"));
    running.commit(Command::Restart(group("db"))).unwrap();
    assert_eq!(stops_with(&running), "/opt/db stop");
}
