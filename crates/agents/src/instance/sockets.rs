//! Who listens on a port of this node.

use std::path::Path;

use crate::process;

/// The state of a socket that listens, in the kernel's list.
const LISTENS: &str = "0A";

/// A port that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    port: u16,
    inodes: Vec<u64>,
}

/// Whoever listens on the port, by TCP.
///
/// # Errors
/// The kernel's list cannot be read.
pub(super) fn listener(port: u16) -> Result<Option<Listener>, String> {
    let mut inodes = Vec::new();
    for list in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        match std::fs::read_to_string(list) {
            Ok(text) => inodes.extend(text.lines().filter_map(|line| listening(line, port))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(format!("cannot see who listens on port {port}: {list}: {e}")),
        }
    }
    Ok((!inodes.is_empty()).then_some(Listener { port, inodes }))
}

/// The inode of the socket that a line tells of, if it listens on the port.
fn listening(line: &str, port: u16) -> Option<u64> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let of = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    let inode = words.nth(5)?;
    (state == LISTENS && of == port).then(|| inode.parse().ok()).flatten()
}

impl Listener {
    /// Whether one of these processes has it.
    pub(super) fn is_held_by(&self, pids: &[i32]) -> bool {
        pids.iter().any(|pid| self.holds(*pid))
    }

    fn holds(&self, pid: i32) -> bool {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.into_iter().any(|fd| self.is_it(&fd.path()))
    }

    fn is_it(&self, fd: &Path) -> bool {
        let Ok(target) = std::fs::read_link(fd) else { return false };
        let text = target.to_string_lossy().into_owned();
        let inode = text.strip_prefix("socket:[").and_then(|t| t.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| self.inodes.contains(&inode))
    }

    /// Who it is, for the operator.
    pub(super) fn in_words(&self) -> String {
        let who = process::all().into_iter().find(|pid| self.holds(*pid)).map(process::describe);
        who.unwrap_or_else(|| format!("by nobody who can be seen (ss -ltnp 'sport = :{}')", self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_with_who_has_it() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listener(port).unwrap().unwrap();
        let own = std::process::id().cast_signed();
        assert!(found.is_held_by(&[own]) && !found.is_held_by(&[1]));
        assert!(found.in_words().contains(&own.to_string()));
        drop(socket);
        // A child that another test is just making has it until it executes.
        let gone = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            listener(port).unwrap().is_none()
        });
        assert!(gone);
    }
}
