//! The system calls that need `unsafe`: making a machine's first process, and loop devices.

use std::ffi::{CString, c_char};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

/// A process that was just made, and a handle that never means another one.
pub(crate) struct Born {
    /// Its number, seen from here.
    pub(crate) pid: i32,
    /// Its handle.
    pub(crate) pidfd: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Makes a process in namespaces of its own and in `cgroup`, running this same executable with `argv`.
/// `line` becomes its standard input, `console` its standard output and error. It is killed when the
/// calling *thread* ends, so call this from a thread that lives as long as the machine may.
///
/// # Errors
/// Those of `clone3`.
pub(crate) fn spawn_machine(
    argv: &[CString],
    env: &[CString],
    line: BorrowedFd<'_>,
    console: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
) -> io::Result<Born> {
    let list = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (list(argv), list(env));
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: (NAMESPACES | libc::CLONE_PIDFD) as u64 | CLONE_INTO_CGROUP,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM the child has its own copy of memory. It is single-threaded and calls only
    // async-signal-safe functions on memory prepared above (no allocation) until execve or _exit.
    unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>());
        if pid == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::setsid();
            if libc::dup2(line.as_raw_fd(), 0) == 0
                && libc::dup2(console.as_raw_fd(), 1) == 1
                && libc::dup2(console.as_raw_fd(), 2) == 2
            {
                libc::execve(c"/proc/self/exe".as_ptr(), argv.as_ptr(), env.as_ptr());
            }
            libc::_exit(127);
        }
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Born { pid: pid as i32, pidfd: OwnedFd::from_raw_fd(pidfd) })
    }
}

/// Capabilities no machine has: they would reach the host's kernel, clock or hardware.
const DENIED: [i32; 4] = [16, 17, 25, 27]; // SYS_MODULE, SYS_RAWIO, SYS_TIME, MKNOD

/// Takes from this process and its children what no machine may do.
pub(crate) fn drop_host_powers() -> io::Result<()> {
    for capability in DENIED {
        // SAFETY: prctl with integer arguments only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Makes the children of `command` unable to reach the host (see [`drop_host_powers`]), with `SIGCHLD` as
/// programs expect it.
pub(crate) fn tame(command: &mut Command) {
    // SAFETY: the closure makes plain system calls only.
    unsafe {
        command.pre_exec(|| {
            mask_child_signal(libc::SIG_UNBLOCK);
            drop_host_powers()
        });
    }
}

/// Starts `command` in every namespace of the process behind `pidfd`, in the control group whose open
/// `cgroup.procs` is given.
///
/// # Errors
/// Those of `setns` and of starting the command.
pub(crate) fn spawn_inside(
    mut command: Command,
    pidfd: BorrowedFd<'_>,
    cgroup_procs: File,
) -> io::Result<Child> {
    // SAFETY: the closure writes one byte to an open file and makes plain system calls.
    unsafe {
        command.pre_exec(move || {
            let text = b"0";
            if libc::write(cgroup_procs.as_raw_fd(), text.as_ptr().cast(), 1) != 1 {
                return Err(io::Error::last_os_error());
            }
            drop_host_powers()
        });
    }
    // A thread of its own: name spaces belong to a thread, and this process stays where it is.
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            // SAFETY: only this short-lived thread stops sharing its working directory with the others.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS)? };
            let all = ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::NETWORK
                | ThreadNameSpaceType::PROCESS_ID
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
                | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
                | ThreadNameSpaceType::CONTROL_GROUP;
            rustix::thread::move_into_thread_name_spaces(pidfd, all)?;
            command.spawn()
        });
        inside.join().unwrap_or_else(|_| Err(io::Error::other("the thread that enters the machine died")))
    })
}

/// Runs `work` in the network namespace of the process behind `pidfd`. Sockets made there stay there.
///
/// # Errors
/// Those of `setns` and of `work`.
pub(crate) fn in_network_of<T: Send>(
    pidfd: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            rustix::thread::move_into_thread_name_spaces(pidfd, ThreadNameSpaceType::NETWORK)?;
            work()
        });
        inside.join().unwrap_or_else(|_| Err(io::Error::other("the thread that enters the network died")))
    })
}

/// Gives the calling process name spaces of its own for mounts and network. Call it before any thread
/// is started.
///
/// # Errors
/// Those of `unshare`.
pub(crate) fn own_mounts_and_network() -> io::Result<()> {
    // SAFETY: no other thread exists yet that could share a table with this one.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET)? };
    Ok(())
}

/// Makes the calling process's control group the root of what it sees.
///
/// # Errors
/// Those of `unshare`.
pub(crate) fn own_cgroup_view() -> io::Result<()> {
    // SAFETY: a cgroup namespace shares no memory or descriptor table.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP)? };
    Ok(())
}

/// Sleeps until a child may have ended. `SIGCHLD` must be blocked: see [`block_child_signal`].
pub(crate) fn wait_for_child_signal() {
    // SAFETY: the set lives on this stack and is initialised by sigemptyset.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigwaitinfo(&raw const set, std::ptr::null_mut());
    }
}

/// Keeps `SIGCHLD` pending for [`wait_for_child_signal`].
pub(crate) fn block_child_signal() {
    mask_child_signal(libc::SIG_BLOCK);
}

fn mask_child_signal(how: i32) {
    // SAFETY: the set lives on this stack and is initialised by sigemptyset.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(how, &raw const set, std::ptr::null_mut());
    }
}

/// A socket for the frames of one protocol on an interface of the calling thread's network.
///
/// # Errors
/// When there is no such interface, or those of the kernel.
pub(crate) fn packet_socket(interface: &str, protocol: u16) -> io::Result<OwnedFd> {
    let name = CString::new(interface).map_err(io::Error::other)?;
    let protocol = protocol.to_be();
    // SAFETY: the address is fully initialised and its size is given; the descriptor is owned at once.
    unsafe {
        let index = libc::if_nametoindex(name.as_ptr());
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = check(libc::socket(libc::AF_PACKET, kind, i32::from(protocol)))?;
        let fd = OwnedFd::from_raw_fd(fd.cast_signed());
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index.cast_signed();
        let size = size_of::<libc::sockaddr_ll>() as u32;
        check(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size))?;
        Ok(fd)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const LOOP_CLR_FD: u64 = 0x4C01;
const LOOP_GET_STATUS64: u64 = 0x4C05;
const LOOP_CONFIGURE: u64 = 0x4C0A;
const LOOP_CTL_GET_FREE: u64 = 0x4C82;
const LO_FLAGS_DIRECT_IO: u32 = 16;
const BLKROSET: u64 = 0x125D;

/// An empty record; every field is an integer, zero is valid.
const NO_LOOP: LoopInfo = LoopInfo {
    device: 0,
    inode: 0,
    rdevice: 0,
    offset: 0,
    size_limit: 0,
    number: 0,
    encrypt_type: 0,
    encrypt_key_size: 0,
    flags: 0,
    file_name: [0; 64],
    crypt_name: [0; 64],
    encrypt_key: [0; 32],
    init: [0; 2],
};

fn check(result: i32) -> io::Result<u32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result.unsigned_abs()) }
}

/// The number of a loop device that nobody uses at the moment.
pub(crate) fn loop_free(control: &File) -> io::Result<u32> {
    // SAFETY: this request takes no argument.
    check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })
}

/// Binds `backing` to the loop device under the name `tag` (at most 63 bytes), with direct I/O, writable.
pub(crate) fn loop_bind(device: &File, backing: &File, tag: &[u8]) -> io::Result<()> {
    let mut config = LoopConfig {
        fd: backing.as_raw_fd().unsigned_abs(),
        block_size: 0,
        info: LoopInfo { flags: LO_FLAGS_DIRECT_IO, ..NO_LOOP },
        reserved: [0; 8],
    };
    let length = tag.len().min(63);
    config.info.file_name[..length].copy_from_slice(&tag[..length]);
    let writable: i32 = 0;
    // SAFETY: both arguments are valid for the size the kernel reads (struct loop_config, int).
    unsafe {
        check(libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config))?;
        check(libc::ioctl(device.as_raw_fd(), BLKROSET, &raw const writable))?;
    }
    Ok(())
}

/// The tag of the loop device and whether it does direct I/O; `None` if it is not bound.
pub(crate) fn loop_tag(device: &File) -> io::Result<Option<(Vec<u8>, bool)>> {
    let mut info = NO_LOOP;
    // SAFETY: the record is valid for the size the kernel writes (struct loop_info64).
    match check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) }) {
        Ok(_) => {
            let tag = info.file_name.iter().copied().take_while(|b| *b != 0).collect();
            Ok(Some((tag, info.flags & LO_FLAGS_DIRECT_IO != 0)))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the loop device to let go of its file; it does so when nobody has it open any more.
pub(crate) fn loop_clear(device: &File) -> io::Result<()> {
    // SAFETY: this request takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD) }).map(|_| ())
}
