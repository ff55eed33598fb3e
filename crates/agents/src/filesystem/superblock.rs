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
const UUID_AT: usize = AT + 0x68;
/// XFS's superblock begins the device.
const XFS_MAGIC: &[u8] = b"XFSB";
const XFS_UUID_AT: usize = 32;
const UUID_BYTES: usize = 16;

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

/// The identity that ext2 to ext4 and XFS write into the device's first block.
pub(crate) fn uuid(block: &[u8; BLOCK]) -> Option<String> {
    let at = if block[MAGIC_AT..].starts_with(&MAGIC.to_le_bytes()) {
        UUID_AT
    } else if block.starts_with(XFS_MAGIC) {
        XFS_UUID_AT
    } else {
        return None;
    };
    let bytes = &block[at..at + UUID_BYTES];
    let hex = |part: &[u8]| part.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let parts = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
    Some(parts.map(hex).join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_of_ext4_and_xfs_is_read_from_the_first_block() {
        let mut block = [0; BLOCK];
        assert_eq!(uuid(&block), None);
        block[1080..1082].copy_from_slice(&[0x53, 0xef]);
        for (at, byte) in block[1128..1144].iter_mut().enumerate() {
            *byte = at as u8;
        }
        assert_eq!(uuid(&block).as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        let mut block = [7; BLOCK];
        block[..4].copy_from_slice(b"XFSB");
        assert_eq!(uuid(&block).as_deref(), Some("07070707-0707-0707-0707-070707070707"));
    }

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
