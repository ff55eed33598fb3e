//! Reads `[[group.address]]`.

use std::net::IpAddr;
use std::time::Duration;

use super::draft::AddressDraft;
use super::finding::Findings;
use super::reader::Reader;
use super::scalar::{self, Refused, refused};
use super::tree::{At, Table};
use super::{AddressConfig, MonitorTimes};
use super::{broadcast, limits, portal};
use crate::ids::ResourceName;

const ADDRESS_MONITOR: MonitorTimes = MonitorTimes::new(Duration::from_secs(5), Duration::from_secs(3), 2);
const ADDRESS_ACQUIRE: Duration = Duration::from_secs(10);
const ADDRESS_RELEASE: Duration = Duration::from_secs(10);

pub(super) fn address(table: Table, findings: &mut Findings) -> AddressDraft {
    let mut reader = Reader::new("[[group.address]]", table, findings);
    let text = reader.need_text("address", "\"192.9.202.197/16\"");
    let address = reader.checked("address", text, scalar::address_and_prefix);
    let broadcast = broadcast::broadcast(&mut reader, address.as_ref());
    let has_interface = reader.has("interface");
    let interface = reader.text("interface", "\"eth0\"");
    let interface = reader.checked("interface", interface, interface_name);
    let network = reader.name("network", "\"clients\"");
    let portal = portal::read(&mut reader);
    let monitor = limits::monitor(&mut reader, "address.monitor", ADDRESS_MONITOR).times;
    let acquire_timeout = reader.duration_or("acquire_timeout", ADDRESS_ACQUIRE, "\"10s\"");
    let release_timeout = reader.duration_or("release_timeout", ADDRESS_RELEASE, "\"10s\"");
    let tickle = reader.flag("tickle").is_none_or(|flag| flag.value);
    let limits = limits::limits(&mut reader);
    let from = address.as_ref().map(|a| At::new(a.value.0.to_string(), a.span.clone()));
    let name = limits::name_or(&mut reader, from);
    reader.finish();
    let config = (|| {
        let (address, prefix): (IpAddr, u8) = address.as_ref()?.value;
        Some(AddressConfig {
            name: ResourceName::new(name.as_ref()?.value.clone()).ok()?,
            address,
            prefix,
            broadcast,
            interface: interface.as_ref().map(|i| i.value.clone()),
            network: network.as_ref().map(|n| n.value.clone()),
            portal: portal.as_ref().map(|p| p.value),
            monitor,
            acquire_timeout,
            release_timeout,
            limits,
            tickle,
        })
    })();
    AddressDraft { name, address, has_interface, interface, network, portal, config }
}

pub(super) fn interface_name(text: &str) -> Result<String, Refused> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    if text.len() <= 15 && text != "." && text != ".." && !text.contains(wrong) {
        return Ok(text.to_string());
    }
    refused(
        format!("`{text}` is no name of a network interface"),
        "write it as `ip link` prints it, at most 15 bytes, for example \"eth0\"",
    )
}
