//! The Linux calls of the daemon, behind names that say what they are for.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};

use crate::sys;

/// Callers that wait until they are accepted.
const BACKLOG: i32 = 64;

fn stream_socket(address: IpAddr, flags: SocketFlags) -> Result<std::os::fd::OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, flags | SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

/// Listens at an address of this machine, also at one that it does not have yet.
pub(crate) fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = stream_socket(address.ip(), SocketFlags::empty())?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Connects, from the address `from` if one is given, within a time.
pub(crate) fn dial(from: Option<IpAddr>, to: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let socket = stream_socket(to.ip(), SocketFlags::NONBLOCK)?;
    if let Some(from) = from {
        bind(&socket, &SocketAddr::new(from, 0))?;
    }
    match connect(&socket, &to) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => wait_until_connected(&socket, Instant::now() + within)?,
        Err(error) => return Err(error.into()),
    }
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket.into())
}

fn wait_until_connected(socket: &impl AsFd, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(sockopt::socket_error(socket)??),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a channel's stream quick, and quick to notice that nobody is there any more.
pub(crate) fn make_lively(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let milliseconds = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, milliseconds)?;
    Ok(())
}

/// Who is at the other end of a local stream.
pub(crate) struct Caller {
    /// 0 for a process of another PID namespace.
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    groups: Vec<u32>,
}

impl Caller {
    pub(crate) fn of(stream: &UnixStream) -> io::Result<Self> {
        let who = sys::peer(stream)?;
        // Root may all, whatever its groups are.
        let mut groups = if who.uid == 0 { Vec::new() } else { sys::peer_groups(stream)? };
        groups.push(who.gid);
        Ok(Self { pid: who.pid, uid: who.uid, groups })
    }

    /// Whether it is root, or the user of this process.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0 || self.uid == rustix::process::geteuid().as_raw()
    }

    /// Whether it is a member of this group.
    pub(crate) fn is_in(&self, group: u32) -> bool {
        self.groups.contains(&group)
    }
}

/// The number of a group of this machine's users.
pub(crate) fn group_named(name: &str) -> Option<u32> {
    regent_agents::accounts::group_number(name).ok().flatten()
}

/// The name of this machine up to the first dot.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// One address per interface that is up and leads somewhere: the first global IPv4 one, else the first IPv6 one.
pub(crate) fn own_addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let mut chosen: Vec<(String, IpAddr)> = Vec::new();
    for (interface, address) in sys::interface_addresses()? {
        if !leads_somewhere(&interface, address) {
            continue;
        }
        match chosen.iter_mut().find(|(known, _)| *known == interface) {
            None => chosen.push((interface, address)),
            Some((_, known)) if known.is_ipv6() && address.is_ipv4() => *known = address,
            Some(_) => {}
        }
    }
    Ok(chosen)
}

fn leads_somewhere(interface: &str, address: IpAddr) -> bool {
    let inner = ["docker", "br-", "veth", "virbr", "cni", "flannel", "lxc", "podman"];
    let usable = match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified()),
    };
    usable && !inner.iter().any(|prefix| interface.starts_with(prefix))
}

/// The address that this machine would speak from to reach another.
pub(crate) fn address_towards(other: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if other.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    // Sends nothing: it only asks the routing table.
    socket.connect((other, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// Makes the child of `command` leave this terminal and session.
pub(crate) fn detach(command: &mut Command) {
    sys::own_session(command);
}

/// Whether systemd runs this machine.
pub(crate) fn has_systemd() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn who_has_very_many_groups_has_them_all() {
        let folder = Folder::new("os-groups");
        let path = folder.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let groups = (1..=2000).map(|g| g.to_string()).collect::<Vec<_>>().join(",");
        let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)";
        // As who may connect wherever the folder is: only root is not asked for its groups.
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666));
        let _ = std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755));
        let who = ["--reuid", "65534", "--regid", "65534", "--groups", &groups, "python3", "-c", script];
        let mut command = Command::new("setpriv");
        let mut child =
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").args(who).arg(&path).spawn().unwrap();
        let (stream, _) = listener.accept().unwrap();
        let caller = Caller::of(&stream).unwrap();
        assert!((1..=2000).all(|group| caller.is_in(group)) && !caller.is_in(2001) && caller.is_in(65534));
        drop(stream);
        child.wait().unwrap();
    }

    #[test]
    fn addresses_inside_the_machine_are_no_network() {
        assert!(leads_somewhere("eth0", [10, 77, 0, 4].into()));
        assert!(leads_somewhere("bond0.7", "fd00::4".parse().unwrap()));
        for (interface, address) in
            [("lo", "127.0.0.1"), ("eth0", "169.254.1.1"), ("eth0", "fe80::1"), ("docker0", "172.17.0.1")]
        {
            assert!(!leads_somewhere(interface, address.parse().unwrap()), "{interface} {address}");
        }
    }

    #[test]
    fn dialing_nobody_fails_in_time_and_dialing_somebody_works_from_the_address_given() {
        let listener = listen_at("127.0.5.1:17423".parse().unwrap()).unwrap();
        let from: IpAddr = [127, 0, 5, 2].into();
        let stream = dial(Some(from), "127.0.5.1:17423".parse().unwrap(), Duration::from_secs(2)).unwrap();
        make_lively(&stream, Duration::from_millis(500)).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), from);
        let refused = dial(None, "127.0.5.1:17424".parse().unwrap(), Duration::from_secs(2)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_caller_of_a_local_stream_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Caller::of(&one).unwrap();
        assert_eq!(caller.pid, i32::try_from(std::process::id()).unwrap());
        assert!(caller.is_root());
        assert!(caller.is_in(rustix::process::getegid().as_raw()) && !caller.is_in(u32::MAX));
    }

    #[test]
    fn the_group_root_has_the_number_zero_and_a_strange_one_none() {
        assert_eq!(group_named("root"), Some(0));
        assert_eq!(group_named("regent-no-such-group"), None);
    }
}
