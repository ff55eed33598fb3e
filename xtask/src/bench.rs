//! Figures: `cargo xtask bench takeover`.

use crate::needs;
use crate::run::{cargo, step, target};

/// Builds what is measured as it is released, installs the peers that are to stand beside it, and measures.
///
/// # Errors
/// When nothing can be built or measured. Peers that cannot be installed are told and left out.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    if args.first() != Some(&"takeover") {
        return Err("what is to be measured? cargo xtask bench takeover [--help]".into());
    }
    let asks = |word: &str| args.contains(&word);
    if !asks("--help") && !asks("--list") {
        needs::install(&needs::DEMO)?;
        if let Err(why) = needs::install(&needs::PEERS) {
            eprintln!("   the peers cannot be installed, so their rows stay empty: {why}");
        }
    }
    let packages = ["-p", "regent-cli", "-p", "regent-guard", "-p", "regent-bench", "--bins"];
    let build: Vec<&str> = ["build", "--quiet", "--release"].into_iter().chain(packages).collect();
    step("building for release (some minutes the first time)", &cargo(), &build)?;
    let bench = target().join("release/regent-bench");
    step("takeover times", &bench.to_string_lossy(), args)
}
