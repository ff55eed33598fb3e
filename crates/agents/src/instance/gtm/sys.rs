//! Shared memory of System V, which rustix does not know.

use std::ffi::CStr;
use std::io;

/// The beginning of a segment, read without changing it; at most `bytes`, which the segment must have.
pub(super) fn beginning(segment: i32, bytes: usize) -> io::Result<Vec<u8>> {
    // SAFETY: attached read-only at a place of the kernel's choice; nothing else is touched.
    let at = unsafe { libc::shmat(segment, std::ptr::null(), libc::SHM_RDONLY) };
    if at as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller says that the segment has so many bytes, and it stays attached until they are copied. Whoever
    // else writes there may change what is read, which is judged as any text from outside.
    let copy = unsafe { std::slice::from_raw_parts(at.cast::<u8>(), bytes) }.to_vec();
    // SAFETY: `at` is what was attached above, and nothing borrows from it any more.
    unsafe { libc::shmdt(at) };
    Ok(copy)
}

/// Removes a segment. Whoever is attached keeps it until he leaves.
pub(super) fn remove(segment: i32) -> io::Result<()> {
    // SAFETY: removing takes no buffer.
    match unsafe { libc::shmctl(segment, libc::IPC_RMID, std::ptr::null_mut()) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The text up to the first zero byte.
pub(super) fn text(bytes: &[u8]) -> Option<&str> {
    CStr::from_bytes_until_nul(bytes).ok()?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_and_removed() {
        // SAFETY: a new segment of this test's own; the text fits into it.
        let id = unsafe {
            let id = libc::shmget(libc::IPC_PRIVATE, 4096, 0o600);
            let at = libc::shmat(id, std::ptr::null(), 0);
            std::ptr::copy_nonoverlapping(c"LABEL".as_ptr(), at.cast(), 6);
            libc::shmdt(at);
            id
        };
        assert_eq!(text(&beginning(id, 64).unwrap()), Some("LABEL"));
        remove(id).unwrap();
        assert!(beginning(id, 64).is_err());
    }
}
