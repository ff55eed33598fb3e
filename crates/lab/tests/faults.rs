//! Cuts, pauses and the power switch as a fence device, with a ledger that must not forget anything.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use regent_lab::ledger::{LEDGER_PORT, LedgerWriter, audit, read_ledger};
use regent_lab::observe::{AddressWatch, Observer, answered_by_two, doubles};
use regent_lab::probe::{Probe, Protocol};
use regent_lab::{Direction, Lab, Power, Running, now_ns, two_writers};
use support::{eventually, pings, sh, sh_output, up};

const SERVICE: &str = "10.77.0.100";
const EVERY: Duration = Duration::from_millis(2);

fn service() -> SocketAddr {
    SocketAddr::new(SERVICE.parse().unwrap(), LEDGER_PORT)
}

/// Acquires by hand what a cluster would: disk, address, ledger.
fn acquire(lab: &Lab, node: &str, epoch: u32) -> Running {
    sh(lab, node, "mkdir -p /mnt/d && mount -t ext4 /dev/san0 /mnt/d");
    sh(lab, node, &format!("ip addr add {SERVICE}/24 dev eth0"));
    // What a cluster announces: clients learn the new owner at once.
    let announce = "import socket,fcntl,struct\n\
        s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('eth0',0x806))\n\
        m=s.getsockname()[4]; a=socket.inet_aton('10.77.0.100')\n\
        s.send(b'\\xff'*6+m+struct.pack('!HHHBBH',0x806,1,0x800,6,4,1)+m+a+b'\\0'*6+a)";
    sh(lab, node, &format!("python3 -c \"{announce}\""));
    let mut ledger = Command::new("regent-lab-hand");
    ledger.args([
        "ledger",
        "serve",
        "--listen",
        &format!("{SERVICE}:{LEDGER_PORT}"),
        "--file",
        "/mnt/d/ledger",
    ]);
    ledger.env("REGENT_NODE", node).env("REGENT_EPOCH", epoch.to_string());
    lab.spawn(node, ledger).unwrap()
}

#[test]
fn power_cuts_lose_no_acknowledged_number_and_never_show_two_owners() {
    let lab = up("ledger");
    let mut ledger = acquire(&lab, "lx4", 1);
    let address: IpAddr = SERVICE.parse().unwrap();
    let observer = Observer::start(&lab, &[address], EVERY).unwrap();
    let probe = Probe::start(&lab, "client", service(), Protocol::Udp, EVERY).unwrap();
    let arp = AddressWatch::start(&lab, "client", 0, "10.77.0.100".parse().unwrap(), EVERY).unwrap();
    let writer = LedgerWriter::start(&lab, "client", service(), 1, Duration::ZERO, None).unwrap();
    eventually("numbers are acknowledged", Duration::from_secs(5), || writer.count().0 > 50);
    let mut cuts = Vec::new();
    for (epoch, (from, to)) in [("lx4", "lx5"), ("lx5", "lx4"), ("lx4", "lx5")].into_iter().enumerate() {
        let began = Instant::now();
        let at = lab.off(from).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "a cut took {:?}", began.elapsed());
        cuts.push((at, to));
        let next = acquire(&lab, to, epoch as u32 + 2);
        std::mem::replace(&mut ledger, next).wait().unwrap();
        let before = writer.count().0;
        eventually("the client goes on", Duration::from_secs(10), || writer.count().0 > before + 50);
        if lab.status().unwrap().machine(from).unwrap().power != Power::On {
            lab.on(from).unwrap();
        }
    }
    let stored = read_ledger(&lab, "client", service()).unwrap();
    let acknowledged = writer.stop();
    let stored = if acknowledged.len() > stored.len() {
        read_ledger(&lab, "client", service()).unwrap()
    } else {
        stored
    };
    let audit = audit(&acknowledged, &stored);
    assert!(audit.is_clean() && audit.acknowledged > 150, "{audit:?}");
    let series = probe.stop();
    for (at, to) in &cuts {
        let first = series.first_after(*at).unwrap();
        assert!(first.who.starts_with(to), "{first:?} after the cut at {at}");
    }
    let late = series.replies.iter().filter(|r| {
        cuts.iter().any(|(at, to)| r.sent > *at && r.sent < at + 50_000_000 && !r.who.starts_with(to))
    });
    assert_eq!(late.count(), 0, "a dead node answers nobody");
    assert_eq!(answered_by_two(&arp.stop()), []);
    let holdings = observer.stop();
    assert!(holdings.len() >= 4, "{holdings:?}");
    assert_eq!(doubles(&holdings), []);
    assert_eq!(two_writers(&lab.san_log().unwrap()), []);
    ledger.kill().unwrap();
    ledger.wait().unwrap();
}

#[test]
fn two_nodes_with_one_address_are_seen() {
    let lab = up("doubles");
    let service = "10.77.0.100".parse().unwrap();
    let arp = AddressWatch::start(&lab, "client", 0, service, Duration::from_millis(5)).unwrap();
    let six = "fd77::100".parse().unwrap();
    let six = AddressWatch::start(&lab, "client", 0, six, Duration::from_millis(5)).unwrap();
    let observer =
        Observer::start(&lab, &[SERVICE.parse().unwrap(), "fd77::100".parse().unwrap()], EVERY).unwrap();
    for node in ["lx4", "lx5"] {
        sh(
            &lab,
            node,
            &format!("ip addr add {SERVICE}/32 dev eth0; ip addr add fd77::100/128 dev eth0 nodad"),
        );
    }
    std::thread::sleep(Duration::from_millis(150));
    sh(&lab, "lx4", &format!("ip addr del {SERVICE}/32 dev eth0; ip addr del fd77::100/128 dev eth0"));
    std::thread::sleep(Duration::from_millis(50));
    for rounds in [arp.stop(), six.stop()] {
        assert_eq!(answered_by_two(&rounds).len(), 1);
        assert_eq!(rounds.last().unwrap().answered, ["lx5"]);
    }
    assert_eq!(doubles(&observer.stop()).len(), 2);
}

#[test]
fn a_cut_swallows_frames_but_leaves_the_carrier_and_heals() {
    let lab = up("cuts");
    assert!(pings(&lab, "lx5", "10.77.0.4") && pings(&lab, "lx5", "10.78.0.4"));
    lab.cut("lx4", Some(0)).unwrap();
    assert!(!pings(&lab, "lx5", "10.77.0.4") && pings(&lab, "lx5", "10.78.0.4"));
    assert_eq!(sh(&lab, "lx4", "cat /sys/class/net/eth0/carrier"), "1");
    assert_eq!(lab.status().unwrap().machine("lx4").unwrap().networks[0].cut, Some(Direction::Both));
    lab.cut("lx4", None).unwrap();
    assert!(!pings(&lab, "lx5", "10.78.0.4"));
    lab.heal("lx4", None).unwrap();
    assert!(pings(&lab, "lx5", "10.77.0.4") && pings(&lab, "lx4", "10.78.0.5"));
    let error = lab.cut("lx4", Some(7)).unwrap_err().to_string();
    assert!(error.contains("it has eth0, eth1"), "{error}");
}

#[test]
fn a_cable_that_is_cut_stays_cut_when_the_machine_boots_until_it_is_healed() {
    let lab = up("cable");
    lab.cut("lx4", Some(0)).unwrap();
    lab.off_and_wait("lx4").unwrap();
    lab.on("lx4").unwrap();
    assert!(!pings(&lab, "lx5", "10.77.0.4") && pings(&lab, "lx5", "10.78.0.4"));
    lab.off_and_wait("lx4").unwrap();
    lab.heal("lx4", None).unwrap();
    lab.on("lx4").unwrap();
    eventually("it answers again", Duration::from_secs(5), || pings(&lab, "lx5", "10.77.0.4"));
}

/// Whether a datagram from one machine arrives at the other.
fn arrives(lab: &Lab, from: &str, to: &str, address: &str) -> bool {
    let listen = format!(
        "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('{address}',999))\n\
         s.settimeout(1.5)\ntry: s.recv(9)\nexcept OSError: sys.exit(1)"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &listen]);
    let listener = lab.spawn(to, command).unwrap();
    eventually("the listener is bound", Duration::from_secs(5), || {
        sh_output(lab, to, "grep -q :03E7 /proc/net/udp").status.success()
    });
    // Known neighbours: a lost answer to ARP must not be mistaken for a lost datagram.
    let send = format!(
        "import socket\nsocket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'x',('{address}',999))"
    );
    lab.output(from, &["python3", "-c", &send]).unwrap();
    listener.wait().unwrap().success()
}

#[test]
fn a_one_way_cut_lets_the_other_direction_through() {
    let lab = up("oneway");
    for (a, b, address) in [("lx4", "10.77.0.5", "10.77.0.5"), ("lx5", "10.77.0.4", "10.77.0.4")] {
        assert!(pings(&lab, a, b));
        let mac = sh(&lab, a, &format!("ip neigh show {address} | grep -o '02:[0-9a-f:]*'"));
        sh(&lab, a, &format!("ip neigh replace {address} lladdr {mac} dev eth0 nud permanent"));
    }
    lab.cut_direction("lx4", Some(0), Direction::In).unwrap();
    assert!(!arrives(&lab, "lx5", "lx4", "10.77.0.4"), "deaf");
    assert!(arrives(&lab, "lx4", "lx5", "10.77.0.5"), "not mute");
    lab.cut_direction("lx4", Some(0), Direction::Out).unwrap();
    assert!(arrives(&lab, "lx5", "lx4", "10.77.0.4"), "not deaf");
    assert!(!arrives(&lab, "lx4", "lx5", "10.77.0.5"), "mute");
    lab.heal("lx4", None).unwrap();
    assert!(pings(&lab, "lx4", "10.77.0.5"));
}

#[test]
fn machines_on_two_sides_of_a_split_do_not_hear_each_other_and_those_of_one_do_also_after_a_boot() {
    let lab = up("split");
    lab.split(&["lx5", "wit"], &[""; 0]).unwrap();
    assert!(!pings(&lab, "client", "10.77.0.5") && !pings(&lab, "lx4", "10.78.0.5"));
    assert!(!pings(&lab, "lx5", "10.77.0.4"));
    assert!(pings(&lab, "client", "10.77.0.4") && pings(&lab, "wit", "10.77.0.5"));
    lab.off_and_wait("lx5").unwrap();
    lab.on("lx5").unwrap();
    assert!(!pings(&lab, "client", "10.77.0.5") && pings(&lab, "wit", "10.78.0.5"));
    lab.split(&["lx5", "wit"], &["client"]).unwrap();
    eventually("the client hears both", Duration::from_secs(5), || pings(&lab, "client", "10.77.0.5"));
    assert!(pings(&lab, "client", "10.77.0.4") && !pings(&lab, "lx4", "10.77.0.5"));
    lab.join().unwrap();
    eventually("they are together again", Duration::from_secs(5), || pings(&lab, "lx4", "10.77.0.5"));
    assert!(lab.split(&["nobody"], &[""; 0]).is_err());
}

#[test]
fn nothing_runs_in_a_machine_that_boots_before_it_has_its_own_files() {
    let lab = up("booting");
    let marker = std::env::temp_dir().join(format!("regent-test-host-{}", std::process::id()));
    std::fs::write(&marker, "the host's").unwrap();
    let mut asked = 0;
    std::thread::scope(|scope| {
        let boots = scope.spawn(|| {
            for _ in 0..3 {
                lab.off_and_wait("lx4").unwrap();
                lab.on("lx4").unwrap();
            }
        });
        while !boots.is_finished() {
            if let Ok(output) = lab.output("lx4", &["test", "-e", marker.to_str().unwrap()]) {
                assert!(!output.status.success(), "it ran among the host's files");
                asked += 1;
            }
        }
    });
    std::fs::remove_file(&marker).unwrap();
    assert!(asked > 0);
}

#[test]
fn a_paused_machine_stands_still_and_answers_nobody_if_silent() {
    let lab = up("pause");
    let mut counter = Command::new("sh");
    counter.args(["-c", "while :; do echo x; sleep 0.01; done"]);
    let file = std::env::temp_dir().join(format!("count-{}", std::process::id()));
    counter.stdout(std::fs::File::create(&file).unwrap());
    let counter = lab.spawn("lx4", counter).unwrap();
    let size = || std::fs::metadata(&file).map_or(0, |m| m.len());
    eventually("it counts", Duration::from_secs(5), || size() > 10);
    lab.pause("lx4", false).unwrap();
    let (then, status) = (size(), lab.status().unwrap());
    assert!(status.machine("lx4").unwrap().paused);
    assert!(pings(&lab, "client", "10.77.0.4"), "its kernel is the host's and still answers");
    assert_eq!(size(), then);
    lab.resume("lx4").unwrap();
    eventually("it goes on", Duration::from_secs(5), || size() > then);
    lab.pause("lx4", true).unwrap();
    assert!(!pings(&lab, "client", "10.77.0.4"));
    lab.resume("lx4").unwrap();
    assert!(pings(&lab, "client", "10.77.0.4"));
    // A frozen machine can be powered off too.
    lab.pause("lx4", true).unwrap();
    lab.off_and_wait("lx4").unwrap();
    counter.wait().unwrap();
    std::fs::remove_file(file).unwrap();
}

fn fence(lab: &Lab, from: &str, options: &str) -> (Option<i32>, String) {
    let output = sh_output(lab, from, &format!("printf '{options}' | fence_lab 2>&1"));
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_power_switch_is_a_fence_device() {
    let lab = up("fence");
    assert_eq!(fence(&lab, "lx5", "action=monitor\\n").0, Some(0));
    let (code, list) = fence(&lab, "lx5", "action=list\\n");
    assert!(code == Some(0) && list.lines().any(|l| l == "lx4,lx4"), "{list}");
    assert_eq!(fence(&lab, "lx5", "action=status\\nplug=lx4\\n").0, Some(0));
    let before = now_ns();
    assert_eq!(fence(&lab, "lx5", "# c\\naction=off\\nnodename=lx4\\nplug=lx4\\n").0, Some(0));
    let cut = lab.san_log().unwrap();
    assert!(cut.events.iter().any(|e| matches!(e,
        regent_lab::SanEvent::Switch { at, node, to: regent_lab::DiskState::Cut } if node == "lx4" && *at > before)));
    assert_eq!(fence(&lab, "lx5", "action=status\\nplug=lx4\\n").0, Some(2));
    assert_eq!(fence(&lab, "lx5", "action=off\\nplug=lx4\\n").0, Some(0), "off is off");
    assert_eq!(fence(&lab, "wit", "action=on\\nport=lx4\\n").0, Some(0));
    assert_eq!(fence(&lab, "wit", "action=status\\nplug=lx4\\n").0, Some(0));
    assert_eq!(fence(&lab, "wit", "action=reboot\\nplug=lx4\\n").0, Some(0));
    eventually("lx4 is back", Duration::from_secs(10), || {
        let status = lab.status().unwrap();
        let lx4 = status.machine("lx4").unwrap();
        lx4.power == Power::On && lx4.boot == 3
    });
    assert_eq!(fence(&lab, "lx5", "action=off\\nplug=nobody\\n").0, Some(1));
    // The switch hangs on the networks, a reset line does not.
    lab.cut("lx5", None).unwrap();
    let (code, said) = fence(&lab, "lx5", "action=off\\nplug=lx4\\n");
    assert!(code == Some(1) && said.contains("cannot be reached"), "{said}");
    let _dies_with_it = lab.output("lx5", &["regent-lab-hand", "reset-line"]).unwrap();
    eventually("lx5 has reset itself", Duration::from_secs(10), || {
        let status = lab.status().unwrap();
        let lx5 = status.machine("lx5").unwrap();
        lx5.power == Power::On && lx5.boot == 2
    });
}

/// How many of 200 datagrams from the client to itself by way of `lx4` come back.
fn echoes(lab: &Lab) -> usize {
    let server = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('',7))\n\
                  while True:\n d,a=s.recvfrom(99)\n s.sendto(d,a)";
    let mut command = Command::new("python3");
    command.args(["-c", server]);
    let server = lab.spawn("lx4", command).unwrap();
    eventually("the server is bound", Duration::from_secs(10), || {
        sh_output(lab, "lx4", "grep -q :0007 /proc/net/udp").status.success()
    });
    let ask = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(.05)\nn=0\n\
               for i in range(200):\n s.sendto(b'%d'%i,('10.77.0.4',7))\n try:\n  \
               while s.recv(99)!=b'%d'%i: pass\n  n+=1\n except OSError: pass\nprint(n)";
    let said = lab.output("client", &["python3", "-c", ask]).unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    String::from_utf8_lossy(&said.stdout).trim().parse().unwrap()
}

#[test]
fn a_lossy_machine_loses_about_so_many_frames_each_way_until_it_is_healed() {
    let lab = up("lossy");
    // Neighbours that know each other: a question of ARP that is lost is asked again a second later only.
    assert!(pings(&lab, "client", "10.77.0.4"));
    lab.lossy("lx4", None, 20).unwrap();
    assert_eq!(lab.status().unwrap().machine("lx4").unwrap().networks[1].loses, 20);
    let lossy = echoes(&lab);
    assert!((80..170).contains(&lossy), "{lossy} of 200 came back; 128 should");
    lab.heal("lx4", None).unwrap();
    let healed = echoes(&lab);
    assert!(healed >= 195, "{healed} of 200 came back");
    assert_eq!(lab.status().unwrap().machine("lx4").unwrap().networks[1].loses, 0);
    assert!(lab.lossy("lx4", None, 101).is_err() && lab.lossy("lx4", Some(7), 5).is_err());
}
