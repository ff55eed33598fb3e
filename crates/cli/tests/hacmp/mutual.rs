//! Mutual takeover: applications that each node takes over from the other, beside the cell's clients, which stay.

use std::time::Duration;

use regent_lab::ledger::{LedgerWriter, audit, read_ledger};
use regent_model::config::parse;

use crate::cell::{CELL, PASSWORD, REALM, SCRIPTS, lab_of};
use crate::cluster::{Cluster, find, owner};
use crate::examples::{example, without_applications};
use crate::machine::{process_of, sh};
use crate::stops;

/// Where the cell's servers are: outside of this cluster's groups, on the witness's machine.
const CELL_AT: &str = "10.77.0.6";
const EAST: &str = "10.77.0.101:7007";
const WEST: &str = "10.77.0.102:7007";
const EAST_SERVES: &str = "regent lab ledger serve --listen 10.77.0.101";
const WEST_SERVES: &str = "regent lab ledger serve --listen 10.77.0.102";
const CLIENT: &str = "/bin/ksh /usr/local/lib/hacmp/client.dce";

#[test]
fn mutual_takeover_moves_applications_only_where_the_cells_client_is_up_and_each_keeps_its_address() {
    let text = example("mutual-takeover");
    let cluster = lab_of("mut", &without_applications(&text), CELL_AT);
    cell_on_the_witness(&cluster);
    for group in ["east", "west", "clients"] {
        cluster.order("lx4", &["group", "disable", group]);
    }
    cluster.apply("lx4", &text);
    for group in ["clients", "east", "west"] {
        cluster.order("lx4", &["group", "enable", group]);
    }
    cluster.online_on("east", "lx4");
    cluster.online_on("west", "lx5");
    let writers = [EAST, WEST].map(|at| {
        LedgerWriter::start(&cluster.lab, "client", at.parse().unwrap(), 1, Duration::from_millis(20), None)
            .unwrap()
    });
    let [east, west] = &writers;
    cluster.written_on(east, "lx4");
    cluster.written_on(west, "lx5");
    let serving = process_of(&cluster, "lx5", WEST_SERVES).unwrap();
    let client = process_of(&cluster, "lx5", CLIENT).unwrap();

    // Without its keytab lx4 will not be a client of the cell when it is back.
    sh(&cluster, "lx4", "mv /etc/regent/dce.keytab /etc/regent/away && sync -f /etc/regent");
    cluster.lab.off("lx4").unwrap();
    cluster.written_on(east, "lx5");
    cluster.online_on("east", "lx5");
    assert_eq!(
        process_of(&cluster, "lx5", WEST_SERVES).as_ref(),
        Some(&serving),
        "what ran there was disturbed"
    );
    assert_eq!(process_of(&cluster, "lx5", CLIENT).as_ref(), Some(&client), "the client stays as it is");
    let excluded = sh(&cluster, "lx5", "cat /run/east.excluded");
    for other in ["10.77.0.5", "10.78.0.5", "10.77.0.102"] {
        assert!(excluded.split(':').any(|a| a == other), "{other} is not excluded for east: {excluded}");
    }
    assert!(!excluded.contains("10.77.0.101"), "{excluded}");

    cluster.lab.on("lx4").unwrap();
    cluster.is_up("lx4");
    std::thread::sleep(Duration::from_secs(3));
    let status = cluster.wait_for("east", |s| find(s, "east").state == "online");
    assert_eq!(owner(&status, "east"), "lx5", "it may not go where no client is up\n{}", cluster.evidence());
    sh(&cluster, "lx4", "mv /etc/regent/away /etc/regent/dce.keytab");
    cluster.order("lx4", &["group", "restart", "clients@lx4"]);
    cluster.written_on(east, "lx4");
    cluster.online_on("east", "lx4");

    the_three_ways_to_stop(&cluster, east);

    // The other way round.
    cluster.lab.off("lx5").unwrap();
    cluster.written_on(west, "lx4");
    let status = cluster.wait_for("west", |s| find(s, "west").state == "online");
    assert_eq!((owner(&status, "west").as_str(), owner(&status, "east").as_str()), ("lx4", "lx4"));
    for (writer, at) in writers.into_iter().zip([EAST, WEST]) {
        let audit = audit(&writer.stop(), &read_ledger(&cluster.lab, "client", at.parse().unwrap()).unwrap());
        assert!(audit.is_clean() && audit.acknowledged > 0, "{at}: {audit:?}\n{}", cluster.evidence());
    }
    cluster.one_writer();
}

fn the_three_ways_to_stop(cluster: &Cluster, east: &LedgerWriter) {
    stops::gracefully(cluster, "east", "lx4");
    cluster.written_on(east, "lx4");
    stops::with_takeover(cluster, "east", "lx4");
    cluster.written_on(east, "lx5");
    stops::comes_back(cluster, "lx4");
    cluster.online_on("east", "lx4");
    stops::by_force(cluster, "east", "lx4", EAST_SERVES, || cluster.written_on(east, "lx4"));
    cluster.written_on(east, "lx4");
}

/// A cell for the clients, with a keytab for each node.
fn cell_on_the_witness(cluster: &Cluster) {
    let config = format!(
        "for d in /krb5 /etc/dce /var/dce; do mkdir -p $d && mount -t tmpfs cell $d; done; \
         echo {PASSWORD} | {SCRIPTS}/config.dce -c {CELL} -a {CELL_AT} && {SCRIPTS}/start.dce"
    );
    sh(cluster, "wit", &config);
    for node in ["lx4", "lx5"] {
        let make = format!(
            "export KRB5_CONFIG=/krb5/krb5.conf KRB5_KDC_PROFILE=/krb5/kdc.conf; \
             kadmin.local -r {REALM} addprinc -randkey hosts/{node}/self >/dev/null && \
             kadmin.local -r {REALM} ktadd -k /tmp/{node}.keytab hosts/{node}/self >/dev/null && base64 -w0 /tmp/{node}.keytab"
        );
        let keytab = sh(cluster, "wit", &make);
        let put =
            format!("umask 077; echo {keytab} | base64 -d > /etc/regent/dce.keytab && sync -f /etc/regent");
        sh(cluster, node, &put);
    }
}

#[test]
fn servers_and_clients_as_things_to_take_over_are_refused_in_mutual_takeover() {
    let good = example("mutual-takeover");
    let told = |text: &str| {
        let parsed = parse(text);
        assert!(parsed.config.is_none(), "it is taken:\n{text}");
        parsed.findings.into_iter().map(|f| f.message).collect::<Vec<_>>().join("\n")
    };
    for role in ["server", "client"] {
        let line = "  name       = \"east\"\n";
        let bad = good.replace(line, &format!("{line}  role       = \"{role}\"\n"));
        assert_ne!(bad, good);
        let told = told(&bad);
        assert!(told.contains(role) && told.contains("take"), "{told}");
    }
    let cell = good.replace("  name       = \"east\"\n", "  name       = \"east\"\n  profile    = \"dce\"\n");
    assert!(told(&cell).contains("server"), "the profile says that it is a server");
}
