//! Making a machine a member: everything that its guard and its daemon must find.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;

use regent_guard::{NodeIdentity, Paths};
use regent_store::{FsDisk, Store};
use regent_wire::KeyRing;

use crate::error::{Doing, NodeError, Result};
use crate::founding::Founding;

/// Everything that makes a machine a member.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Who it is.
    pub identity: NodeIdentity,
    /// With what its state begins.
    pub founding: Founding,
    /// The cluster's key, and the next one where it is being changed.
    pub keys: KeyRing,
}

/// Refuses a machine that is a member already.
///
/// # Errors
/// When it is.
pub fn check_is_new(paths: &Paths) -> Result<()> {
    if let Ok(identity) = NodeIdentity::read(&paths.identity()) {
        let what = format!("this machine is {} of the cluster {} already", identity.name, identity.cluster);
        return Err(NodeError::new(what).next(how_to_leave(paths)));
    }
    let left = [paths.identity(), paths.founding(), paths.store()].into_iter().find(|path| path.exists());
    match left {
        None => Ok(()),
        Some(path) => {
            let what = format!("{} is left from an earlier membership of this machine", path.display());
            Err(NodeError::new(what).next(how_to_leave(paths)))
        }
    }
}

fn how_to_leave(paths: &Paths) -> String {
    let state = paths.state.display();
    format!(
        "to begin anew: regent node stop --takeover; mkdir {state}.old && mv {state}/* {state}.old/; and on a member, \
         take this machine out of the configuration"
    )
}

/// Writes everything, the identity last: where it is, the rest is there.
///
/// # Errors
/// When the machine is a member already, or a disk does not take it. What was written until then is left, and
/// [`check_is_new`] names it.
pub fn install(paths: &Paths, installation: &Installation) -> Result<()> {
    check_is_new(paths)?;
    let Installation { identity, founding, keys } = installation;
    for (folder, mode) in [(&paths.state, 0o700), (&paths.etc, 0o755), (&paths.run, 0o755)] {
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(folder)
            .doing(|| format!("make {}", folder.display()))?;
    }
    regent_guard::identity::write_keys(&paths.key, keys)
        .doing(|| format!("write the cluster's key {}", paths.key.display()))?;
    founding.write(&paths.founding())?;
    let owner = regent_store::Identity { cluster: identity.cluster.clone(), node: identity.node };
    let made = FsDisk::open(paths.store()).and_then(|disk| Store::create(disk, owner));
    made.map(drop).map_err(|error| NodeError::new(error.to_string()))?;
    let _none_is_fine = fs::remove_file(paths.refused());
    identity.write(&paths.identity())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use regent_model::ids::ClusterName;
    use regent_model::{NodeId, NodeName};
    use regent_wire::ClusterKey;

    use super::*;
    use crate::testing::Folder;

    fn installation() -> Installation {
        let config = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n";
        Installation {
            identity: NodeIdentity {
                cluster: ClusterName::new("w").unwrap(),
                node: NodeId(1),
                name: NodeName::new("a").unwrap(),
                addresses: vec![[10, 0, 0, 1].into()],
                port: 7410,
                witness: false,
            },
            founding: Founding::of_founders(config.to_owned()).unwrap(),
            keys: KeyRing::first(ClusterKey::generate().unwrap()),
        }
    }

    #[test]
    fn a_member_has_its_key_for_root_alone_and_cannot_be_made_a_member_again() {
        let folder = Folder::new("install");
        let paths = Paths::below(folder.path());
        check_is_new(&paths).unwrap();
        install(&paths, &installation()).unwrap();
        let mode = fs::metadata(&paths.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(NodeIdentity::read(&paths.identity()).unwrap(), installation().identity);
        let error = install(&paths, &installation()).unwrap_err();
        assert!(error.what.contains("a of the cluster w already") && error.next.is_some(), "{error}");
    }

    #[test]
    fn what_an_interrupted_installation_left_is_named_and_not_taken_over() {
        let folder = Folder::new("install-half");
        let paths = Paths::below(folder.path());
        install(&paths, &installation()).unwrap();
        fs::remove_file(paths.identity()).unwrap();
        let error = check_is_new(&paths).unwrap_err();
        assert!(error.what.contains("founding.json"), "{error}");
    }
}
