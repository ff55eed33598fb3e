//! The sockets of processes with their queues, from the kernel's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::processes;

/// How many sockets are shown.
const SHOWN_MAX: usize = 512;

const TCP_STATES: [&str; 12] = [
    "?",
    "established",
    "syn-sent",
    "syn-received",
    "fin-wait-1",
    "fin-wait-2",
    "time-wait",
    "closed",
    "close-wait",
    "last-ack",
    "listening",
    "closing",
];

/// The sockets that these processes have open, one a line.
pub(super) fn of(pids: &[i32]) -> String {
    // The processes of each network namespace, and which of them has which socket.
    let mut namespaces: BTreeMap<String, (Vec<i32>, BTreeMap<u64, String>)> = BTreeMap::new();
    for pid in pids {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/net")) else { continue };
        let (inside, sockets) = namespaces.entry(namespace.display().to_string()).or_default();
        inside.push(*pid);
        for (number, target) in processes::open_of(*pid) {
            let inode = target.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                let who = sockets.entry(inode).or_default();
                let _ = write!(who, "{}{pid} fd {number}", if who.is_empty() { "" } else { ", " });
            }
        }
    }
    let mut lines = Vec::new();
    for (inside, sockets) in namespaces.values() {
        let mut seen = BTreeSet::new();
        for table in ["tcp", "tcp6", "udp", "udp6", "unix"] {
            for line in table_seen_by(inside, table).lines().skip(1) {
                let found = if table == "unix" { unix(line) } else { inet(table, line) };
                let Some((inode, words)) = found else { continue };
                if let Some(who) = sockets.get(&inode) {
                    seen.insert(inode);
                    lines.push(format!("{words} ({who})"));
                }
            }
        }
        let others = sockets.iter().filter(|(inode, _)| !seen.contains(inode));
        lines.extend(others.map(|(inode, who)| format!("another kind of socket, {inode} ({who})")));
    }
    if lines.len() > SHOWN_MAX {
        let more = lines.len() - SHOWN_MAX;
        lines.truncate(SHOWN_MAX);
        lines.push(format!("... and {more} more"));
    }
    lines.join("\n")
}

/// A table of a network namespace, as the first of the processes inside it that is still there sees it.
fn table_seen_by(inside: &[i32], table: &str) -> String {
    let mut seen = inside.iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    seen.find_map(Result::ok).unwrap_or_default()
}

/// One line of a table of the internet protocols: the socket's inode, and the socket in words.
fn inet(table: &str, line: &str) -> Option<(u64, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let state = usize::from_str_radix(fields.get(3)?, 16).ok()?;
    let (sending, waiting) = fields.get(4)?.split_once(':')?;
    let sending = u64::from_str_radix(sending, 16).ok()?;
    let waiting = u64::from_str_radix(waiting, 16).ok()?;
    let again = u64::from_str_radix(fields.get(6)?, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    let words = match (table.starts_with("tcp"), state) {
        (true, 10) => format!("{table} {local} listening, {waiting} connection(s) wait to be accepted"),
        (true, state) => format!(
            "{table} {local} - {remote} {}, {waiting} byte(s) not read, {sending} not acknowledged, sent again {again} time(s)",
            TCP_STATES.get(state).unwrap_or(&"?")
        ),
        (false, _) => format!("{table} {local} - {remote}, {waiting} byte(s) not read, {sending} not sent"),
    };
    Some((inode, words))
}

fn unix(line: &str) -> Option<(u64, String)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let listens = fields.get(3)? == &"00010000";
    let inode = fields.get(6)?.parse().ok()?;
    let path = fields.get(7).copied().unwrap_or("without a name");
    Some((inode, format!("unix {path}{}", if listens { " listening" } else { "" })))
}

/// As the kernel writes it: words of 32 bits in the machine's own order, and a port.
fn address(text: &str) -> Option<String> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Vec<u8> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let address: IpAddr = match words.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into(),
        _ => return None,
    };
    Some(std::net::SocketAddr::new(address, port).to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn own_sockets_are_found_with_what_waits_in_their_queues() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let at = listener.local_addr().unwrap();
            let mut client = TcpStream::connect(at).unwrap();
            client.write_all(b"12345").unwrap();
            let text = of(&[std::process::id() as i32]);
            let listening = format!("{at} listening, 1 connection(s) wait to be accepted");
            assert!(text.contains(&listening), "{text}");
            let (server, _) = listener.accept().unwrap();
            let text = of(&[std::process::id() as i32]);
            let unread = format!("{at} - {} established, 5 byte(s) not read", client.local_addr().unwrap());
            assert!(text.contains(&unread), "{text}");
            drop(server);
        }
    }

    #[test]
    fn a_process_that_ends_meanwhile_takes_nothing_from_what_is_seen_of_the_others() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let (ended, own) = (ended.id() as i32, std::process::id() as i32);
        assert_eq!(table_seen_by(&[ended], "unix"), "");
        assert!(table_seen_by(&[ended, own], "unix").starts_with("Num"));
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused_without_harm(line: String) {
            let _ = (inet("tcp", &line), unix(&line), address(&line));
        }
    }
}
