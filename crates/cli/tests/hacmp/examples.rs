//! The example files.

use std::path::PathBuf;

use regent_model::config::{Severity, parse};

/// `examples/hacmp`.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/hacmp").canonicalize().unwrap()
}

/// The text of an example.
pub(crate) fn example(name: &str) -> String {
    let path = folder().join(name).with_extension("toml");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The same with nothing but storage and addresses: what the set-up of the cell begins with.
pub(crate) fn without_applications(text: &str) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        let bare = line.trim();
        if bare.starts_with('[') {
            skipping = bare == "[[group.application]]";
        }
        if !skipping {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn every_example_is_valid_without_a_warning() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        seen += 1;
        let parsed = parse(&std::fs::read_to_string(&path).unwrap());
        // That nobody takes over for the other node is what makes a takeover one-sided.
        let meant = |text: &str| path.ends_with("one-sided-takeover.toml") && text.contains("has one node");
        let faults = parsed.findings.iter().filter(|f| f.severity != Severity::Note && !meant(&f.message));
        assert_eq!(faults.count(), 0, "{}: {:#?}", path.display(), parsed.findings);
    }
    assert!(seen > 0, "there are no examples in {}", folder().display());
}

#[test]
fn every_script_can_be_read_by_ksh() {
    for entry in std::fs::read_dir(folder().join("scripts")).unwrap() {
        let path = entry.unwrap().path();
        let output = std::process::Command::new("ksh").arg("-n").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("error"), "{}: {said}", path.display());
    }
}
