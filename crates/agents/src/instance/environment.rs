//! The environment of an instance: what its own processes and those of its users need to reach it.

use std::path::{Path, PathBuf};

use regent_model::config::{InstanceConfig, InstanceKind};

use super::{gtm, vendor};
use crate::inspection::Inspector;
use crate::user::User;

/// The variables of an instance on this node, in order; and what they do not carry, in sentences. `run_dir` is where
/// the daemon keeps what lasts as long as the boot.
///
/// # Errors
/// What is missing on this node.
pub fn of_instance(config: &InstanceConfig, run_dir: &Path) -> Result<Vec<(String, String)>, String> {
    let mut all = vec![
        ("REGENT_INSTANCE".to_owned(), config.name.to_string()),
        ("REGENT_INSTANCE_DIRECTORY".to_owned(), config.directory.display().to_string()),
    ];
    if let Some(address) = config.address {
        all.push(("REGENT_INSTANCE_ADDRESS".to_owned(), address.to_string()));
    }
    all.push(("REGENT_INSTANCE_PORT".to_owned(), config.port.to_string()));
    if !config.license_servers.is_empty() {
        let list: Vec<String> = config.license_servers.iter().map(ToString::to_string).collect();
        all.push(("REGENT_LICENSE_SERVERS".to_owned(), list.join(" ")));
    }
    if config.networked {
        for server in &config.data_servers {
            let key = format!("REGENT_DATA_SERVER_{}", server.name);
            all.push((key, server.address.to_string()));
        }
    }
    if config.kind == InstanceKind::Gtm {
        all.extend(gtm::environment(config, run_dir)?);
    }
    Ok(all)
}

impl Inspector {
    /// The variables of an instance on this node, in order.
    ///
    /// # Errors
    /// What is missing on this node.
    pub fn environment_of(&self, config: &InstanceConfig) -> Result<Vec<(String, String)>, String> {
        of_instance(config, self.run_dir())
    }
}

/// What keeps an instance from running on this node, each in one line that says what to mend.
pub(crate) fn doubts(config: &InstanceConfig) -> Vec<String> {
    let tools = match config.kind {
        InstanceKind::Gtm => gtm::find(config).map(drop),
        InstanceKind::Cache | InstanceKind::Iris => vendor::program_of(config).map(drop),
        InstanceKind::Command => Ok(()),
    };
    let user = config.user.as_deref().map_or(Ok(()), |name| User::find(name).map(drop));
    let all = [tools, user].into_iter().filter_map(Result::err);
    all.map(|why| format!("instance {}: {why}", config.name)).collect()
}

/// Where GT.M keeps what processes of one boot share.
pub(super) fn gtm_folder(run_dir: &Path) -> PathBuf {
    run_dir.join("gtm")
}
