//! A cell in the lab: set up as the guide walks it, and asked what its clients would ask.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, SERVICE, told};
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

/// Brings up the example's cluster with storage and addresses alone, sets the cell up on `lx4`, and then applies the
/// example as it stands.
pub(crate) fn cell_of(name: &str, file: &str, words: &str) -> Cluster {
    let text = example(file);
    let kerberos = std::env::temp_dir().join(format!("regent-test-krb5-{}", std::process::id()));
    std::fs::write(&kerberos, client_kerberos()).unwrap();
    let put = [
        format!("{}:{SCRIPTS}", folder().join("scripts").display()),
        format!("{}:/etc/krb5.conf", kerberos.display()),
    ];
    let put: Vec<&str> = put.iter().flat_map(|p| ["--put", p]).collect();
    let cluster = Cluster::up_with(name, &without_applications(&text), &put);
    let _ = std::fs::remove_file(&kerberos);
    cluster.online_on("dce", "lx4");
    sh(&cluster, "lx4", &format!("echo {PASSWORD} | {SCRIPTS}/config.dce -c {CELL} -a {SERVICE} {words}"));
    if text.contains("dfs-server.start") {
        configure_dfs(&cluster, "lx4");
    }
    apply(&cluster, "lx4", &text);
    // An application that is added to a group which runs is started when the group is next brought up.
    cluster.order("lx4", &["group", "restart", "dce"]);
    cluster.wait_for("the cell", |s| {
        let group = crate::cluster::find(s, "dce");
        group.state == "online" && group.resources.iter().any(|r| r.name.as_str() == "dce")
    });
    cluster
}

/// As an administrator does it, with DCE running for the time being.
fn configure_dfs(cluster: &Cluster, node: &str) {
    // In a shell of the administrator's own the variable is set by hand.
    let excluded = format!("export RPC_UNSUPPORTED_NETADDRS=$({})", OTHERS.replace("SERVICE", SERVICE));
    let run =
        format!("{SCRIPTS}/start.dce && {SCRIPTS}/config.dfs && {SCRIPTS}/stop.dfs && {SCRIPTS}/stop.dce");
    // The client machine may write: a machine entry in the group that owns the volumes.
    let client = cluster.lab.status().unwrap().machines.into_iter().find(|m| m.name == "client").unwrap();
    let address = client.networks[0].addresses[0].address;
    let open = format!(
        "pts createuser -name {address} -localauth && pts adduser {address} system:administrators -localauth"
    );
    let run = run.replace("config.dfs &&", &format!("config.dfs && {open} &&"));
    sh(cluster, node, &format!("{excluded}; {run}"));
}

/// The IPv4 addresses of a node but for the service address, with colons between them.
const OTHERS: &str = "ip -4 -o addr show | awk '{ sub(\"/.*\", \"\", $4); print $4 }' | grep -v -e '^127' -e '^SERVICE$' | paste -sd:";

/// Applies this configuration.
pub(crate) fn apply(cluster: &Cluster, node: &str, text: &str) {
    let write = format!("cat > /tmp/cell.toml <<'END'\n{text}\nEND");
    assert!(cluster.lab.output(node, &["sh", "-c", &write]).unwrap().status.success());
    cluster.order(node, &["apply", "/tmp/cell.toml"]);
}

/// What a client has in its `krb5.conf`.
fn client_kerberos() -> String {
    format!(
        "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n \
         dns_canonicalize_hostname = false\n[realms]\n {REALM} = {{\n  kdc = {SERVICE}\n  admin_server = {SERVICE}\n }}\n"
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

/// Starts the file system's client on the client machine; it stays until the machine does.
pub(crate) fn mount_files(cluster: &Cluster) {
    let script = format!(
        "mkdir -p /afs /var/tmp/afs && cd /var/tmp/afs && echo {CELL} > /etc/openafs/ThisCell && \
         printf '>{CELL}\\n{SERVICE} #dfs\\n' > /etc/openafs/CellServDB && \
         (setsid afsd.fuse -dynroot -fakestat -d -memcache -confdir /etc/openafs -mountdir /afs \
          </dev/null >/dev/null 2>&1 &)"
    );
    sh(cluster, "client", &script);
    until_it_works(cluster, "client", "the files", &format!("ls /afs/{CELL}/ && mountpoint -q /afs"));
}

/// Reads every file of the cell's root through a client that has nothing cached.
pub(crate) fn files(cluster: &Cluster) -> BTreeSet<String> {
    sh(cluster, "client", "fusermount -u /afs || umount /afs; sleep 0.5");
    mount_files(cluster);
    asked(cluster, &format!("cd /afs/{CELL} && cat f*"))
}

/// Waits until a script succeeds on a machine.
pub(crate) fn until_it_works(cluster: &Cluster, machine: &str, what: &str, script: &str) {
    let began = Instant::now();
    loop {
        let output = cluster.lab.output(machine, &["sh", "-c", script]).unwrap();
        if output.status.success() {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited in vain for {what} on {machine}: {}\n{}",
            told(&output),
            cluster.evidence()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
