//! The system calls that neither the standard library nor rustix can make safely: what happens in a child
//! between fork and exec, the user database, and link-layer frames.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::user::User;

/// Must be written by the child itself; zero undoes the daemon's own protection.
const OOM: &CStr = c"/proc/self/oom_score_adj";
/// The largest link-layer address a `sockaddr_ll` is given (InfiniBand's 20 bytes).
pub(crate) const HARDWARE_BYTES_MAX: usize = 20;
/// Enough for any entry of the user database; more is asked for when it is not.
const ENTRY_BYTES: usize = 4096;
const ENTRY_BYTES_MAX: usize = 1 << 20;
const GROUPS_MAX: usize = 65_536;

/// What a child must become before it executes its program.
pub(crate) struct ChildSetup {
    /// An open `cgroup.procs`. Opened before the fork, so that joining fails when the folder was removed. Without it
    /// the child stays where the daemon is.
    pub(crate) join: Option<OwnedFd>,
    /// Whom to become; by default root stays root.
    pub(crate) user: Option<User>,
}

/// Makes the child of `command` join its control group, begin its own session with default signals, ordinary
/// scheduling and umask, and become its user, in this order.
pub(crate) fn prepare_child(command: &mut Command, setup: ChildSetup) {
    let become_it = move || -> io::Result<()> {
        if let Some(join) = &setup.join {
            rustix::io::write(join, b"0")?;
        }
        rustix::process::setsid()?;
        default_signals_and_scheduling();
        if let Ok(file) = rustix::fs::open(OOM, rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty()) {
            let _ = rustix::io::write(&file, b"0");
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        if let Some(user) = &setup.user {
            set_thread_groups(&user.groups)?;
            set_thread_res_gid(user.gid, user.gid, user.gid)?;
            set_thread_res_uid(user.uid, user.uid, user.uid)?;
        }
        Ok(())
    };
    // SAFETY: the closure runs between fork and exec. It only makes direct system calls (rustix makes them
    // without libc; syscall is async-signal-safe) on memory that was allocated before the fork; it
    // neither allocates nor takes a lock. The forked child has one thread, so per-thread ids are the
    // process's.
    unsafe { command.pre_exec(become_it) };
}

fn default_signals_and_scheduling() {
    // All zeroes: the default action, no flags, an empty mask. At least as long as the kernel's structure.
    let default = [0_u64; 8];
    for signal in 1..=64 {
        // SAFETY: the kernel reads its structure from memory that is valid for the call and writes none. The
        // direct call is used because C libraries refuse the numbers that they use themselves, and those may
        // have been inherited as ignored. KILL and STOP are refused without effect.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, std::ptr::null_mut::<u8>(), 8)
        };
    }
    let ordinary = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one sched_param from a pointer that is valid for the call; the direct call is
    // used because some C libraries refuse this function.
    unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &raw const ordinary) };
    // SAFETY: plain numbers.
    unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, 0) };
}

/// Looks a user up in the machine's user database. `None` when there is no such user.
pub(crate) fn find_user(name: &str) -> io::Result<Option<User>> {
    let c_name = CString::new(name).map_err(io::Error::other)?;
    let made = |entry: &libc::passwd| {
        // SAFETY: the entry's strings are NUL-terminated and live as long as it.
        let (home, shell) = unsafe { (text(entry.pw_dir), text(entry.pw_shell)) };
        let groups = groups_of(&c_name, entry.pw_gid);
        User::new(name, entry.pw_uid, entry.pw_gid, &groups, home, shell)
    };
    // SAFETY: the name lives through the call, and the rest is as `entry_of` promises.
    entry_of(
        |entry, buffer, bytes, found| unsafe {
            libc::getpwnam_r(c_name.as_ptr(), entry, buffer, bytes, found)
        },
        made,
    )
}

/// The name of the user of this number. `None` when there is no such user.
pub(crate) fn user_name(uid: u32) -> io::Result<Option<String>> {
    // SAFETY: all is as `entry_of` promises; the entry's strings live as long as it.
    entry_of(
        |entry, buffer, bytes, found| unsafe { libc::getpwuid_r(uid, entry, buffer, bytes, found) },
        |entry: &libc::passwd| unsafe { text(entry.pw_name) },
    )
}

/// The number of the group of this name. `None` when there is no such group.
pub(crate) fn group_number(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name)?;
    // SAFETY: the name lives through the call, and the rest is as `entry_of` promises.
    let call =
        |entry, buffer, bytes, found| unsafe { libc::getgrnam_r(name.as_ptr(), entry, buffer, bytes, found) };
    entry_of(call, |entry: &libc::group| entry.gr_gid)
}

/// Asks one of the machine's databases, and takes from the entry what is wanted of it while its strings live. `call` is
/// given room for an entry, a buffer and its length, and where to put whether it found one: all valid while it runs.
fn entry_of<E, T>(
    call: impl Fn(*mut E, *mut libc::c_char, usize, *mut *mut E) -> libc::c_int,
    take: impl FnOnce(&E) -> T,
) -> io::Result<Option<T>> {
    let mut buffer = vec![0_u8; ENTRY_BYTES];
    loop {
        let mut entry = std::mem::MaybeUninit::<E>::uninit();
        let mut found = std::ptr::null_mut();
        match call(entry.as_mut_ptr(), buffer.as_mut_ptr().cast(), buffer.len(), &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: on success with a non-null result the entry is filled in.
            0 => return Ok(Some(take(unsafe { entry.assume_init_ref() }))),
            libc::ERANGE if buffer.len() < ENTRY_BYTES_MAX => buffer.resize(buffer.len() * 4, 0),
            libc::ENOENT | libc::ESRCH => return Ok(None),
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}

/// # Safety
/// `pointer` is null or points to a NUL-terminated string.
unsafe fn text(pointer: *const libc::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

fn groups_of(name: &CStr, primary: libc::gid_t) -> Vec<libc::gid_t> {
    let mut groups = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the array has room for `count` entries, and the kernel's count is written back.
        let code = unsafe { libc::getgrouplist(name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if code >= 0 {
            groups.truncate(count);
            return groups;
        }
        if groups.len() >= GROUPS_MAX {
            return vec![primary];
        }
        groups.resize(count.max(groups.len() * 2), 0);
    }
}

/// A socket for [`send_frame`]. It receives nothing. Closing one waits for the whole network stack, some 20
/// ms.
pub(crate) fn frame_socket() -> io::Result<OwnedFd> {
    let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain numbers.
    let raw = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just opened and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A socket that hears the ARP messages of one interface, and by which they are sent.
pub(crate) fn arp_socket(link: u32) -> io::Result<OwnedFd> {
    let socket = frame_socket()?;
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ARP as u16).to_be();
    address.sll_ifindex = link as i32;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is valid for the call, and its size is passed with it.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Lets a socket hear and speak on one interface alone.
pub(crate) fn bind_to_interface(socket: &OwnedFd, name: &str) -> io::Result<()> {
    let length = name.len() as libc::socklen_t;
    // SAFETY: the name is valid for the call, and its length is passed with it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            length,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends `payload` to the link-layer address `to` on an interface; the kernel writes the frame's header.
pub(crate) fn send_frame(
    socket: &OwnedFd,
    link: u32,
    protocol: u16,
    to: &[u8],
    payload: &[u8],
) -> io::Result<()> {
    // A sockaddr_ll with room for addresses longer than its own eight bytes, as the kernel accepts it.
    #[repr(C)]
    struct LongAddress {
        head: libc::sockaddr_ll,
        tail: [u8; HARDWARE_BYTES_MAX],
    }
    let length = to.len().min(HARDWARE_BYTES_MAX);
    // SAFETY: all zeroes is a valid value of these plain structures.
    let mut address: LongAddress = unsafe { std::mem::zeroed() };
    address.head.sll_family = libc::AF_PACKET as u16;
    address.head.sll_protocol = protocol.to_be();
    address.head.sll_ifindex = link as i32;
    address.head.sll_halen = length as u8;
    for (at, byte) in to.iter().take(length).enumerate() {
        match address.head.sll_addr.get_mut(at) {
            Some(place) => *place = *byte,
            None => address.tail[at - address.head.sll_addr.len()] = *byte,
        }
    }
    let size = size_of::<libc::sockaddr_ll>() + length.saturating_sub(8);
    // SAFETY: payload and address are valid for the call, and `size` lies within the address structure.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            payload.as_ptr().cast(),
            payload.len(),
            0,
            (&raw const address).cast(),
            size as libc::socklen_t,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread its own working directory and root, as the kernel demands of whoever moves into
/// another mount namespace.
pub(crate) fn own_file_system_view() -> rustix::io::Result<()> {
    // SAFETY: only CLONE_FS: file descriptors stay shared, so no descriptor that is borrowed elsewhere
    // changes its meaning.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FS) }
}

/// How large a page of memory is, in bytes.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: no memory is passed; an unknown name gives -1.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}
