//! Where a node keeps things.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folders of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// What must outlive a power cut.
    pub state: PathBuf,
    /// What ends with the boot: sockets, locks, the mirror of the release list.
    pub run: PathBuf,
    /// What belongs to the installation.
    pub etc: PathBuf,
    /// The file with the cluster's key.
    pub key: PathBuf,
}

impl Paths {
    /// The folders that the environment names (`REGENT_STATE_DIR`, `REGENT_RUN_DIR`, `REGENT_ETC_DIR`,
    /// `REGENT_KEY`), or the usual ones.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name, usual: &str| variable(name).map_or_else(|| usual.into(), PathBuf::from);
        let etc = folder("REGENT_ETC_DIR", "/etc/regent");
        Self {
            state: folder("REGENT_STATE_DIR", "/var/lib/regent"),
            run: folder("REGENT_RUN_DIR", "/run/regent"),
            key: variable("REGENT_KEY").map_or_else(|| etc.join("key"), PathBuf::from),
            etc,
        }
    }

    /// What this machine alone knows, and by what members know that it is the same one.
    #[must_use]
    pub fn machine_secret(&self) -> PathBuf {
        self.state.join("machine.key")
    }

    /// All of it below one folder.
    #[must_use]
    pub fn below(folder: &Path) -> Self {
        let (state, run, etc) = (folder.join("state"), folder.join("run"), folder.join("etc"));
        Self { key: etc.join("key"), state, run, etc }
    }

    /// The environment under which another process finds the same folders.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, &Path); 4] {
        [
            ("REGENT_STATE_DIR", &self.state),
            ("REGENT_RUN_DIR", &self.run),
            ("REGENT_ETC_DIR", &self.etc),
            ("REGENT_KEY", &self.key),
        ]
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.state.join("identity.json")
    }

    /// The number of the guard's last incarnation.
    #[must_use]
    pub fn incarnation(&self) -> PathBuf {
        self.state.join("incarnation")
    }

    /// The mirror of the release list.
    #[must_use]
    pub fn held(&self) -> PathBuf {
        self.run.join("held")
    }

    /// Which watchdog device is armed, in memory that outlives the guard but not the boot.
    #[must_use]
    pub fn watchdog(&self) -> PathBuf {
        self.run.join("watchdog")
    }

    /// Where the daemon meets its guard.
    #[must_use]
    pub fn guard_socket(&self) -> PathBuf {
        self.run.join("guard.sock")
    }

    /// Held by the one guard of the node; holds its process number.
    #[must_use]
    pub fn guard_lock(&self) -> PathBuf {
        self.run.join("guard.lock")
    }

    /// With what this node's state began.
    #[must_use]
    pub fn founding(&self) -> PathBuf {
        self.state.join("founding.json")
    }

    /// The folder of the log, the promises and the snapshots.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.state.join("log")
    }

    /// This node's own event journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal.log")
    }

    /// A copy of the configuration in force, for reading.
    #[must_use]
    pub fn configuration(&self) -> PathBuf {
        self.state.join("configuration.toml")
    }

    /// What was gathered about applications before their failures were acted on.
    #[must_use]
    pub fn evidence(&self) -> PathBuf {
        self.state.join(regent_agents::evidence::FOLDER)
    }

    /// The number of the daemon's last session.
    #[must_use]
    pub fn session(&self) -> PathBuf {
        self.state.join("session")
    }

    /// The configuration that `cluadmin` was told to keep.
    #[must_use]
    pub fn kept_configuration(&self) -> PathBuf {
        self.state.join("kept.toml")
    }

    /// What supervisor, guard and daemon say where no service manager keeps it.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("regent.log")
    }

    /// Where the command line meets the daemon.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// Held by the one daemon of the node; holds its process number.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.run.join("daemon.lock")
    }

    /// Held by the one supervisor of the node; holds its process number.
    #[must_use]
    pub fn supervisor_lock(&self) -> PathBuf {
        self.run.join("supervisor.lock")
    }

    /// Why the daemon does not run, if it refused to.
    #[must_use]
    pub fn refused(&self) -> PathBuf {
        self.run.join("refused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_folders_apply_where_the_environment_says_nothing() {
        let paths = Paths::from_variables(|_| None);
        assert_eq!(paths.state, Path::new("/var/lib/regent"));
        assert_eq!(paths.guard_socket(), Path::new("/run/regent/guard.sock"));
        assert_eq!(paths.key, Path::new("/etc/regent/key"));
    }

    #[test]
    fn the_key_lies_in_the_folder_of_the_installation_unless_it_is_named() {
        let etc = |name: &str| (name == "REGENT_ETC_DIR").then(|| "/opt/r".into());
        assert_eq!(Paths::from_variables(etc).key, Path::new("/opt/r/key"));
        let both = |name: &str| match name {
            "REGENT_KEY" => Some("/secret".into()),
            other => etc(other),
        };
        assert_eq!(Paths::from_variables(both).key, Path::new("/secret"));
    }
}
