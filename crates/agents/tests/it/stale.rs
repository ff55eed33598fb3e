//! What an application left behind: removed before it starts under a new epoch, and at no other time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use regent_model::Epoch;
use regent_model::action::{Notice, Op, Resource};
use regent_model::config::MainProcess;

use crate::support::{Node, app, application, isolated, sh};

/// A folder of credentials and an endpoint map, as DCE leaves them.
fn litter(node: &Node) -> PathBuf {
    let folder = node.run_dir.0.join("var/dce");
    fs::create_dir_all(folder.join("creds")).unwrap();
    fs::create_dir_all(folder.join("dced")).unwrap();
    for file in ["dced/Ep.db", "dced/Acl.db", "creds/dcecred_1", "creds/dcecred_2", "creds/.keep"] {
        fs::write(folder.join(file), "stale").unwrap();
    }
    folder
}

/// Starts it, and gives everything that was told of it.
fn started(node: &mut Node, resource: &Resource) -> String {
    let mut story = node.run(Op::Acquire, resource).runs().story();
    while let Some(Notice::Told { text, evidence, .. }) = node.notice(Duration::from_millis(1)) {
        story.push_str(&format!("{text} | {evidence}\n"));
    }
    story
}

fn dce(folder: &std::path::Path) -> Resource {
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.stale =
        vec![folder.join("dced/Ep.db").display().to_string(), folder.join("creds/*").display().to_string()];
    app(config)
}

#[test]
fn a_new_epoch_begins_without_what_the_one_before_left_and_the_journal_names_it() {
    let mut node = Node::new();
    let folder = litter(&node);
    let resource = dce(&folder);
    node.run(Op::Probe, &resource).stopped();
    let story = started(&mut node, &resource);
    assert!(story.contains("removed 3 stale files: ") && story.contains("dced/Ep.db, "), "{story}");
    assert!(story.contains("creds/dcecred_1\n"), "all of them are evidence: {story}");
    assert!(!folder.join("dced/Ep.db").exists() && !folder.join("creds/dcecred_2").exists());
    assert!(folder.join("dced/Acl.db").exists() && folder.join("creds/.keep").exists(), "nothing else");
    // Its ends and restarts within this epoch keep what it has built up since.
    litter(&node);
    node.run(Op::Release, &resource).stopped();
    let story = started(&mut node, &resource);
    assert!(!story.contains("stale"), "{story}");
    assert!(folder.join("dced/Ep.db").exists() && folder.join("creds/dcecred_1").exists());
    // It goes away and comes back.
    node.run(Op::Release, &resource).stopped();
    node.epoch = Epoch(9);
    assert!(started(&mut node, &resource).contains("removed 3 stale files"));
}

#[test]
fn neither_a_restarted_daemon_nor_an_adoption_takes_what_runs_for_a_new_beginning() {
    let mut node = Node::new();
    let folder = litter(&node);
    let resource = dce(&folder);
    node.run(Op::Acquire, &resource).runs();
    litter(&node);
    node.restart_daemon();
    node.run(Op::Probe, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    assert!(!started(&mut node, &resource).contains("stale"));
    // A new guard goes on under an epoch of its own; the machine is the same.
    (node.epoch, node.proof) = (Epoch(8), "adopted");
    node.restart_daemon();
    node.run(Op::Probe, &resource).runs();
    node.run(Op::Release, &resource).stopped();
    assert!(!started(&mut node, &resource).contains("stale"));
    assert!(folder.join("dced/Ep.db").exists());
    // Adopted, but not found running: still the same machine.
    node.run(Op::Release, &resource).stopped();
    node.epoch = Epoch(10);
    assert!(!started(&mut node, &resource).contains("stale"));
}

#[test]
fn a_failed_start_is_tried_again_without_a_second_cleaning() {
    let mut node = Node::new();
    let folder = litter(&node);
    let flag = node.run_dir.0.join("works");
    let start = format!("test -e {0} && exec sleep 300; touch {0}; exit 1", flag.display());
    let mut config = application(&start, MainProcess::Child);
    config.stale = vec![folder.join("dced/*").display().to_string()];
    let resource = app(config);
    assert!(node.run(Op::Acquire, &resource).failed().reason.contains("exited with 1"));
    litter(&node);
    node.run(Op::Release, &resource).stopped();
    node.run(Op::Acquire, &resource).runs();
    assert!(folder.join("dced/Ep.db").exists());
}

#[test]
fn nothing_to_remove_is_no_error_and_very_many_files_are_no_trouble() {
    let mut node = Node::new();
    let folder = node.run_dir.0.join("creds");
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.stale = vec![folder.join("*").display().to_string(), "/run/regent-no-such/*/x".into()];
    let resource = app(config);
    assert!(!started(&mut node, &resource).contains("stale"));
    node.run(Op::Release, &resource).stopped();
    fs::create_dir(&folder).unwrap();
    // More than fit on a command line.
    let long = "x".repeat(200);
    for number in 0..12_000 {
        fs::File::create(folder.join(format!("{long}{number}"))).unwrap();
    }
    node.epoch = Epoch(8);
    let story = started(&mut node, &resource);
    assert!(story.contains("removed 12000 stale files"), "{story:.300}");
    assert!(story.contains("and 11997 more"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn no_link_leads_out_of_a_pattern() {
    let mut node = Node::new();
    let top = node.run_dir.0.clone();
    let precious = top.join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("data"), "kept").unwrap();
    let creds = top.join("creds");
    fs::create_dir_all(creds.join("real")).unwrap();
    fs::write(creds.join("real/data"), "stale").unwrap();
    symlink(&precious, creds.join("link")).unwrap();
    symlink(precious.join("data"), creds.join("file")).unwrap();
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.stale = vec![creds.join("*/data").display().to_string(), creds.join("*").display().to_string()];
    let story = started(&mut node, &app(config.clone()));
    assert!(story.contains("removed 3 stale files"), "the two links themselves, and real/data: {story}");
    assert!(story.contains("real is a folder and was left"), "{story}");
    assert!(precious.join("data").exists() && !creds.join("link").exists());
    // `**` is for everything below, and goes no further than what lies there.
    fs::write(creds.join("real/data"), "stale").unwrap();
    symlink(&precious, creds.join("real/link")).unwrap();
    config.stale = vec![creds.join("**").display().to_string()];
    let resource = app(config.clone());
    node.run(Op::Release, &resource).stopped();
    node.epoch = Epoch(8);
    let story = started(&mut node, &resource);
    assert!(story.contains("removed 2 stale files"), "{story}");
    assert!(precious.join("data").exists() && creds.join("real").exists());
}

#[test]
fn what_is_mounted_below_is_another_matter_wherever_the_two_stars_stand() {
    isolated(|| {
        let mut node = Node::new();
        let top = node.run_dir.0.join("state");
        let cache = top.join("sub/cache");
        fs::create_dir_all(&cache).unwrap();
        sh(&format!("mount -t tmpfs none {}", cache.display()));
        for (pattern, epoch) in [("**", 8), ("**/*.pid", 9)] {
            fs::write(top.join("sub/own.pid"), "stale").unwrap();
            fs::write(cache.join("kept.pid"), "kept").unwrap();
            let mut config = application("exec sleep 300", MainProcess::Child);
            config.stale = vec![top.join(pattern).display().to_string()];
            node.epoch = Epoch(epoch);
            let resource = app(config);
            let story = started(&mut node, &resource);
            assert!(story.contains("removed 1 stale file: "), "{pattern}: {story}");
            assert!(!top.join("sub/own.pid").exists() && cache.join("kept.pid").exists(), "{pattern}");
            node.run(Op::Release, &resource).stopped();
        }
        sh(&format!("umount {}", cache.display()));
    });
}

#[test]
fn a_link_in_the_written_way_is_followed_if_only_root_can_have_laid_it() {
    let mut node = Node::new();
    let top = node.run_dir.0.clone();
    fs::create_dir_all(top.join("var/dce/creds")).unwrap();
    fs::create_dir(top.join("dcelocal")).unwrap();
    // As on AIX: /opt/dcelocal/var -> /var/dce.
    symlink("../var/dce", top.join("dcelocal/var")).unwrap();
    let cred = top.join("var/dce/creds/1");
    fs::write(&cred, "stale").unwrap();
    let mut config = application("exec sleep 300", MainProcess::Child);
    config.stale = vec![top.join("dcelocal/var/creds/*").display().to_string()];
    let resource = app(config);
    let story = started(&mut node, &resource);
    assert!(story.contains("var/dce/creds/1"), "{story}");
    // In a folder that others write, anybody may lay it: whoever lays it must not say what root removes.
    fs::write(&cred, "stale").unwrap();
    sh(&format!("chmod 777 {}", top.join("dcelocal").display()));
    node.run(Op::Release, &resource).stopped();
    node.epoch = Epoch(8);
    let failure = node.run(Op::Acquire, &resource).failed();
    assert!(failure.reason.contains("not followed") && cred.exists(), "{failure:?}");
    assert!(
        !node.app_cgroup("app").join("main").exists()
            || !node.app_cgroup("app").join("main/cgroup.procs").exists()
            || fs::read_to_string(node.app_cgroup("app").join("main/cgroup.procs")).unwrap().is_empty()
    );
}

#[test]
fn what_cannot_be_removed_keeps_it_from_starting_and_is_named() {
    let mut node = Node::new();
    let folder = litter(&node);
    sh(&format!(
        "chattr +i {} 2>/dev/null || mount --bind -o ro {1} {1}",
        folder.join("dced/Ep.db").display(),
        folder.display()
    ));
    let failure = node.within(Op::Acquire, &dce(&folder), Duration::from_secs(5)).failed();
    sh(&format!(
        "chattr -i {} 2>/dev/null || umount {}",
        folder.join("dced/Ep.db").display(),
        folder.display()
    ));
    assert!(failure.reason.contains("cannot remove") && failure.reason.contains("Ep.db"), "{failure:?}");
}
