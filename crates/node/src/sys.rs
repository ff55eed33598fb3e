//! The system calls that neither the standard library nor rustix makes safely.

use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// Groups for which there is room at first, and at most: a process of Linux has 65536.
const GROUPS: usize = 1024;
const GROUPS_MAX: usize = 1 << 16;

/// The supplementary groups of whoever is at the other end, as they were when it connected.
pub(crate) fn peer_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    peer_groups_from(stream, GROUPS)
}

/// The same with room for so many at first.
fn peer_groups_from(stream: &UnixStream, room: usize) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; room];
    let mut bytes = libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(0);
    // SAFETY: the kernel writes at most `bytes` bytes into the vector, which has so many, and the new length into
    // `bytes`; both pointers are valid for the call. Every bit pattern is a number.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if done != 0 {
        let error = io::Error::last_os_error();
        // Too little room.
        return match error.raw_os_error() {
            Some(libc::ERANGE) if room < GROUPS_MAX => peer_groups_from(stream, GROUPS_MAX),
            _ => Err(error),
        };
    }
    groups.truncate(usize::try_from(bytes).unwrap_or(0) / size_of::<u32>());
    Ok(groups)
}

/// Who is at the other end, as it was when it connected. The process number is 0 for a process of another PID
/// namespace, which is why the type that rustix has for this cannot hold it.
pub(crate) fn peer(stream: &UnixStream) -> io::Result<libc::ucred> {
    let mut who = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut bytes = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or(0);
    // SAFETY: the kernel writes at most `bytes` bytes into `who`, which has so many; both pointers are valid for the
    // call, and every bit pattern is a ucred.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut bytes,
        )
    };
    if done == 0 { Ok(who) } else { Err(io::Error::last_os_error()) }
}

/// Every address of every interface that is up, in the kernel's order.
pub(crate) fn interface_addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let mut list = ptr::null_mut();
    // SAFETY: the call sets `list` to a list of its own making, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next: *const libc::ifaddrs = list;
    while !next.is_null() {
        // SAFETY: `next` is an element of the list, which is not freed yet.
        let element = unsafe { &*next };
        let is_up = element.ifa_flags & libc::IFF_UP.cast_unsigned() != 0;
        if is_up && !element.ifa_addr.is_null() {
            // SAFETY: the name is a string that ends in zero, and lives as long as the list.
            let name = unsafe { CStr::from_ptr(element.ifa_name) }.to_string_lossy().into_owned();
            // SAFETY: the address is not null and is of the kind that its family says.
            found.extend(unsafe { address_in(element.ifa_addr) }.map(|address| (name, address)));
        }
        next = element.ifa_next;
    }
    // SAFETY: `list` came from getifaddrs, and nothing refers to it any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(found)
}

/// # Safety
/// `address` points to a socket address of the kind that its family says.
unsafe fn address_in(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: every socket address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: of this family is a sockaddr_in; unaligned reading asks nothing of where it lies.
            let v4 = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in>()) };
            Some(IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes()))
        }
        libc::AF_INET6 => {
            // SAFETY: of this family is a sockaddr_in6; as above.
            let v6 = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in6>()) };
            Some(IpAddr::from(v6.sin6_addr.s6_addr))
        }
        _ => None,
    }
}

/// Makes the child of `command` the first process of a session of its own.
pub(crate) fn own_session(command: &mut Command) {
    let begin = || rustix::process::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: between fork and exec the closure makes one system call, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(begin) };
}

/// Has the allocator give memory back: large pieces to the kernel when they are freed, and no more than two pools for
/// all threads. Left to itself it makes pools by the dozen, and keeps in each the largest request it ever saw.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_memory_small() {
    for (parameter, value) in [(libc::M_MMAP_THRESHOLD, 256 << 10), (libc::M_ARENA_MAX, 2)] {
        // SAFETY: mallopt takes two numbers and changes the allocator's own settings under its own lock.
        let _only_a_wish = unsafe { libc::mallopt(parameter, value) };
    }
}

/// Other C libraries' allocators have no pools.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_memory_small() {}

/// How many seconds the local time is ahead of UTC at that moment of the wall clock; 0 where the machine cannot say.
pub(crate) fn utc_offset_s(wall_ms: u64) -> i32 {
    let seconds = libc::time_t::try_from(wall_ms / 1000).unwrap_or(0);
    // SAFETY: a `tm` of zeros is a valid value of a C struct of numbers and one pointer that is not read here.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of their types for the duration of the call.
    let found = unsafe { libc::localtime_r(&raw const seconds, &raw mut local) };
    if found.is_null() { 0 } else { i32::try_from(local.tm_gmtoff).unwrap_or(0) }
}
