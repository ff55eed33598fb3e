//! What is said over the fabric's socket, one JSON object per line each way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::san::DiskState;
use crate::spec::{Cidr, Role};
use crate::switch::Direction;

/// A request to the fabric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Cut a machine's power.
    Off {
        /// Which machine.
        machine: String,
        /// Whether to wait until nothing of it is left.
        wait: bool,
    },
    /// Boot a machine.
    On {
        /// Which machine.
        machine: String,
    },
    /// Swallow a machine's frames.
    Cut {
        /// Which machine.
        machine: String,
        /// On which network; on all without it.
        network: Option<usize>,
        /// On which interface; on all of them without it.
        #[serde(default)]
        interface: Option<String>,
        /// Which frames.
        direction: Direction,
    },
    /// Lose a part of a machine's frames.
    Lossy {
        /// Which machine.
        machine: String,
        /// On which network; on all without it.
        network: Option<usize>,
        /// How many of a hundred, at random, each way; 0 loses none.
        percent: u8,
    },
    /// Undo the cuts and losses of a machine.
    Heal {
        /// Which machine.
        machine: String,
        /// On which network; on all without it.
        network: Option<usize>,
        /// On which interface; on all of them without it.
        #[serde(default)]
        interface: Option<String>,
    },
    /// Split every network: these machines hear each other, and so do all the others.
    Split {
        /// Which machines; none joins everything again.
        machines: Vec<String>,
        /// Which machines hear both sides, and are heard by both.
        neutral: Vec<String>,
    },
    /// Freeze a machine's processes.
    Pause {
        /// Which machine.
        machine: String,
        /// Whether its network ports are cut and its SAN port hangs: a machine that is really paused answers
        /// nobody and writes nothing, but the kernel of a machine of the lab is the host's and goes on.
        silent: bool,
    },
    /// Thaw a machine's processes, and undo what pausing did to its ports.
    Resume {
        /// Which machine.
        machine: String,
    },
    /// Set the switch in a machine's SAN port.
    Disk {
        /// Which machine.
        machine: String,
        /// Whether its own disk is meant, with the state of its daemon, and not the shared ones.
        #[serde(default)]
        own: bool,
        /// The device of the only shared disk that is meant; all of them without it.
        #[serde(default)]
        device: Option<PathBuf>,
        /// To what.
        state: DiskState,
    },
    /// Copy a machine's own disk, as it is at one moment.
    CopyOwn {
        /// Which machine.
        machine: String,
        /// The file that gets the copy.
        to: PathBuf,
    },
    /// Cut a machine's power and put such a copy back.
    PutBack {
        /// Which machine.
        machine: String,
        /// The copy.
        from: PathBuf,
    },
    /// Tell about everything.
    Status,
    /// End the lab.
    Down,
}

/// What the fabric answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done, from this time on (ns of `CLOCK_MONOTONIC`).
    Done {
        /// When it took effect.
        at: u64,
    },
    /// The answer to `Status`.
    Status(LabStatus),
    /// It could not be done.
    Failed {
        /// Why, and what to do.
        why: String,
    },
}

/// The lab at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabStatus {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// The process number of the fabric.
    pub fabric: i32,
    /// The machines.
    pub machines: Vec<MachineStatus>,
}

impl LabStatus {
    /// The machine of that name.
    #[must_use]
    pub fn machine(&self, name: &str) -> Option<&MachineStatus> {
        self.machines.iter().find(|m| m.name == name)
    }
}

/// Where a machine is between on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// It has no power and nothing is left of it.
    Off,
    /// It has power and is booting.
    Booting,
    /// It runs.
    On,
    /// It has no power; what is left of it is being cleared away.
    Dying,
}

/// A machine at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Whether it runs.
    pub power: Power,
    /// How many times it was booted.
    pub boot: u64,
    /// The identity of this boot.
    pub boot_id: String,
    /// Its first process, seen from the host; 0 when it is off.
    pub pid: i32,
    /// Its control group on the host.
    pub cgroup: PathBuf,
    /// What everything in it has in its environment.
    pub env: BTreeMap<String, String>,
    /// Whether its processes are frozen.
    pub paused: bool,
    /// Its SAN port; nothing if it has none.
    pub disk: Option<DiskState>,
    /// Its networks.
    pub networks: Vec<NetworkStatus>,
    /// What went wrong at the last boot or while clearing away.
    pub trouble: Option<String>,
}

/// A machine's place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// The network's number.
    pub network: usize,
    /// The interface in the machine.
    #[serde(default)]
    pub interface: String,
    /// Its addresses there.
    pub addresses: Vec<Cidr>,
    /// Whether its frames are swallowed, and which.
    pub cut: Option<Direction>,
    /// How many of a hundred frames are lost, each way.
    #[serde(default)]
    pub loses: u8,
}

/// What the fabric tells a machine's first process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootOrder {
    pub(crate) lab: String,
    pub(crate) machine: crate::spec::MachineSpec,
    pub(crate) boot_id: String,
    pub(crate) folder: PathBuf,
    /// Device in the machine, major and minor number.
    pub(crate) devices: Vec<(PathBuf, u32, u32)>,
    pub(crate) hosts: Vec<(IpAddr, String)>,
    pub(crate) persistent: Vec<PathBuf>,
    pub(crate) programs: Vec<String>,
    pub(crate) files: Vec<crate::spec::SeedFile>,
    /// What to start for the fence agent: executable and words.
    pub(crate) hand: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}
