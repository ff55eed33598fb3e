//! The loads: what the groups of a cluster under torture run, and how that is started.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use regent_lab::ledger::LEDGER_PORT;

use crate::Result;

/// What starts PostgreSQL, and makes its data first where there are none.
const PG_START: &str = "/usr/local/sbin/torture-pg";
/// The same for Kerberos.
const KDC_START: &str = "/usr/local/sbin/torture-kdc";
/// The realm, and the password of its administrator.
pub(crate) const REALM: &str = "TORTURE.EXAMPLE";
pub(crate) const PASSWORD: &str = "only-for-the-lab";
/// The port at which GT.CM serves the instance.
pub(crate) const GTM_PORT: u16 = 1972;
/// The instance's folder.
pub(crate) const GTM_FOLDER: &str = "/srv/gtm/db";

/// What a group is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
    /// Another address of the group.
    pub(crate) six: Option<Ipv6Addr>,
    /// Its shared disk.
    pub(crate) device: Option<&'static str>,
    /// Whether it stops, or says so, when a write fails. What does not goes on acknowledging, and forgets with the next
    /// takeover: whoever has such a service needs a disk that does not fail.
    minds_errors: bool,
    /// What `cargo xtask setup` installs for it, if it is no part of the project.
    package: Option<&'static str>,
}

/// Every load there is.
pub(crate) const LOADS: [Load; 5] = [
    Load {
        name: "front",
        address: at(100),
        six: six(0x100),
        device: None,
        minds_errors: true,
        package: None,
    },
    Load {
        name: "ledger",
        address: at(101),
        six: six(0x101),
        device: Some("/dev/san0"),
        minds_errors: true,
        package: None,
    },
    Load {
        name: "pg",
        address: at(102),
        six: None,
        device: Some("/dev/san1"),
        minds_errors: true,
        package: Some("postgresql"),
    },
    Load {
        name: "kdc",
        address: at(103),
        six: None,
        device: Some("/dev/san2"),
        minds_errors: false,
        package: Some("krb5-kdc, krb5-admin-server and krb5-user"),
    },
    Load {
        name: "gtm",
        address: at(104),
        six: None,
        device: Some("/dev/san3"),
        minds_errors: false,
        package: Some("fis-gtm"),
    },
];

const fn at(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

const fn six(host: u16) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host))
}

/// The load of that name.
pub(crate) fn load(name: &str) -> Option<&'static Load> {
    LOADS.iter().find(|l| l.name == name)
}

/// The disks of these loads at which errors can be borne: by services that stop when a write fails.
pub(crate) fn may_fail(names: &[String]) -> impl Iterator<Item = &'static str> {
    names.iter().filter_map(|name| load(name)).filter(|l| l.minds_errors).filter_map(|l| l.device)
}

/// Where a load's service is, in words.
pub(crate) fn address(name: &str) -> String {
    load(name).map_or_else(String::new, |l| l.address.to_string())
}

/// Where PostgreSQL's programs are, if it is installed.
fn postgresql() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|v| Some(v.ok()?.path().join("bin"))).filter(|b| b.join("postgres").exists()).max()
}

/// The newest GT.M, if it is installed.
fn gtm() -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu/fis-gtm", "/usr/lib/aarch64-linux-gnu/fis-gtm"];
    let versions = places.iter().filter_map(|p| std::fs::read_dir(p).ok()).flatten();
    versions.filter_map(|v| Some(v.ok()?.path())).filter(|v| v.join("gtcm_gnp_server").exists()).max()
}

impl Load {
    /// Whether it can run on this machine.
    pub(crate) fn is_here(&self) -> bool {
        let all = |programs: &[&str]| programs.iter().all(|p| Path::new(p).exists());
        match self.name {
            "pg" => postgresql().is_some(),
            "kdc" => all(&["/usr/sbin/krb5kdc", "/usr/sbin/kadmind", "/usr/bin/kinit", "/usr/bin/kadmin"]),
            "gtm" => gtm().is_some(),
            _ => true,
        }
    }
}

/// The loads that can run on this machine.
pub(crate) fn loads_here() -> Vec<String> {
    LOADS.iter().filter(|l| l.is_here()).map(|l| l.name.to_owned()).collect()
}

/// What cannot run on this machine, with what is missing, for people.
pub(crate) fn skipped() -> Vec<String> {
    let missing = LOADS.iter().filter(|l| !l.is_here());
    missing.map(|l| format!("{} (needs {})", l.name, l.package.unwrap_or_default())).collect()
}

/// Whether these loads are known and installed.
///
/// # Errors
/// The first that is not.
pub(crate) fn check_loads(loads: &[String]) -> Result<()> {
    for name in loads {
        let Some(load) = load(name) else {
            let all: Vec<&str> = LOADS.iter().map(|l| l.name).collect();
            return Err(format!("there is no load {name}; use {}", all.join(", ")).into());
        };
        if !load.is_here() {
            let package = load.package.unwrap_or_default();
            return Err(format!("{name} needs {package}, not installed here: cargo xtask setup").into());
        }
    }
    Ok(())
}

/// The applications of a group, in the configuration.
pub(crate) fn application(load: &Load) -> String {
    let address = load.address;
    match load.name {
        "ledger" => format!(
            "\n  [[group.application]]\n  name       = \"ledger\"\n  start      = \"exec regent lab ledger serve \
             --listen {address}:{LEDGER_PORT} --file /srv/ledger/ledger\"\n  foreground = true\n"
        ),
        "pg" => format!(
            "\n  [[group.application]]\n  name       = \"postgresql\"\n  \
             start      = \"exec {PG_START} {address}\"\n  stop       = \"runuser -u postgres -- {bin}/pg_ctl -D /srv/pg/data/db -m fast -w stop\"\n  \
             status     = \"{bin}/pg_isready -q -h {address}\"\n  \
             monitor    = {{ interval = \"2s\", timeout = \"5s\", failures = 3 }}\n  foreground = true\n",
            bin = postgresql().unwrap_or_default().display()
        ),
        "kdc" => format!(
            "\n  [[group.application]]\n  name       = \"kerberos\"\n  \
             start      = \"exec {KDC_START} {address}\"\n  foreground = true\n"
        ),
        _ => String::new(),
    }
}

/// The instance that a group brings up, in the configuration.
pub(crate) fn instance(name: &str) -> &'static str {
    match name {
        "gtm" => {
            "\n[[instance]]\nname      = \"gtm\"\nkind      = \"gtm\"\ndirectory = \"/srv/gtm/db\"\n\
             port      = 1972\nautostart = true\nmonitor   = { interval = \"2s\", timeout = \"10s\", failures = 2 }\n"
        }
        _ => "",
    }
}

/// The files that lie on every node.
pub(crate) fn files() -> [(&'static str, String); 2] {
    [(PG_START, pg_start()), (KDC_START, KDC.replace("REALM", REALM).replace("PASSWORD", PASSWORD))]
}

fn pg_start() -> String {
    let bin = postgresql().unwrap_or_default();
    // The pid file of another node's server says nothing here; the proof that came with this ownership does.
    format!(
        "#!/bin/sh\nset -e\ndata=/srv/pg/data/db\nif [ ! -e $data/made ]; then\n  rm -rf $data\n  \
         mkdir -p /srv/pg/data\n  chown postgres /srv/pg/data\n  \
         runuser -u postgres -- {bin}/initdb -D $data -k -A trust >/dev/null\n  \
         echo 'host all all 10.77.0.0/24 trust' >> $data/pg_hba.conf\n  sync -f $data\n  touch $data/made\n  \
         sync -f $data\nfi\nrm -f $data/postmaster.pid\n\
         exec setpriv --reuid=postgres --regid=postgres --init-groups \\\n  \
         {bin}/postgres -D $data -c listen_addresses=$1 -c unix_socket_directories=\n",
        bin = bin.display()
    )
}

/// Key distribution and administration, both on the one database of the group's disk; the end of one is the end of both.
const KDC: &str = r#"#!/bin/bash
set -e
here=/srv/kdc
export KRB5_CONFIG=$here/krb5.conf KRB5_KDC_PROFILE=$here/kdc.conf
if [ ! -e $here/made ]; then
    rm -rf $here/principal* $here/stash
    cat > $here/krb5.conf <<END
[libdefaults]
 default_realm = REALM
 dns_lookup_kdc = false
[realms]
 REALM = {
  kdc = $1
  admin_server = $1
 }
END
    cat > $here/kdc.conf <<END
[kdcdefaults]
 kdc_listen = $1:88
 kdc_tcp_listen = $1:88
[realms]
 REALM = {
  database_name = $here/principal
  key_stash_file = $here/stash
  acl_file = $here/acl
  kadmind_listen = $1:749
  kpasswd_listen = $1:464
 }
END
    echo 'admin/admin@REALM *' > $here/acl
    printf 'master\nmaster\n' | kdb5_util create -s -r REALM > /dev/null
    kadmin.local -r REALM addprinc -pw PASSWORD admin/admin > /dev/null
    sync -f $here
    touch $here/made
    sync -f $here
fi
krb5kdc -n &
kadmind -nofork &
trap 'kill $(jobs -p); wait; exit 0' TERM INT
wait -n || true
kill $(jobs -p)
exit 1
"#;
