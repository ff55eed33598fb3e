//! Looking whether this node could do what the configuration may ask of it, before it is asked: are the commands
//! there, do the users exist, does every fence device answer?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regent_model::NodeName;
use regent_model::config::{ApplicationConfig, Config, FenceKind, GroupConfig};
use regent_model::survey::{Word, words_in};

use crate::fence;
use crate::hands::{Hands, Inner};
use crate::user::User;

/// Looks, and changes nothing.
pub struct Inspector {
    inner: Arc<Inner>,
}

impl Hands {
    /// Somebody who looks whether these hands could do what they may be asked to.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector { inner: self.inner.clone() }
    }
}

impl Inspector {
    /// What the hands share.
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The control group under which those of all groups are.
    pub(crate) fn cgroups(&self) -> &Path {
        &self.inner.cgroups
    }

    /// Where what lasts as long as the boot is kept.
    pub(crate) fn run_dir(&self) -> &Path {
        &self.inner.run_dir
    }

    /// Everything that the node `me` could not do, each in one line that says what to mend. Fence devices are asked
    /// for the status of every node they serve; that may take as long as their timeouts.
    #[must_use]
    pub fn doubts(&self, me: &NodeName, config: &Config) -> Vec<String> {
        let mut doubts = Vec::new();
        for group in config.groups.iter().filter(|group| group.nodes.contains(me)) {
            let missing = crate::prepare::missing(&group.prepare);
            doubts.extend(missing.into_iter().map(|what| {
                let name = &group.name;
                format!("not prepared for {name}: {what}; type: regent prepare {name}")
            }));
            if !group.volumes.is_empty() {
                let missing = crate::volume::PROGRAMS.into_iter().filter(|p| !crate::survey::is_installed(p));
                let missing: Vec<_> = missing.collect();
                if !missing.is_empty() {
                    let (name, list) = (&group.name, missing.join(", "));
                    doubts.push(format!("the volumes of {name} need {list}; install LVM: the package lvm2"));
                }
            }
            doubts.extend(group.instances.iter().flat_map(|i| crate::instance::doubts(i)));
            for application in &group.applications {
                of_application(group, application, &mut doubts);
            }
        }
        for device in &config.fences {
            if let Err(why) = executable(&device.agent) {
                doubts.push(format!("the agent of the fence device {} {why}", device.name));
                continue;
            }
            doubts.extend(fence::misfits(&self.inner, device));
            // A witness has no disks to look at.
            let reaches = device.kind == FenceKind::Power || device.nodes.contains(me);
            let victims = device.nodes.iter().filter(|victim| *victim != me && reaches);
            doubts.extend(victims.filter_map(|victim| fence::doubt(&self.inner, device, victim)));
        }
        doubts
    }
}

fn of_application(group: &GroupConfig, application: &ApplicationConfig, doubts: &mut Vec<String>) {
    let name = &application.name;
    for user in application.user.as_deref().into_iter().chain(application.monitoring.owners()) {
        if let Err(why) = User::find(user) {
            doubts.push(format!("application {name} of {}: {why}", group.name));
        }
    }
    for (what, line) in application.commands() {
        let Some(program) = program_of(line) else { continue };
        // What lies on the group's own disk is there only while the group is.
        if group.filesystems.iter().any(|filesystem| program.starts_with(&filesystem.mount)) {
            continue;
        }
        if let Err(why) = executable(&program) {
            doubts.push(format!("the {what} command of application {name} of {} {why}", group.name));
        }
    }
}

/// The file that a command line runs, where that can be seen without a shell: an absolute path at its beginning.
fn program_of(line: &str) -> Option<PathBuf> {
    words_in(line).into_iter().find_map(|word| match word {
        Word::Program(path) => Some(path),
        Word::Searched(_) | Word::File(_) => None,
    })
}

/// Why a file cannot be run, if it cannot.
pub(crate) fn executable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) => Err(format!("cannot be run: {shown}: {error}")),
        Ok(found) if !found.is_file() => Err(format!("cannot be run: {shown} is no file")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Err(format!("cannot be run: nobody may execute {shown}; chmod +x it"))
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_absolute_path_is_taken_for_the_program() {
        let program = |line| program_of(line).map(|p| p.display().to_string());
        assert_eq!(program("/usr/bin/app --x").as_deref(), Some("/usr/bin/app"));
        assert_eq!(program("  exec /usr/bin/app").as_deref(), Some("/usr/bin/app"));
        for line in ["app start", "test -e /x && /y", "/opt/$APP/run", "/a;/b", "(/a &)", "", "exec "] {
            assert_eq!(program(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_is_missing_or_no_file_or_not_executable_is_said() {
        assert_eq!(executable(Path::new("/bin/sh")), Ok(()));
        for (path, word) in
            [("/nowhere/x", "No such file"), ("/etc", "is no file"), ("/etc/passwd", "chmod +x")]
        {
            let why = executable(Path::new(path)).unwrap_err();
            assert!(why.contains(word) && why.contains(path), "{why}");
        }
    }
}
