//! Asks service addresses again and again, as a client would, and tells which node answered.
//!
//! A question is a TCP connection: to the port that the plan names, or else to one where nobody is expected to listen,
//! whose refusal shows as well that the address is there. Which node that was a portal says itself, in its status
//! document. Otherwise it follows from the hardware address behind the service address: it is compared with those behind
//! the nodes' own addresses.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regent_model::NodeName;

use super::series::{Answer, Series};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(250);
/// The pause after an answer.
const PAUSE: Duration = Duration::from_millis(100);
/// So many ask side by side, so that a question without an answer does not keep the next one waiting.
const ASKERS: u32 = 3;
/// A time without an answer that counts: longer than any pause between two answers.
pub(super) const WORTH: Duration = Duration::from_millis(300);
/// No portal's status document is longer, in bytes.
const DOCUMENT_MAX: usize = 256 << 10;
/// The port that is asked where none is named: nobody should listen there, and the refusal is the answer.
const CLOSED_PORT: u16 = 9;
/// How often the hardware addresses of nodes are looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(2);

/// Where a thread that asks is to run: in the lab on the client, else right here.
pub(super) type Place<'a> = &'a dyn Fn(&str, Box<dyn FnOnce() + Send>) -> crate::trouble::Result<()>;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The service address.
    pub(super) address: IpAddr,
    /// The port, if one is known.
    pub(super) port: Option<u16>,
    /// Whether its portal is open there.
    pub(super) portal: bool,
    /// Its group.
    pub(super) group: String,
}

impl Target {
    /// How it is asked, in words.
    #[must_use]
    pub(super) fn how(&self) -> String {
        match self.port {
            Some(port) if self.portal => format!("its portal, TCP port {port}"),
            Some(port) => format!("TCP port {port}"),
            None => "the address itself".to_owned(),
        }
    }
}

/// Who has which addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    /// The nodes with their own addresses.
    pub(super) nodes: Vec<(NodeName, Vec<IpAddr>)>,
    /// The node on which the questions are asked, if it is one.
    pub(super) here: Option<NodeName>,
}

/// The askers. They end when this is dropped.
pub(super) struct Probes {
    stop: Arc<AtomicBool>,
    heard: BTreeMap<IpAddr, Arc<Mutex<Series>>>,
    targets: Vec<Target>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probes {
    /// Begins to ask. Times count from `began`.
    ///
    /// # Errors
    /// When no thread can be made, or the client of the lab is off.
    pub(super) fn start(
        targets: Vec<Target>,
        roster: Roster,
        began: Instant,
        place: Place<'_>,
    ) -> crate::trouble::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let known: Arc<Mutex<BTreeMap<String, NodeName>>> = Arc::default();
        let nodes = roster.nodes.clone();
        let (ending, learnt) = (stop.clone(), known.clone());
        place("neighbours", Box::new(move || learn(&nodes, &ending, &learnt)))?;
        let mut heard = BTreeMap::new();
        for target in &targets {
            let series: Arc<Mutex<Series>> = Arc::default();
            for number in 0..ASKERS {
                let (ending, known, series) = (stop.clone(), known.clone(), series.clone());
                let (target, here) = (target.clone(), roster.here.clone());
                let work = move || {
                    std::thread::sleep((PATIENCE / ASKERS) * number);
                    while !ending.load(Ordering::Relaxed) {
                        let began_at = Instant::now();
                        if let Some(named) = ask(&target) {
                            let at = began.elapsed();
                            let from = named.and_then(|portal| says(portal, target.address, PATIENCE));
                            let from = from.or_else(|| who(target.address, &lock(&known), here.as_ref()));
                            lock(&series).push(Answer { at, from });
                        } else {
                            lock(&series).miss(began_at.saturating_duration_since(began));
                        }
                        std::thread::sleep(PAUSE.max(PATIENCE.saturating_sub(began_at.elapsed())));
                    }
                };
                place("probe", Box::new(work))?;
            }
            heard.insert(target.address, series);
        }
        Ok(Self { stop, heard, targets })
    }

    /// What an address answered so far.
    #[must_use]
    pub(super) fn heard(&self, address: IpAddr) -> Series {
        self.heard.get(&address).map(|series| lock(series).clone()).unwrap_or_default()
    }

    /// What is asked.
    #[must_use]
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Nothing where nobody answers; otherwise the portal, if that is who answers.
fn ask(target: &Target) -> Option<Option<TcpStream>> {
    let to = SocketAddr::new(target.address, target.port.unwrap_or(CLOSED_PORT));
    match TcpStream::connect_timeout(&to, PATIENCE) {
        Ok(stream) => Some(target.portal.then_some(stream)),
        Err(error) => {
            (target.port.is_none() && error.kind() == io::ErrorKind::ConnectionRefused).then_some(None)
        }
    }
}

/// The node that a portal names, if it says so in time.
fn says(mut portal: TcpStream, address: IpAddr, patience: Duration) -> Option<NodeName> {
    let until = Instant::now() + patience;
    let left = || Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    portal.set_write_timeout(left()).ok()?;
    write!(portal, "GET /status.json HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let (mut said, mut chunk) = (Vec::new(), [0; 4096]);
    while said.len() < DOCUMENT_MAX {
        portal.set_read_timeout(Some(left()?)).ok()?;
        match portal.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => said.extend_from_slice(chunk.get(..bytes)?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    named(&said)
}

fn named(answer: &[u8]) -> Option<NodeName> {
    let (head, body) = std::str::from_utf8(answer).ok()?.split_once("\r\n\r\n")?;
    if head.split_ascii_whitespace().nth(1) != Some("200") {
        return None;
    }
    let document: serde_json::Value = serde_json::from_str(body).ok()?;
    NodeName::new(document.get("node")?.as_str()?).ok()
}

/// Which node is behind a service address that has just answered.
fn who(address: IpAddr, known: &BTreeMap<String, NodeName>, here: Option<&NodeName>) -> Option<NodeName> {
    if UdpSocket::bind((address, 0)).is_ok() {
        return here.cloned();
    }
    neighbours().get(&address).and_then(|hardware| known.get(hardware)).cloned()
}

/// Looks up again and again what is behind the nodes' own addresses.
fn learn(nodes: &[(NodeName, Vec<IpAddr>)], stop: &AtomicBool, known: &Mutex<BTreeMap<String, NodeName>>) {
    while !stop.load(Ordering::Relaxed) {
        for address in nodes.iter().flat_map(|(_, addresses)| addresses) {
            let any: SocketAddr =
                if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
            // What is said does not matter: that something is said makes the kernel look the address up.
            let _unreachable_shows =
                UdpSocket::bind(any).and_then(|s| s.send_to(&[], (*address, CLOSED_PORT)));
        }
        std::thread::sleep(Duration::from_millis(100));
        let seen = neighbours();
        let mut known = lock(known);
        for (node, addresses) in nodes {
            for hardware in addresses.iter().filter_map(|a| seen.get(a)) {
                known.insert(hardware.clone(), node.clone());
            }
        }
        drop(known);
        let again = Instant::now() + LOOK_UP_EVERY;
        while Instant::now() < again && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
        }
    }
}

/// The kernel's table of neighbours, for IPv4, as this thread's network has it.
fn neighbours() -> BTreeMap<IpAddr, String> {
    parse_neighbours(&std::fs::read_to_string("/proc/thread-self/net/arp").unwrap_or_default())
}

fn parse_neighbours(text: &str) -> BTreeMap<IpAddr, String> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (address, _kind, flags, hardware) = (words.next()?, words.next()?, words.next()?, words.next()?);
        // Without flags the entry is only a question that nobody has answered.
        (flags != "0x0").then(|| Some((address.parse().ok()?, hardware.to_owned())))?
    };
    text.lines().skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_neighbours_that_have_answered_count() {
        let text = "IP address       HW type     Flags       HW address            Mask     Device\n\
                    10.77.0.4        0x1         0x2         02:4c:00:00:00:00     *        eth0\n\
                    10.77.0.5        0x1         0x0         00:00:00:00:00:00     *        eth0\n";
        let seen = parse_neighbours(text);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[&IpAddr::from([10, 77, 0, 4])], "02:4c:00:00:00:00");
    }

    #[test]
    fn a_listener_answers_and_a_refusal_is_an_answer_of_the_address_alone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let target = |port| Target { address: address.ip(), port, portal: false, group: "g".into() };
        assert!(ask(&target(Some(address.port()))).is_some());
        drop(listener);
        assert!(ask(&target(Some(address.port()))).is_none(), "nobody listens there any more");
        assert!(ask(&target(None)).is_some(), "but the address is there");
    }

    /// Answers one request with `answer`; whom a question to it names.
    fn told_by_a_portal(answer: &'static str) -> Option<NodeName> {
        // Over IPv6: there is no hardware address to go by.
        let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
        let address = listener.local_addr().unwrap();
        let portal = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let bytes = stream.read(&mut request).unwrap();
            assert!(request[..bytes].starts_with(b"GET /status.json HTTP/1.0\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let target =
            Target { address: address.ip(), port: Some(address.port()), portal: true, group: "g".into() };
        let stream = ask(&target).expect("it answers").expect("it is a portal");
        let named = says(stream, target.address, Duration::from_secs(30));
        portal.join().unwrap();
        named
    }

    #[test]
    fn a_portal_names_its_node_itself_and_what_it_does_not_say_is_not_made_up() {
        let lx5 = NodeName::new("lx5").unwrap();
        let told =
            told_by_a_portal("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"node\":\"lx5\",\"epoch\":7}\n");
        assert_eq!(told, Some(lx5));
        assert_eq!(told_by_a_portal("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"node\":\"lx5\"}"), None);
        assert_eq!(told_by_a_portal("HTTP/1.1 200 OK\r\n\r\n<html>lx5</html>"), None);
        assert_eq!(told_by_a_portal("SSH-2.0-OpenSSH\r\n"), None);
        assert_eq!(told_by_a_portal(""), None);
    }
}
