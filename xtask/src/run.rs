//! Running other programs, loudly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // Cargo says at run time where it runs us; what was compiled in may be another checkout with this build folder.
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}

/// Runs a command in the root of the repository, says what it is and how long it took.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub(crate) fn step(what: &str, program: &str, args: &[&str]) -> Result<(), String> {
    println!("\n== {what}\n   {program} {}", args.join(" "));
    let began = Instant::now();
    let status = Command::new(program)
        .args(args)
        .current_dir(root())
        .status()
        .map_err(|e| format!("{program} could not be started: {e}"))?;
    if !status.success() {
        return Err(format!("{what} failed ({status})"));
    }
    println!("   done in {:.1} s", began.elapsed().as_secs_f32());
    Ok(())
}

/// The cargo that runs this.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Whether a program of that name is on the path.
pub(crate) fn is_there(program: &str) -> bool {
    let sbin = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(sbin).any(|folder| folder.join(program).is_file())
}
