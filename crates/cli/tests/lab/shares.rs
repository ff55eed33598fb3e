//! What a service of the guide can have, together: an init script, a broadcast address, wildcard binds that go to the
//! service address, and a folder for Windows clients.

use crate::cluster::{Cluster, SERVICE, head};
use crate::machine::sh;

const OTHER: &str = "10.77.0.101";
const PORT: u16 = 8081;

/// An init script as people write them, in ksh: `start`, `stop` and `status` of the instance that is named. Its server
/// listens on every address, as far as it knows.
const SCRIPT: &str = r#"#!/usr/bin/ksh
typeset verb=$1 instance=$2 pid=/run/$2.pid
case $verb in
start)
    mkdir -p /run/www-$instance
    print "this is $instance" > /run/www-$instance/name
    nohup python3 -m http.server 8081 --directory /run/www-$instance > /dev/null 2>&1 &
    print $! > $pid
    ;;
stop)
    [[ -r $pid ]] && kill $(< $pid) && rm -f $pid
    ;;
status)
    [[ -r $pid ]] && kill -0 $(< $pid) || exit 3
    ;;
*)
    print "usage: $0 start|stop|status INSTANCE"; exit 1 ;;
esac
exit 0
"#;

fn config(with_services: bool) -> String {
    let service = |name: &str| {
        if !with_services {
            return String::new();
        }
        format!(
            r#"
  [[group.application]]
  name    = "{name}"
  script  = "/etc/init.d/www {name}"
  bind    = "service-address"
  ports   = ["{PORT}/tcp"]
  monitor = {{ interval = "1s" }}
"#
        )
    };
    let files = format!(
        r#"
[[group]]
name   = "files"
nodes  = ["lx4", "lx5"]
policy = "rotating"

  [[group.filesystem]]
  device = "{}"
  mount  = "/srv/files"
  type   = "ext4"

  [[group.address]]
  address   = "{SERVICE}/24"
  broadcast = "10.77.0.0"

  [[group.share]]
  name   = "data"
  path   = "/srv/files/data"
  guests = true
{}"#,
        regent_lab::DEFAULT_DEVICE,
        service("hall"),
    );
    let other = format!(
        "\n[[group]]\nname = \"other\"\nnodes = [\"lx5\"]\n\n  [[group.address]]\n  address = \"{OTHER}/24\"\n{}",
        service("tower")
    );
    head("normal") + &files + &other
}

/// What the server at an address says of itself, to a client.
fn asked(cluster: &Cluster, address: &str) -> String {
    let ask = format!(
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://{address}:{PORT}/name\", timeout=5).read().decode())' \
         2>&1 || true"
    );
    sh(cluster, "client", &ask)
}

fn smb(cluster: &Cluster, what: &str) -> String {
    sh(cluster, "client", &format!("timeout 30 smbclient -s /dev/null -N //{SERVICE}/data -c '{what}' 2>&1"))
}

#[test]
fn a_service_with_script_broadcast_bind_and_share_is_the_same_on_the_node_that_takes_it_over() {
    let cluster = Cluster::up("share", &config(false));
    for group in ["files", "other"] {
        cluster.order("lx4", &["group", "disable", group]);
    }
    let put = format!(
        "mkdir -p /etc/init.d; cat > /etc/init.d/www <<'END'\n{SCRIPT}END\nchmod 755 /etc/init.d/www"
    );
    sh(&cluster, "lx4", &put);
    cluster.apply("lx4", &config(true));
    let said = sh(&cluster, "lx4", "regent verify --nodes || true");
    assert!(said.contains("/etc/init.d/www (the script of hall) cannot be used on lx5"), "{said}");
    sh(&cluster, "lx5", &put);
    let said = sh(&cluster, "lx4", "regent verify --nodes || true");
    assert!(!said.contains("/etc/init.d/www"), "{said}");
    for group in ["files", "other"] {
        cluster.order("lx4", &["group", "enable", group]);
    }
    cluster.online_on("files", "lx4");
    cluster.online_on("other", "lx5");

    let shown = sh(&cluster, "lx4", &format!("ip -o -4 address show to {SERVICE}"));
    assert!(shown.contains("brd 10.77.0.0 "), "{shown}");
    assert!(asked(&cluster, SERVICE).contains("this is hall"));
    assert!(asked(&cluster, OTHER).contains("this is tower"));
    assert!(asked(&cluster, "10.77.0.4").contains("refused"), "only at the service address");
    sh(&cluster, "client", "echo kept > /tmp/put");
    smb(&cluster, "put /tmp/put there");

    cluster.lab.off("lx4").unwrap();
    cluster.online_on("files", "lx5");
    // Both now on one node, on the same port, each at its own address.
    assert!(asked(&cluster, SERVICE).contains("this is hall"));
    assert!(asked(&cluster, OTHER).contains("this is tower"));
    smb(&cluster, "get there /tmp/got");
    assert_eq!(sh(&cluster, "client", "cat /tmp/got"), "kept");

    // A script that says nothing runs is believed, and its service is started again.
    sh(&cluster, "lx5", "kill $(cat /run/hall.pid)");
    cluster.wait_for("hall started again", |_| asked(&cluster, SERVICE).contains("this is hall"));
    cluster.order("lx5", &["group", "disable", "files"]);
    cluster.wait_for("files down", |s| crate::cluster::find(s, "files").state != "online");
    assert!(asked(&cluster, OTHER).contains("this is tower"), "the other one is not disturbed");
    cluster.one_writer();
}
