//! A whole cluster on one machine: namespaces, SAN, power switch.
//!
//! A lab is made of *machines*: nodes, witnesses and a client. Each is a set of namespaces with a first process of
//! its own. One process per lab, the *fabric*, owns what machines share: the switches of the networks, the SAN, and
//! the power. Its mounts and its network are its own, so that nothing shows on the host but processes, control
//! groups, loop devices and the lab's folder; and everything of the lab dies with it.
//!
//! What is honest about it: a power cut ends a machine's writes and frames before its processes, so that no dying
//! kernel flushes a page or says goodbye to a client; what was not synced is lost, on the shared disks and on the
//! machine's own. What is not: all machines have one kernel and one clock, a machine's kernel cannot be paused (its
//! ports can), and a `sync` of the host waits for a machine's hanging disk.
//!
//! [`Lab::up`] starts one, [`Lab`] works its switches, [`dispatch`] answers the lab's own commands in whichever
//! executable [`LabSpec::executable`] names.

mod area;
mod cgroup;
mod clock;
mod disks;
mod dispatch;
mod error;
pub mod fabric;
mod fence;
mod folder;
mod init;
mod interface;
mod lab;
pub mod ledger;
mod loopdev;
mod machine;
pub mod observe;
pub mod probe;
mod protocol;
mod run;
mod san;
mod spec;
mod switch;
mod sys;
mod wish;

pub use clock::{boot_clock_ahead_ns, now_ns};
pub use disks::{ArbiterDisk, DISK_MIB, DiskSpec};
pub use dispatch::dispatch;
pub use error::{LabError, Result};
pub use fence::{
    AGENT as FENCE_AGENT, SOCKET as POWER_SOCKET, STORAGE_AGENT, fence_agent, reset_self, storage_agent,
};
pub use folder::{DEFAULT_BASE, Folder, Record, all_labs, base};
pub use interface::ExtraInterface;
pub use lab::{Lab, down};
pub use protocol::{Answer, LabStatus, MachineStatus, NetworkStatus, Power, Request};
pub use run::{Running, exit_code, spawn_in};
pub use san::{DiskState, Overlap, SanEvent, SanLog, SanRequest, Writers, two_writers};
pub use spec::{
    CLIENT, Cidr, DEFAULT_DEVICE, LAB_NAME_BYTES_MAX, LabSpec, MachineSpec, Role, SeedFile, check_lab_name,
};
pub use switch::Direction;
pub use wish::wish_to_end;
