//! The example files.

use std::path::PathBuf;

use regent_model::config::{Severity, parse};

/// `examples/cache`.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/cache").canonicalize().unwrap()
}

/// The text of an example.
pub(crate) fn example(name: &str) -> String {
    let path = folder().join(name).with_extension("toml");
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What `regent lab up` puts on every machine: the example's scripts, and the names that people of the guide know.
pub(crate) fn equipment(names: &std::path::Path) -> Vec<String> {
    std::fs::create_dir_all(names).unwrap();
    for name in ["cluadmin", "clustat", "ccontrol"] {
        std::os::unix::fs::symlink("/usr/local/bin/regent", names.join(name)).unwrap();
    }
    let scripts = folder().join("scripts");
    vec![
        "--put".to_owned(),
        format!("{}:/usr/local/etc/cachesys", scripts.display()),
        "--put".to_owned(),
        format!("{}:/usr/bin", names.display()),
    ]
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
        let faults = parsed.findings.iter().filter(|f| f.severity != Severity::Note);
        assert_eq!(faults.count(), 0, "{}: {:#?}", path.display(), parsed.findings);
    }
    assert!(seen >= 3, "there are no examples in {}", folder().display());
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
