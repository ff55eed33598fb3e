//! Being cut off from disks: when it is a proof, for which groups, and who may register at disks, and when.

use regent_model::config::Barrier;
use regent_model::ids::{IncarnationOf, NodeId, Round};
use regent_model::proof::{Promise, Proof};
use regent_model::state::{Change, Command, FenceRequest, NewConfig};

use crate::cluster::{Cluster, config, group, life};

const SAN: &str = r#"
[[fence]]
name = "san"
agent = "/usr/sbin/fence_scsi"
kind = "storage"
nodes = ["lx4", "lx5"]
disks = ["/dev/sdb", "/dev/sdc"]
"#;
const DB: &str = r#"
[[group]]
name = "db"
nodes = ["lx4", "lx5"]
needs = ["lease-ended", "storage"]
[[group.filesystem]]
device = "/dev/sdb1"
mount = "/db"
type = "ext4"
[[group]]
name = "web"
nodes = ["lx4", "lx5"]
needs = ["lease-ended"]
[[group.address]]
address = "10.77.0.100/24"
"#;
const LX4: u64 = 1;
const LX5: u64 = 2;

fn both() -> String {
    format!("{SAN}{DB}")
}

impl Cluster {
    fn barrier(&self) -> Barrier {
        self.state.config.fences[1].barrier().unwrap()
    }

    fn register(&mut self, about: IncarnationOf) -> Result<Vec<Change>, String> {
        let barrier = self.barrier();
        self.commit(Command::Registered { about, device: "san".into(), barrier })
    }

    fn loses_its_lease(&mut self, about: IncarnationOf) -> Result<Vec<Change>, String> {
        let promise = |voter| Promise { voter: NodeId(voter), about, round: Round(1) };
        let proof = Proof::LeaseEnded { promises: vec![promise(2), promise(3)] };
        self.commit(Command::NodeDown { about, proof, takeovers: Vec::new() })
    }

    fn cut(&mut self, about: IncarnationOf, attempt: u32) -> Result<Vec<Change>, String> {
        let barriers = [("san".to_owned(), self.barrier())].into();
        let (devices, by) = (vec!["san".to_owned()], NodeId(LX5));
        let request = FenceRequest { level: 1, devices, by, attempt, round: 0, barriers };
        self.commit(Command::RequestFence { about, request })
    }

    fn confirmed(&mut self, about: IncarnationOf, power: bool) -> Result<Vec<Change>, String> {
        let device = "san".to_owned();
        let proof = if power { Proof::Fenced { device } } else { Proof::CutOff { device } };
        self.commit(Command::NodeDown { about, proof, takeovers: Vec::new() })
    }

    fn configure(&mut self, text: &str) -> Result<Vec<Change>, String> {
        let serial = self.state.config_serial;
        let new = NewConfig::replacing(serial, String::new(), config(text), Default::default());
        self.commit(Command::SetConfig(Box::new(new)))
    }
}

/// lx4 has both groups.
fn owned() -> Cluster {
    let mut cluster = Cluster::founded(&both());
    for node in [LX4, LX5] {
        cluster.register(life(node, 1)).unwrap();
    }
    for name in ["db", "web"] {
        cluster.assign(name, life(LX4, 1)).unwrap();
    }
    cluster
}

#[test]
fn nobody_owns_what_he_is_not_registered_at() {
    let mut cluster = Cluster::founded(&both());
    let why = cluster.assign("db", life(LX4, 1)).unwrap_err();
    assert!(why.contains("not registered at /dev/sdb1"), "{why}");
    cluster.assign("web", life(LX4, 1)).unwrap();
    cluster.register(life(LX4, 1)).unwrap();
    assert!(cluster.register(life(LX4, 1)).is_err(), "once in a life");
    cluster.assign("db", life(LX4, 1)).unwrap();
}

#[test]
fn the_lease_has_to_end_and_then_the_device_has_to_confirm() {
    let mut cluster = owned();
    let lx4 = life(LX4, 1);
    assert!(cluster.cut(lx4, 1).unwrap_err().contains("has not ended"), "who has his lease is not cut off");
    cluster.loses_its_lease(lx4).unwrap();
    assert!(cluster.is_vacant("web") && !cluster.is_vacant("db"));
    assert!(cluster.confirmed(lx4, false).unwrap_err().contains("nobody asked"), "asked by nobody");
    cluster.cut(lx4, 1).unwrap();
    assert!(cluster.confirmed(lx4, true).is_err(), "it is no proof that the power is off");
    cluster.confirmed(lx4, false).unwrap();
    assert!(cluster.is_vacant("db"));
    cluster.assign("db", life(LX5, 1)).unwrap();
}

#[test]
fn a_device_says_nothing_about_a_node_that_was_never_registered_through_it() {
    // The group was owned before anybody wanted its disks guarded: nothing keeps lx4 from writing them.
    let before = DB.replace("needs = [\"lease-ended\", \"storage\"]", "needs = [\"lease-ended\"]");
    let mut cluster = Cluster::founded(&before);
    cluster.assign("db", life(LX4, 1)).unwrap();
    cluster.configure(&both()).unwrap();
    let lx4 = life(LX4, 1);
    cluster.loses_its_lease(lx4).unwrap();
    assert!(!cluster.is_vacant("db"), "judged by the stricter of both");
    cluster.cut(lx4, 1).unwrap();
    assert!(cluster.confirmed(lx4, false).is_err());
    assert!(!cluster.is_vacant("db"));
    cluster.up(life(LX4, 2), "another boot");
    assert!(cluster.is_vacant("db"), "that is proof enough");
}

#[test]
fn a_device_that_is_configured_otherwise_since_proves_nothing() {
    for (from, to) in [
        ("\"/dev/sdb\", ", ""),
        ("agent = \"/usr/sbin/fence_scsi\"", "agent = \"/usr/sbin/fence_mpath\""),
        ("disks =", "plugs = { lx4 = \"other\" }\ndisks ="),
    ] {
        let mut cluster = owned();
        let change = cluster
            .configure(&both().replacen(from, to, 1).replace("needs = [\"lease-ended\", \"storage\"]\n", ""));
        change.unwrap();
        let lx4 = life(LX4, 1);
        assert!(cluster.register(lx4).is_err(), "it registers once in a life");
        cluster.loses_its_lease(lx4).unwrap();
        cluster.cut(lx4, 1).unwrap();
        assert!(cluster.confirmed(lx4, false).is_err(), "{to}");
        assert!(!cluster.is_vacant("db"), "{to}");
    }
}

#[test]
fn who_was_cut_off_registers_again_only_when_nothing_of_before_is_left() {
    let mut cluster = owned();
    cluster.loses_its_lease(life(LX4, 1)).unwrap();
    cluster.cut(life(LX4, 1), 1).unwrap();
    assert!(cluster.register(life(LX4, 1)).is_err(), "that life is over");
    cluster.confirmed(life(LX4, 1), false).unwrap();
    let up = |incarnation, boot: &str, clean| Command::NodeUp {
        about: life(LX4, incarnation),
        boot: regent_model::ids::BootId(boot.into()),
        clean,
    };
    cluster.commit(up(2, "boot 1", false)).unwrap();
    assert!(cluster.register(life(LX4, 2)).unwrap_err().contains("was cut off"), "its memory holds writes");
    cluster.commit(up(3, "boot 1", false)).unwrap();
    assert!(cluster.register(life(LX4, 3)).is_err(), "still");
    cluster.commit(up(4, "boot 1", true)).unwrap();
    cluster.register(life(LX4, 4)).unwrap();
    cluster.commit(up(5, "boot 1", false)).unwrap();
    assert!(
        cluster.state.lives[&NodeId(LX4)].registered.contains_key("san"),
        "the same boot is registered still"
    );
    cluster.commit(up(6, "boot 2", true)).unwrap();
    assert!(cluster.state.lives[&NodeId(LX4)].registered.is_empty(), "a new boot registers anew");
    cluster.register(life(LX4, 6)).unwrap();
}

#[test]
fn a_persons_word_is_no_end_of_a_lease() {
    let mut cluster = owned();
    let lx4 = life(LX4, 1);
    let (who, why) = ("maria".to_owned(), "its plug is out".to_owned());
    cluster.commit(Command::ConfirmDead { about: lx4, who, why, given_ms: 0, minutes: 5 }).unwrap();
    let epoch = cluster.epoch("db");
    cluster.commit(Command::ExpireWord { group: group("db"), epoch }).unwrap();
    assert!(cluster.cut(lx4, 1).unwrap_err().contains("has not ended"));
}
