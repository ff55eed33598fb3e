//! What this machine alone knows ([`MachineSecret`]): made once, and kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;

use regent_guard::{Paths, durable};
use regent_wire::invite::MachineSecret;

use crate::error::{Doing, NodeError, Result};

/// The one of this machine: from its file, or new, and then not kept yet.
///
/// # Errors
/// When the file is damaged or cannot be read, or the kernel gives no random numbers.
pub(crate) fn secret(paths: &Paths) -> Result<MachineSecret> {
    let path = paths.machine_secret();
    match fs::read_to_string(&path) {
        Ok(text) => MachineSecret::parse(&text).map_err(|error| {
            NodeError::new(format!("{} is damaged: {error}", path.display()))
                .next(format!("rm {}; and make another token on a member: regent token", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            MachineSecret::generate().map_err(|error| NodeError::new(error.to_string()))
        }
        Err(error) => Err(NodeError::new(format!("cannot read {}: {error}", path.display()))),
    }
}

/// Keeps it, before anybody hears of it: the answer may be lost, and the machine must be known again then.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn keep(paths: &Paths, secret: &MachineSecret) -> Result<()> {
    let path = paths.machine_secret();
    let writing = || format!("write {}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&paths.state).doing(writing)?;
    durable::replace(&path, format!("{}\n", secret.to_text()).as_bytes(), 0o600).doing(writing)
}

/// The one of this machine, kept: a member has one from its first start on.
///
/// # Errors
/// As [`secret`] and [`keep`].
pub(crate) fn of_member(paths: &Paths) -> Result<MachineSecret> {
    let own = secret(paths)?;
    if !paths.machine_secret().exists() {
        keep(paths, &own)?;
    }
    Ok(own)
}
