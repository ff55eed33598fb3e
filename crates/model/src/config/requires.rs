//! Reads `requires`: what a group wants of its node's kernel.

use super::claims::{self, Port};
use super::reader::Reader;
use super::scalar::{Refused, refused};
use super::tree::{At, Value};
use crate::survey::Limits;

const EXAMPLE: &str = "{ memory = \"2G\", open_files = 65536 }";

/// What is to be granted, and the ports that must be free.
pub(super) fn requires(group: &mut Reader<'_>) -> (Limits, Vec<At<Port>>) {
    let Some(table) = group.table("requires", EXAMPLE) else { return (Limits::default(), Vec::new()) };
    let mut reader = Reader::new("requires", table, group.findings);
    let limits = Limits {
        memory: bytes(&mut reader, "memory"),
        huge_pages: count(&mut reader, "huge_pages", "512"),
        shared_memory: bytes(&mut reader, "shared_memory"),
        semaphores: count(&mut reader, "semaphores", "250"),
        open_files: count(&mut reader, "open_files", "65536"),
    };
    let ports = reader.checked_texts("ports", "[\"1972/tcp\"]", claims::port);
    reader.finish();
    (limits, ports)
}

fn count(reader: &mut Reader<'_>, key: &'static str, example: &str) -> u64 {
    reader.number(key, 0..=u32::MAX, example).map_or(0, |n| u64::from(n.value))
}

fn bytes(reader: &mut Reader<'_>, key: &'static str) -> u64 {
    let Some(found) = reader.take(key) else { return 0 };
    let found = reader.quoted(found);
    let text = match found.value {
        Value::Text(text) | Value::Number(text) => text,
        Value::Broken => return 0,
        other => other.kind().to_owned(),
    };
    reader.checked(key, Some(At::new(text, found.span)), size).map_or(0, |n| n.value)
}

/// `"512M"`, `"2G"`: powers of 1024.
fn size(text: &str) -> Result<u64, Refused> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "K" | "KiB" => Some(10),
        "M" | "MiB" => Some(20),
        "G" | "GiB" => Some(30),
        "T" | "TiB" => Some(40),
        _ => None,
    };
    let number = digits.parse::<u64>().ok();
    match shift.zip(number).and_then(|(shift, number)| number.checked_mul(1 << shift)) {
        Some(bytes) => Ok(bytes),
        None => refused(
            format!("`{}` is no amount of memory", text.escape_debug()),
            "write a whole number and K, M, G or T: \"2G\"",
        ),
    }
}
