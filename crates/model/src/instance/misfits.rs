//! What a node sees of an instance, held against what the cluster knows of it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{InstanceLook, LOCK_FILE, Listed, Lock};
use crate::config::{GroupConfig, InstanceConfig, InstanceKind};
use crate::ids::NodeName;

/// Who has the instance's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The node.
    pub node: &'a str,
    /// Under which epoch.
    pub epoch: u64,
    /// Whether everything of the group is up there.
    pub online: bool,
}

/// What the cluster knows of an instance's version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions<'a> {
    /// The one that is registered: read by an owner, or told by an operator.
    pub registered: Option<&'a str>,
    /// The one that an owner has read last.
    pub read: Option<&'a str>,
}

/// Something that is not as the cluster knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfit {
    /// What, and where.
    pub text: String,
    /// What to do about it.
    pub advice: String,
}

fn misfit(text: String, advice: impl Into<String>) -> Misfit {
    Misfit { text, advice: advice.into() }
}

/// What `me` sees of an instance and what the cluster knows of it, side by side.
#[must_use]
pub fn misfits(
    group: &GroupConfig,
    config: &InstanceConfig,
    versions: Versions<'_>,
    holder: Option<Holder<'_>>,
    me: &NodeName,
    look: &InstanceLook,
) -> Vec<Misfit> {
    match holder.filter(|h| h.node == me.as_str()) {
        Some(holder) => at_home(config, versions.registered, holder, me, look),
        None => {
            let mut found = elsewhere(config, holder, me, look);
            if group.nodes.contains(me) {
                found.extend(before_it_comes(config, versions, me, look));
            }
            found
        }
    }
}

/// On the node that has its group.
fn at_home(
    config: &InstanceConfig,
    registered: Option<&str>,
    holder: Holder<'_>,
    me: &NodeName,
    look: &InstanceLook,
) -> Vec<Misfit> {
    let (name, port) = (&config.name, config.port);
    let mut found = Vec::new();
    if !look.mounted {
        // While it comes up or goes down that is as it should be, and otherwise its file system's monitor says so.
        return found;
    }
    if !look.directory {
        found.push(misfit(
            format!("{name} is registered in {}, and nothing is there on {me}", config.directory.display()),
            format!("install it there, or correct the registry: regent instance update {name} directory=..."),
        ));
        return found;
    }
    if let (Some(version), Some(registered)) = (&look.version, registered)
        && version != registered
    {
        found.push(misfit(
            format!("{name} is registered as version {registered}, and {version} is installed"),
            format!("regent instance update {name} versionid={version}"),
        ));
    }
    if let Some(Listed::At { directory, .. }) = &look.listed {
        found.extend(lies_elsewhere(config, me, directory));
    }
    if !holder.online {
        return found;
    }
    if look.running && config.networked && !look.listening {
        found.push(misfit(
            format!("{name} runs on {me}, and nobody listens on its port {port}"),
            format!("look at its log in {}", config.directory.display()),
        ));
    }
    if look.application_servers > config.max_application_servers {
        let (count, most) = (look.application_servers, config.max_application_servers);
        found.push(misfit(
            format!("{name} is used from {count} addresses, and its max_application_servers is {most}"),
            format!(
                "regent instance update {name} max_application_servers={count}; or end who is one too many, which \
                 Regent does not do: ss -tn 'sport = :{port}'"
            ),
        ));
    }
    if !look.running && look.listening {
        found.push(misfit(
            format!("the port {port} of {name}, which does not run, is taken on {me} by another program"),
            format!("end what listens there (ss -ltnp 'sport = :{port}'), or give {name} another port"),
        ));
    }
    match &look.lock {
        Some(Lock::Of(lock)) if lock.node != me.as_str() => found.push(misfit(
            format!("the lock file of {name} names {}, and {me} has its group", lock.node),
            format!("it is replaced at the next start under a proof: regent instance start {name}"),
        )),
        Some(Lock::Unreadable) => found.push(misfit(
            format!("the lock file of {name} ({LOCK_FILE}) names nobody: it was not written by Regent"),
            format!("it is replaced at the next start under a proof: regent instance start {name}"),
        )),
        None if look.running => found.push(misfit(
            format!("{name} runs on {me}, and its lock file ({LOCK_FILE}) is gone"),
            format!(
                "nothing can be started twice because of that; it is written at the next start of {name}"
            ),
        )),
        _ => {}
    }
    found
}

/// On any other node.
fn elsewhere(
    config: &InstanceConfig,
    holder: Option<Holder<'_>>,
    me: &NodeName,
    look: &InstanceLook,
) -> Vec<Misfit> {
    let (name, port) = (&config.name, config.port);
    let mut found = Vec::new();
    if look.running {
        let owner = holder.map_or("nobody".to_owned(), |h| h.node.to_owned());
        found.push(misfit(
            format!("{name} runs on {me}, and {owner} has its group"),
            format!("stop it there at once: two of it destroy its data. regent instance force {name}"),
        ));
    } else if look.listening {
        found.push(misfit(
            format!("the port {port} of {name} is taken on {me}: it could not start there"),
            format!("end what listens there (ss -ltnp 'sport = :{port}'), or give {name} another port"),
        ));
    }
    if look.directory && !look.mounted {
        found.push(misfit(
            format!(
                "{} of {name} is on {me} itself, where its file system is not mounted: what is in it is hidden \
                 when the group comes",
                config.directory.display()
            ),
            format!("look at it, and remove it there; install while {me} has the group"),
        ));
    }
    found
}

/// What `me` would bring it up with is not what it was last opened with, or does not know it.
fn before_it_comes(
    config: &InstanceConfig,
    versions: Versions<'_>,
    me: &NodeName,
    look: &InstanceLook,
) -> Vec<Misfit> {
    let (name, registered) = (&config.name, versions.registered);
    let mut found = Vec::new();
    if let (InstanceKind::Gtm, Some(here), Some(known)) = (config.kind, &look.version, versions.read)
        && here != known
    {
        found.push(misfit(
            format!("{me} has GT.M {here}, and {name} was last opened by {known}"),
            format!("install {known} on {me} before {name} comes there: it would be opened by {here}"),
        ));
    }
    match &look.listed {
        None => {}
        Some(Listed::Nowhere) => found.push(misfit(
            format!("{name} is not in its vendor's registry on {me}: it could not start there"),
            vendors(config, me, "create", registered),
        )),
        Some(Listed::At { directory, version }) => {
            found.extend(lies_elsewhere(config, me, directory));
            if let Some(known) = registered.filter(|known| !version.is_empty() && known != version) {
                found.push(misfit(
                    format!(
                        "{name} is version {version} in its vendor's registry on {me}, and it is {known}"
                    ),
                    vendors(config, me, "update", registered),
                ));
            }
        }
    }
    found
}

fn lies_elsewhere(config: &InstanceConfig, me: &NodeName, listed: &Path) -> Option<Misfit> {
    // A vendor may write a `/` at the end.
    let differs = listed.components().ne(config.directory.components());
    differs.then(|| {
        let (name, registered) = (&config.name, config.directory.display());
        misfit(
            format!(
                "{name} is in {} in its vendor's registry on {me}, and registered in {registered}",
                listed.display()
            ),
            vendors(config, me, "update", None),
        )
    })
}

/// What to type into the vendor's own registry on `me`.
fn vendors(config: &InstanceConfig, me: &NodeName, verb: &str, version: Option<&str>) -> String {
    let usual = if config.kind == InstanceKind::Iris { "iris" } else { "ccontrol" };
    let command = config.vendor.as_ref().map_or(usual.to_owned(), |path| path.display().to_string());
    let (name, directory) = (&config.name, config.directory.display());
    let version = version.map(|v| format!(" versionid={v}")).unwrap_or_default();
    format!("with the vendor's command on {me}: {command} {verb} {name} directory={directory}{version}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::instance::LockFile;

    const CLUSTER: &str = r#"[cluster]
name = "w"
[[node]]
name = "lx4"
addresses = ["10.77.0.4"]
[[node]]
name = "lx5"
addresses = ["10.77.0.5"]
[[group]]
name = "ward"
nodes = ["lx4", "lx5"]
[[group.filesystem]]
device = "/dev/sdc4"
mount = "/storage2"
type = "ext4"
[[group.address]]
address = "10.77.0.100/24"
[[instance]]
name = "c"
kind = "gtm"
directory = "/storage2/c"
port = 1972
"#;

    const VERSIONS: Versions<'static> = Versions { registered: Some("5.2"), read: Some("5.2") };

    fn lock(node: &str) -> Option<Lock> {
        Some(Lock::Of(LockFile { node: node.into(), epoch: 3, boot: "b".into() }))
    }

    fn well() -> InstanceLook {
        let version = Some("5.2".to_owned());
        InstanceLook {
            mounted: true,
            directory: true,
            running: true,
            listening: true,
            version,
            listed: None,
            lock: lock("lx4"),
            application_servers: 1,
        }
    }

    /// What `node` says while lx4 has the group online.
    fn told(node: &str, look: &InstanceLook) -> Vec<String> {
        told_in(CLUSTER, node, look)
    }

    fn told_in(cluster: &str, node: &str, look: &InstanceLook) -> Vec<String> {
        let config = parse(cluster).config.unwrap();
        let holder = Holder { node: "lx4", epoch: 3, online: true };
        let (group, instance) = config.instances().next().unwrap();
        let me = NodeName::new(node).unwrap();
        let found = misfits(group, instance, VERSIONS, Some(holder), &me, look);
        assert!(found.iter().all(|m| !m.advice.is_empty()), "{found:?}");
        found.into_iter().map(|m| m.text).collect()
    }

    #[test]
    fn what_fits_is_not_told() {
        assert!(told("lx4", &well()).is_empty());
        assert!(told("lx5", &InstanceLook::default()).is_empty());
        let down = InstanceLook { running: false, listening: false, lock: None, ..well() };
        assert!(told("lx4", &down).is_empty(), "it need not run");
        let visible = InstanceLook { running: false, listening: false, ..well() };
        assert!(told("lx5", &visible).is_empty(), "storage that both see is no fault");
    }

    #[test]
    fn what_does_not_fit_is_told_by_the_node_that_has_it() {
        let cases = [
            ("lx4", InstanceLook { directory: false, ..well() }, "nothing is there on lx4"),
            (
                "lx4",
                InstanceLook { version: Some("5.3".into()), ..well() },
                "registered as version 5.2, and 5.3",
            ),
            ("lx4", InstanceLook { application_servers: 2, ..well() }, "used from 2 addresses"),
            ("lx4", InstanceLook { listening: false, ..well() }, "nobody listens on its port 1972"),
            ("lx4", InstanceLook { running: false, lock: None, ..well() }, "taken on lx4 by another program"),
            ("lx4", InstanceLook { lock: lock("lx5"), ..well() }, "names lx5, and lx4 has its group"),
            ("lx4", InstanceLook { lock: Some(Lock::Unreadable), ..well() }, "names nobody"),
            ("lx4", InstanceLook { lock: None, ..well() }, "is gone"),
            ("lx5", well(), "runs on lx5, and lx4 has its group"),
            ("lx5", InstanceLook { running: false, ..well() }, "could not start there"),
            ("lx5", InstanceLook { directory: true, ..InstanceLook::default() }, "on lx5 itself"),
        ];
        for (node, look, words) in cases {
            let told = told(node, &look);
            assert!(told.len() == 1 && told[0].contains(words), "{words}: {told:?}");
        }
    }

    #[test]
    fn what_a_standby_would_bring_it_up_with_is_compared_before_it_comes() {
        let with = |version: &str| InstanceLook { version: Some(version.into()), ..InstanceLook::default() };
        assert!(told("lx5", &with("5.2")).is_empty());
        assert_eq!(told("lx5", &with("5.1")), ["lx5 has GT.M 5.1, and C was last opened by 5.2"]);
        assert!(
            told("lx6", &with("5.1")).is_empty(),
            "it never comes to a node that its group does not have"
        );

        let cache = CLUSTER.replace("\"gtm\"", "\"cache\"\nvendor = \"/opt/ccontrol\"");
        let at = |directory: &str, version: &str| {
            let listed = Listed::At { directory: directory.into(), version: version.into() };
            InstanceLook { listed: Some(listed), ..InstanceLook::default() }
        };
        assert!(told_in(&cache, "lx5", &at("/storage2/c/", "5.2")).is_empty());
        assert!(told_in(&cache, "lx5", &InstanceLook::default()).is_empty(), "it could not be asked");
        let nowhere = InstanceLook { listed: Some(Listed::Nowhere), ..InstanceLook::default() };
        for (look, words) in [
            (nowhere.clone(), "is not in its vendor's registry on lx5"),
            (at("/storage2/old", "5.2"), "is in /storage2/old in its vendor's registry on lx5"),
            (at("/storage2/c", "5.1"), "is version 5.1 in its vendor's registry on lx5, and it is 5.2"),
        ] {
            let told = told_in(&cache, "lx5", &look);
            assert!(told.len() == 1 && told[0].contains(words), "{words}: {told:?}");
            assert!(told_in(&cache, "lx6", &look).is_empty());
        }
        let config = parse(&cache).config.unwrap();
        let (group, instance) = config.instances().next().unwrap();
        let lx5 = NodeName::new("lx5").unwrap();
        let next = misfits(group, instance, VERSIONS, None, &lx5, &nowhere).remove(0).advice;
        assert!(
            next.ends_with("on lx5: /opt/ccontrol create C directory=/storage2/c versionid=5.2"),
            "{next}"
        );
        // Where it is, the owner's own look says which version it is.
        let owner = InstanceLook { listed: at("/storage2/old", "5.1").listed, ..well() };
        assert_eq!(told_in(&cache, "lx4", &owner).len(), 1);
    }
}
