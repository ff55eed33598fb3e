//! Single values: durations, names, addresses, paths. Each reader says what is wrong and what to write.

use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::ids::{NAME_BYTES_MAX, NameError, check_name};

/// The longest duration that can be written.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The longest name that Linux takes for a host.
const HOST_NAME_BYTES_MAX: usize = 64;

/// Why a value is refused, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) message: String,
    pub(super) help: String,
}

pub(super) fn refused<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { message: message.into(), help: help.into() })
}

/// Reads a duration: a whole number and its unit, `"500ms"`, `"10s"`, `"2m"`, `"1h"`; `"0"` needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, Refused> {
    let trimmed = text.trim();
    let digits_end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(digits_end);
    let unit = unit.trim_start();
    if digits.is_empty() || unit.starts_with(['.', ',']) {
        return refused(
            format!("`{text}` is not a duration"),
            "write a whole number and its unit: \"500ms\", \"10s\", \"2m\" or \"1h\"",
        );
    }
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" if digits.bytes().all(|b| b == b'0') => 0,
        "" => {
            return refused(
                format!("the duration `{text}` has no unit"),
                format!("write \"{digits}s\" for seconds or \"{digits}ms\" for milliseconds"),
            );
        }
        _ => {
            let guess = match unit.to_ascii_lowercase().as_str() {
                "min" | "mins" | "minute" | "minutes" => "m",
                "sec" | "secs" | "second" | "seconds" => "s",
                "hour" | "hours" | "hr" | "hrs" => "h",
                "msec" | "millis" | "millisecond" | "milliseconds" => "ms",
                _ => {
                    return refused(
                        format!("`{unit}` is not a unit of time"),
                        format!("units are ms, s, m and h: \"{digits}s\""),
                    );
                }
            };
            return refused(format!("`{unit}` is not a unit of time"), format!("write \"{digits}{guess}\""));
        }
    };
    let ms = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_ms));
    match ms.map(Duration::from_millis) {
        Some(duration) if duration <= DURATION_MAX => Ok(duration),
        _ => refused(format!("`{text}` is too long"), "a duration is at most \"8784h\" (a year)"),
    }
}

/// A duration as it is said to people and as it can be written: `600 ms`, `1.5 s`, `2 m`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let us = duration.as_micros();
    if us < 1_000_000 {
        format!("{} ms", us as f64 / 1e3)
    } else if us < 120_000_000 {
        format!("{} s", (us / 1_000) as f64 / 1e3)
    } else if us.is_multiple_of(60_000_000) {
        format!("{} m", us / 60_000_000)
    } else {
        format!("{} s", us / 1_000_000)
    }
}

/// The word that a configuration has for `value`.
pub(super) fn word<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

/// Checks a name.
pub(super) fn name(text: &str) -> Result<String, Refused> {
    let Err(error) = check_name(text) else { return Ok(text.to_string()) };
    let proposal = name_from(text);
    let help = match error {
        NameError::Empty => "give it a name of letters, digits, '-', '_' or '.'".to_string(),
        _ => format!("write for example {proposal:?}"),
    };
    refused(error.to_string(), help)
}

/// A valid name made of any text: what cannot stand in a name becomes `-`.
pub(super) fn name_from(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let mapped: String = text.chars().map(plain).collect();
    let tail = &mapped[mapped.len().saturating_sub(NAME_BYTES_MAX)..];
    let name = tail.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).trim_end_matches('-');
    if name.is_empty() { "name1".to_string() } else { name.to_string() }
}

/// Checks the name of a user.
pub(super) fn user_name(text: &str) -> Result<String, Refused> {
    if !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-$".contains(c)) {
        return Ok(text.to_string());
    }
    refused(
        format!("`{}` is no name of a user", text.escape_debug()),
        "write a user of every node, for example \"postgres\"",
    )
}

/// Reads the name of a host, as `sethostname` and DNS take it.
pub(super) fn host_name(text: &str) -> Result<String, Refused> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= HOST_NAME_BYTES_MAX && text.split('.').all(label) {
        return Ok(text.to_string());
    }
    refused(
        format!("`{text}` is no name of a host"),
        format!(
            "write letters, digits and '-' with dots between them, at most {HOST_NAME_BYTES_MAX} in all, for example \
             \"dce.ward7.example\""
        ),
    )
}

/// Reads an address without a prefix.
pub(super) fn address(text: &str) -> Result<IpAddr, Refused> {
    if let Some((plain, _)) = text.split_once('/') {
        return refused(
            format!("`{text}`: an address of a node has no prefix length"),
            format!("write \"{plain}\""),
        );
    }
    let Ok(address) = text.parse::<IpAddr>() else { return not_an_address(text) };
    plain_address(address)
}

/// Reads a service address with its prefix.
pub(super) fn address_and_prefix(text: &str) -> Result<(IpAddr, u8), Refused> {
    let Some((plain, prefix)) = text.split_once('/') else {
        let Ok(address) = text.parse::<IpAddr>() else { return not_an_address(text) };
        let usual = if address.is_ipv4() { 24 } else { 64 };
        return refused(
            format!("the service address `{text}` has no prefix length"),
            format!("write the network's, for example \"{text}/{usual}\""),
        );
    };
    let Ok(address) = plain.parse::<IpAddr>() else { return not_an_address(plain) };
    let address = plain_address(address)?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    if let Ok(IpAddr::V4(mask)) = prefix.parse::<IpAddr>() {
        let ones = mask.to_bits().leading_ones();
        return refused(
            format!("`/{prefix}` is a netmask; the prefix length is wanted"),
            format!("write \"{plain}/{ones}\""),
        );
    }
    match prefix.parse::<u8>() {
        Ok(length) if (1..=bits).contains(&length) => Ok((address, length)),
        _ => refused(
            format!("`/{prefix}` is not a prefix length of an {} address", family(address)),
            format!("write a number from 1 to {bits}, as `ip address show` prints it after the address"),
        ),
    }
}

/// The name of an address's family.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn plain_address(address: IpAddr) -> Result<IpAddr, Refused> {
    match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => refused(format!("`{v6}` is an IPv4 address in disguise"), format!("write \"{v4}\"")),
            None => Ok(address),
        },
        IpAddr::V4(_) => Ok(address),
    }
}

fn not_an_address<T>(text: &str) -> Result<T, Refused> {
    let help = if text.contains('%') {
        "leave the part from `%` on out; the interface is given by `interface = \"...\"`".to_string()
    } else if !text.is_empty() && !text.contains(':') && text.chars().any(|c| c.is_ascii_alphabetic()) {
        "write the number, not a host name: names are not looked up while a cluster decides".to_string()
    } else {
        "write for example \"10.77.0.4\" or \"fd00:77::4\"".to_string()
    };
    refused(format!("`{text}` is not an IP address"), help)
}

/// Reads an absolute path without `.` and `..`.
pub(super) fn absolute_path(text: &str, what: &str, example: &str) -> Result<PathBuf, Refused> {
    let path = Path::new(text);
    if text.contains(['\0', '\n']) {
        return refused(format!("the {what} holds a character that no path should"), "write it in one line");
    }
    if !path.is_absolute() {
        return refused(
            format!("the {what} `{text}` is not an absolute path"),
            format!("begin it with `/`, for example {example}"),
        );
    }
    let dots = |c: Component<'_>| matches!(c, Component::ParentDir | Component::CurDir);
    if path.components().any(dots) {
        return refused(
            format!("the {what} `{text}` contains `..`"),
            "write the path without detours: it is compared with the others",
        );
    }
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_needs_a_whole_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(
            duration("10").unwrap_err().help,
            "write \"10s\" for seconds or \"10ms\" for milliseconds"
        );
        assert_eq!(duration("10 min").unwrap_err().help, "write \"10m\"");
        for bad in ["", "s", "-1s", "1.5s", "1s2", "99999999999999999999s", "18446744073709551615h", "١s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_required_and_in_range() {
        assert_eq!(address_and_prefix("fd00::10/64").map(|a| a.1), Ok(64));
        assert_eq!(address_and_prefix("10.0.0.9/32").map(|a| a.1), Ok(32));
        for bad in ["10.0.0.9", "10.0.0.9/33", "10.0.0.9/0", "fd00::1/129", "x/8", "10.0.0.9/-1", "10.0.0.9/"]
        {
            assert!(address_and_prefix(bad).is_err(), "{bad}");
        }
        let mask = address_and_prefix("192.9.202.197/255.255.0.0").unwrap_err();
        assert_eq!(mask.help, "write \"192.9.202.197/16\"");
    }

    #[test]
    fn a_name_can_be_made_of_any_mount_point_or_address() {
        for (text, name) in
            [("/storage2", "storage2"), ("/var/lib/pg", "var-lib-pg"), ("fd00::10", "fd00--10")]
        {
            assert_eq!(name_from(text), name);
        }
        for text in ["", "///", "ää", &"/x".repeat(99)] {
            assert_eq!(check_name(&name_from(text)), Ok(()), "{text}");
        }
    }
}
