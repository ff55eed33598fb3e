//! What a superblock says before the file system is mounted.

use crate::device::BLOCK;

/// ext's superblock begins here on the device.
const AT: usize = 1024;
const MAGIC_AT: usize = AT + 0x38;
const MAGIC: u16 = 0xef53;
const STATE_AT: usize = AT + 0x3a;
const STATE_ERRORS: u16 = 2;
const INCOMPATIBLE_AT: usize = AT + 0x60;
const FEATURE_MMP: u32 = 0x100;

/// The findings that matter before a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Findings {
    /// The kernel noted errors in the file system and wants it checked.
    pub(super) has_errors: bool,
    /// Mounting waits until a double mount is ruled out: seconds, and about 22 s after a crash.
    pub(super) has_mmp: bool,
}

/// Whether the type is one of the ext family, the only one whose superblock tells.
pub(super) fn is_ext(fstype: &str) -> bool {
    matches!(fstype, "ext2" | "ext3" | "ext4")
}

/// Reads ext's superblock out of the device's first block; none when it is not ext's.
pub(super) fn read(block: &[u8; BLOCK]) -> Option<Findings> {
    let short = |at: usize| Some(u16::from_le_bytes(*block.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_le_bytes(*block.get(at..)?.first_chunk()?));
    (short(MAGIC_AT)? == MAGIC).then_some(Findings {
        has_errors: short(STATE_AT)? & STATE_ERRORS != 0,
        has_mmp: long(INCOMPATIBLE_AT)? & FEATURE_MMP != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_mmp_are_seen_and_another_magic_is_not_ext() {
        let mut block = [0; BLOCK];
        assert_eq!(read(&block), None);
        block[MAGIC_AT..MAGIC_AT + 2].copy_from_slice(&MAGIC.to_le_bytes());
        block[STATE_AT] = 1;
        assert_eq!(read(&block), Some(Findings::default()));
        block[STATE_AT] = 3;
        block[INCOMPATIBLE_AT + 1] = 1;
        assert_eq!(read(&block), Some(Findings { has_errors: true, has_mmp: true }));
    }
}
