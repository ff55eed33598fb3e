//! Arbitrary and damaged texts: never a panic, never a bad configuration taken for a good one.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;
use proptest::prelude::*;
use regent_model::config::{KILL_TIME, UNMOUNT_TIME, guarantees};

/// What holds for every text.
fn judge(text: &str) {
    let parsed = parse(text);
    let errors = parsed.count(Severity::Error);
    assert_eq!(parsed.config.is_none(), errors > 0);
    let spans = parsed.findings.iter().flat_map(|f| f.related.iter().map(|r| &r.0).chain([&f.span]));
    for span in spans {
        assert!(text.get(span.clone()).is_some(), "{span:?} cannot be shown");
    }
    for finding in &parsed.findings {
        assert!(!finding.message.is_empty() && !finding.help.is_empty(), "{finding:?}");
        assert!(finding.message != "this file was not understood", "refused without a reason");
    }
    assert!(parsed.findings.is_sorted_by_key(|f| (f.severity, f.span.start)));
    if let Some(config) = &parsed.config {
        sound(config);
    }
}

/// What holds for every configuration that was taken, looked at without its text.
fn sound(config: &Config) {
    let members: Vec<_> = config.nodes.iter().chain(&config.witnesses).collect();
    let names: BTreeSet<_> = members.iter().map(|m| &m.name).collect();
    assert_eq!(names.len(), members.len());
    assert!(!config.nodes.is_empty());
    let mut addresses: Vec<_> = members.iter().flat_map(|m| m.addresses.iter().copied()).collect();
    addresses.extend(config.groups.iter().flat_map(|g| g.addresses.iter().map(|a| a.address)));
    let distinct: BTreeSet<_> = addresses.iter().collect();
    assert_eq!(distinct.len(), addresses.len());
    for member in &members {
        assert_eq!(member.addresses.len(), config.nodes[0].addresses.len());
        for (own, first) in member.addresses.iter().zip(&config.nodes[0].addresses) {
            assert_eq!(own.is_ipv4(), first.is_ipv4());
        }
    }
    assert!(config.timers.inequality_holds());
    for fence in &config.fences {
        assert!(fence.agent.is_absolute() && !fence.nodes.is_empty() && !fence.timeout.is_zero());
        assert!(fence.plugs.keys().all(|n| fence.nodes.contains(n)));
    }
    for group in &config.groups {
        assert!(!group.nodes.is_empty() && !group.needs.is_empty());
        assert!(group.nodes.iter().all(|n| config.nodes.iter().any(|c| &c.name == n)));
        let resources: BTreeSet<_> = group.resources().iter().map(|r| r.name().clone()).collect();
        assert_eq!(resources.len(), group.resources().len());
        let grace = group.applications.iter().map(|a| a.lapse_grace).max().unwrap_or(Duration::ZERO);
        let unmounts = UNMOUNT_TIME * u32::try_from(group.filesystems.len()).unwrap_or(u32::MAX);
        assert!(grace.is_zero() || grace + KILL_TIME + unmounts <= config.timers.release_budget());
    }
    let mounts: Vec<_> =
        config.groups.iter().flat_map(|g| g.filesystems.iter().map(move |f| (&g.name, f))).collect();
    for (at, (group, disk)) in mounts.iter().enumerate() {
        assert!(disk.device.is_absolute() && disk.mount.is_absolute() && disk.mount != Path::new("/"));
        for (other_group, other) in &mounts[..at] {
            assert_ne!(disk.device, other.device);
            assert!(!other.mount.starts_with(&disk.mount));
            assert!(group == other_group || !disk.mount.starts_with(&other.mount));
        }
    }
    assert_eq!(guarantees(config).len(), config.groups.len());
}

/// One damage to a text: a piece is cut out, doubled, moved, or replaced by a word of the language.
#[derive(Debug, Clone)]
enum Damage {
    Cut(usize, usize),
    Double(usize, usize),
    Swap(usize, usize),
    Put(usize, &'static str),
    DropLine(usize),
    ReplaceValue(usize, &'static str),
    /// The value of another line with the same key, as copying and pasting leaves it.
    CopyValue(usize, usize),
}

/// For the group `web`, the last of the good file.
const SECOND_DISK: &str =
    "[[group.filesystem]]\ndevice = \"/dev/sdd\"\nmount = \"/storage3\"\ntype = \"xfs\"\n";

const WORDS: [&str; 25] = [
    "\"/dev/sdc4\"",
    "\"",
    "'",
    "[",
    "]",
    "[[group]]\n",
    "=",
    "{",
    "}",
    ",",
    "\n",
    "\\",
    "0",
    "10",
    "true",
    "\"10.77.0.4\"",
    "\"fd00::1/64\"",
    "\"lx4\"",
    "\"/storage2\"",
    "\"0\"",
    "[]",
    "{}",
    "\"\"",
    "ä€🦀",
    "10.77.0.4",
];

fn damage() -> impl Strategy<Value = Damage> {
    let word = || prop::sample::select(WORDS.to_vec());
    prop_oneof![
        (any::<usize>(), 1..40_usize).prop_map(|(at, n)| Damage::Cut(at, n)),
        (any::<usize>(), 1..80_usize).prop_map(|(at, n)| Damage::Double(at, n)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Damage::Swap(a, b)),
        (any::<usize>(), word()).prop_map(|(at, w)| Damage::Put(at, w)),
        any::<usize>().prop_map(Damage::DropLine),
        (any::<usize>(), word()).prop_map(|(at, w)| Damage::ReplaceValue(at, w)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Damage::CopyValue(a, b)),
    ]
}

fn apply(text: &str, damage: &Damage) -> String {
    let at = |n: usize| text.floor_char_boundary(n % (text.len() + 1));
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let line = |n: usize| n % lines.len().max(1);
    match damage {
        Damage::Cut(from, n) => {
            let from = at(*from);
            let to = text.ceil_char_boundary((from + n).min(text.len()));
            format!("{}{}", &text[..from], &text[to..])
        }
        Damage::Double(from, n) => {
            let from = at(*from);
            let to = text.ceil_char_boundary((from + n).min(text.len()));
            format!("{}{}", &text[..to], &text[from..])
        }
        Damage::Swap(a, b) => {
            let mut lines = lines.clone();
            if !lines.is_empty() {
                lines.swap(line(*a), line(*b));
            }
            lines.concat()
        }
        Damage::Put(from, word) => format!("{}{word}{}", &text[..at(*from)], &text[at(*from)..]),
        Damage::CopyValue(a, b) => {
            let key = |l: &str| l.split_once(" = ").map(|(key, _)| key.to_string());
            let mut lines = lines.clone();
            let keyed: Vec<usize> = (0..lines.len()).filter(|i| key(lines[*i]).is_some()).collect();
            if let Some(to) = keyed.get(a % keyed.len().max(1)) {
                let same: Vec<_> = keyed.iter().filter(|i| key(lines[**i]) == key(lines[*to])).collect();
                lines[*to] = lines[*same[b % same.len()]];
            }
            lines.concat()
        }
        Damage::DropLine(n) => {
            lines.iter().enumerate().filter(|(i, _)| *i != line(*n)).map(|(_, l)| *l).collect()
        }
        Damage::ReplaceValue(n, word) => {
            let replace = |(i, l): (usize, &&str)| match l.split_once(" = ") {
                Some((key, _)) if i == line(*n) => format!("{key} = {word}\n"),
                _ => (*l).to_string(),
            };
            lines.iter().enumerate().map(replace).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        judge(&text);
    }

    #[test]
    fn no_bytes_of_the_language_make_it_panic(words in prop::collection::vec(prop::sample::select(
        ["[cluster]", "[[node]]", "[[group]]", "[[group.address]]", "name", "addresses", "=", "\"a\"", "[", "]",
         "\n", "{", "}", ",", "\"10.0.0.1\"", "10.0.0.1", ".", "#", "\t", "\r\n", "'''", "\"\"\"", "\0", "nodes"]
        .to_vec()), 0..60)) {
        judge(&words.join(" "));
    }

    #[test]
    fn a_damaged_file_is_refused_with_reasons_or_still_sound(
        six in any::<bool>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let start = if six { good6() } else { GOOD.to_string() } + SECOND_DISK;
        let text = damages.iter().fold(start, |text, damage| apply(&text, damage));
        judge(&text);
    }
}

#[test]
fn a_very_long_or_deep_file_is_answered_in_time() {
    judge(&"[[".repeat(20_000));
    judge(&format!("a = {}", "[".repeat(50_000)));
    judge(&format!("[cluster]\nname = \"{}\"\n", "x".repeat(200_000)));
    let nodes: String =
        (0..400).map(|n| format!("[[node]]\nname = \"n{n}\"\naddresses = [\"10.0.0.1\"]\n")).collect();
    judge(&nodes);
}
