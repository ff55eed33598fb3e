//! Beginning a cluster of this one machine.

use std::net::IpAddr;
use std::time::Duration;

use regent_guard::{NodeIdentity, Paths};
use regent_model::ids::ClusterName;
use regent_model::{NodeId, NodeName};
use regent_wire::{ClusterKey, KeyRing};

use crate::error::{NodeError, Result};
use crate::founding::{self, Founding};
use crate::install::{self, Installation};
use crate::launch::{self, Launch, Started};
use crate::os;

/// How long a daemon may take until it answers.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Who this machine will be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    /// Its name; by default the host name up to the first dot.
    pub name: Option<String>,
    /// Its addresses, one per network; by default those it has.
    pub addresses: Vec<IpAddr>,
}

/// What [`init`] or [`crate::join::join`] has made of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Who this machine is now.
    pub identity: NodeIdentity,
    /// The configuration in force.
    pub config: String,
    /// Eight digits by which people can compare the keys of two machines.
    pub fingerprint: String,
    /// Who runs Regent here; nobody yet if it was not to be started.
    pub started: Option<Started>,
}

/// Begins a cluster of that name with this machine as its only node, and starts Regent if `launch` is given.
///
/// # Errors
/// When the machine is a member already, when a name or an address is not good, or when Regent does not start; in
/// the last case the machine is a member all the same, and the error says how to go on.
pub fn init(paths: &Paths, cluster: &str, machine: &Machine, launch: Option<&Launch>) -> Result<Membership> {
    install::check_is_new(paths)?;
    let bad_name = |error| NodeError::new(format!("{cluster:?} cannot be a cluster's name: {error}"));
    let cluster = ClusterName::new(cluster).map_err(|e| bad_name(e).next("regent init NAME"))?;
    let name = node_name(machine)?;
    let addresses = if machine.addresses.is_empty() { found_addresses()? } else { machine.addresses.clone() };
    let text = config_text(&cluster, &name, &addresses);
    let config = founding::parse(&text)?;
    let key = ClusterKey::generate().map_err(|error| NodeError::new(error.to_string()))?;
    let identity =
        NodeIdentity { cluster, node: NodeId(1), name, addresses, port: config.port, witness: false };
    let founding = Founding::of_founders(text.clone())?;
    let installation = Installation { identity, founding, keys: KeyRing::first(key) };
    finish(paths, installation, text, launch)
}

/// Installs what makes this machine a member, and starts Regent.
pub(crate) fn finish(
    paths: &Paths,
    installation: Installation,
    config: String,
    launch: Option<&Launch>,
) -> Result<Membership> {
    install::install(paths, &installation)?;
    let Installation { identity, keys, .. } = installation;
    let started =
        launch.map(|launch| launch::start(paths, launch, ANSWER_WITHIN)).transpose().map_err(|error| {
            NodeError {
                what: format!("{} is a member now, but {}", identity.name, error.what),
                next: error.next,
            }
        })?;
    Ok(Membership { fingerprint: keys.current().fingerprint(), identity, config, started })
}

pub(crate) fn node_name(machine: &Machine) -> Result<NodeName> {
    let name = machine.name.clone().unwrap_or_else(os::host_name);
    NodeName::new(name.clone()).map_err(|error| {
        NodeError::new(format!("{name:?} cannot be a node's name: {error}")).next("name it: --node NAME")
    })
}

fn found_addresses() -> Result<Vec<IpAddr>> {
    let advice = "give one address per network: --address 10.77.0.4 --address 10.78.0.4";
    let found = os::own_addresses().map_err(|error| {
        NodeError::new(format!("cannot list this machine's addresses: {error}")).next(advice)
    })?;
    if found.is_empty() {
        return Err(NodeError::new("this machine has no address that others could reach").next(advice));
    }
    Ok(found.into_iter().map(|(_, address)| address).collect())
}

fn config_text(cluster: &ClusterName, name: &NodeName, addresses: &[IpAddr]) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "# The cluster {cluster}. Look at it with `regent config show`, change it with `regent apply FILE`.\n\n\
         [cluster]\nname = \"{cluster}\"\ntakeover = \"normal\"\n\n\
         [[node]]\nname = \"{name}\"\naddresses = [{}]\n",
        list.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn machine() -> Machine {
        Machine {
            name: Some("lx4".into()),
            addresses: vec![[10, 77, 0, 4].into(), "fd00::4".parse().unwrap()],
        }
    }

    #[test]
    fn a_new_cluster_has_this_machine_as_its_only_voter() {
        let folder = Folder::new("init");
        let paths = Paths::below(folder.path());
        let membership = init(&paths, "ward7", &machine(), None).unwrap();
        assert_eq!(membership.identity.addresses, machine().addresses);
        let (state, voters) = Founding::read(&paths.founding()).unwrap().state().unwrap();
        assert_eq!((voters.len(), state.name_of(NodeId(1)).as_str()), (1, "lx4"));
        assert_eq!(state.config_text, membership.config);
        let error = init(&paths, "ward8", &machine(), None).unwrap_err();
        assert!(error.what.contains("lx4 of the cluster ward7 already"), "{error}");
    }

    #[test]
    fn a_bad_name_or_address_is_refused_before_anything_is_written() {
        let folder = Folder::new("init-bad");
        let paths = Paths::below(folder.path());
        assert!(init(&paths, "ward 7", &machine(), None).unwrap_err().what.contains("' '"));
        let bad = Machine { name: Some("-x".into()), ..machine() };
        assert!(init(&paths, "w", &bad, None).unwrap_err().next.unwrap().contains("--node"));
        let twice = Machine { addresses: vec![[10, 0, 0, 1].into(); 2], ..machine() };
        assert!(init(&paths, "w", &twice, None).is_err());
        assert!(!paths.state.exists() && !paths.key.exists());
    }
}
