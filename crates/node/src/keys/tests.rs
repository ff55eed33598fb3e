//! What was made and what is given.

use regent_model::NodeName;
use regent_model::ids::ClusterName;
use regent_wire::handover::Asker;

use super::*;
use crate::testing::Folder;

fn keys(folder: &Folder, secret: MachineSecret) -> Keys {
    let paths = Paths::below(folder.path());
    std::fs::create_dir_all(&paths.etc).unwrap();
    let identity = NodeIdentity {
        cluster: ClusterName::new("w").unwrap(),
        node: NodeId(1),
        name: NodeName::new("a").unwrap(),
        addresses: vec![[10, 0, 0, 1].into()],
        port: 7410,
        witness: false,
    };
    Keys::new(&paths, &identity, KeyRing::first(ClusterKey::from_bytes([1; 32])), secret)
}

#[test]
fn keys_are_given_to_the_machines_that_the_log_knows_as_members_and_to_no_other() {
    let folder = Folder::new("keys-give");
    let (own, lx5, stranger) = (
        MachineSecret::generate().unwrap(),
        MachineSecret::generate().unwrap(),
        MachineSecret::generate().unwrap(),
    );
    let public = own.public();
    let keys = keys(&folder, own);
    let ask = |secret: &MachineSecret, cluster: &str| {
        let asker = Asker::new(cluster, NodeId(2), secret).unwrap();
        let given = keys.give(asker.ask());
        given.map(|given| asker.take(&given, &public).unwrap())
    };
    assert_eq!(ask(&lx5, "w"), None, "the log does not name its machine");
    let machines = BTreeMap::from([(NodeId(2), MachineKey(lx5.public()))]);
    let mut known = Known { machines, upto: 0 };
    keys.set_known(&known);
    assert_eq!(ask(&lx5, "w"), Some(keys.ring()));
    assert_eq!(ask(&stranger, "w"), None);
    assert_eq!(ask(&lx5, "another"), None);
    // It was removed.
    keys.set_known(&Known::default());
    assert_eq!(ask(&lx5, "w"), None);
    // It was removed and the key was changed, and what is known here is from before.
    *lock(&keys.inner.ring) = keys.ring().with_next(ClusterKey::from_bytes([2; 32]));
    keys.set_known(&known);
    assert_eq!(ask(&lx5, "w"), None);
    known.upto = 1;
    keys.set_known(&known);
    assert_eq!(ask(&lx5, "w"), Some(keys.ring()));
}

#[test]
fn a_key_that_was_made_is_kept_for_root_alone_until_the_log_agrees_and_is_in_no_ring() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("keys-made");
    let file = folder.path().join("key");
    assert!(made::all(&file).is_empty());
    let keys: Vec<ClusterKey> = (1..=6).map(|byte| ClusterKey::from_bytes([byte; 32])).collect();
    for key in &keys {
        made::keep(&file, key).unwrap();
    }
    assert_eq!(made::all(&file), keys[2..], "the last ones");
    let mode = std::fs::metadata(folder.path().join("key.made")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(folder.path().join("key.made"), "nonsense\n").unwrap();
    assert!(made::all(&file).is_empty());
    made::forget(&file);
    made::forget(&file);
}

#[test]
fn what_is_known_of_the_machines_outlives_the_daemon_and_damage_is_nothing_known() {
    let folder = Folder::new("keys-known");
    assert_eq!(Known::read(folder.path()), Known::default());
    let known = Known { machines: BTreeMap::from([(NodeId(2), MachineKey([5; 32]))]), upto: 3 };
    known.keep(folder.path()).unwrap();
    assert_eq!(Known::read(folder.path()), known);
    std::fs::write(folder.path().join("machines.json"), "{").unwrap();
    assert_eq!(Known::read(folder.path()), Known::default());
}
