//! An instance that its vendor's own command drives: Caché's `ccontrol`, IRIS's `iris`.
//!
//! The command's exit code says little: how the instance is, its list says afterwards (`qlist`: one line of fields with
//! `^` between them).

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::config::{InstanceConfig, InstanceKind};
use regent_model::instance as model;

use super::{Call, Instance, Seen};
use crate::cgroup::Folder;
use crate::command::{Ended, Finished, Program};
use crate::hands::failure;

/// Where the vendors' commands are, unless the configuration says so.
const CACHE: [&str; 3] = ["/usr/local/etc/cachesys/ccontrol", "/usr/bin/ccontrol", "/usr/local/bin/ccontrol"];
const IRIS: [&str; 3] = ["/usr/local/etc/irissys/iris", "/usr/bin/iris", "/usr/local/bin/iris"];
/// The function that stops without the shutdown routines of the users.
const STOP_NO_SHUT: &str = "stopnoshut";
/// So much of a script is looked at.
const SCRIPT_BYTES: u64 = 64 * 1024;
const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// What the vendor's list says of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    directory: String,
    version: String,
    status: String,
}

fn program(instance: &Instance<'_>) -> Result<PathBuf, Failure> {
    program_of(instance.config).map_err(Failure::because)
}

/// The vendor's command. Never ours by another name.
pub(super) fn program_of(config: &InstanceConfig) -> Result<PathBuf, String> {
    let candidates: Vec<PathBuf> = match &config.vendor {
        Some(path) => vec![path.clone()],
        None if config.kind == InstanceKind::Cache => CACHE.map(PathBuf::from).into(),
        None => IRIS.map(PathBuf::from).into(),
    };
    let own = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let found = candidates.iter().find(|path| is_the_vendors(path, own.as_deref()));
    found.cloned().ok_or_else(|| {
        let tried: Vec<String> = candidates.iter().map(|p| p.display().to_string()).collect();
        format!(
            "the vendor's command of {} is not on this node (looked for {}; Regent's own does not count, by whatever \
             name); install it here, or say where it is with vendor = \"/path\" in its [[instance]]",
            config.name,
            tried.join(", ")
        )
    })
}

fn is_the_vendors(path: &Path, own: Option<&Path>) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let is_ours = Some(real.as_path()) == own || real.file_name().is_some_and(|name| name == "regent");
    !is_ours && !calls_ours(&real)
}

/// Whether it is a script around our own command, which would ask us how we are.
fn calls_ours(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SCRIPT_BYTES).read_to_end(&mut start));
    if read.is_err() || !start.starts_with(b"#!") {
        return false;
    }
    let text = String::from_utf8_lossy(&start);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut words =
        lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || ";&|()\"'`$".contains(c)));
    words.any(|word| word.rsplit('/').next() == Some("regent"))
}

/// Asks the vendor's list.
pub(super) fn look(instance: &Instance<'_>) -> Result<Seen, Failure> {
    let listed = listed(instance)?;
    Ok(judge(&listed.status))
}

/// The vendor's words for how an instance is, with the detail behind the comma.
fn judge(status: &str) -> Seen {
    let lower = status.to_ascii_lowercase();
    let is = |word: &str| lower.starts_with(word);
    match () {
        () if is("running on node") => Seen::Unwell(status.to_owned()),
        () if is("running") => Seen::Up,
        () if is("down") || is("crashed") || is("in use by node") => Seen::Down,
        () => Seen::Unwell(format!("its vendor's command says {status:?}")),
    }
}

fn listed(instance: &Instance<'_>) -> Result<Listed, Failure> {
    let (program, answer) = ask(instance)?;
    parse(&answer.output, instance.name()).ok_or_else(|| {
        let (path, directory) = (program.display(), instance.config.directory.display());
        let reason = format!(
            "{path} does not know {0} on this node; register it there: {path} create {0} directory={directory}",
            instance.name()
        );
        failure(reason, answer.output)
    })
}

/// What its registry says of it on this node, whether it is held here or not.
pub(super) fn listed_here(instance: &Instance<'_>) -> Result<model::Listed, Failure> {
    let (_, answer) = ask(instance)?;
    match parse(&answer.output, instance.name()) {
        Some(listed) => Ok(model::Listed::At { directory: listed.directory.into(), version: listed.version }),
        // One that was killed, or could not do its work, has said nothing.
        None if answer.ended == Ended::TimedOut || answer.ended.found_nothing_to_run() => {
            Err(failure("its vendor's list cannot be read", answer.output))
        }
        None => Ok(model::Listed::Nowhere),
    }
}

fn ask(instance: &Instance<'_>) -> Result<(PathBuf, Finished), Failure> {
    let program = program(instance)?;
    let environment = instance.environment("status");
    let words = ["qlist", instance.name()];
    let call = Call {
        what: "qlist",
        program: Program::File(&program, &words),
        environment: &environment,
        input: None,
    };
    let answer = instance.run(&call, instance.context.job.until(LOOK_WITHIN))?;
    Ok((program, answer))
}

/// The line of an instance, whatever the case of its name.
fn parse(text: &str, name: &str) -> Option<Listed> {
    let line =
        text.lines().find(|l| l.split('^').next().is_some_and(|n| n.trim().eq_ignore_ascii_case(name)))?;
    let mut pieces = line.split('^').skip(1).map(|piece| piece.trim().to_owned());
    Some(Listed { directory: pieces.next()?, version: pieces.next()?, status: pieces.next()? })
}

/// Starts it without a dialogue.
pub(super) fn start(instance: &Instance<'_>, main: &Folder, until: Instant) -> Result<(), Failure> {
    let program = program(instance)?;
    let environment = instance.environment("start");
    let mut words = vec!["start", instance.name(), "quietly"];
    words.extend(instance.words());
    let call = Call {
        what: "start",
        program: Program::File(&program, &words),
        environment: &environment,
        input: None,
    };
    instance.begin_in(main, &call, until)
}

/// Stops it without a dialogue.
pub(super) fn stop(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    // A stop of its own kind, when somebody asks for it: without the shutdown routines of the users.
    let (without, more): (Vec<_>, _) = instance.words().partition(|word| *word == STOP_NO_SHUT);
    let function = without.first().copied().unwrap_or("stop");
    order(instance, function, &more, None, until)
}

/// Forces it down, and answers the question whether that is meant.
pub(super) fn force(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    order(instance, "force", &[], Some("Y\n"), until)
}

fn order(
    instance: &Instance<'_>,
    what: &str,
    more: &[&str],
    input: Option<&str>,
    until: Instant,
) -> Result<(), Failure> {
    let program = program(instance)?;
    let environment = instance.environment(what);
    let mut words = vec![what, instance.name(), "quietly"];
    words.extend(more);
    let call = Call { what, program: Program::File(&program, &words), environment: &environment, input };
    instance.order(&call, until)
}

/// The version that the vendor's list shows.
pub(super) fn version(instance: &Instance<'_>) -> Result<Option<String>, Failure> {
    listed(instance).map(|l| Some(l.version).filter(|v| !v.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendors_list_says_how_an_instance_is() {
        let text = "OTHER^/o^2015.1^running, since Sat Jun  7 10:00:00 2014^cache.cpf^1972^57772^0^ok^\n\
                    CACHEHA1^/store1/c52ha^5.2.0.400^down, last used Fri Nov 10 2006^cache.cpf^1973^57773^0^^\n";
        let listed = parse(text, "cacheha1").unwrap();
        assert_eq!(listed.directory, "/store1/c52ha");
        assert_eq!((listed.version.as_str(), judge(&listed.status)), ("5.2.0.400", Seen::Down));
        assert_eq!(parse(text, "cacheha"), None, "a part of a name is another name");
        for (status, seen) in [
            ("running, since Wed Aug  4 07:12:45 2021", Seen::Up),
            ("crashed", Seen::Down),
            ("in use by node lx5", Seen::Down),
        ] {
            assert_eq!(judge(status), seen, "{status}");
        }
        for odd in ["sign-on inhibited", "running on node ? (cache.ids missing)", ""] {
            assert!(matches!(judge(odd), Seen::Unwell(_)), "{odd}");
        }
    }

    #[test]
    fn our_own_command_is_never_the_vendors_by_whatever_name() {
        let folder = std::env::temp_dir().join(format!("regent-test-vendor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let judged = |name: &str, content: &str| {
            std::fs::write(folder.join(name), content).unwrap();
            is_the_vendors(&folder.join(name), None)
        };
        let own = judged("regent", "\x7fELF");
        std::os::unix::fs::symlink(folder.join("regent"), folder.join("link")).unwrap();
        let link = is_the_vendors(&folder.join("link"), None);
        let wrappers = [
            judged("one", "#!/bin/sh\nexec regent ccontrol \"$@\"\n"),
            judged("two", "#!/bin/bash\n# ours\nexec \"/usr/local/bin/regent\" ccontrol $*\n"),
        ];
        let vendors = [
            judged("three", "#!/bin/sh\n# beside regent\nexec /usr/cachesys/bin/ccontrol-real \"$@\"\n"),
            judged("four", "\x7fELF regent"),
        ];
        let same = is_the_vendors(&folder.join("four"), Some(&folder.join("four").canonicalize().unwrap()));
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((own, link, wrappers, vendors, same), (false, false, [false; 2], [true; 2], false));
    }
}
