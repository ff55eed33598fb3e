//! Owners that cannot let go: a guard that is frozen, a machine that is frozen as a whole, and guard, daemon and
//! supervisor killed at once. The kernel ends their addresses with the lease; nobody is answered by two.

use std::time::{Duration, Instant};

use regent_lab::observe::{AddressWatch, answered_by_two};

use crate::cluster::{Cluster, SERVICE, find, head, owner, peer};
use crate::machine::{DAEMON, GUARD, process_of, python, sh};

const SERVICE_SIX: &str = "fd77::100";
const SUPERVISOR: &str = "[^ ]*regent node run";
/// Several leases of `takeover = "normal"`.
const SEVERAL_LEASES: Duration = Duration::from_millis(1500);

/// Asks one machine's kernel, by its hardware address, whether it answers for addresses: by IP, where it refuses a
/// connection, and as a neighbour, where it names itself. All at once, each for so many seconds at most.
const ASK: &str = r#"
import select, socket, struct, subprocess, sys, threading, time
mac, patience, addresses = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
raw = lambda text: bytes(int(part, 16) for part in text.split(':'))
shown = subprocess.run(['ip', '-o', 'link', 'show', 'eth0'], check=True, capture_output=True, text=True).stdout
own = raw(shown.split('link/ether ')[1].split()[0])
said = {}
def by_ip(address):
    s = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
    s.settimeout(patience)
    try:
        s.connect((address, 9))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
def question(address):
    if ':' not in address:
        target = socket.inet_aton(address)
        ask = struct.pack('!HHBBH', 1, 0x800, 6, 4, 1) + own + socket.inet_aton('10.77.0.2') + bytes(6) + target
        return b'\x08\x06' + ask, lambda f: f[12:14] == b'\x08\x06' and f[20:22] == b'\0\x02' and f[28:32] == target
    target, me = socket.inet_pton(socket.AF_INET6, address), socket.inet_pton(socket.AF_INET6, 'fd77::2')
    many = socket.inet_pton(socket.AF_INET6, 'ff02::1:ff00:0')[:13] + target[13:]
    body = struct.pack('!BBHI', 135, 0, 0, 0) + target + b'\x01\x01' + own
    words = me + many + struct.pack('!II', len(body), 58) + body
    total = sum(struct.unpack('!%dH' % (len(words) // 2), words))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    body = body[:2] + struct.pack('!H', 0xffff - total) + body[4:]
    head = struct.pack('!IHBB', 6 << 28, len(body), 58, 255) + me + many
    return b'\x86\xdd' + head + body, lambda f: f[12:14] == b'\x86\xdd' and f[20] == 58 and f[54] == 136 and f[62:78] == target
def as_neighbour(address):
    ask, is_answer = question(address)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(('eth0', 0))
    s.send(raw(mac) + own + ask)
    until = time.monotonic() + patience
    while (left := until - time.monotonic()) > 0:
        if select.select([s], [], [], left)[0]:
            frame = s.recv(2048)
            if frame[6:12] == raw(mac) and len(frame) > 41 and is_answer(frame):
                return True
    return False
for address in addresses:
    subprocess.run(['ip', 'neigh', 'replace', address, 'lladdr', mac, 'nud', 'permanent', 'dev', 'eth0'], check=True)
def ask(how, address):
    said[how.__name__, address] = 'answers' if how(address) else 'silent'
all = [threading.Thread(target=ask, args=(how, a)) for how in (by_ip, as_neighbour) for a in addresses]
[t.start() for t in all]
[t.join() for t in all]
for address in addresses:
    subprocess.run(['ip', 'neigh', 'del', address, 'dev', 'eth0'], check=True)
for (how, address), what in sorted(said.items()):
    print(what, address, how)
"#;

fn group() -> String {
    format!(
        "\n[[group]]\nname = \"front\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"rotating\"\n\n\
         [[group.address]]\naddress = \"{SERVICE}/24\"\n\n\
         [[group.address]]\naddress = \"{SERVICE_SIX}/64\"\ninterface = \"eth0\"\n"
    )
}

/// What a machine answers for on its own, with nobody else in the way.
struct Seen<'a> {
    cluster: &'a Cluster,
    mac: String,
}

impl<'a> Seen<'a> {
    fn of(cluster: &'a Cluster, node: &str) -> Self {
        let mac = sh(cluster, node, "ip -o link show eth0 | sed 's/.*link.ether //; s/ .*//'");
        Self { cluster, mac }
    }

    /// Every one of these addresses is answered, or none is, in whichever way it is asked.
    fn answers(&self, addresses: &[&str], wanted: bool, when: &str) {
        // A slow machine answers late; one that does not answer is not waited for that long.
        let patience = if wanted { "20" } else { "0.7" };
        let words = [&["", &self.mac, patience], addresses].concat().join("', '");
        let script = format!("import sys\nsys.argv = ['{words}']\n{ASK}");
        let said = python(self.cluster, "client", &script, "");
        let word = if wanted { "answers " } else { "silent " };
        assert_eq!(said.lines().count(), 2 * addresses.len(), "{said}");
        let evidence = || self.cluster.evidence();
        assert!(said.lines().all(|line| line.starts_with(word)), "{when}:\n{said}\n{}", evidence());
    }

    fn has_the_addresses(&self, wanted: bool, when: &str) {
        self.answers(&[SERVICE, SERVICE_SIX], wanted, when);
    }
}

fn own_address(node: &str) -> &'static str {
    if node == "lx4" { "10.77.0.4" } else { "10.77.0.5" }
}

/// An owner that cannot let go any more, from the moment of `stop` until `mend`.
fn cannot_let_go(cluster: &Cluster, what: &str, stop: impl Fn(&str), mend: impl Fn(&str)) {
    let status = cluster.wait_for("the group online", |s| s.groups[0].state == "online");
    let from = owner(&status, "front");
    let to = peer(&from);
    cluster.is_up(to);
    let (old, new) = (Seen::of(cluster, &from), Seen::of(cluster, to));
    old.has_the_addresses(true, "it owns them");
    let service = SERVICE.parse().unwrap();
    let arp = AddressWatch::start(&cluster.lab, "client", 0, service, Duration::from_millis(5)).unwrap();
    stop(&from);
    cluster.online_on("front", to);
    old.has_the_addresses(false, &format!("{what}, and its lease has ended"));
    old.answers(&[own_address(&from)], true, &format!("its own address is none of the guard's: {what}"));
    new.has_the_addresses(true, &format!("{what}, and it has taken over"));
    mend(&from);
    cluster.is_up(&from);
    let began = Instant::now();
    while sh(cluster, &from, "ip addr").contains(SERVICE) {
        assert!(began.elapsed() < Duration::from_secs(30), "it stays on {from}\n{}", cluster.evidence());
        std::thread::sleep(Duration::from_millis(20));
    }
    let rounds = arp.stop();
    let answered = |node: &str| rounds.iter().any(|r| r.answered.iter().any(|who| who == node));
    assert!(answered(&from) && answered(to), "{what}: the client saw no takeover");
    let double = answered_by_two(&rounds);
    assert!(double.is_empty(), "{what}: answered by two: {double:?}\n{}", cluster.evidence());
    cluster.online_on("front", to);
}

/// What runs of the cluster on a machine, the supervisor first.
fn all_processes(cluster: &Cluster, node: &str) -> String {
    let all = [SUPERVISOR, GUARD, DAEMON].map(|what| process_of(cluster, node, what).unwrap());
    all.join(" ")
}

#[test]
fn an_owner_that_cannot_let_go_is_silenced_by_its_kernel_and_nobody_is_answered_by_two() {
    let cluster = Cluster::up("frozen", &(head("normal") + &group()));
    sh(&cluster, "client", "ip addr add fd77::2/64 dev eth0 nodad");
    let status = cluster.status().unwrap();
    let (first, epoch) = (owner(&status, "front"), find(&status, "front").epoch);
    assert_eq!(find(&status, "front").guarantee_class, "kernel");

    // In ordinary running, renewed all the time, everything is answered.
    std::thread::sleep(SEVERAL_LEASES);
    Seen::of(&cluster, &first).has_the_addresses(true, "it is renewed");
    assert_eq!(find(&cluster.status().unwrap(), "front").epoch, epoch, "it moved\n{}", cluster.evidence());

    let signal = |which: &str, node: &str| {
        let guard = process_of(&cluster, node, GUARD).unwrap();
        sh(&cluster, node, &format!("kill -{which} {guard}"));
    };
    let guard = process_of(&cluster, &first, GUARD);
    cannot_let_go(&cluster, "the guard is frozen", |node| signal("STOP", node), |node| signal("CONT", node));
    // The kernel had ended all that it held: it took that off, and had no reason to reset the machine.
    assert_eq!(process_of(&cluster, &first, GUARD), guard, "it was reset\n{}", cluster.evidence());

    let pause = |node: &str| assert!(cluster.lab.pause(node, false).is_ok());
    let resume = |node: &str| assert!(cluster.lab.resume(node).is_ok());
    cannot_let_go(&cluster, "the machine is frozen", pause, resume);

    let kill = |node: &str| drop(sh(&cluster, node, &format!("kill -9 {}", all_processes(&cluster, node))));
    // The next guard finds what its kernel has ended, and takes it off.
    let start = |node: &str| drop(cluster.lab.output(node, &["regent", "node", "start"]));
    cannot_let_go(&cluster, "guard, daemon and supervisor are killed", kill, start);

    // Held without lease, it stays answered with no guard at all, and when it is owned again.
    let status = cluster.wait_for("the group online", |s| s.groups[0].state == "online");
    let last = owner(&status, "front");
    let seen = Seen::of(&cluster, &last);
    cluster.order(&last, &["node", "stop", "--forced"]);
    cluster.wait_for("the group unmanaged", |s| find(s, "front").state == "unmanaged");
    std::thread::sleep(SEVERAL_LEASES);
    assert!(process_of(&cluster, &last, GUARD).is_none(), "the guard is still there");
    seen.has_the_addresses(true, "it is held without lease");
    cluster.order(&last, &["node", "start"]);
    cluster.online_on("front", &last);
    std::thread::sleep(SEVERAL_LEASES);
    seen.has_the_addresses(true, "it was adopted");
}
