//! The system calls of the tests that have no safe form.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a network and a mount namespace and a host name of its own; threads and processes that it makes
/// live there too.
pub(crate) fn enter_own_namespaces() {
    let flags = UnshareFlags::FS | UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS;
    // SAFETY: file descriptors stay shared between the threads.
    unsafe { unshare_unsafe(flags) }.expect("these tests need root");
}

/// Receives every frame of one link-layer protocol that arrives in the namespace of the calling thread.
pub(crate) struct Sniffer(OwnedFd);

impl Sniffer {
    pub(crate) fn new(protocol: u16) -> Self {
        // SAFETY: plain numbers.
        let raw = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                i32::from(protocol.to_be()),
            )
        };
        assert!(raw >= 0, "{}", io::Error::last_os_error());
        // SAFETY: just opened, no other owner.
        Self(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    /// The next frame without its link-layer header, if one is there.
    pub(crate) fn next(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0_u8; 2048];
        // SAFETY: the buffer is valid for its length.
        let length = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        frame.truncate(usize::try_from(length).ok()?);
        Some(frame)
    }
}
