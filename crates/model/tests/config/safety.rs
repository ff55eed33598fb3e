//! What proves that a lost owner is gone, what it risks, and what fits the timers.

use std::collections::BTreeSet;

use super::*;
use regent_model::config::{Guarantee, guarantees};
use regent_model::proof::Need;

const FENCE: &str =
    "[[fence]]\nname = \"power\"\nagent = \"/usr/sbin/fence_ipmilan\"\nnodes = [\"lx4\", \"lx5\"]\n";

/// [`GOOD`] with a line more in its group `db`.
fn group(line: &str) -> String {
    with("policy = \"cascading\"\n", &format!("policy = \"cascading\"\n{line}\n"))
}

#[test]
fn a_file_system_needs_fencing_unless_the_user_says_otherwise() {
    let config = good(GOOD);
    assert_eq!(config.groups[0].needs, [Need::Fenced]);
    assert_eq!(config.groups[1].needs, [Need::LeaseEnded]);
    refused(&group("needs = []"), "[]", "nothing would ever prove", "[\"fenced\"]");
    refused(&group("needs = [\"lease\"]"), "\"lease\"", "cannot be", "did you mean \"lease-ended\"?");
    refused(&group("needs = \"fenced\""), "\"fenced\"", "must be a list", "needs = [\"fenced\"]");
    refused(&group("needs = [\"fenced\", \"fenced\"]"), "\"fenced\"", "twice", "keep one");
}

#[test]
fn a_group_that_nobody_can_fence_is_warned_of() {
    warned(&with(FENCE, ""), "\"db\"", "no fence device can cut `lx4`, `lx5`", "confirm-dead lx4");
    let half = with("nodes = [\"lx4\", \"lx5\"]\n\n[[group]]", "nodes = [\"lx4\"]\n\n[[group]]");
    warned(&half, "\"db\"", "no fence device can cut `lx5`", "nodes = [\"lx5\"]");
    let web = with(FENCE, "")
        .replace("nodes = [\"lx5\", \"lx4\"]", "nodes = [\"lx5\", \"lx4\"]\nneeds = [\"fenced\"]");
    assert_eq!(parse(&web).count(Severity::Warning), 2);
}

#[test]
fn a_shared_disk_behind_the_guard_alone_says_what_it_risks() {
    let needs = "[\"fenced\", \"lease-ended\"]";
    let risky = group(&format!("needs = {needs}"));
    warned(&risky, needs, "only the guard", "for 602 ms or longer still writes");
    let config = good(&risky);
    let said = &guarantees(&config)[0];
    assert_eq!(said.class, Guarantee::Guard);
    assert!(said.sentence.contains("paused"), "{}", said.sentence);
}

#[test]
fn letting_go_must_fit_between_its_beginning_and_the_end_of_the_lease() {
    let grace =
        |value: &str| with("name = \"cache\"\n", &format!("name = \"cache\"\nlapse_grace = \"{value}\"\n"));
    good(&grace("134ms"));
    refused(
        &grace("135ms"),
        "\"135ms\"",
        "lapse_grace 135 ms + kill 5 ms + unmount 1 x 10 ms = 150 ms, but takeover = \"normal\" leaves 149.4 ms",
        "write lapse_grace = \"134ms\" or less; or takeover = \"610ms\" or slower",
    );
    good(&grace("135ms").replace("\"normal\"", "\"610ms\""));
    refused(&grace("1h"), "\"1h\"", "lapse_grace 60 m", "lapse_grace = \"134ms\" or less");
    let mounts: String = ["a", "b", "c"]
        .map(|n| format!("[[group.filesystem]]\ndevice = \"/dev/{n}\"\nmount = \"/{n}\"\ntype = \"xfs\"\n"))
        .concat();
    let many = with("\"normal\"", "\"fast\"").replacen(
        "[[group.address]]",
        &format!("{mounts}[[group.address]]"),
        1,
    );
    warned(&many, "\"db\"", "kill 5 ms + unmount 4 x 10 ms = 45 ms", "is then reset more often");
}

#[test]
fn the_guarantee_of_each_group_names_its_class_proofs_and_worst_case() {
    let config = good(GOOD);
    let said = guarantees(&config);
    assert_eq!(said.len(), 2);
    assert_eq!(
        (said[0].class, said[0].proofs.as_slice()),
        (Guarantee::Fenced, &["released", "rebooted", "fenced"][..])
    );
    // Noticed after promise_begins (450.9 ms), then status, off and status, 20 s each.
    assert_eq!(said[0].worst_case.map(|d| d.as_millis()), Some(60_451));
    assert_eq!(said[1].class, Guarantee::Kernel);
    assert_eq!(said[1].proofs, ["released", "rebooted", "lease-ended"]);
    // The lease on the fastest clock (601.2 ms), and a heartbeat for the commit.
    assert_eq!(said[1].worst_case.map(|d| d.as_millis()), Some(702));
    assert_eq!(said[0].acquire_limit.as_secs(), 60 + 10 + 60);
    let unfenced = guarantees(&good(&with(FENCE, "")));
    assert_eq!(unfenced[0].worst_case, None);
    assert!(unfenced[0].sentence.contains("no fence device can cut lx4, lx5"));
}

#[test]
fn the_class_of_a_group_follows_from_what_it_holds_and_from_the_kernels_of_its_nodes() {
    let of = |extra: &str, unable: &[&str]| {
        let text = format!("{GOOD}\n[[group]]\nname = \"front\"\nnodes = [\"lx4\", \"lx5\"]\n{extra}");
        let config = good(&text);
        let unable = unable.iter().map(|n| regent_model::NodeName::new(*n).unwrap()).collect();
        regent_model::config::guarantee(&config, config.groups.last().unwrap(), &unable, &BTreeSet::new())
    };
    let address = "[[group.address]]\naddress = \"10.77.0.77/24\"\n";
    let bare = of(address, &[]);
    assert_eq!(bare.class, Guarantee::Kernel);
    assert!(
        bare.sentence.contains("the kernel itself answers for the addresses no longer"),
        "{}",
        bare.sentence
    );
    let unasked = "; where the kernel of each node can (regent verify --nodes)";
    assert!(!bare.sentence.contains(unasked), "{}", bare.sentence);
    let of_file =
        good(&format!("{GOOD}\n[[group]]\nname = \"front\"\nnodes = [\"lx4\", \"lx5\"]\n{address}"));
    let of_file = guarantees(&of_file).pop().unwrap();
    assert_eq!((of_file.class, of_file.sentence), (Guarantee::Kernel, format!("{}{unasked}", bare.sentence)));
    let old = of(address, &["lx5", "elsewhere"]);
    assert_eq!(old.class, Guarantee::Guard);
    assert!(old.sentence.contains("on lx5 a guard that is frozen"), "{}", old.sentence);
    let served = of(
        &format!("{address}[[group.application]]\nname = \"w\"\nstart = \"/bin/w\"\nstop = \"/bin/w\"\n"),
        &[],
    );
    assert_eq!(served.class, Guarantee::Guard);
    assert!(served.sentence.ends_with("but not for its processes"), "{}", served.sentence);
    assert_eq!(of(&format!("needs = [\"fenced\"]\n{address}"), &["lx5"]).class, Guarantee::Fenced);
}

#[test]
fn the_worst_case_of_fencing_is_the_sum_of_its_levels_each_as_long_as_its_slowest_device() {
    let second =
        "\n[[fence]]\nname = \"b\"\nagent = \"/b\"\nnodes = [\"lx4\"]\ntimeout = \"2s\"\nretries = 1\n";
    let third = "\n[[fence]]\nname = \"c\"\nagent = \"/c\"\nnodes = [\"lx4\"]\nlevel = 2\ntimeout = \"1s\"\n";
    let of = |more: &str| guarantees(&good(&format!("{GOOD}{second}{third}{more}")))[0].worst_case.unwrap();
    // Beside the first device of 20 s; then each of the two is asked again; then the second level.
    assert_eq!(of("").as_millis(), 451 + 60_000 + 20_000 + 3_000);
    assert_eq!(of("delay = { lx4 = \"7s\" }\n").as_millis(), 451 + 60_000 + 20_000 + 3_000 + 7_000);
    let levels = good(&format!("{GOOD}{second}{third}"));
    let lx4 = regent_model::NodeName::new("lx4").unwrap();
    let found: Vec<_> = levels.fence_levels(&lx4).iter().map(|l| (l.level, l.devices.len())).collect();
    assert_eq!(found, [(1, 2), (2, 1)]);
}

#[test]
fn a_level_a_delay_and_a_node_of_a_delay_are_checked() {
    let fence = |more: &str| with(FENCE, &format!("{FENCE}{more}\n"));
    refused(&fence("level = 0"), "0", "`level`", "1");
    refused(&fence("delay = { lx4 = \"soon\" }"), "lx4", "no duration", "delay = {");
    refused(&fence("delay = { lx9 = \"2s\" }"), "lx9", "`delay` names `lx9`", "lx");
    good(&fence("delay = { lx4 = \"2s\", lx5 = \"0s\" }"));
    good(&fence("delay = \"0s\"\nretries = 2\nlevel = 9"));
}

#[test]
fn the_examples_are_good() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let parsed = parse(&text);
            // That volumes are unproven is said wherever one is configured.
            let well = parsed.findings.iter().all(|f| f.message.contains("stand-in of LVM's commands"));
            assert!(well, "{}:\n{}", path.display(), listed(&text, &parsed));
            seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    for name in ["ward7.toml", "postgresql.toml", "every-key.toml", "two-nodes-disk.toml"] {
        assert!(seen.iter().any(|s| s == name), "{name} is not among {seen:?}");
    }
}

#[test]
fn the_example_of_every_key_has_every_key_and_states_the_defaults() {
    let example = include_str!("../../../../examples/every-key.toml");
    let mut tables = 0;
    for (at, line) in example.lines().enumerate().filter(|(_, l)| l.trim_start().starts_with('[')) {
        let text: String = example
            .lines()
            .enumerate()
            .map(|(n, l)| if n == at { format!("{l}\nqqqqqqqqqqqq = 1\n") } else { format!("{l}\n") })
            .collect();
        let parsed = parse(&text);
        let unknown = parsed.findings.iter().find(|f| f.message.contains("qqqqqqqqqqqq"));
        let Some(unknown) = unknown else { panic!("{line}: {}", listed(&text, &parsed)) };
        let (_, keys) = unknown.help.split_once("allowed here: ").unwrap();
        for key in keys.split(", ").filter(|k| {
            !["volume", "filesystem", "address", "application", "prepare", "adapter", "event", "share"]
                .contains(k)
        }) {
            let written = |l: &str| l.trim_start().split_once('=').is_some_and(|(k, _)| k.trim() == key);
            assert!(example.lines().any(written), "{key} of {line} is not in the example");
        }
        tables += 1;
    }
    assert!(tables >= 15, "{tables}");
    // Without the lines marked as defaults, the same configuration comes out.
    let bare: String = example
        .lines()
        .filter(|l| l.trim_start().starts_with('#') || !l.contains("(default)") || l.contains("lapse_grace"))
        .filter(|l| {
            let extras = ["status ", "stop ", "user ", "options ", "plugs "];
            l.contains("\"none\"") || !extras.iter().any(|k| l.trim_start().starts_with(k))
        })
        .map(|l| format!("{l}\n"))
        .collect();
    let mut full = good(example);
    let reduced = good(&bare);
    full.fences = full.fences.iter().map(|f| std::sync::Arc::new(without_extras(f))).collect();
    let db = std::sync::Arc::make_mut(&mut full.groups[0]);
    std::sync::Arc::make_mut(&mut db.filesystems[0]).options.clear();
    std::sync::Arc::make_mut(&mut db.addresses[0]).interface = None;
    std::sync::Arc::make_mut(&mut db.addresses[0]).network = None;
    full.nodes[0].persistent.clear();
    let cache = std::sync::Arc::make_mut(&mut db.applications[1]);
    (cache.status, cache.stop, cache.user) = (None, None, None);
    for instance in &mut db.instances {
        let instance = std::sync::Arc::make_mut(instance);
        (instance.vendor, instance.user) = (None, None);
        let start = instance.commands.start.take();
        instance.commands = regent_model::config::InstanceCommands { start, ..Default::default() };
    }
    assert_eq!(full, reduced);
}

fn without_extras(fence: &regent_model::config::FenceConfig) -> regent_model::config::FenceConfig {
    let mut fence = fence.clone();
    fence.plugs.clear();
    fence.options.clear();
    fence
}

#[test]
fn what_only_a_reboot_ends_is_not_content_with_the_end_of_a_lease_and_says_whom_the_reboot_interrupts() {
    let web = |more: &str| {
        with("[\"lx5\", \"lx4\"]\n", &format!("[\"lx5\", \"lx4\"]\nrelease = \"reboot\"\n{more}"))
    };
    assert_eq!(good(&web("")).groups[1].needs, [Need::Fenced], "though it has an address alone");
    let lease = web("needs = [\"lease-ended\"]\n");
    refused(&lease, "[\"lease-ended\"]", "released only by a reboot", "needs = [\"fenced\"]");
    one(Severity::Note, &web(""), "\"reboot\"", "`db` on it is interrupted", "released in order");
    let alone = web("")
        .replace("[\"lx4\", \"lx5\"]\npolicy", "[\"lx4\"]\npolicy")
        .replace("[\"lx5\", \"lx4\"]", "[\"lx5\"]");
    assert_eq!(parse(&alone).count(Severity::Note), 0, "{}", listed(&alone, &parse(&alone)));
}
