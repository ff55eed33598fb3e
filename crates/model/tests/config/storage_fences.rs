//! Fence devices at the storage: who may rely on them, what they must cover, and what they guarantee.

use super::*;
use regent_model::config::{Guarantee, guarantees};

/// [`GOOD`] with a device at the storage, and `db`, which mounts a shared disk, content with it.
fn stored() -> String {
    format!(
        "{}\n[[fence]]\nname = \"san\"\nagent = \"/usr/sbin/fence_scsi\"\nlevel = 2\nkind = \"storage\"\nnodes = [\"lx4\", \"lx5\"]\n\
         disks = [\"/dev/sdc\"]\n",
        with("policy = \"cascading\"\n", "policy = \"cascading\"\nneeds = [\"lease-ended\", \"storage\"]\n")
    )
}

fn changed(from: &str, to: &str) -> String {
    let text = stored();
    assert!(text.contains(from), "{from}: {text}");
    text.replacen(from, to, 1)
}

#[test]
fn the_lease_and_the_storage_together_are_a_guarantee_with_a_bound() {
    let config = good(&stored());
    let said = &guarantees(&config)[0];
    assert_eq!(
        (said.class, &said.proofs[..]),
        (Guarantee::Storage, &["released", "rebooted", "cut-off"][..])
    );
    assert!(said.sentence.contains("reaches no disk, also where a hypervisor"), "{}", said.sentence);
    // The lease on the fastest clock, five calls of the agent of 20 s each, and two heartbeats for the commits.
    let lease = config.timers.promise_wait() + config.timers.heartbeat * 2;
    assert_eq!(said.worst_case.map(|d| d.as_secs()), Some(100 + lease.as_secs()));
    let keys: Vec<_> = config.fences[1].keys.values().collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");
}

#[test]
fn what_would_leave_a_disk_open_is_refused() {
    const NEEDS: &str = "[\"lease-ended\", \"storage\"]";
    refused(&changed(NEEDS, "[\"storage\"]"), "[\"storage\"]", "not the end of its lease", NEEDS);
    refused(
        &changed("\"/dev/sdc\"]", "\"/dev/sdd\"]"),
        NEEDS,
        "no device cuts lx4 off",
        "kind = \"storage\"",
    );
    for (from, to, message) in [
        ("nodes = [\"lx4\", \"lx5\"]\ndisks", "nodes = [\"lx4\"]\ndisks", "nobody else could cut it off"),
        ("kind = \"storage\"\n", "", "is for a device that cuts off from disks"),
        ("disks = [\"/dev/sdc\"]\n", "", "disks"),
        ("disks = [\"/dev/sdc\"]", "disks = []", "names no disk"),
        ("\"/dev/sdc\"]", "\"/dev/sdc\", \"/dev/sdc1\"]", "cut off by two devices"),
        ("\"/dev/sdc\"]", "\"/dev/sdc\", \"/dev/a,b\"]", "with a comma"),
        ("disks =", "options = { key = \"a4\" }\ndisks =", "key"),
    ] {
        let said = errors(&changed(from, to));
        assert!(said.iter().any(|e| e.contains(message)), "{to}: {said:?}");
    }
    let twice = format!(
        "{}\n[[fence]]\nname = \"other\"\nagent = \"/b\"\nkind = \"storage\"\nnodes = [\"lx5\", \"lx4\"]\ndisks = [\"/dev/sdc\"]\n",
        stored()
    );
    assert!(errors(&twice).iter().any(|e| e.contains("cut off by two devices")), "{:?}", errors(&twice));
}

fn errors(text: &str) -> Vec<String> {
    let findings = parse(text).findings;
    findings.iter().filter(|f| f.severity == Severity::Error).map(|f| f.message.clone()).collect()
}
