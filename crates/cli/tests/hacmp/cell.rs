//! A cell in the lab: set up as the guide walks it, and asked what its clients would ask.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, SERVICE, find, owner, told};
use crate::examples::{example, folder, without_applications};
use crate::machine::sh;

/// Where the scripts lie on the nodes.
pub(crate) const SCRIPTS: &str = "/usr/local/lib/hacmp";
/// The name of the cell, of its realm and of its directory's root.
pub(crate) const CELL: &str = "cell.example";
pub(crate) const REALM: &str = "CELL.EXAMPLE";
pub(crate) const SUFFIX: &str = "dc=cell,dc=example";
/// The password of the administrator.
pub(crate) const PASSWORD: &str = "only-for-the-lab";

/// Brings up the example's cluster with storage and addresses alone, sets the cell up on the node that has them, and
/// then applies the example as it stands. `machine` is the host name that the cell shall know, if it is not the node's.
pub(crate) fn cell_of(name: &str, file: &str, machine: Option<&str>) -> Cluster {
    let words = machine.map_or_else(String::new, |m| format!("-h {m}"));
    cell_with(name, file, machine, &words)
}

/// The same with these words for `config.dce`.
pub(crate) fn cell_with(name: &str, file: &str, machine: Option<&str>, words: &str) -> Cluster {
    let text = example(file);
    let cluster = lab_of(name, &without_applications(&text), SERVICE);
    let node = owner(&cluster.status().unwrap(), "dce");
    let config = format!("echo {PASSWORD} | {SCRIPTS}/config.dce -c {CELL} -a {SERVICE} {words}");
    sh(&cluster, &node, &config);
    configure_dfs(&cluster, &node, machine);
    // As the guide says: everything is down on every node before the servers are the cluster's business.
    cluster.order(&node, &["group", "disable", "dce"]);
    for node in ["lx4", "lx5"] {
        let look = "grep -E ' (/krb5|/var/dce|/etc/dce|/vicepa)' /proc/mounts || true; ip -o addr";
        let left = sh(&cluster, node, look);
        assert!(!left.contains("/dev/") && !left.contains(SERVICE), "left on {node}: {left}");
    }
    cluster.apply(&node, &text);
    cluster.order(&node, &["group", "enable", "dce"]);
    cluster
        .wait_for("the cell", |s| find(s, "dce").state == "online" && !find(s, "dce").resources.is_empty());
    cluster
}

/// A lab with the scripts on every machine, and a cell at this address for whoever asks.
pub(crate) fn lab_of(name: &str, text: &str, cell_at: &str) -> Cluster {
    let kerberos = std::env::temp_dir().join(format!("regent-test-krb5-{name}-{}", std::process::id()));
    std::fs::write(&kerberos, client_kerberos(cell_at)).unwrap();
    let put = [
        format!("{}:{SCRIPTS}", folder().join("scripts").display()),
        format!("{}:/etc/krb5.conf", kerberos.display()),
    ];
    let put: Vec<&str> = put.iter().flat_map(|p| ["--put", p]).collect();
    let cluster = Cluster::up_with(name, text, &put);
    let _ = std::fs::remove_file(&kerberos);
    cluster
}

/// As an administrator does it, with DCE running for the time being.
fn configure_dfs(cluster: &Cluster, node: &str, machine: Option<&str>) {
    // In a shell of the administrator's own the variable is set by hand.
    let excluded = format!("export RPC_UNSUPPORTED_NETADDRS=$({})", OTHERS.replace("SERVICE", SERVICE));
    let run =
        format!("{SCRIPTS}/start.dce && {SCRIPTS}/config.dfs && {SCRIPTS}/stop.dfs && {SCRIPTS}/stop.dce");
    // The machines where clients run may write: machine entries in the group that owns the volumes.
    let machines = cluster.lab.status().unwrap().machines;
    let clients = machines.iter().filter(|m| ["client", "wit"].contains(&m.name.as_str()));
    let open: Vec<String> = clients
        .map(|m| m.networks[0].addresses[0].address)
        .map(|a| {
            format!("pts createuser -name {a} -localauth && pts adduser {a} system:administrators -localauth")
        })
        .collect();
    let open = open.join(" && ");
    let run = run.replace("config.dfs &&", &format!("config.dfs && {open} &&"));
    let named = machine.map_or_else(String::new, |m| format!("hostname {m};"));
    sh(cluster, node, &format!("{excluded}; {named} {run}; ended=$?; hostname {node}; exit $ended"));
}

/// The IPv4 addresses of a node but for the service address, with colons between them.
const OTHERS: &str = "ip -4 -o addr show | awk '{ sub(\"/.*\", \"\", $4); print $4 }' | grep -v -e '^127' -e '^SERVICE$' | paste -sd:";

/// What a client has in its `krb5.conf`.
fn client_kerberos(cell_at: &str) -> String {
    format!(
        "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n \
         dns_canonicalize_hostname = false\n[realms]\n {REALM} = {{\n  kdc = {cell_at}\n  admin_server = {cell_at}\n }}\n"
    )
}

/// What this prints on the client, in lines.
pub(crate) fn asked(cluster: &Cluster, script: &str) -> BTreeSet<String> {
    let output = cluster.lab.output("client", &["sh", "-c", script]).unwrap();
    assert!(output.status.success(), "{script}\n{}\n{}", told(&output), cluster.evidence());
    String::from_utf8_lossy(&output.stdout).lines().map(|l| l.trim().to_owned()).collect()
}

/// Every principal of the realm, without the realm.
pub(crate) fn principals(cluster: &Cluster) -> BTreeSet<String> {
    let list = asked(cluster, &format!("kadmin -p admin/admin -w {PASSWORD} -q listprincs"));
    list.iter().filter_map(|l| Some(l.strip_suffix(&format!("@{REALM}"))?.to_owned())).collect()
}

/// The common name of every device in the directory.
pub(crate) fn devices(cluster: &Cluster) -> BTreeSet<String> {
    // As the manager: others are told 500 at most.
    let search = format!(
        "ldapsearch -LLL -x -H ldap://{SERVICE} -D cn=manager,{SUFFIX} -w {PASSWORD} -b {SUFFIX} \
         '(objectClass=device)' cn | grep ^cn:"
    );
    asked(cluster, &search).iter().filter_map(|l| Some(l.strip_prefix("cn: ")?.to_owned())).collect()
}

/// The endpoints that Samba's endpoint mapper lists, as address and port.
pub(crate) fn endpoints(cluster: &Cluster) -> BTreeSet<(String, u16)> {
    let list = asked(cluster, &format!("rpcclient -N -U '' 'ncacn_ip_tcp:{SERVICE}[135]' -c epmlookup"));
    let tcp = list.iter().filter_map(|l| l.split_once("ncacn_ip_tcp:")?.1.split_once(','));
    let split = tcp.filter_map(|(at, _)| at.split_once('['));
    split.filter_map(|(address, port)| Some((address.to_owned(), port.parse().ok()?))).collect()
}

/// The programs that rpcbind lists, but for its own.
pub(crate) fn programs(cluster: &Cluster) -> BTreeSet<String> {
    let list = asked(cluster, &format!("rpcinfo {SERVICE}"));
    let first = list.iter().filter_map(|l| l.split_ascii_whitespace().next());
    first.filter(|p| p.bytes().all(|b| b.is_ascii_digit()) && *p != "100000").map(str::to_owned).collect()
}

/// Every endpoint that is listed is on the service address and takes connections.
pub(crate) fn only_live_endpoints(cluster: &Cluster) {
    let listed = endpoints(cluster);
    assert!(listed.len() >= 3, "{listed:?}");
    for (address, port) in &listed {
        assert_eq!(address, SERVICE, "an endpoint on another address: {listed:?}");
        sh(cluster, "client", &format!("bash -c 'exec 3<>/dev/tcp/{address}/{port}'"));
    }
}

/// Registers a program with the endpoint map of a node, as a server there would.
pub(crate) fn register(cluster: &Cluster, node: &str, program: u32) {
    crate::machine::python(cluster, node, include_str!("register.py"), &format!("{program} {SERVICE} 4711"));
}

/// The servers listen on the service address and on no other of the node; rpcbind's TCP port is the exception.
pub(crate) fn bound_to_the_service_address(cluster: &Cluster, node: &str) {
    let list = sh(cluster, node, "ss -Hlntup");
    for line in list.lines().filter(|l| !l.contains("\"regent") && !l.contains("\"rpcbind\"")) {
        let local = line.split_ascii_whitespace().nth(4).unwrap();
        let address = local.rsplit_once(':').unwrap().0;
        assert!(address == SERVICE || address == "127.0.0.1", "bound to {address} on {node}: {line}");
    }
    assert!(list.contains("krb5kdc") && list.contains("slapd"), "{list}");
}

/// Starts the file system's client on a machine; it stays until the machine does.
pub(crate) fn mount_files(cluster: &Cluster, machine: &str) {
    let script = format!(
        "mkdir -p /afs /var/tmp/afs && cd /var/tmp/afs && echo {CELL} > /etc/openafs/ThisCell && \
         printf '>{CELL}\\n{SERVICE} #dfs\\n' > /etc/openafs/CellServDB && \
         (setsid afsd.fuse -dynroot -fakestat -d -memcache -confdir /etc/openafs -mountdir /afs \
          </dev/null >/dev/null 2>&1 &)"
    );
    sh(cluster, machine, &script);
    until_it_works(cluster, machine, "the files", &format!("ls /afs/{CELL}/ && mountpoint -q /afs"));
}

/// Reads every file of the cell's root through a client that has nothing cached.
pub(crate) fn files(cluster: &Cluster) -> BTreeSet<String> {
    sh(cluster, "client", "fusermount -u /afs || umount /afs; sleep 0.5");
    mount_files(cluster, "client");
    asked(cluster, &format!("cd /afs/{CELL} && cat f*"))
}

/// Waits until a script succeeds on a machine.
pub(crate) fn until_it_works(cluster: &Cluster, machine: &str, what: &str, script: &str) {
    let began = Instant::now();
    loop {
        // A machine that is just being rebooted runs nothing.
        let said = match cluster.lab.output(machine, &["sh", "-c", script]) {
            Ok(output) if output.status.success() => return,
            Ok(output) => told(&output),
            Err(error) => error.to_string(),
        };
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited in vain for {what} on {machine}: {said}\n{}",
            cluster.evidence()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A login on a node, in the cell's folder of credentials.
const LOGIN: &str = "FILE:/var/dce/security/creds/dcecred_alice";

/// Somebody logs in on a node.
pub(crate) fn log_in(cluster: &Cluster, node: &str) {
    let login = format!("export KRB5_CONFIG=/krb5/krb5.conf; echo {PASSWORD} | kinit -c {LOGIN} admin/admin");
    // On the disk, so that a power cut leaves it for the next owner to find.
    let login = format!("{login} && sync -f /var/dce/security/creds");
    sh(cluster, node, &login);
    sh(cluster, node, &format!("klist -s -c {LOGIN}"));
}

/// Whoever was logged in at the owner before is not any more, and can log in again.
pub(crate) fn must_log_in_again(cluster: &Cluster, node: &str) {
    let output = cluster.lab.output(node, &["klist", "-s", "-c", LOGIN]).unwrap();
    assert!(!output.status.success(), "the login of the owner before is still good on {node}");
    log_in(cluster, node);
}
