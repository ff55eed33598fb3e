//! The questions about one address and about one disk.

use std::net::{IpAddr, Ipv4Addr};

use regent_model::config::NodeConfig;

use super::Shell;
use super::dialog::{Asked, Question};
use super::layout;
use super::list::Listed;
use super::service::{Address, Device, NONE, mask};

impl Listed for Address {
    const ONE: &'static str = "an IP address";
    const ANY: &'static str = Self::ONE;
    const NAME: &'static str = "IP address";
    const MANY: &'static str = "IP addresses";
    const HELP: &'static str =
        "An address that goes where the service goes, and under which clients find it.";

    fn title(&self) -> String {
        self.address.to_string()
    }

    fn lines(&self, number: usize) -> String {
        layout::address_lines(number, self)
    }

    fn ask(shell: &Shell<'_>, old: Option<&Self>) -> Asked<Option<Self>> {
        shell.console.say("\nIP Address Information\n\n")?;
        let default = old.map(Self::title);
        let help = "The address of the service itself, not one of a member: 192.9.202.197.";
        let question = Question::new("IP address", default.as_deref(), help);
        let address: IpAddr = shell.ask(&question, |text| {
            text.parse().map_err(|_| format!("{text:?} is no address; type for example 192.9.202.197"))
        })?;
        let IpAddr::V4(v4) = address else { return of_ipv6(shell, old, address).map(Some) };
        let default = old.map_or_else(|| NONE.to_owned(), Self::netmask);
        let help = "The netmask of its network. None takes that of this member's network with the address in it; where \
                    there is none, the one that goes with the class of the address.";
        // Without it a guess is all there is.
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let question = Question::new("Netmask (e.g. 255.255.255.0 or None)", Some(&default), help);
        let prefix = shell.ask(&question, |text| netmask(text, v4, &routes))?;
        let fresh = of_a_network(shell, old, address, prefix)?;
        let kept = old.filter(|o| o.broadcast.is_some());
        let default = kept.map_or_else(|| NONE.to_owned(), Self::broadcast);
        let help = "The broadcast address of its network. None takes the one that follows from the netmask.";
        let question = Question::new("Broadcast (e.g. X.Y.Z.255 or None)", Some(&default), help);
        let follows = fresh.broadcast();
        let broadcast = shell.ask(&question, |text| match text.parse::<Ipv4Addr>() {
            _ if is_none(text) => Ok(None),
            Ok(given) if given.to_string() == follows => Ok(None),
            Ok(given) => Ok(Some(given)),
            Err(_) => Err(format!("{text:?} is no address; type for example {follows}, or None")),
        })?;
        Ok(Some(Self { broadcast, ..fresh }))
    }
}

fn of_ipv6(shell: &Shell<'_>, old: Option<&Address>, address: IpAddr) -> Asked<Address> {
    let default = old.map_or_else(|| "64".to_owned(), Address::netmask);
    let help = "The length of the prefix of its network.";
    let prefix = shell.ask(&Question::new("Prefix length", Some(&default), help), |text| {
        text.parse()
            .ok()
            .filter(|p| (1..=128).contains(p))
            .ok_or_else(|| "type a number up to 128".to_owned())
    })?;
    of_a_network(shell, old, address, prefix)
}

/// Where no member has an address in its network, the interface has to be told.
fn of_a_network(shell: &Shell<'_>, old: Option<&Address>, address: IpAddr, prefix: u8) -> Asked<Address> {
    let interface = old.and_then(|o| o.interface.clone());
    let address = Address { at: old.and_then(|o| o.at), address, prefix, broadcast: None, interface };
    let (_, config) = shell.editor()?;
    let known = |node: &NodeConfig| {
        node.addresses
            .iter()
            .chain(node.adapters.iter().filter_map(|a| a.boot.as_ref().map(|p| &p.address)))
            .any(|a| address.is_beside(*a))
    };
    if address.interface.is_some() || config.nodes.iter().any(known) {
        return Ok(address);
    }
    shell.console.say("  no member has an address in that network, so its interface has to be told\n")?;
    let help = "The interface of that network as ip link shows it, the same on every member.";
    let interface = shell.ask(&Question::new("Network interface (e.g. eth0)", None, help), |text| {
        let good = text.len() <= 15 && !text.contains(|c: char| c.is_whitespace() || "/:".contains(c));
        if good { Ok(text.to_owned()) } else { Err(format!("{text:?} is no name of an interface")) }
    })?;
    Ok(Address { interface: Some(interface), ..address })
}

/// Reads a netmask; `routes` is the kernel's table of this machine, as in `/proc/net/route`.
fn netmask(text: &str, address: Ipv4Addr, routes: &str) -> Result<u8, String> {
    if is_none(text) {
        let class = match address.octets()[0] {
            0..128 => 8,
            128..192 => 16,
            _ => 24,
        };
        return Ok(routes.lines().filter_map(|line| of_own_network(line, address)).max().unwrap_or(class));
    }
    let given: Option<Ipv4Addr> = text.parse().ok();
    let prefix = given.and_then(|g| u8::try_from(g.to_bits().leading_ones()).ok()).filter(|p| *p > 0);
    let whole = prefix.filter(|p| Some(mask(*p)) == given);
    whole.ok_or_else(|| format!("{text:?} is no netmask; type for example 255.255.255.0, or None"))
}

/// The prefix of a network that this machine is in, if the address is in it. The columns are in the order of bytes of the
/// machine (proc_pid_net(5)); a route with a gateway leads elsewhere.
fn of_own_network(route: &str, address: Ipv4Addr) -> Option<u8> {
    let mut columns = route.split_ascii_whitespace().skip(1);
    let mut column = || u32::from_str_radix(columns.next()?, 16).ok().map(u32::from_be);
    let (network, gateway) = (column()?, column()?);
    let _flags_refs_use_metric = columns.by_ref().take(4).count();
    let mask = u32::from_str_radix(columns.next()?, 16).ok().map(u32::from_be)?;
    let is_in = gateway == 0 && mask != 0 && address.to_bits() & mask == network;
    is_in.then(|| mask.leading_ones() as u8)
}

impl Listed for Device {
    const ONE: &'static str = "a disk device";
    const ANY: &'static str = "devices";
    const NAME: &'static str = "device";
    const MANY: &'static str = "devices";
    const HELP: &'static str =
        "A disk that all members see, with a file system that is mounted where the service runs.";

    fn title(&self) -> String {
        self.device.clone()
    }

    fn lines(&self, number: usize) -> String {
        layout::device_lines(number, self)
    }

    fn ask(shell: &Shell<'_>, old: Option<&Self>) -> Asked<Option<Self>> {
        shell.console.say("\nDisk Device Information\n\n")?;
        let path = |text: &str| {
            let good = text.starts_with('/') && !text.contains(char::is_whitespace);
            if good { Ok(text.to_owned()) } else { Err(format!("{text:?} is no path; it begins with /")) }
        };
        let default = old.map(Self::title);
        let help = "The special file of the partition; it has the same path on every member.";
        let question = Question::new("Device special file (e.g., /dev/sdb4)", default.as_deref(), help);
        let device = shell.ask(&question, path)?;
        let Some(fstype) = fstype(shell, old)? else { return Ok(None) };
        let default = old.map(|o| o.mount.clone());
        let help = "The directory where it is mounted; it has to be there on every member.";
        let question = Question::new("Mount point (e.g., /usr/mnt/service1)", default.as_deref(), help);
        let mount = shell
            .ask(&question, |text| if is_none(text) { Err(UNMOUNTED.to_owned()) } else { path(text) })?;
        let kept = old.and_then(|o| o.options.clone());
        let default = kept.as_deref().unwrap_or(NONE);
        let help =
            "Options as mount -o takes them, with commas and without blanks. None, or nothing: no options.";
        let question = Question::new("Mount options (e.g., rw,nosuid,sync)", Some(default), help);
        let question = Question { tacit: kept.is_none(), ..question };
        let options = shell.ask(&question, |text| match text {
            text if is_none(text) => Ok(None),
            text if text.contains(char::is_whitespace) => {
                Err("write them with commas and without blanks".to_owned())
            }
            text => Ok(Some(text.to_owned())),
        })?;
        let help = "Whether processes that keep it busy are killed when the service stops. With no, the service cannot \
                    be stopped while one has a file open on it.";
        let force = shell.ask_yes("Forced unmount support", Some(old.is_none_or(|o| o.force)), help)?;
        no_nfs(shell)?;
        let share = samba(shell, old)?;
        Ok(Some(Self { at: old.and_then(|o| o.at), device, mount, fstype, options, force, share }))
    }
}

/// What is said to a device without a file system.
const RAW: &str = "a device without a file system needs no entry here: all members see it, and the user script \
                   of the service uses it where the service runs";
/// What is said to a file system without a mount point.
const UNMOUNTED: &str =
    "a file system has to be mounted somewhere; a device without one has None as its file system type";
/// What is said to a directory of another machine.
const NOT_ONE_OF_NFS: &str = "a directory of an NFS server is on no device: mount it on every member by /etc/fstab, \
                              or let the user script mount it where the service runs";
/// What is said to the wish for NFS.
const NO_NFS: &str = "NFS access is not offered: type no. A user script may export the directory where the service \
                      runs (exportfs), and has to take that back when it stops";

/// The type of the file system; None where there is none on the device, so that it needs no entry.
fn fstype(shell: &Shell<'_>, old: Option<&Device>) -> Asked<Option<String>> {
    let default = old.map(|o| o.fstype.as_str());
    let help = "The type of the file system that is on it, as mount -t takes it. None: there is none on it.";
    let question = Question::new("Filesystem type (e.g., ext2, ext3 or None)", default, help);
    let fstype = shell.ask(&question, |text| match text {
        "nfs" | "nfs4" => Err(NOT_ONE_OF_NFS.to_owned()),
        text if !is_none(text) => Ok(Some(text.to_owned())),
        _ if old.is_some() => Err(format!("{RAW}; d takes it out of the list")),
        _ => Ok(None),
    })?;
    if fstype.is_none() {
        shell.console.say(&format!("  {RAW}\n"))?;
    }
    Ok(fstype)
}

/// The guide asks for it here, and a person or a script that follows the guide answers no.
fn no_nfs(shell: &Shell<'_>) -> Asked<()> {
    let help = "Regent does not export to NFS clients: no. Windows clients, and others with cifs, are asked for next.";
    let prompt = "Would you like to allow NFS access to this filesystem (yes/no/?)";
    shell.ask(&Question::new(prompt, Some("no"), help), |text| match text.to_lowercase().as_str() {
        "no" | "n" => Ok(()),
        "yes" | "y" => Err(NO_NFS.to_owned()),
        _ => Err("type no".to_owned()),
    })
}

fn samba(shell: &Shell<'_>, old: Option<&Device>) -> Asked<Option<String>> {
    let before = old.and_then(|o| o.share.clone());
    let help = "Whether Windows clients can use what is mounted there, under the address of the service.";
    if !shell.ask_yes("Would you like to share to Windows clients", Some(before.is_some()), help)? {
        return Ok(None);
    }
    let help = "The name under which clients see it.";
    let question = Question::new("Samba share name", before.as_deref(), help);
    shell.ask(&question, |text| match text {
        text if is_none(text) => Ok(None),
        text if text.contains(|c: char| c.is_whitespace() || "/\\[]".contains(c)) => {
            Err("write it without blanks, slashes and brackets".to_owned())
        }
        text => Ok(Some(text.to_owned())),
    })
}

/// Whether it is the word for nothing.
pub(super) fn is_none(text: &str) -> bool {
    text.eq_ignore_ascii_case(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_netmask_is_a_row_of_ones_or_that_of_the_class() {
        let of = |text| netmask(text, Ipv4Addr::new(192, 9, 202, 197), "");
        assert_eq!(of("255.255.0.0"), Ok(16));
        assert_eq!(of("255.255.255.255"), Ok(32));
        assert_eq!(of("none"), Ok(24));
        assert!(of("255.0.255.0").is_err() && of("0.0.0.0").is_err() && of("16").is_err());
        assert_eq!(netmask("None", Ipv4Addr::new(10, 0, 0, 1), ""), Ok(8));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn without_a_netmask_it_is_that_of_this_members_network() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                      eth0\t00000000\tFE4D000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                      eth1\t0000000A\tFE4D000A\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n\
                      eth0\t004D000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let of = |address: [u8; 4]| netmask("None", address.into(), routes);
        assert_eq!(of([10, 0, 77, 100]), Ok(24));
        assert_eq!(of([10, 1, 2, 3]), Ok(8), "only by the gateway");
        assert_eq!(of([192, 9, 202, 197]), Ok(24));
    }
}
