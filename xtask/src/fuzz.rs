//! Looks for inputs on which a reader breaks a promise: each target of `crates/fuzz` for a while, guided by which code
//! it reaches.

use std::path::PathBuf;
use std::process::Command;

use crate::needs;
use crate::run::{cargo, root, target};

/// The build counts which edges of the code an input takes, and what it compares; stable compilers can do that.
const COVERAGE: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// What is asked for.
struct Wish {
    seconds: u32,
    keep: bool,
    targets: Vec<String>,
}

/// `cargo xtask fuzz [--seconds N] [--keep] [TARGET...]`.
///
/// # Errors
/// When an input breaks a promise: it is kept in the corpus, and where is said.
pub(crate) fn run(args: &[&str]) -> Result<(), String> {
    let wish = read(args)?;
    needs::install(&needs::FUZZ)?;
    let program = build()?;
    let mut broken = Vec::new();
    for name in &wish.targets {
        if let Err(why) = search(&program, name, &wish) {
            broken.push(why);
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

fn read(args: &[&str]) -> Result<Wish, String> {
    let mut wish = Wish { seconds: 60, keep: false, targets: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--keep" => wish.keep = true,
            "--seconds" => {
                let number = args.next().and_then(|n| n.parse().ok());
                wish.seconds = number.ok_or("--seconds needs a number, such as: --seconds 60")?;
            }
            name if target_names()?.contains(&name.to_owned()) => wish.targets.push(name.to_owned()),
            other => {
                let names = target_names()?.join(", ");
                return Err(format!("{other:?} is neither --seconds N, --keep nor a target: {names}"));
            }
        }
    }
    if wish.targets.is_empty() {
        wish.targets = target_names()?;
    }
    Ok(wish)
}

/// The targets, as the table in `crates/fuzz` has them.
fn target_names() -> Result<Vec<String>, String> {
    let path = root().join("crates/fuzz/src/lib.rs");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let names =
        text.lines().filter_map(|line| line.trim().strip_prefix("Target { name: \"")?.split('"').next());
    Ok(names.map(str::to_owned).collect())
}

fn build() -> Result<PathBuf, String> {
    println!("\n== building with coverage (some minutes the first time)");
    let flags = format!("{} {}", std::env::var("RUSTFLAGS").unwrap_or_default(), COVERAGE.join(" "));
    // Named, the target gets the flags alone: programs that run during the build do without.
    let machine = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = target().join("fuzz");
    let done = Command::new(cargo())
        .args(["build", "-p", "regent-fuzz", "--features", "search", "--bin", "regent-fuzz"])
        .args(["--profile", "sim", "--target", &machine, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", flags)
        .current_dir(root())
        .status()
        .map_err(|e| format!("cargo could not be started: {e}"))?;
    if !done.success() {
        return Err("the program that searches could not be built".to_owned());
    }
    Ok(folder.join(machine).join("sim/regent-fuzz"))
}

fn search(program: &PathBuf, name: &str, wish: &Wish) -> Result<(), String> {
    println!("\n== {name}, for {} s", wish.seconds);
    let corpus = root().join("crates/fuzz/corpus").join(name);
    let found = target().join("fuzz/found").join(name);
    for folder in [&corpus, &found] {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let broken = format!("-artifact_prefix={}/broken-", corpus.display());
    let limits =
        [format!("-max_total_time={}", wish.seconds), "-timeout=10".into(), "-rss_limit_mb=2048".into()];
    let run = |more: &[String], folders: &[&PathBuf]| {
        let ended = Command::new(program)
            .env("REGENT_FUZZ_TARGET", name)
            .env("REGENT_FUZZ_STARTERS", &found)
            .args(["-max_len=20000", "-print_final_stats=1", "-verbosity=1", &broken])
            .args(more)
            .args(folders)
            .status()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let why =
            || format!("{name} broke a promise; the input is kept in {}: mend it, keep it", corpus.display());
        if ended.success() { Ok(()) } else { Err(why()) }
    };
    run(&limits, &[&found, &corpus])?;
    // Of what was found, what reaches code that nothing kept before reaches.
    if wish.keep { run(&["-merge=1".into()], &[&corpus, &found]) } else { Ok(()) }
}
