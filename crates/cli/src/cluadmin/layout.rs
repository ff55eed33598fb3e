//! The definition of a service, line by line as the guide's listing has it.

use std::fmt::Write as _;

use super::service::{Address, Device, NONE, Service};
use crate::paint::{printable, wrapped};

/// The whole definition.
#[must_use]
pub(super) fn render(service: &Service) -> String {
    let none = |value: &Option<String>| value.clone().unwrap_or_else(|| NONE.to_owned());
    let mut out = format!(
        "name: {}\npreferred node: {}\nrelocate: {}\nuser script: {}\nmonitor interval: {}\n",
        service.name,
        none(&service.preferred),
        yes_no(service.relocate),
        printable(&none(&service.script)),
        service.interval,
    );
    for (number, address) in service.addresses.iter().enumerate() {
        out.push_str(&address_lines(number, address));
    }
    for (number, device) in service.devices.iter().enumerate() {
        out.push_str(&device_lines(number, device));
    }
    if !service.also.is_empty() {
        let text = format!("({})", service.also.join("; "));
        // What the guide's listing does not have stands apart from it.
        let _ = writeln!(out, "\nalso: {}", wrapped(&text, 90, "  "));
    }
    out
}

/// The lines of one address.
#[must_use]
pub(super) fn address_lines(n: usize, address: &Address) -> String {
    format!(
        "IP address {n}: {}\n  netmask {n}: {}\n  broadcast {n}: {}\n",
        address.address,
        address.netmask(),
        address.broadcast()
    )
}

/// The lines of one device.
#[must_use]
pub(super) fn device_lines(n: usize, device: &Device) -> String {
    let none = |value: &Option<String>| printable(value.as_deref().unwrap_or(NONE));
    format!(
        "device {n}: {}\n  mount point, device {n}: {}\n  mount fstype, device {n}: {}\n  \
         mount options, device {n}: {}\n  force unmount, device {n}: {}\n  samba share, device {n}: {}\n",
        printable(&device.device),
        printable(&device.mount),
        printable(&device.fstype),
        none(&device.options),
        yes_no(device.force),
        none(&device.share),
    )
}

/// The word.
#[must_use]
pub(super) fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
