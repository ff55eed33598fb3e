//! Reads `stale`: what an application leaves behind that must not be there when it begins elsewhere, or anew.

use std::path::{Component, Path};

use super::draft::{Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::reader::Reader;
use super::scalar::{Refused, refused};
use super::tree::At;

const EXAMPLE: &str = "[\"/var/dce/dced/Ep.db\", \"/var/dce/security/creds/*\"]";

/// Nothing below these is ever an application's state.
const UNTOUCHABLE: [&str; 9] = ["/bin", "/boot", "/dev", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr"];
/// Of these, not everything: they are shared by the whole machine.
const SHARED: [&str; 14] = [
    "/etc", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib",
    "/var/log", "/var/run", "/var/tmp",
];
/// Where an application's state may lie besides its group's file systems.
const USUAL: [&str; 5] = ["/run", "/var", "/tmp", "/dev/shm", "/etc"];

/// The list, each pattern at its place. What is refused is reported and left out.
pub(super) fn stale(reader: &mut Reader<'_>) -> Vec<At<String>> {
    reader.checked_texts("stale", EXAMPLE, pattern)
}

/// Whether a part of a path is a pattern, and not a name.
fn is_wild(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// Whether a part of a path matches (nearly) every name.
fn matches_all(part: &str) -> bool {
    part.chars().all(|c| matches!(c, '*' | '?'))
}

fn pattern(text: &str) -> Result<String, Refused> {
    let help = "write what the application leaves behind, for example stale = [\"/var/dce/dced/Ep.db\"]";
    if text.contains('\0') {
        return refused("the pattern holds a zero byte", help);
    }
    let path = Path::new(text);
    if !path.is_absolute() {
        return refused(format!("`{text}` is no absolute path"), help);
    }
    let parts: Vec<&str> = path
        .components()
        .filter_map(|c| match c {
            Component::Normal(name) => name.to_str(),
            Component::ParentDir => Some(".."),
            _ => None,
        })
        .collect();
    if parts.contains(&"..") {
        return refused(format!("`{text}` goes upwards by `..`"), "write the path as it is");
    }
    if text.ends_with('/') && !parts.is_empty() {
        let folder = text.trim_end_matches('/');
        return refused(format!("`{text}` is a folder"), format!("write \"{folder}/*\" for the files in it"));
    }
    if parts.len() < 2 || is_wild(parts[0]) {
        let message = format!("`{text}` would reach for the machine itself");
        return refused(message, help);
    }
    if let Some(bad) = parts.iter().find(|p| p.contains("**") && **p != "**") {
        return refused(format!("`{bad}`: `**` stands alone between slashes"), "write \"/folder/**\"");
    }
    if parts.iter().any(|p| p.matches('[').count() != p.matches(']').count()) {
        return refused(format!("`{text}` has a `[` without its `]`"), "write for example \"[0-9]\"");
    }
    if let Some(folder) = UNTOUCHABLE.iter().find(|u| path.starts_with(u) && !path.starts_with("/dev/shm")) {
        return refused(format!("`{text}`: what lies in {folder} belongs to the machine itself"), help);
    }
    let wild = parts.iter().position(|p| is_wild(p)).unwrap_or(parts.len());
    let folder = format!("/{}", parts[..wild].join("/"));
    if parts.get(wild).is_some_and(|p| matches_all(p)) && (SHARED.contains(&&*folder) || folder == "/dev/shm")
    {
        let message = format!("`{text}` means everything in {folder}, which the whole machine shares");
        return refused(message, help);
    }
    Ok(text.to_owned())
}

/// The path before the first part that is a pattern.
fn fixed_part(pattern: &str) -> &Path {
    let wild = pattern.split_inclusive('/').take_while(|part| !is_wild(part)).map(str::len).sum();
    let fixed: &str = &pattern[..wild];
    Path::new(fixed)
}

/// Says of every pattern that lies at an unusual place.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        for pattern in group.applications.iter().flat_map(|a| &a.stale) {
            unusual(group, pattern, findings);
        }
    }
}

fn unusual(group: &GroupDraft, pattern: &At<String>, findings: &mut Findings) {
    let fixed = fixed_part(&pattern.value);
    let on_its_own = group.filesystems.iter().filter_map(|f| f.mount.as_ref());
    if on_its_own.map(|m| m.value.as_path()).chain(USUAL.map(Path::new)).any(|p| fixed.starts_with(p)) {
        return;
    }
    let message = format!(
        "`stale`: {} lies on no file system of `{}`, nor where short-lived state does",
        pattern.value,
        group.title()
    );
    findings.add(Finding::warning(&pattern.span, message).help(
        "it is removed on every node of the group before the application starts under a new epoch; if that is \
         what you mean, leave it",
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_an_applications_state_and_never_the_machine() {
        for good in [
            "/var/dce/dced/Ep.db",
            "/var/dce/security/creds/*",
            "/shared/**",
            "/run/app*.pid",
            "/tmp/[ab]?.sock",
            "/dev/shm/app-*",
            "/opt/dcelocal/var/rpc/rpc*.dat",
        ] {
            assert_eq!(pattern(good).as_deref(), Ok(good));
        }
        for (bad, word) in [
            ("/", "machine itself"),
            ("/*", "machine itself"),
            ("//*", "machine itself"),
            ("/**", "machine itself"),
            ("/./*", "machine itself"),
            ("/*/x", "machine itself"),
            ("/vmlinuz", "machine itself"),
            ("var/x", "absolute"),
            ("/var/../etc/*", "`..`"),
            ("/var/*", "everything in /var"),
            ("/var/lib/**", "everything in /var/lib"),
            ("/run/*?", "everything in /run"),
            ("/dev/shm/*", "everything in /dev/shm"),
            ("/usr/lib/x", "belongs to the machine"),
            ("/dev/sda", "belongs to the machine"),
            ("/var/x/", "is a folder"),
            ("/var/x/a**", "stands alone"),
            ("/var/x/[a", "without its"),
        ] {
            let why = pattern(bad).unwrap_err();
            assert!(why.message.contains(word), "{bad}: {}", why.message);
        }
    }

    #[test]
    fn the_fixed_part_ends_before_the_first_pattern() {
        assert_eq!(fixed_part("/a/b/c*"), Path::new("/a/b/"));
        assert_eq!(fixed_part("/a/b/c"), Path::new("/a/b/c"));
        assert_eq!(fixed_part("/a/[b]/c"), Path::new("/a/"));
    }
}
