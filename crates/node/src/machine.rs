//! What this machine alone knows ([`MachineSecret`]): made once, and kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use regent_guard::{Paths, durable};
use regent_wire::invite::MachineSecret;

use crate::error::{Doing, NodeError, Result};

/// What its file has.
enum Found {
    Whole(MachineSecret),
    /// And in what way.
    Damaged(String),
    Nothing,
}

fn read(path: &Path) -> Result<Found> {
    match fs::read_to_string(path) {
        Ok(text) => {
            Ok(MachineSecret::parse(&text).map_or_else(|e| Found::Damaged(e.to_string()), Found::Whole))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(Found::Nothing),
            io::ErrorKind::InvalidData => Ok(Found::Damaged(error.to_string())),
            _ => Err(NodeError::new(format!("cannot read {}: {error}", path.display()))),
        },
    }
}

fn generate() -> Result<MachineSecret> {
    MachineSecret::generate().map_err(|error| NodeError::new(error.to_string()))
}

/// The one of this machine, which joins: from its file, or new, and then not kept yet.
///
/// # Errors
/// When the file is damaged or cannot be read, or the kernel gives no random numbers.
pub(crate) fn secret(paths: &Paths) -> Result<MachineSecret> {
    let path = paths.machine_secret();
    match read(&path)? {
        Found::Whole(secret) => Ok(secret),
        Found::Nothing => generate(),
        Found::Damaged(why) => Err(NodeError::new(format!("{} is damaged: {why}", path.display()))
            .next(format!("rm {}; and make another token on a member: regent token", path.display()))),
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

/// The one of this machine, kept: a member has one from its first start on. A member goes on without the one that it had, and
/// the cluster says what that means: a damaged file is put aside.
///
/// # Errors
/// When the file cannot be read, put aside or written, or the kernel gives no random numbers.
pub(crate) fn of_member(paths: &Paths) -> Result<MachineSecret> {
    let path = paths.machine_secret();
    match read(&path)? {
        Found::Whole(secret) => return Ok(secret),
        Found::Nothing => {}
        Found::Damaged(why) => {
            let aside = path.with_extension("key.damaged");
            fs::rename(&path, &aside).doing(|| format!("move {} to {}", path.display(), aside.display()))?;
            tracing::warn!(
                "{} is damaged: {why}; it is {} now, and this machine has another key pair",
                path.display(),
                aside.display()
            );
        }
    }
    let own = generate()?;
    keep(paths, &own)?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_member_goes_on_with_another_key_pair_when_its_own_is_lost_or_damaged() {
        let folder = Folder::new("machine-of-member");
        let paths = Paths::below(folder.path());
        let (path, aside) = (paths.machine_secret(), paths.state.join("machine.key.damaged"));
        let first = of_member(&paths).unwrap();
        assert_eq!(of_member(&paths).unwrap().public(), first.public(), "kept");
        let mut known = vec![first.public()];
        for damage in [&b""[..], b"regent-node-", b"\xff\xfe\n"] {
            fs::write(&path, damage).unwrap();
            let another = of_member(&paths).unwrap().public();
            assert!(!known.contains(&another));
            known.push(another);
            assert_eq!(fs::read(&aside).unwrap(), damage, "what is left of it is kept");
            assert_eq!(of_member(&paths).unwrap().public(), another, "kept");
        }
        fs::remove_file(&path).unwrap();
        assert!(!known.contains(&of_member(&paths).unwrap().public()));
    }
}
