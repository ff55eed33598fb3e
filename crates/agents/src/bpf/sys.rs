//! bpf(2): programs, and tables that programs look into.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

// Of linux/bpf.h: commands, and kinds.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const MAP_DELETE: libc::c_long = 3;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const HASH: u32 = 1;

/// The part of the kernel's union that loads a program.
#[derive(Default)]
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// The part that makes a table.
#[derive(Default)]
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

/// The part that changes one entry of a table.
#[derive(Default)]
#[repr(C)]
struct Entry {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part that runs a program once.
#[derive(Default)]
#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// Has the kernel check a program and keep it for as long as the result, or what it is attached to, lives.
pub(crate) fn load(kind: u32, attach_type: u32, name: [u8; 16], program: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let mut attr = Load {
        prog_type: kind,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: name,
        expected_attach_type: attach_type,
        ..Load::default()
    };
    // SAFETY: the program and its licence live until after the call, and no log is asked for.
    let raw = unsafe { bpf(PROG_LOAD, &mut attr) }?;
    // SAFETY: the kernel has just opened it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// A table of so many entries; the kernel has set aside the memory for all of them.
#[derive(Debug)]
pub(crate) struct Table(OwnedFd);

/// What is looked for in a table, and what is found there.
pub(crate) type Key = [u8; 16];

impl Table {
    /// Makes an empty one. It lives for as long as the result, or a program that looks into it.
    pub(crate) fn new(name: [u8; 16], entries: u32) -> io::Result<Self> {
        let mut attr = Create {
            map_type: HASH,
            key_size: size_of::<Key>() as u32,
            value_size: size_of::<u64>() as u32,
            max_entries: entries,
            map_name: name,
            ..Create::default()
        };
        // SAFETY: this part holds no pointers.
        let raw = unsafe { bpf(MAP_CREATE, &mut attr) }?;
        // SAFETY: the kernel has just opened it for us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// The number under which a program names it.
    pub(crate) fn number(&self) -> u32 {
        self.0.as_raw_fd().cast_unsigned()
    }

    /// Gives `key` this value; whoever looks finds the old one or the new one. Waits for nothing.
    pub(crate) fn set(&self, key: &Key, value: u64) -> io::Result<()> {
        let mut attr = self.entry(key);
        attr.value = (&raw const value) as u64;
        // SAFETY: key and value have the sizes that the table was made for, and live until after the call.
        unsafe { bpf(MAP_UPDATE, &mut attr) }.map(|_| ())
    }

    /// Takes `key` out, if it is there.
    pub(crate) fn clear(&self, key: &Key) -> io::Result<()> {
        let mut attr = self.entry(key);
        // SAFETY: the key has the size that the table was made for, and lives until after the call.
        match unsafe { bpf(MAP_DELETE, &mut attr) } {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            done => done.map(|_| ()),
        }
    }

    fn entry(&self, key: &Key) -> Entry {
        Entry { map_fd: self.number(), key: key.as_ptr() as u64, ..Entry::default() }
    }
}

/// Runs a program over a packet, as if it had come or were to go, and gives its verdict. Nothing is sent.
pub(crate) fn run_over(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<i32> {
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        data_size_in: u32::try_from(packet.len()).map_err(io::Error::other)?,
        data_in: packet.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the packet lives until after the call, its length is said, and no packet is asked for in return.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }?;
    Ok(attr.retval.cast_signed())
}

/// # Safety
/// `attr` is the part of the union that belongs to `command`, and every pointer in it is valid for the call.
pub(crate) unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the structure is valid for the call and its size is passed with it; the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    match i32::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
