//! The rules of the house, checked: `ARCHITECTURE.md` states them, this finds who breaks them.

mod arrows;
mod text;

use std::path::{Path, PathBuf};

use crate::run::root;

/// One thing that breaks a rule.
pub(crate) struct Breach {
    place: String,
    what: String,
}

impl Breach {
    pub(crate) fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

/// A source file of the project.
pub(crate) struct Source {
    /// The path from the root.
    pub(crate) path: String,
    /// The crate's folder name (`engine`), or `xtask`.
    pub(crate) floor: String,
    pub(crate) text: String,
}

/// Checks every rule.
///
/// # Errors
/// The breaches, one per line.
pub(crate) fn check() -> Result<(), String> {
    let sources = sources()?;
    let mut breaches = Vec::new();
    for source in &sources {
        text::check(source, &mut breaches);
        arrows::check_words(source, &mut breaches);
    }
    arrows::check_manifests(&root(), &mut breaches)?;
    check_map(&root(), &mut breaches)?;
    if breaches.is_empty() {
        println!("   {} files: tidy", sources.len());
        return Ok(());
    }
    let list: Vec<String> = breaches.iter().map(|b| format!("  {}: {}", b.place, b.what)).collect();
    Err(format!("the rules of the house are broken ({}):\n{}", list.len(), list.join("\n")))
}

fn sources() -> Result<Vec<Source>, String> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root.join(folder), &mut paths)?;
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let relative = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
            let mut parts = relative.split('/');
            let first = parts.next().unwrap_or_default();
            let floor = if first == "crates" { parts.next().unwrap_or_default() } else { first }.to_owned();
            Ok(Source { path: relative, floor, text })
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" {
            collect(&path, paths)?;
        } else if name.ends_with(".rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The map names every floor.
fn check_map(root: &Path, breaches: &mut Vec<Breach>) -> Result<(), String> {
    let map =
        std::fs::read_to_string(root.join("ARCHITECTURE.md")).map_err(|e| format!("ARCHITECTURE.md: {e}"))?;
    for floor in arrows::FLOORS {
        if !map.contains(&format!("`crates/{}`", floor.name)) {
            breaches.push(Breach::new(
                "ARCHITECTURE.md",
                format!("the map does not name `crates/{}`", floor.name),
            ));
        }
    }
    Ok(())
}
