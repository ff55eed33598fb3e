//! Bytes as text that survives being copied by hand: a label, hexadecimal digits and a check.
//!
//! `regent-key-4f1c...-9ab31c02`: whoever reads it sees what it is, and one wrong character is noticed before
//! anything is done with it.

use std::fmt;

use ring::digest;

/// The most bytes that a text may stand for.
pub const BYTES_MAX: usize = 4096;

const CHECK_BYTES: usize = 4;

/// Why a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextError {
    /// It does not begin with this label.
    Label(String),
    /// It holds a character that is no hexadecimal digit.
    Character(char),
    /// It is cut short, or something was added.
    Length,
    /// All characters are possible, but they do not fit together.
    Check,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "this must begin with \"{label}-\""),
            Self::Character(c) => write!(f, "{c:?} does not belong here; copy the whole text again"),
            Self::Length => write!(f, "something is missing or too much; copy the whole text again"),
            Self::Check => write!(f, "a character is wrong; copy the whole text again"),
        }
    }
}

impl std::error::Error for TextError {}

fn check(label: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(label.as_bytes());
    context.update(&[0]);
    context.update(bytes);
    let mut check = [0; CHECK_BYTES];
    for (to, from) in check.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    check
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
}

fn parse_hex(text: &str) -> Result<Vec<u8>, TextError> {
    let mut digits = Vec::with_capacity(text.len());
    for c in text.chars() {
        let digit = c.to_digit(16).ok_or(TextError::Character(c))?;
        digits.push(u8::try_from(digit).unwrap_or(0));
    }
    if digits.len() % 2 != 0 {
        return Err(TextError::Length);
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Writes `bytes` as `label-hex-check`.
#[must_use]
pub fn format(label: &str, bytes: &[u8]) -> String {
    let mut text = format!("{label}-");
    push_hex(&mut text, bytes);
    text.push('-');
    push_hex(&mut text, &check(label, bytes));
    text
}

/// Reads what [`format`](fn@format) wrote with the same label. Space around it and the case of digits do not matter.
///
/// # Errors
/// The first thing wrong with `text`.
pub fn parse(label: &str, text: &str) -> Result<Vec<u8>, TextError> {
    let wrong_label = || TextError::Label(label.to_owned());
    let rest = text.trim().strip_prefix(label).ok_or_else(wrong_label)?;
    let rest = rest.strip_prefix('-').ok_or_else(wrong_label)?;
    if rest.len() > 2 * (BYTES_MAX + CHECK_BYTES) + 1 {
        return Err(TextError::Length);
    }
    let (body, tail) = rest.rsplit_once('-').ok_or(TextError::Length)?;
    let (bytes, found) = (parse_hex(body)?, parse_hex(tail)?);
    if found.len() != CHECK_BYTES {
        return Err(TextError::Length);
    }
    if found != check(label, &bytes) {
        return Err(TextError::Check);
    }
    Ok(bytes)
}
