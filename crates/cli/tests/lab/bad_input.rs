//! Bytes that nobody asked for, at every port: counted, dropped, told once; the cluster is not disturbed.

use std::time::Duration;

use crate::cluster::{Cluster, address_group, find, head, ledger_group};
use crate::machine::{DAEMON, GUARD, process_of, python, resident_kib, sh, troubles};

/// Prints every frame that reaches this machine for the port of keepalives, with the interface, for two seconds.
const CAPTURE: &str = r#"
import socket, time, select
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
end = time.time() + 2
while time.time() < end:
    if not select.select([s], [], [], .1)[0]: continue
    frame, where = s.recvfrom(2000)
    if where[2] == socket.PACKET_HOST and frame[23] == 17 and frame[36:38] == (7410).to_bytes(2, 'big'):
        print(where[0], frame.hex())
"#;

/// Sends the captured frames of `lx4` again, again and again, for six seconds.
const REPLAY: &str = r#"
import socket, sys, time
frames = [l.split() for l in sys.stdin]
# Without the checksum, which a virtual wire leaves to nobody.
frames = [(w, bytes.fromhex(f[:80] + '0000' + f[84:])) for w, f in frames if bytes.fromhex(f)[29] == 4]
assert len(frames) > 10, len(frames)
out = {}
for where, _ in frames:
    if where not in out:
        out[where] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        out[where].bind((where, 0))
end, n = time.time() + 6, 0
while time.time() < end:
    for where, frame in frames:
        out[where].send(frame)
        n += 1
        time.sleep(.002)
print(n)
"#;

/// Garbage, mutilated and forged datagrams for every member on both networks; the captured ones are on the input.
const DATAGRAMS: &str = r#"
import os, random, socket, sys
genuine = [bytes.fromhex(l.split()[1])[42:] for l in sys.stdin]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for round in range(1500):
    for net in (77, 78):
        for host in (3, 4, 5):
            d = bytearray(random.choice(genuine))
            kind = round % 5
            if kind == 0: d = os.urandom(random.randrange(0, 1500))
            elif kind == 1: d = d[:random.randrange(0, len(d))]
            elif kind == 2: d[random.randrange(48, len(d))] ^= 1 << random.randrange(8)
            elif kind == 3: d = d[:48] + os.urandom(60)
            else: d[random.randrange(0, 48)] ^= 1 << random.randrange(8)
            s.sendto(bytes(d), (f'10.{net}.0.{host}', 7410))
"#;

/// Calls that begin with garbage, end early, or never say anything.
const CALLS: &str = r#"
import os, random, socket, time
mute = []
for round in range(150):
    for host in (3, 4, 5):
        s = socket.socket()
        s.settimeout(.3)
        try:
            s.connect((f'10.77.0.{host}', 7410))
            if round % 3 == 0: s.sendall(os.urandom(random.randrange(1, 60000)))
            elif round % 3 == 1: s.sendall(b'RGCH' + os.urandom(random.randrange(0, 200)))
            elif len(mute) < 60: mute.append(s); continue
        except OSError: pass
        s.close()
time.sleep(1)
"#;

/// Requests that are none at the local socket, and one without end; then the same kind of thing at the guard's.
const REQUESTS: &str = r#"
import os, socket
for round in range(300):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    s.connect('/run/regent/api.sock')
    try:
        if round % 100 == 99:
            for _ in range(90): s.sendall(b'x' * 65536)
        else:
            s.sendall([os.urandom(500) + b'\n', b'{"apply":{"text":7}}\n', b'[' * 3000 + b'\n', b'\n'][round % 4])
        s.recv(100000)
    except OSError: pass
    s.close()
for round in range(50):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(1)
    s.connect('/run/regent/guard.sock')
    try:
        s.sendall([b'', b'RGIP', os.urandom(3000), b'RGIP\x01\x01\x00\x00' + os.urandom(500)][round % 4])
        s.recv(100)
    except OSError: pass
    s.close()
"#;

#[test]
fn keepalives_recorded_before_a_node_restarted_make_no_dead_peer_look_alive() {
    let cluster = Cluster::up("replay", &(head("normal") + &address_group("cascading")));
    cluster.online_on("front", "lx4");
    let frames = python(&cluster, "wit", CAPTURE, "");
    cluster.lab.off("lx4").unwrap();
    cluster.online_on("front", "lx5");
    let epoch = find(&cluster.status().unwrap(), "front").epoch;
    cluster.lab.off_and_wait("wit").unwrap();
    cluster.lab.on("wit").unwrap();
    cluster.is_up("wit");
    let sent: u64 = python(&cluster, "client", REPLAY, &frames).parse().unwrap();
    assert!(sent > 500, "{sent}");
    let status = cluster.status_of("wit").unwrap();
    let lx4 = status.nodes.iter().find(|n| n.name.as_str() == "lx4").unwrap();
    assert!(lx4.networks.iter().all(|n| n.heard == Some(false)), "{lx4:#?}");
    let own: Vec<_> = cluster.events("wit").into_iter().filter(|e| e.node.as_str() == "wit").collect();
    let began = own.iter().filter(|e| e.kind == "daemon_start").map(|e| e.number).max().unwrap();
    let heard: Vec<_> =
        own.iter().filter(|e| e.number > began && e.kind == "peer_heard" && e.text.contains("lx4")).collect();
    assert!(heard.is_empty(), "{heard:#?}");
    cluster.wait_for("the replays told", |_| {
        troubles(&cluster, "wit").iter().any(|t| t.contains("recorded earlier"))
    });
    assert_eq!(find(&cluster.status().unwrap(), "front").epoch, epoch, "{}", cluster.evidence());
}

#[test]
fn random_replayed_and_forged_bytes_on_every_port_are_counted_dropped_and_told_once() {
    let cluster = Cluster::up("bytes", &(head("normal") + &ledger_group("cascading", "\"fenced\"")));
    cluster.online_on("ledger", "lx4");
    let epoch = find(&cluster.status().unwrap(), "ledger").epoch;
    let writer = cluster.writer(1);
    cluster.written_on(&writer, "lx4");
    let frames = python(&cluster, "lx4", CAPTURE, "");
    let processes: Vec<(&str, String)> = ["lx4", "lx5", "wit"]
        .into_iter()
        .flat_map(|m| [DAEMON, GUARD].map(|p| (m, process_of(&cluster, m, p).unwrap())))
        .collect();
    let strike = || {
        python(&cluster, "client", DATAGRAMS, &frames);
        python(&cluster, "client", CALLS, "");
        python(&cluster, "lx4", REQUESTS, "");
    };
    strike();
    let before: Vec<u64> = processes.iter().map(|(m, pid)| resident_kib(&cluster, m, pid)).collect();
    strike();
    for ((machine, pid), before) in processes.iter().zip(before) {
        let now = resident_kib(&cluster, machine, pid);
        assert!(now < before + 3_000, "process {pid} of {machine} grew from {before} to {now} KiB");
    }
    for word in ["another key", "none of Regent's", "port for other nodes", "local socket"] {
        cluster.wait_for(word, |_| troubles(&cluster, "lx4").iter().any(|t| t.contains(word)));
    }
    let told = cluster.events("lx4");
    let of = |kind: &str| told.iter().filter(|e| e.kind == kind && e.node.as_str() == "lx4").count();
    for kind in ["strangers", "garbage", "calls", "requests"] {
        assert_eq!(of(kind), 1, "{kind} is told once\n{}", cluster.evidence());
    }
    for (machine, pid) in &processes {
        let lives = cluster.lab.output(machine, &["kill", "-0", pid]).unwrap().status.success();
        assert!(lives, "process {pid} of {machine} has ended\n{}", cluster.evidence());
    }
    let status = cluster.wait_for("the group online", |s| find(s, "ledger").state == "online");
    assert_eq!(find(&status, "ledger").epoch, epoch, "it moved\n{}", cluster.evidence());
    assert!(status.nodes.iter().all(|n| n.state == "up"), "{}", cluster.evidence());
    std::thread::sleep(Duration::from_millis(200));
    cluster.nothing_lost(writer);
}

#[test]
fn what_a_node_could_not_do_is_told_when_the_configuration_is_applied_and_again_when_it_is_mended() {
    let good = head("normal") + &ledger_group("cascading", "\"fenced\"");
    let cluster = Cluster::up("notrdy", &good);
    let bad = good.replace(regent_lab::FENCE_AGENT, "/usr/local/bin/fence_mine");
    let bad =
        bad.replace("foreground = true", "foreground = true\n  status = \"/usr/local/bin/ledger-status\"");
    assert!(bad.contains("fence_mine") && bad.contains("ledger-status"));
    let apply = |text: &str| {
        sh(&cluster, "lx5", &format!("cat > /tmp/c.toml <<'E'\n{text}\nE\nregent apply /tmp/c.toml"));
    };
    apply(&bad);
    for (node, words) in [
        ("lx4", &["fence_mine", "ledger-status"][..]),
        ("lx5", &["fence_mine", "ledger-status"]),
        ("wit", &["fence_mine"]),
    ] {
        cluster.wait_for("the doubts", |_| {
            let told = troubles(&cluster, node).join(" ");
            words.iter().all(|word| told.contains(word))
        });
    }
    // An agent that is there and answers nonsense is no better.
    let agent = "printf '#!/bin/sh\\nhead -c 300000 /dev/urandom\\nexit 9\\n' > /usr/local/bin/fence_mine; \
                 chmod +x /usr/local/bin/fence_mine";
    sh(&cluster, "wit", agent);
    apply(&format!("{bad}# looked at anew\n"));
    cluster.wait_for("the useless answer", |_| {
        troubles(&cluster, "wit").iter().any(|t| t.contains("exited with 9"))
    });
    apply(&good);
    for node in ["lx4", "lx5", "wit"] {
        cluster.wait_for("all well again", |_| troubles(&cluster, node).is_empty());
    }
}
