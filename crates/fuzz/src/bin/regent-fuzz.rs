//! Looks for inputs on which one target, named by `REGENT_FUZZ_TARGET`, breaks a promise. `cargo xtask fuzz` builds and
//! runs it.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use regent_fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("REGENT_FUZZ_TARGET").unwrap_or_default();
    let names = || regent_fuzz::TARGETS.iter().map(|t| t.name).collect::<Vec<_>>().join(", ");
    regent_fuzz::target(&name)
        .unwrap_or_else(|| panic!("REGENT_FUZZ_TARGET is {name:?}, and must be one of {}", names()))
});

/// Puts the starters into the folder that `REGENT_FUZZ_STARTERS` names, from where they are read with the corpus.
fn put_starters() {
    let Some(folder) = std::env::var_os("REGENT_FUZZ_STARTERS").map(PathBuf::from) else { return };
    for (number, bytes) in (TARGET.starters)().iter().enumerate() {
        let path = folder.join(format!("starter-{number}"));
        std::fs::write(&path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

libfuzzer_sys::fuzz_target!(init: put_starters(), |bytes: &[u8]| (TARGET.run)(bytes));
