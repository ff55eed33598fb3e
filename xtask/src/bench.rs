//! Figures: `cargo xtask bench takeover`.

use crate::needs;
use crate::run::{cargo, step, target};

/// `takeover` builds what is measured as it is released, installs the peers that are to stand beside it, and measures;
/// `show` prints what was measured before.
///
/// # Errors
/// When nothing can be built or measured. Peers that cannot be installed are told and left out.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let measures = match args.first() {
        Some(&"takeover") => !args.contains(&"--help") && !args.contains(&"--list"),
        Some(&"show") => false,
        _ => return Err("what is to be measured? cargo xtask bench takeover [--help]".into()),
    };
    let mut build = vec!["build", "--quiet", "--release", "--bins", "-p", "regent-bench"];
    if measures {
        build.extend(["-p", "regent-cli", "-p", "regent-guard"]);
        needs::install(&needs::DEMO)?;
        if let Err(why) = needs::install(&needs::PEERS) {
            eprintln!("   the peers cannot be installed, so their rows stay empty: {why}");
        }
    }
    step("building for release (some minutes the first time)", &cargo(), &build)?;
    let bench = target().join("release/regent-bench");
    step("takeover times", &bench.to_string_lossy(), args)
}
