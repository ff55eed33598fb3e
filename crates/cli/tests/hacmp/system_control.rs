//! The System Control Machine: what it distributes to a machine outside the group, before and after a takeover.

use crate::cell::{SCRIPTS, until_it_works};
use crate::cluster::{Cluster, SERVICE, owner};
use crate::machine::{process_of, sh};
use crate::replicas::REPLICA;

/// A machine that takes its common configuration from the cell.
pub(crate) struct SystemControl {
    process: Option<String>,
}

impl SystemControl {
    /// Sets it up with what `config.dfs` made on the owner, and starts it.
    pub(crate) fn begin(cluster: &Cluster, owner: &str) -> Self {
        let part = sh(cluster, owner, "base64 -w 0 /etc/dce/dfs/server.tar");
        let config = format!("echo {part} | base64 -d | {SCRIPTS}/upclient.dfs config");
        sh(cluster, REPLICA, &format!("{config} && {SCRIPTS}/upclient.dfs start"));
        let process = process_of(cluster, REPLICA, UPCLIENT);
        assert!(process.is_some(), "upclient does not run");
        Self { process }
    }

    /// A new administrator, told to the cell's owner, is known to the machine without anything done there.
    pub(crate) fn distributes(&self, cluster: &Cluster, when: &str) {
        let node = owner(&cluster.status().unwrap(), "dce");
        let name = format!("admin-{when}");
        sh(cluster, &node, &format!("bos adduser {SERVICE} {name} -localauth"));
        let known = format!("grep -qx {name} /etc/openafs/server/UserList");
        until_it_works(cluster, REPLICA, &format!("{name} in the common configuration"), &known);
        assert_eq!(process_of(cluster, REPLICA, UPCLIENT), self.process, "it was not left alone {when}");
    }
}

const UPCLIENT: &str = "/usr/lib/openafs/upclient";
