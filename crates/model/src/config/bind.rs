//! `bind`: which service addresses an application's wildcard binds go to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::draft::{ApplicationDraft, Draft, GroupDraft};
use super::finding::{Finding, Findings};
use super::reader::Reader;
use super::scalar::{self, Refused};
use super::tree::At;

const WORD: &str = "service-address";

/// Where wildcard binds go, by family; one without an address is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindTo {
    /// For IPv4, and for sockets of both families where there is no other.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// One word of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The group's own, of each family.
    Service,
    /// This one.
    This(IpAddr),
}

pub(super) fn bind(reader: &mut Reader<'_>) -> Option<At<Vec<At<Wanted>>>> {
    let list = reader.text_or_texts("bind", "\"service-address\"")?;
    let span = list.span.clone();
    let read = |text: At<String>| reader.checked("bind", Some(text), wanted);
    let words: Vec<_> = list.value.into_iter().filter_map(read).collect();
    Some(At::new(words, span))
}

fn wanted(text: &str) -> Result<Wanted, Refused> {
    if text == WORD {
        return Ok(Wanted::Service);
    }
    let or = |r: Refused| Refused {
        help: format!("write bind = \"{WORD}\", or one of the group's addresses"),
        ..r
    };
    scalar::address(text).map(Wanted::This).map_err(or)
}

/// What the words come to in their group; where they do not fit, that is said by [`check`].
pub(super) fn resolve(application: &ApplicationDraft, group: &[IpAddr]) -> Option<BindTo> {
    let words = application.bind.as_ref()?;
    let mut to = BindTo::default();
    for word in &words.value {
        let addresses: &[IpAddr] = match &word.value {
            Wanted::Service => group,
            Wanted::This(address) => std::slice::from_ref(address),
        };
        for address in addresses {
            match address {
                IpAddr::V4(address) => to.v4 = Some(*address),
                IpAddr::V6(address) => to.v6 = Some(*address),
            }
        }
    }
    Some(to)
}

/// The service addresses of a group.
pub(super) fn addresses(group: &GroupDraft) -> Vec<IpAddr> {
    group.addresses.iter().filter_map(|a| Some(a.address.as_ref()?.value.0)).collect()
}

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for group in &draft.groups {
        let own = addresses(group);
        let unread = group.addresses.iter().any(|a| a.address.is_none());
        for application in group.applications.iter().filter(|_| !unread) {
            let Some(words) = &application.bind else { continue };
            fits(words, group, &own, findings);
        }
    }
}

fn fits(words: &At<Vec<At<Wanted>>>, group: &GroupDraft, own: &[IpAddr], findings: &mut Findings) {
    if own.is_empty() {
        let finding =
            Finding::error(&words.span, format!("`{}` has no service address to bind to", group.title()))
                .help("give the group an address: [[group.address]], or delete the line");
        findings.add(finding);
        return;
    }
    let mut all: Vec<IpAddr> = Vec::new();
    for word in &words.value {
        match word.value {
            Wanted::Service => all.extend(own),
            Wanted::This(address) if own.contains(&address) => all.push(address),
            Wanted::This(address) => {
                let list: Vec<String> = own.iter().map(IpAddr::to_string).collect();
                let message = format!("{address} is no service address of `{}`", group.title());
                let finding = Finding::error(&word.span, message)
                    .help(format!("write bind = \"{WORD}\"; the group has {}", list.join(", ")));
                findings.add(finding);
                return;
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    for is_ipv4 in [true, false] {
        let family: Vec<&IpAddr> = all.iter().filter(|a| a.is_ipv4() == is_ipv4).collect();
        if let [first, _, ..] = family.as_slice() {
            let finding = Finding::error(
                &words.span,
                format!(
                    "one socket is bound to one address, and these are {} of {}",
                    family.len(),
                    scalar::family(**first)
                ),
            )
            .help(format!("say which: bind = \"{first}\""));
            findings.add(finding);
            return;
        }
    }
    if all.len() == 2 {
        let message =
            "a program that opens one socket for IPv4 and IPv6 together is reached at the IPv6 address alone";
        let finding = Finding::note(&words.span, message).help(format!(
            "nothing is to be done for one that opens a socket for each; otherwise say which: bind = \"{}\"",
            all[0]
        ));
        findings.add(finding);
    }
}
