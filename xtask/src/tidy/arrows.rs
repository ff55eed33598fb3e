//! Arrows point down: which floor may build on which, and which words a floor may not speak.

use std::path::Path;

use super::{Breach, Source};

/// A floor of the house.
pub(crate) struct Floor {
    pub(crate) name: &'static str,
    /// The floors it may build on.
    below: &'static [&'static str],
    /// It never reads a clock, a socket, a file or a random source.
    pure: bool,
    /// It may call Linux.
    linux: bool,
    /// It may print.
    prints: bool,
}

const fn floor(name: &'static str, below: &'static [&'static str]) -> Floor {
    Floor { name, below, pure: false, linux: false, prints: false }
}

/// The house, from the ground up.
pub(crate) const FLOORS: [Floor; 17] = [
    Floor { pure: true, ..floor("model", &[]) },
    Floor { pure: true, ..floor("planner", &["model"]) },
    Floor { pure: true, ..floor("lease", &["model"]) },
    Floor { pure: true, ..floor("arbiter", &["model"]) },
    Floor { linux: true, ..floor("store", &["model"]) },
    floor("api", &["model"]),
    floor("wire", &["model"]),
    Floor { pure: true, ..floor("engine", &["model", "planner", "lease", "arbiter", "store", "api"]) },
    Floor { linux: true, ..floor("agents", &["model", "arbiter"]) },
    Floor { linux: true, ..floor("guard", &["model", "lease", "wire", "agents"]) },
    Floor {
        linux: true,
        ..floor("node", &["model", "lease", "arbiter", "engine", "wire", "store", "agents", "guard", "api"])
    },
    floor("sim", &["model", "planner", "lease", "arbiter", "engine", "store", "api"]),
    Floor { linux: true, ..floor("lab", &["model", "arbiter"]) },
    Floor { linux: true, prints: true, ..floor("bench", &["model", "api", "agents", "lab"]) },
    Floor { prints: true, ..floor("torture", &["model", "api", "lab"]) },
    Floor { prints: true, ..floor("cli", &["model", "api", "node", "lab"]) },
    floor("fuzz", &["model", "arbiter", "planner", "lease", "store", "api", "wire", "engine", "node", "cli"]),
];

/// Crates that call Linux.
const LINUX_CRATES: [&str; 5] = ["rustix", "libc", "netlink-sys", "fuser", "signal-hook"];

/// What a pure floor never says.
const IMPURE_WORDS: [&str; 16] = [
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "std::sync::mpsc",
    "std::os",
    "SystemTime",
    "Instant",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "HashMap",
    "HashSet",
    "thread_rng",
];

/// The words of a file against the rules of its floor.
pub(crate) fn check_words(source: &Source, breaches: &mut Vec<Breach>) {
    let Some(floor) = FLOORS.iter().find(|f| f.name == source.floor) else { return };
    let is_test = source.path.contains("/tests/") || source.path.ends_with("/tests.rs");
    for (number, line) in source.text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if code.contains("#[cfg(test)]") {
            break;
        }
        let place = format!("{}:{}", source.path, number + 1);
        if floor.pure
            && !is_test
            && let Some(word) = IMPURE_WORDS.iter().find(|word| has_word(code, word))
        {
            breaches.push(Breach::new(&place, format!("{word} in {}, which is pure", floor.name)));
        }
        let prints = ["println!", "print!", "eprintln!", "eprint!"].iter().any(|word| has_word(code, word));
        if prints && !floor.prints && !is_test {
            breaches.push(Breach::new(&place, "only cli, bench, torture and xtask print"));
        }
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The dependencies of every floor.
///
/// # Errors
/// When a manifest cannot be read.
pub(crate) fn check_manifests(root: &Path, breaches: &mut Vec<Breach>) -> Result<(), String> {
    for floor in &FLOORS {
        let path = format!("crates/{}/Cargo.toml", floor.name);
        let text = std::fs::read_to_string(root.join(&path)).map_err(|e| format!("{path}: {e}"))?;
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('[') {
                section = line.trim();
                continue;
            }
            if section != "[dependencies]" {
                continue;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let place = format!("{path}:{}", number + 1);
            if let Some(below) = name.strip_prefix("regent-") {
                if !floor.below.contains(&below) {
                    breaches.push(Breach::new(place, format!("{} may not build on {below}", floor.name)));
                }
            } else if LINUX_CRATES.contains(&name) && !floor.linux {
                breaches.push(Breach::new(place, format!("{} may not call Linux ({name})", floor.name)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(floor: &str, text: &str) -> usize {
        let mut breaches = Vec::new();
        let path = format!("crates/{floor}/src/x.rs");
        check_words(&Source { path, floor: floor.into(), text: text.into() }, &mut breaches);
        breaches.len()
    }

    #[test]
    fn a_clock_in_a_pure_floor_is_found_and_one_in_its_tests_is_not() {
        assert_eq!(breaches_of("engine", "let now = Instant::now();"), 1);
        assert_eq!(breaches_of("node", "let now = Instant::now();"), 0);
        assert_eq!(breaches_of("engine", "#[cfg(test)]\nlet now = Instant::now();"), 0);
        assert_eq!(breaches_of("engine", "// Instant is not used"), 0);
    }

    #[test]
    fn only_the_command_line_prints() {
        assert_eq!(breaches_of("agents", "println!(\"x\")"), 1);
        assert_eq!(breaches_of("cli", "println!(\"x\")"), 0);
    }

    #[test]
    fn every_arrow_points_to_a_floor_built_before() {
        for (at, floor) in FLOORS.iter().enumerate() {
            for below in floor.below {
                assert!(FLOORS[..at].iter().any(|f| f.name == *below), "{} on {below}", floor.name);
            }
        }
    }
}
