//! Small programs for the kernel, put together by hand: a few dozen instructions each, so that no compiler for them is
//! needed. The kernel checks each before it keeps it.

pub(crate) mod sys;

/// An instruction as it lies in memory: the operation, two registers of half a byte each, a distance, a number.
pub(crate) fn instruction(operation: u8, to: u8, from: u8, distance: i16, number: u32) -> u64 {
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    let [d0, d1] = distance.to_ne_bytes();
    let [n0, n1, n2, n3] = number.to_ne_bytes();
    u64::from_ne_bytes([operation, registers, d0, d1, n0, n1, n2, n3])
}
