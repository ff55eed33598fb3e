//! The lab's networks: one bridge per network in the fabric's own network namespace, one port per machine.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use crate::error::{Doing, LabError, Result};
use crate::interface::Plug;

/// Which frames a cut swallows, seen from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// All of them.
    #[default]
    Both,
    /// Those to the machine: it can be heard but hears nothing.
    In,
    /// Those from the machine: it hears but cannot be heard.
    Out,
    /// All of them, and the carrier, too: the cable is pulled.
    Cable,
}

/// The switch of all networks.
pub(crate) struct Switch {
    route: Mutex<OwnedFd>,
}

/// A port of the switch.
#[derive(Debug, Clone)]
pub(crate) struct SwitchPort {
    /// Its name in the switch.
    pub(crate) name: String,
    index: u32,
}

/// How long the kernel may take to notice that a machine which was switched on is there.
const CARRIER_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

const RTM_SETLINK: u16 = 19;
const NLM_F_REQUEST_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const AF_BRIDGE: u8 = 7;
const IFLA_PROTINFO_NESTED: u16 = 12 | 0x8000;
const BRPORT_STATE: u16 = 1;
const BRPORT_LEARNING: u16 = 8;
const BRPORT_UNICAST_FLOOD: u16 = 9;
const BRPORT_FLUSH: u16 = 24;
const BRPORT_MCAST_FLOOD: u16 = 27;
const BRPORT_BCAST_FLOOD: u16 = 30;
const BRPORT_LOCKED: u16 = 39;
/// Where the kernel's filters find a random number, what they answer to have a frame dropped, and to leave it alone.
const RANDOM_NUMBER: u32 = 0xffff_f000 + 56;
const DROP: u32 = 2;
const GO_ON: u32 = u32::MAX;
const DISABLED: u8 = 0;
const FORWARDING: u8 = 3;

impl Switch {
    /// Builds the bridges in the calling process's network namespace, which must be its own.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub(crate) fn build(networks: usize) -> Result<Self> {
        let quiet = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
        if std::path::Path::new(quiet).exists() {
            std::fs::write(quiet, "1").doing(|| format!("write {quiet}"))?;
        }
        let mut lines = String::from("link set lo up\n");
        for n in 0..networks {
            lines +=
                &format!("link add br{n} type bridge forward_delay 0 mcast_snooping 0\nlink set br{n} up\n");
        }
        ip_batch(&lines)?;
        // No protocol means number 0, which is the one for links and addresses.
        let route =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None);
        Ok(Self { route: Mutex::new(route.doing(|| "open a netlink socket".into())?) })
    }

    /// Plugs a machine in: one port for each interface. `pid` is its first process.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub(crate) fn plug(&self, machine: usize, plugs: &[Plug], pid: i32) -> Result<Vec<SwitchPort>> {
        let mut lines = String::new();
        for Plug { number, network, name, .. } in plugs {
            let mac = mac_of(machine, *number).map(|byte| format!("{byte:02x}")).join(":");
            let port = port_name(machine, *number);
            lines += &format!("link add {port} type veth peer name {name} address {mac} netns {pid}\n");
            lines += &format!("link set {port} master br{network} up\n");
        }
        ip_batch(&lines)?;
        plugs.iter().map(|plug| self.port(port_name(machine, plug.number))).collect()
    }

    fn port(&self, name: String) -> Result<SwitchPort> {
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let index = rustix::net::netdevice::name_to_index(&*route, &name);
        Ok(SwitchPort { index: index.doing(|| format!("find the port {name}"))?, name })
    }

    /// Removes a machine's ports; those that are gone already do no harm.
    pub(crate) fn unplug(&self, ports: &[SwitchPort]) {
        for port in ports {
            let _gone_with_its_machine = ip_batch(&format!("link del {}\n", port.name));
        }
    }

    /// Silences a port: its carrier stays, its frames are swallowed.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) fn cut(&self, port: &SwitchPort, direction: Direction) -> Result<()> {
        match direction {
            Direction::Both => self.set(port, &[(BRPORT_STATE, Some(DISABLED))]),
            Direction::Cable => ip_batch(&format!("link set {} down\n", port.name)),
            // Nothing is known to be behind the port, and nothing unknown is sent there.
            Direction::In => self.set(
                port,
                &[
                    (BRPORT_LEARNING, Some(0)),
                    (BRPORT_UNICAST_FLOOD, Some(0)),
                    (BRPORT_MCAST_FLOOD, Some(0)),
                    (BRPORT_BCAST_FLOOD, Some(0)),
                    (BRPORT_FLUSH, None),
                ],
            ),
            // A locked port takes frames only from addresses known to be behind it, and none is.
            Direction::Out => {
                self.set(port, &[(BRPORT_LEARNING, Some(0)), (BRPORT_LOCKED, Some(1)), (BRPORT_FLUSH, None)])
            }
        }
    }

    /// Undoes every cut of a port.
    ///
    /// # Errors
    /// Those of the kernel.
    pub(crate) fn heal(&self, port: &SwitchPort) -> Result<()> {
        self.set(
            port,
            &[
                (BRPORT_STATE, Some(FORWARDING)),
                (BRPORT_LEARNING, Some(1)),
                (BRPORT_UNICAST_FLOOD, Some(1)),
                (BRPORT_MCAST_FLOOD, Some(1)),
                (BRPORT_BCAST_FLOOD, Some(1)),
                (BRPORT_LOCKED, Some(0)),
            ],
        )
    }

    /// Plugs a cable in again that was pulled ([`Direction::Cable`]). The kernel opens the port when it notices the
    /// carrier.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub(crate) fn plug_in(&self, port: &SwitchPort) -> Result<()> {
        ip_batch(&format!("link set {} up\n", port.name))
    }

    /// Loses so many of a hundred frames to and from a port, at random, and all that these machines send to it. 0 and
    /// nobody end it. The others pass at once.
    ///
    /// # Errors
    /// When `tc` is missing or refuses.
    pub(crate) fn filter(&self, port: &SwitchPort, percent: u8, strangers: &[usize]) -> Result<()> {
        let name = &port.name;
        let _none_is_fine = tc_batch(&format!("qdisc del dev {name} clsact\n"));
        if percent == 0 && strangers.is_empty() {
            return Ok(());
        }
        let mut lines = format!("qdisc add dev {name} clsact\n");
        if percent > 0 {
            // A classifier of five instructions: a random number, modulo 100, below the limit: drop, else go on.
            let program =
                format!("5,32 0 0 {RANDOM_NUMBER},148 0 0 100,53 1 0 {percent},6 0 0 {DROP},6 0 0 {GO_ON}");
            for way in ["ingress", "egress"] {
                lines += &format!("filter add dev {name} {way} prio 1 bpf da bytecode \"{program}\"\n");
            }
        }
        if !strangers.is_empty() {
            let program = deaf_to(strangers);
            lines += &format!("filter add dev {name} egress prio 2 bpf da bytecode \"{program}\"\n");
        }
        tc_batch(&lines)
    }

    fn set(&self, port: &SwitchPort, attributes: &[(u16, Option<u8>)]) -> Result<()> {
        let message = set_port_message(port.index, attributes);
        let route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        loop {
            match ask(&route, &message) {
                // A machine that has just got power: its carrier is noticed in a moment.
                Err(e) if is_down(&e) && began.elapsed() < CARRIER_WITHIN => std::thread::sleep(LOOK_AGAIN),
                done => return done.doing(|| format!("switch the port {}", port.name)),
            }
        }
    }
}

fn is_down(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NETDOWN.raw_os_error())
}

/// The hardware address of a machine on a network: the same in every boot.
pub(crate) fn mac_of(machine: usize, network: usize) -> [u8; 6] {
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    [0x02, 0x4c, 0, byte(network), 0, byte(machine)]
}

/// Which machine has a hardware address.
pub(crate) fn machine_of_mac(mac: [u8; 6]) -> Option<usize> {
    let machine = usize::from(mac[5]);
    (mac == mac_of(machine, usize::from(mac[3]))).then_some(machine)
}

/// A classifier that drops what these machines send: it compares the last byte of the sender's hardware address.
fn deaf_to(machines: &[usize]) -> String {
    let mut program = format!("{},48 0 0 11", machines.len() + 3);
    for (at, machine) in machines.iter().enumerate() {
        program += &format!(",21 {} 0 {machine}", machines.len() - at);
    }
    program + &format!(",6 0 0 {GO_ON},6 0 0 {DROP}")
}

fn port_name(machine: usize, network: usize) -> String {
    format!("m{machine}n{network}")
}

/// An `RTM_SETLINK` message with bridge port attributes.
fn set_port_message(index: u32, attributes: &[(u16, Option<u8>)]) -> Vec<u8> {
    let mut nested = Vec::new();
    for (kind, value) in attributes {
        let length = 4 + u16::from(value.is_some());
        nested.extend_from_slice(&length.to_ne_bytes());
        nested.extend_from_slice(&kind.to_ne_bytes());
        nested.extend(value);
        nested.resize(nested.len().next_multiple_of(4), 0);
    }
    let total = 16 + 16 + 4 + nested.len();
    let mut message = Vec::with_capacity(total);
    message.extend_from_slice(&u32::try_from(total).unwrap_or(0).to_ne_bytes());
    message.extend_from_slice(&RTM_SETLINK.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST_ACK.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // sequence number and port
    message.extend_from_slice(&[AF_BRIDGE, 0, 0, 0]); // family, padding, device type
    message.extend_from_slice(&index.to_ne_bytes());
    message.extend_from_slice(&[0; 8]); // flags and change mask
    message.extend_from_slice(&u16::try_from(4 + nested.len()).unwrap_or(0).to_ne_bytes());
    message.extend_from_slice(&IFLA_PROTINFO_NESTED.to_ne_bytes());
    message.extend_from_slice(&nested);
    message
}

fn ask(route: &OwnedFd, message: &[u8]) -> io::Result<()> {
    rustix::net::sendto(route, message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 4096];
    let (length, _) = rustix::net::recv(route, &mut answer[..], RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    if length < 20 || kind != NLMSG_ERROR {
        return Err(io::Error::other("an unexpected netlink answer"));
    }
    match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Runs `ip` on lines of commands, in the calling thread's network namespace.
///
/// # Errors
/// When `ip` is missing, or what it complains about.
pub(crate) fn ip_batch(lines: &str) -> Result<()> {
    batch("ip", lines)
}

/// Runs `tc` on lines of commands, as [`ip_batch`].
fn tc_batch(lines: &str) -> Result<()> {
    batch("tc", lines)
}

fn batch(program: &str, lines: &str) -> Result<()> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let missing = || format!("run `{program}` (Debian and Ubuntu: apt-get install iproute2)");
    let mut child = Command::new(program)
        .args(["-batch", "-"])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .doing(missing)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes()).doing(missing)?;
    }
    let output = child.wait_with_output().doing(missing)?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().replace('\n', ", ");
    Err(LabError::new(format!("`{program}` refuses to set up the lab's networks: {complaint}")))
}
