//! What was made and what is given.

use regent_model::NodeName;
use regent_model::format::Speaks;
use regent_model::ids::ClusterName;
use regent_wire::handover::Asker;
use regent_wire::ipc::{IpcReader, IpcWriter};

use super::*;
use crate::inbox::inbox;
use crate::links::{Ears, JoinAnswer};
use crate::refusals::Refusals;
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

/// The line to a guard that takes keys, or to one that is gone.
fn guard(inbox: &Inbox, answers: bool) -> GuardLine {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let refusals = Arc::new(Refusals::new(inbox.clone()));
    let line = GuardLine::start(ours, 3, inbox.clone(), refusals, |_| {}).unwrap();
    if answers {
        let (mut reader, mut writer) = (IpcReader::new(theirs.try_clone().unwrap()), IpcWriter::new(theirs));
        std::thread::spawn(move || {
            while let Ok(Some(said)) = reader.recv() {
                if let regent_guard::ToGuard::Keys { id, .. } = said {
                    writer.send(&regent_guard::FromGuard::Keyed { id }).unwrap();
                }
            }
        });
    }
    line
}

#[test]
fn keys_that_came_without_an_order_and_did_not_reach_the_guard_are_brought_to_it_again_without_one() {
    let folder = Folder::new("keys-again");
    let keys = keys(&folder, MachineSecret::generate().unwrap());
    let (inbox, inputs) = inbox();
    let ears = Ears {
        deliver: Box::new(|_, _| {}),
        side: Box::new(|_, _| {}),
        join: Box::new(|_, _| JoinAnswer::without_key(regent_api::Answer::Done(String::new()))),
        refused: Box::new(|_| false),
        keys: Box::new(|_| None),
        foreign: Box::new(|| {}),
    };
    let mut worker = Worker {
        keys: keys.inner.clone(),
        guard: guard(&inbox, false),
        links: Links::new(&keys.ring(), NodeId(1), Speaks::THIS, 1, false, ears),
        inbox: inbox.clone(),
        step: None,
        asked: None,
        told: false,
        failed: String::new(),
        unkept: false,
        unsettled: false,
        renewed: false,
    };
    let newer = keys.ring().with_next(ClusterKey::from_bytes([2; 32])).using_newest().current_alone();
    worker.take(newer.clone(), "renew").unwrap_err();
    assert_eq!(keys.ring(), newer, "the file has it");
    assert!(inputs.waiting().is_err(), "the engine was not told");
    worker.renewed = true;
    worker.guard = guard(&inbox, true);
    // Nobody orders anything: no channel opens under the old key.
    let (orders, waiting) = channel();
    let following = std::thread::spawn(move || worker.follow(&waiting));
    let told = inputs.next(Duration::from_secs(30));
    let Ok(Input::Keys { held, .. }) = told else { panic!("{told:?}") };
    assert_eq!((held.using, held.marks.len()), (1, 1));
    let told = inputs.next(Duration::from_secs(30));
    assert!(matches!(&told, Ok(Input::Notice(Notice::Well { text, .. })) if text == RENEWED), "{told:?}");
    drop(orders);
    following.join().unwrap();
}
