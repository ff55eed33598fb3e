//! bpf(2), as far as control groups need it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::bpf::sys as bpf;

// Of linux/bpf.h: commands, the kind of program, where it is attached, and how.
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const CGROUP_SOCK_ADDR: u32 = 18;
const CGROUP_INET4_BIND: u32 = 8;
const CGROUP_INET6_BIND: u32 = 9;
/// Programs of folders above are asked too.
const ALLOW_MULTI: u32 = 2;
/// The kernel allows no more at one folder.
const PROGRAMS_MAX: u32 = 64;

/// Of which sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn attach_type(self) -> u32 {
        match self {
            Self::V4 => CGROUP_INET4_BIND,
            Self::V6 => CGROUP_INET6_BIND,
        }
    }
}

/// The part of the kernel's union that attaches and detaches.
#[derive(Default)]
#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// The part that asks what is attached.
#[derive(Default)]
#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    reserved: u32,
}

/// The part that opens a program by its number.
#[derive(Default)]
#[repr(C)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Has the kernel check a program and keep it for as long as the result, or what it is attached to, lives.
pub(super) fn load(family: Family, program: &[u64]) -> io::Result<OwnedFd> {
    bpf::load(CGROUP_SOCK_ADDR, family.attach_type(), *b"regent_bind\0\0\0\0\0", program)
}

/// Attaches a program to a control group, beside those of the folders above.
pub(super) fn attach(folder: BorrowedFd<'_>, program: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    let mut attr = Attach {
        target_fd: number(folder),
        attach_bpf_fd: number(program),
        attach_type: family.attach_type(),
        attach_flags: ALLOW_MULTI,
        ..Attach::default()
    };
    // SAFETY: this part holds no pointers.
    unsafe { bpf::bpf(PROG_ATTACH, &mut attr) }.map(|_| ())
}

/// Takes away what is attached to this very folder.
pub(super) fn detach_all(folder: BorrowedFd<'_>, family: Family) -> io::Result<()> {
    for id in attached(folder, family)? {
        let mut attr = ById { prog_id: id, ..ById::default() };
        // SAFETY: this part holds no pointers.
        let raw = unsafe { bpf::bpf(PROG_GET_FD_BY_ID, &mut attr) }?;
        // SAFETY: the kernel has just opened it for us alone.
        let program = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut attr = Attach {
            target_fd: number(folder),
            attach_bpf_fd: number(program.as_fd()),
            attach_type: family.attach_type(),
            ..Attach::default()
        };
        // SAFETY: this part holds no pointers.
        unsafe { bpf::bpf(PROG_DETACH, &mut attr) }?;
    }
    Ok(())
}

/// The numbers of the programs that are attached to this very folder.
pub(super) fn attached(folder: BorrowedFd<'_>, family: Family) -> io::Result<Vec<u32>> {
    let mut ids = vec![0_u32; PROGRAMS_MAX as usize];
    let mut attr = Query {
        target_fd: number(folder),
        attach_type: family.attach_type(),
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: PROGRAMS_MAX,
        ..Query::default()
    };
    // SAFETY: `ids` has room for as many numbers as are said, and lives until after the call.
    unsafe { bpf::bpf(PROG_QUERY, &mut attr) }?;
    ids.truncate(attr.prog_cnt as usize);
    Ok(ids)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}
