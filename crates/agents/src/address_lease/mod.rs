//! Service addresses that the kernel itself lets end: each is known to the kernel together with the moment at which its
//! lease ends, and once that has passed nothing of it is answered, by ARP, neighbour discovery or IP, with nobody
//! running.
//!
//! A table holds the moments, on the clock of leases (`CLOCK_BOOTTIME`), and two programs ([`program`]) at every
//! interface ([`filter`]) hold each packet against it. A moment that is written late is no later for that: a guard that
//! was paused between looking at the clock and telling the kernel has promised nothing, and time in which the machine
//! was suspended counts. (A timeout that begins when the kernel is told, as elements of an nftables set have it, cannot
//! say so, and goes away with whoever flushes the rules.) An address that is not in the table is none of ours, and
//! passes.
//!
//! What is outside: packets within the machine (loopback), and what a program of somebody else's takes from an
//! interface before traffic control sees it.

mod filter;
mod program;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regent_model::Moment;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::bpf::sys::{self as bpf, Key, Table};
use crate::netlink::{self, Link};
use crate::sync::lock;
use filter::Refusal;
use program::Way;

/// So many service addresses may be held at once under such leases.
const ADDRESSES_MAX: u32 = 1024;
/// Somebody may have taken the programs away.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const LOOK_AGAIN_TIMESPEC: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// Of linux/bpf.h: programs for traffic control.
const SCHED_CLS: u32 = 3;

/// The end of what is held without lease: never.
pub const NEVER: Moment = Moment(u64::MAX);

/// The moments at which addresses end. Whoever has it is the one who may write.
#[derive(Debug)]
pub struct Deadlines {
    table: Table,
    /// What the table holds, in the order of the addresses.
    known: Vec<(IpAddr, Moment)>,
    /// What it is to hold, in the same order.
    wanted: Vec<(IpAddr, Moment)>,
}

/// The programs at the interfaces.
#[derive(Debug, Clone)]
pub struct Doors(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    programs: [(Way, OwnedFd); 2],
    /// The interfaces at which these very programs were put; an earlier guard's may stand at others.
    ours: Mutex<BTreeSet<u32>>,
}

/// Makes both, and tries them on packets of its own: a lease that has not ended, and one that has.
///
/// # Errors
/// What this kernel lacks. Nothing is left behind then.
pub fn begin() -> Result<(Deadlines, Doors), String> {
    let table = Table::new(*b"regent_leases\0\0\0", ADDRESSES_MAX).map_err(|e| cannot(&e))?;
    let load = |way| {
        let program = bpf::load(SCHED_CLS, 0, *b"regent_lease\0\0\0\0", &program::of(way, table.number()));
        program.map(|loaded| (way, loaded)).map_err(|e| cannot(&e))
    };
    let inner = Inner { programs: [load(Way::In)?, load(Way::Out)?], ours: Mutex::default() };
    let mut deadlines = Deadlines { table, known: Vec::new(), wanted: Vec::new() };
    deadlines.try_on(&inner.programs)?;
    Ok((deadlines, Doors(Arc::new(inner))))
}

/// Whether this kernel can do that at all. Nothing is changed at any interface.
///
/// # Errors
/// What it lacks.
pub fn is_possible() -> Result<(), String> {
    begin().map(|_| ())
}

fn cannot(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ENOSYS) => "it has no bpf(2) (CONFIG_BPF_SYSCALL)".to_owned(),
        Some(libc::EPERM | libc::EACCES) => {
            "it lets this program load nothing of the kind (the capabilities CAP_BPF and CAP_NET_ADMIN, or lockdown)"
                .to_owned()
        }
        Some(libc::EINVAL) => "it is too old (5.8 or later is needed)".to_owned(),
        _ => error.to_string(),
    };
    format!("this kernel cannot end the lease of an address: {why}")
}

impl Deadlines {
    /// From now on these addresses end at these moments, and no other one is limited. An address that is named more than
    /// once ends at the latest of its moments. Waits for nothing, and takes no memory once so many addresses were held
    /// before.
    ///
    /// # Errors
    /// In words; the addresses of which the kernel took note are limited, and the next call tries the others again.
    pub fn keep(&mut self, ends: impl Iterator<Item = (IpAddr, Moment)>) -> Result<(), String> {
        let fail = |address: IpAddr, e: &io::Error| format!("cannot limit {address} in the kernel: {e}");
        let Self { table, known, wanted } = self;
        wanted.clear();
        wanted.extend(ends);
        wanted.sort_unstable_by_key(|(address, end)| (*address, Reverse(*end)));
        wanted.dedup_by_key(|(address, _)| *address);
        let mut done = Ok(());
        known.retain(|(address, _)| {
            if wanted.binary_search_by_key(address, |(a, _)| *a).is_ok() {
                return true;
            }
            table.clear(&key(*address)).map_err(|e| done = Err(fail(*address, &e))).is_err()
        });
        let before = known.len();
        for &(address, end) in &*wanted {
            let place = known[..before].binary_search_by_key(&address, |(a, _)| *a).ok();
            if place.is_some_and(|n| known[n].1 == end) {
                continue;
            }
            match (table.set(&key(address), end.0), place) {
                (Ok(()), Some(n)) => known[n].1 = end,
                (Ok(()), None) => known.push((address, end)),
                (Err(e), _) => done = Err(fail(address, &e)),
            }
        }
        known.sort_unstable();
        done
    }

    fn try_on(&mut self, programs: &[(Way, OwnedFd); 2]) -> Result<(), String> {
        let address = [192, 0, 2, 1];
        let mut frame = [0; 64];
        // ARP over Ethernet: a question for the address, by the address.
        frame[12..20].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
        frame[21] = 1;
        frame[28..32].copy_from_slice(&address);
        frame[38..42].copy_from_slice(&address);
        let now = boot_time();
        for (end, wanted) in [(Moment(now.0 + 60_000_000_000), program::PASS), (now, program::DROP)] {
            self.keep([(address.into(), end)].into_iter())?;
            for (_, program) in programs {
                let verdict = bpf::run_over(program.as_fd(), &frame).map_err(|e| cannot(&e))?;
                if verdict != wanted {
                    return Err("this kernel's clock for such programs is not the one of leases".to_owned());
                }
            }
        }
        self.keep(std::iter::empty())
    }
}

impl Doors {
    /// Sees to it that the programs stand at every interface but loopback, those of an earlier guard replaced.
    ///
    /// # Errors
    /// At which interface they do not stand, and why. They stand at the others.
    pub fn stand_everywhere(&self) -> Result<(), String> {
        let links = netlink::links().map_err(|e| format!("cannot look at this node's interfaces: {e}"))?;
        let failed = links.iter().filter_map(|link| self.stand(link).err());
        failed.reduce(|all, one| format!("{all}; {one}")).map_or(Ok(()), Err)
    }

    /// The same at one interface.
    ///
    /// # Errors
    /// Why they do not stand there.
    pub fn stand_at(&self, interface: &str) -> Result<(), String> {
        let links = netlink::links().map_err(|e| format!("cannot look at this node's interfaces: {e}"))?;
        // An address cannot be added where there is no interface.
        links.iter().find(|l| l.name == interface).map_or(Ok(()), |link| self.stand(link))
    }

    /// Sees to it for as long as the process lives: now, at every change of an interface, and from time to time, should
    /// somebody have taken them away. `tell` hears every time how it went.
    pub fn keep_standing(&self, tell: impl Fn(Result<(), String>)) {
        let mut changes = None;
        loop {
            // Followed before looking, so that nothing is missed between the two.
            if changes.is_none() {
                changes = netlink::link_changes().ok();
            }
            tell(self.stand_everywhere());
            let Some(socket) = &changes else {
                std::thread::sleep(LOOK_AGAIN);
                continue;
            };
            let mut fds = [PollFd::new(socket, PollFlags::IN)];
            let told = poll(&mut fds, Some(&LOOK_AGAIN_TIMESPEC));
            // What it says does not matter, nor that some of it was lost: the truth is looked up.
            let mut buffer = Vec::with_capacity(8192);
            while told.is_ok_and(|n| n > 0) && socket.recv(&mut buffer, libc::MSG_DONTWAIT).is_ok() {
                buffer.clear();
            }
        }
    }

    fn stand(&self, link: &Link) -> Result<(), String> {
        if link.is_loopback() {
            return Ok(());
        }
        let mut ours = lock(&self.0.ours);
        let put = if ours.contains(&link.index) { filter::keep } else { filter::put };
        let each = |(way, program): &(Way, OwnedFd)| put(link, *way, program.as_raw_fd().cast_unsigned());
        let all = || self.0.programs.iter().try_for_each(each).map_err(Refusal::Kernel);
        let name = &link.name;
        match filter::prepare(link).and_then(|()| all()) {
            Ok(()) => {
                ours.insert(link.index);
                Ok(())
            }
            // It has gone meanwhile, with its addresses.
            Err(Refusal::Kernel(e)) if e.is(libc::ENODEV) => Ok(()),
            Err(Refusal::Kernel(e)) => Err(format!("the kernel does not take note of leases at {name}: {e}")),
            Err(Refusal::Taken) => Err(format!(
                "the kernel does not take note of leases at {name}: somebody else's \"ingress\" queue is there, which \
                 has no place for what goes out; type \"tc qdisc del dev {name} ingress\" and \"tc qdisc add dev \
                 {name} clsact\", and put its filters back (clsact takes them as they are)"
            )),
        }
    }

    /// Takes them away from every interface: nothing is held any more.
    pub fn leave(&self) {
        for link in netlink::links().unwrap_or_default() {
            for (way, _) in &self.0.programs {
                if let Err(error) = filter::take(&link, *way) {
                    tracing::warn!(interface = link.name, %error, "a filter stays behind; it limits nothing");
                }
            }
        }
        lock(&self.0.ours).clear();
    }
}

fn key(address: IpAddr) -> Key {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The clock of leases.
fn boot_time() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let nanoseconds = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    Moment(u64::try_from(nanoseconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
