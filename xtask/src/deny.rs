//! Licences and advisories of the dependencies: `cargo deny` where it is installed, the same lists by hand where
//! it is not.

use std::collections::BTreeSet;
use std::process::Command;

use crate::run;

/// Licences that a dependency may have: any one of them satisfies an `OR`.
const LICENCES: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unlicense",
    "Unicode-3.0",
    "MIT-0",
    "NCSA",
];

/// Dependencies that must not come in, and why.
const BANNED: [(&str, &str); 4] = [
    ("openssl-sys", "ring is the one cryptography library of the project"),
    ("aws-lc-rs", "ring is the one cryptography library of the project"),
    ("tokio", "the daemon is threads and channels; nothing in it is asynchronous"),
    ("bincode", "unmaintained; the project encodes with postcard"),
];

/// Checks the dependency tree.
///
/// # Errors
/// When a licence is not allowed or a banned crate came in.
pub(crate) fn check() -> Result<(), String> {
    if run::is_there("cargo-deny") {
        return run::step("cargo deny", &run::cargo(), &["deny", "check", "licenses", "bans", "sources"]);
    }
    let format = "{p}\t{l}";
    let output = Command::new(run::cargo())
        .args(["tree", "--workspace", "--edges", "all", "--prefix", "none", "--format", format])
        .args(["--target", "x86_64-unknown-linux-gnu", "--locked"])
        .current_dir(run::root())
        .output()
        .map_err(|e| format!("cargo tree could not be started: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let crates: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(p, l)| (p, l.trim_end_matches(" (*)")))
        .collect();
    let mut wrong = Vec::new();
    for (package, licence) in &crates {
        let name = package.split(' ').next().unwrap_or(package);
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == &name) {
            wrong.push(format!("{name} is banned: {why}"));
        }
        if !allowed(licence) {
            wrong.push(format!("{package} has the licence {licence:?}, which is not on the list"));
        }
    }
    if wrong.is_empty() {
        println!("   {} crates, every licence on the list, nothing banned", crates.len());
        return Ok(());
    }
    Err(wrong.join("\n"))
}

/// Whether a licence expression can be satisfied from the list. Old crates write `MIT/Apache-2.0` for `OR`.
fn allowed(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], "");
    // `AND` binds more tightly; the few expressions with both are conjunctions of alternatives once the
    // brackets are gone, so every part between `AND`s must offer one licence of the list.
    plain.split(" AND ").all(|part| part.split(" OR ").any(|l| LICENCES.contains(&l.trim())))
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn an_alternative_needs_one_and_a_conjunction_needs_all() {
        assert!(allowed("MIT OR GPL-3.0"));
        assert!(allowed("Apache-2.0 AND ISC"));
        assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(!allowed("MIT AND GPL-3.0"));
        assert!(!allowed("GPL-3.0"));
        assert!(!allowed(""));
    }
}
