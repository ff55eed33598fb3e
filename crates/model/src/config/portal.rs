//! Reads `portal` of a service address, and sees that nothing else listens there.

use super::claims::Protocol;
use super::draft::{AddressDraft, Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::reader::Reader;
use super::tree::At;
use super::{check_instances, check_ports};

pub(super) fn read(reader: &mut Reader<'_>) -> Option<At<u16>> {
    let port = reader.number("portal", 1..=u32::from(u16::MAX), "8080")?;
    u16::try_from(port.value).ok().map(|value| At::new(value, port.span))
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        for address in &group.addresses {
            let Some(portal) = &address.portal else { continue };
            for other in &draft.groups {
                against(group, address, portal, other, findings);
            }
            against_instances(draft, group, address, portal, findings);
        }
    }
}

/// An instance of the group that listens on the same address.
fn against_instances(
    draft: &Draft,
    group: &GroupDraft,
    address: &AddressDraft,
    portal: &At<u16>,
    findings: &mut Findings,
) {
    let ip = address.address.as_ref().map(|a| a.value.0);
    for instance in &draft.instances {
        let Some(port) = instance.port.as_ref().filter(|p| p.value == portal.value) else { continue };
        let home = instance.directory.as_ref().and_then(|d| check_instances::group_of(draft, &d.value));
        let here = home.is_some_and(|home| std::ptr::eq(home, group));
        if here && instance.address.as_ref().is_none_or(|at| Some(at.value) == ip) {
            let message = format!(
                "the instance `{}` listens on port {} of the same address",
                instance.title(),
                portal.value
            );
            let finding =
                Finding::error(&portal.span, message).help("give the portal a port that nothing else uses");
            findings.add(finding.related(&port.span, "its port"));
        }
    }
}

/// What listens on every address of a node listens on this one too.
fn against(
    group: &GroupDraft,
    address: &AddressDraft,
    portal: &At<u16>,
    other: &GroupDraft,
    findings: &mut Findings,
) {
    let own = std::ptr::eq(group, other);
    if !own && !check_ports::meet(group, other) {
        return;
    }
    let applications = other.applications.iter();
    let claimed = applications.flat_map(|a| a.claims.ports.iter().map(move |port| (port, a.bind.is_some())));
    for (port, is_bound) in claimed.chain(other.requires_ports.iter().map(|port| (port, false))) {
        let same = port.value.protocol == Protocol::Tcp && port.value.number == portal.value;
        if !same || (is_bound && !own) {
            continue;
        }
        let at = address.address.as_ref().map_or_else(String::new, |a| format!(" of {}", a.value.0));
        let message = match own {
            true => format!("`{}` listens on port {} itself, the portal{at}", other.title(), portal.value),
            false => format!(
                "`{}` can be on the same node, and listens on port {} of all its addresses, also on the portal{at}",
                other.title(),
                portal.value
            ),
        };
        let finding =
            Finding::error(&portal.span, message).help("give the portal a port that nothing else uses");
        findings.add(finding.related(&port.span, "the same port"));
    }
}
