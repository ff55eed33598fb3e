//! What a lab consists of.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use regent_model::config::Config;
use regent_model::ids::check_name;
use serde::{Deserialize, Serialize};

use crate::disks::{self, ArbiterDisk, DISK_MIB, DiskSpec};
use crate::error::{LabError, Result};
use crate::interface::{EXTRA_MAX, ExtraInterface, give_adapters};

/// The longest name of a lab, in bytes.
pub const LAB_NAME_BYTES_MAX: usize = 32;
/// The device the shared disk has in the nodes, unless the configuration names another.
pub const DEFAULT_DEVICE: &str = "/dev/san0";
/// The name of the machine clients run on.
pub const CLIENT: &str = "client";

/// What a machine of the lab is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It can own groups: it has the shared disks.
    Node,
    /// It only votes: no disk.
    Witness,
    /// Clients run there: no disk and no daemon.
    Client,
}

/// An address with the length of its prefix, written `10.77.0.4/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix.
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = LabError;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || LabError::new(format!("`{text}` is not an address like 10.77.0.4/24"));
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Self {
            address: address.parse().map_err(|_| wrong())?,
            prefix: prefix.parse().map_err(|_| wrong())?,
        })
    }
}

impl TryFrom<String> for Cidr {
    type Error = LabError;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Its name, also its host name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its addresses on each network: `eth0` is on the first, `eth1` on the second, and so on. An empty list
    /// leaves the machine without that network.
    pub addresses: Vec<Vec<Cidr>>,
    /// Further interfaces on these networks.
    #[serde(default)]
    pub extra: Vec<ExtraInterface>,
    /// What its first process starts once it has booted; nothing when empty. It is not restarted.
    pub command: Vec<String>,
    /// Further environment of the command and of everything `run` starts.
    pub env: BTreeMap<String, String>,
    /// Files of this machine alone; they come after [`LabSpec::files`].
    pub files: Vec<SeedFile>,
}

/// A file that the machines find.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedFile {
    /// Where, in the machine. Below a persistent folder it is written once, when the lab is made; elsewhere at
    /// every boot.
    pub path: PathBuf,
    /// Its permissions, such as `0o644`; [`SeedFile::LINK`] for a symbolic link.
    pub mode: u32,
    /// What it holds; of a link, where it points to.
    pub content: Vec<u8>,
}

impl SeedFile {
    /// The mode of a symbolic link.
    pub const LINK: u32 = 0o120_777;

    /// A symbolic link at `path` to `target`, as the machine shall find it.
    #[must_use]
    pub fn link(path: impl Into<PathBuf>, target: &Path) -> Self {
        let content = target.as_os_str().as_encoded_bytes().to_vec();
        Self { path: path.into(), mode: Self::LINK, content }
    }
}

/// A whole lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabSpec {
    /// Its name: unique on this machine.
    pub name: String,
    /// The executable that answers the lab's own commands (see [`crate::dispatch`]).
    pub executable: PathBuf,
    /// The words before those commands: `["lab"]` for `regent lab fabric ...`.
    pub words: Vec<String>,
    /// The machines.
    pub machines: Vec<MachineSpec>,
    /// The shared disks.
    pub disks: Vec<DiskSpec>,
    /// Folders of a machine that outlive a power cut, as far as their files were synced: they lie on a disk of its
    /// own. Everything else is as new after each boot.
    pub persistent: Vec<PathBuf>,
    /// The size of each machine's own disk in MiB.
    pub own_disk_mib: u32,
    /// Executables of the host that every machine finds in `/usr/local/bin`. The lab's own is always there.
    pub programs: Vec<PathBuf>,
    /// Files that every machine but the client finds.
    pub files: Vec<SeedFile>,
    /// Names of addresses that belong to no machine: every machine finds them in `/etc/hosts`.
    pub names: Vec<(IpAddr, String)>,
}

impl LabSpec {
    /// Two nodes `lx4` and `lx5`, a witness `wit`, a client, two networks (10.77.0.0/24 and 10.78.0.0/24, and
    /// IPv6 fd77::/64 and fd78::/64), and a shared disk of 256 MiB with ext4. No daemon runs yet.
    #[must_use]
    pub fn default_two_nodes(name: &str, executable: &Path, words: &[&str]) -> Self {
        let machine = |name: &str, role, host: u8| {
            let on = |net: u8| {
                let v6 = Ipv6Addr::new(
                    0xfd00 | (u16::from(net / 10) << 4) | u16::from(net % 10),
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                );
                let v6 = Ipv6Addr::from_bits(v6.to_bits() | hex_as_written(host));
                vec![
                    Cidr { address: Ipv4Addr::new(10, net, 0, host).into(), prefix: 24 },
                    Cidr { address: v6.into(), prefix: 64 },
                ]
            };
            MachineSpec::new(name, role, vec![on(77), on(78)])
        };
        Self {
            machines: vec![
                machine("lx4", Role::Node, 4),
                machine("lx5", Role::Node, 5),
                machine("wit", Role::Witness, 3),
                machine(CLIENT, Role::Client, 200),
            ],
            disks: vec![DiskSpec {
                device: DEFAULT_DEVICE.into(),
                mib: 256,
                ext4: true,
                only: None,
                arbiter: None,
            }],
            ..Self::empty(name, executable, words)
        }
    }

    /// The machines, networks and disks that a configuration names, and a client. The networks are /24 and /64
    /// unless a service address in the same network says otherwise. A group's first address has the group's name in
    /// `/etc/hosts`. No daemon runs yet, and the configuration
    /// itself is not yet among the files.
    ///
    /// # Errors
    /// When no free address is left for the client.
    pub fn from_config(name: &str, config: &Config, executable: &Path, words: &[&str]) -> Result<Self> {
        let service: Vec<Cidr> = config
            .groups
            .iter()
            .flat_map(|g| g.addresses.iter().map(|a| Cidr { address: a.address, prefix: a.prefix }))
            .collect();
        let with_prefix = |address: IpAddr| {
            let default = if address.is_ipv4() { 24 } else { 64 };
            let known = service.iter().find(|s| s.prefix < s.bits() && s.holds(address));
            vec![Cidr { address, prefix: known.map_or(default, |s| s.prefix) }]
        };
        let machine = |node: &regent_model::config::NodeConfig, role| {
            let addresses = node.addresses.iter().map(|a| with_prefix(*a)).collect();
            MachineSpec::new(node.name.as_str(), role, addresses)
        };
        let mut machines: Vec<MachineSpec> = config.nodes.iter().map(|n| machine(n, Role::Node)).collect();
        machines.extend(config.witnesses.iter().map(|n| machine(n, Role::Witness)));
        for (machine, node) in machines.iter_mut().zip(&config.nodes) {
            give_adapters(machine, node, config)?;
        }
        machines.push(client_for(&machines, &service)?);
        let disks = disks::of(config);
        let names = names_of(config, &machines);
        Ok(Self { machines, disks, names, ..Self::empty(name, executable, words) })
    }

    /// Adds shared disks of 256 MiB with ext4 that the configuration does not speak of.
    pub fn share(&mut self, devices: &[PathBuf]) {
        for device in devices {
            if !self.disks.iter().any(|d| &d.device == device) {
                self.disks.push(DiskSpec {
                    device: device.clone(),
                    mib: 256,
                    ext4: true,
                    only: None,
                    arbiter: None,
                });
            }
        }
    }

    /// Adds a blank disk for an arbiter that the configuration does not speak of yet.
    pub fn share_for_arbiter(&mut self, device: &Path) {
        self.disks.push(DiskSpec::of_arbiter(device, ArbiterDisk::Blank));
    }

    fn empty(name: &str, executable: &Path, words: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            executable: executable.to_owned(),
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            machines: Vec::new(),
            disks: Vec::new(),
            persistent: vec!["/var/lib/regent".into(), "/etc/regent".into()],
            own_disk_mib: 128,
            programs: Vec::new(),
            files: Vec::new(),
            names: Vec::new(),
        }
    }

    /// Sets what nodes and witnesses run.
    #[must_use]
    pub fn daemon_command(mut self, command: &[&str]) -> Self {
        for machine in self.machines.iter_mut().filter(|m| m.role != Role::Client) {
            machine.command = command.iter().map(|w| (*w).to_owned()).collect();
        }
        self
    }

    /// Adds a file for every machine but the client.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.files.push(SeedFile { path: path.into(), mode, content: content.into() });
        self
    }

    /// The machine of that name.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&MachineSpec> {
        self.machines.iter().find(|m| m.name == name)
    }

    /// The machine of that name, to change it.
    pub fn machine_mut(&mut self, name: &str) -> Option<&mut MachineSpec> {
        self.machines.iter_mut().find(|m| m.name == name)
    }

    /// How many networks there are.
    #[must_use]
    pub fn networks(&self) -> usize {
        self.machines.iter().map(|m| m.addresses.len()).max().unwrap_or(0)
    }

    /// Checks that the lab can be built.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn check(&self) -> Result<()> {
        check_lab_name(&self.name)?;
        for (i, machine) in self.machines.iter().enumerate() {
            check_name(&machine.name)
                .map_err(|e| LabError::new(format!("the machine name `{}` is wrong: {e}", machine.name)))?;
            if self.machines[..i].iter().any(|m| m.name == machine.name) {
                return Err(LabError::new(format!("two machines are named {}", machine.name)));
            }
        }
        if self.networks() > 8 || self.machines.len() > 64 {
            return Err(LabError::new("a lab has at most 8 networks and 64 machines"));
        }
        let lost = |m: &&MachineSpec| {
            m.extra.len() > EXTRA_MAX || m.extra.iter().any(|e| e.network >= self.networks())
        };
        if let Some(machine) = self.machines.iter().find(lost) {
            return Err(LabError::new(format!(
                "{} has a further interface on a network that is not there, or more than {EXTRA_MAX}",
                machine.name
            )));
        }
        let sizes = self.disks.iter().map(|d| (d.device.display().to_string(), d.mib));
        let own = ("a machine's own disk".to_owned(), self.own_disk_mib);
        if let Some((disk, mib)) = sizes.chain([own]).find(|(_, mib)| !DISK_MIB.contains(mib)) {
            let (low, high) = (DISK_MIB.start(), DISK_MIB.end());
            return Err(LabError::new(format!(
                "{disk} has {mib} MiB; a disk of the lab has {low} to {high}"
            )));
        }
        for disk in &self.disks {
            if disk.device.parent().is_none_or(|p| !p.starts_with("/dev")) {
                let device = disk.device.display();
                return Err(LabError::new(format!(
                    "{device} is not below /dev: the lab makes devices there"
                )));
            }
        }
        let paths = self.persistent.iter().chain(self.files.iter().map(|f| &f.path));
        match paths.into_iter().find(|p| !p.is_absolute()) {
            Some(path) => Err(LabError::new(format!("{} must begin with /", path.display()))),
            None => Ok(()),
        }
    }
}

/// Checks the name of a lab.
///
/// # Errors
/// When it is empty, too long, or not safe in a path.
pub fn check_lab_name(name: &str) -> Result<()> {
    check_name(name).map_err(|e| LabError::new(format!("the lab's name `{name}` is wrong: {e}")))?;
    if name.len() > LAB_NAME_BYTES_MAX {
        return Err(LabError::new(format!(
            "the lab's name `{name}` is longer than {LAB_NAME_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

impl MachineSpec {
    /// A machine that runs nothing.
    #[must_use]
    pub fn new(name: &str, role: Role, addresses: Vec<Vec<Cidr>>) -> Self {
        Self {
            name: name.to_owned(),
            role,
            addresses,
            extra: Vec::new(),
            command: Vec::new(),
            env: BTreeMap::new(),
            files: Vec::new(),
        }
    }

    /// Its first address on a network.
    #[must_use]
    pub fn address(&self, network: usize) -> Option<IpAddr> {
        Some(self.addresses.get(network)?.first()?.address)
    }
}

impl Cidr {
    fn bits(self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    fn number(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    /// The number of the network, without the host's part.
    fn network(self, address: IpAddr) -> u128 {
        let host = u32::from(self.bits().saturating_sub(self.prefix));
        Self::number(address).checked_shr(host).unwrap_or(0)
    }

    /// Whether an address lies in the same network.
    #[must_use]
    pub fn holds(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && self.network(address) == self.network(self.address)
    }
}

/// 200 becomes 0x200: IPv6 addresses that read like the IPv4 ones.
fn hex_as_written(number: u8) -> u128 {
    let (hundreds, tens, ones) = (number / 100, number / 10 % 10, number % 10);
    u128::from(hundreds) << 8 | u128::from(tens) << 4 | u128::from(ones)
}

/// The names of groups, and the host names that they bring, for their first addresses.
fn names_of(config: &Config, machines: &[MachineSpec]) -> Vec<(IpAddr, String)> {
    let named = config.groups.iter().filter_map(|g| Some((g.addresses.first()?.address, g)));
    let all = named.flat_map(|(a, g)| {
        let hostname = g.hostname.as_ref().map(ToString::to_string);
        [Some(g.name.to_string()), hostname].into_iter().flatten().map(move |n| (a, n))
    });
    all.filter(|(_, name)| machines.iter().all(|m| m.name != *name)).collect()
}

/// A client with the highest address of every network that nobody has.
fn client_for(machines: &[MachineSpec], service: &[Cidr]) -> Result<MachineSpec> {
    let networks = machines.iter().map(|m| m.addresses.len()).max().unwrap_or(0);
    let taken: Vec<IpAddr> = machines
        .iter()
        .flat_map(|m| m.addresses.iter().flatten().chain(m.extra.iter().flat_map(|e| &e.addresses)))
        .chain(service)
        .map(|c| c.address)
        .collect();
    let mut addresses = Vec::new();
    for network in 0..networks {
        let Some(model) = machines.iter().find_map(|m| m.addresses.get(network)?.first()) else {
            addresses.push(Vec::new());
            continue;
        };
        let host_bits = u32::from(model.bits().saturating_sub(model.prefix)).min(8);
        let low = Cidr::number(model.address) >> host_bits << host_bits;
        let free = (1..(1_u128 << host_bits).saturating_sub(1)).rev().map(|host| {
            let number = low | host;
            match model.address {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
            }
        });
        let free = free.into_iter().find(|a| !taken.contains(a) && model.holds(*a)).ok_or_else(|| {
            LabError::new(format!("no address is free for the client beside {model}"))
                .hint("use a shorter prefix for the service addresses of that network")
        })?;
        addresses.push(vec![Cidr { address: free, prefix: model.prefix }]);
    }
    Ok(MachineSpec::new(CLIENT, Role::Client, addresses))
}
