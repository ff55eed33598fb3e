//! Replicas outside the group: a machine with copies of realm and directory that follow the service address.

use crate::cell::{CELL, PASSWORD, REALM, SCRIPTS, SUFFIX, until_it_works};
use crate::cluster::{Cluster, SERVICE};
use crate::machine::{process_of, sh};

/// The machine that has the copies.
pub(crate) const REPLICA: &str = "wit";
const ADDRESS: &str = "10.77.0.6";

/// The copies, and the processes that keep them.
pub(crate) struct Replicas {
    processes: Vec<Option<String>>,
}

impl Replicas {
    /// Configures and starts the replica, as an administrator does, with what `config.dce -r` made on the owner.
    pub(crate) fn begin(cluster: &Cluster, owner: &str) -> Self {
        let part = sh(cluster, owner, &format!("base64 -w 0 /krb5/replica-{REPLICA}.tar"));
        let config = format!("echo {part} | base64 -d | {SCRIPTS}/config.replica -a {ADDRESS}");
        sh(cluster, REPLICA, &format!("{config} && {SCRIPTS}/start.replica"));
        // A client that knows both, and one that knows the replica alone.
        for (file, kdcs) in [("both", vec![SERVICE, ADDRESS]), ("alone", vec![ADDRESS])] {
            let kdcs: String = kdcs.iter().map(|k| format!("  kdc = {k}\\n")).collect();
            let write = format!(
                "sed 's/^  kdc = .*//' /etc/krb5.conf > /tmp/{file}.conf && \
                 sed -i 's/^ {REALM} = .*/&\\n{kdcs}/' /tmp/{file}.conf"
            );
            sh(cluster, "client", &write);
        }
        Self { processes: processes(cluster) }
    }

    /// What is new at the master arrives at the copies, and nobody has laid a hand on them since they were started.
    pub(crate) fn follow(&self, cluster: &Cluster, when: &str) {
        let name = format!("r-{when}");
        let entry = format!("dn: cn={name},{SUFFIX}\\nobjectClass: device\\ncn: {name}\\n");
        let add = format!(
            "kadmin -p admin/admin -w {PASSWORD} -q 'addprinc -pw secret {name}' && printf '{entry}' | \
             ldapadd -x -H ldap://{SERVICE} -D cn=manager,{SUFFIX} -w {PASSWORD}"
        );
        sh(cluster, "client", &add);
        let search = format!("ldapsearch -LLL -x -H ldap://{ADDRESS} -b {SUFFIX} '(cn={name})' | grep ^dn:");
        until_it_works(cluster, "client", &format!("the entry {name} at the replica"), &search);
        until_it_works(cluster, "client", &format!("{name} at the replica"), &log_in("alone", &name));
        assert_eq!(processes(cluster), self.processes, "the replica was not left alone {when}");
    }

    /// While the master is away the copies answer, also to those who ask the master first.
    pub(crate) fn answer_alone(&self, cluster: &Cluster, known: &str) {
        let name = format!("r-{known}");
        sh(cluster, "client", &log_in("alone", &name));
        sh(cluster, "client", &log_in("both", &name));
        let search =
            format!("ldapsearch -LLL -x -H ldap://{ADDRESS} -b cn={name},{SUFFIX} cn | grep '^cn: '");
        sh(cluster, "client", &search);
        assert_eq!(processes(cluster), self.processes, "the replica was not left alone");
    }

    /// A replica that lost its copies is given everything anew by the node that has the cell now, which it knows by the
    /// name of the cell's machine.
    pub(crate) fn begin_anew(self, cluster: &Cluster, known: &str) -> Self {
        let lose = "cd /var/lib/dce-replica && rm -rf principal* from_master* cds/*";
        sh(cluster, REPLICA, &format!("{SCRIPTS}/stop.replica && {lose} && {SCRIPTS}/start.replica"));
        until_it_works(cluster, "client", "the whole realm", &log_in("alone", &format!("r-{known}")));
        Self { processes: processes(cluster) }
    }
}

/// The replica's servers by their processes.
fn processes(cluster: &Cluster) -> Vec<Option<String>> {
    let found: Vec<Option<String>> =
        ["krb5kdc", "kpropd", "slapd"].iter().map(|p| process_of(cluster, REPLICA, p)).collect();
    assert!(found.iter().all(Option::is_some), "not all of the replica of {CELL} runs: {found:?}");
    found
}

/// Logs in with a principal that `follow` made.
fn log_in(knowing: &str, name: &str) -> String {
    format!("echo secret | KRB5_CONFIG=/tmp/{knowing}.conf timeout 20 kinit -c /tmp/replica.cc {name}")
}
