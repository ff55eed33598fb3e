//! Resets what is left of the connections of an address that is about to go.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use regent_model::action::Notice;
use regent_model::config::AddressConfig;
use regent_model::connection::{Change, ServiceAddress, in_words};
use regent_model::journal::Level;

use super::diag::{Diag, States, by_address};
use crate::hands::Context;
use crate::report::Report;
use crate::sync::lock;

/// What an application sent last, before it closed, may take so long to be acknowledged.
const LAST_WORDS: Duration = Duration::from_millis(100);
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The address does not stay for longer because of connections.
const ALL_WITHIN: Duration = Duration::from_secs(2);

pub(super) const CANNOT_END: &str = "it cannot end a TCP connection (CONFIG_INET_DIAG_DESTROY is not set): who is \
                                     connected when an address goes hears of it only from the next owner";

/// The applications are stopped: nobody of the group takes new connections, and the kernel refuses them. Those that are
/// left, or that a stranger takes meanwhile, are reset, so that every client knows before the address goes.
pub(crate) fn before_it_goes(context: &Context<'_>, config: &AddressConfig) {
    if !config.tickle {
        return;
    }
    let begun = Instant::now();
    context.inner.connections.leave_alone(config.address);
    context.job.now_doing("resetting what is connected to the address");
    let mut ended = BTreeSet::new();
    let done = reset_all(config, context.job.until(ALL_WITHIN), &mut ended);
    if !ended.is_empty() {
        let text = format!("reset {} of {}", in_words(ended.len()), config.address);
        context.job.record(Level::Step, text, begun.elapsed(), evidence(&ended));
    }
    match done {
        Ok(0) => {}
        Ok(left) => {
            let text = format!("not reset in time: {} of {}", in_words(left), config.address);
            context.job.warn(text, "their clients hear of it from the next owner");
        }
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            if lock(&context.inner.said).insert("connections".to_owned()) {
                context.job.warn(format!("of this kernel: {CANNOT_END}"), "");
            }
        }
        Err(error) => {
            let text = format!("the connections of {} were not reset", config.address);
            context.job.warn(text, error.to_string());
        }
    }
}

/// The first clients, for the journal.
fn evidence(ended: &BTreeSet<(SocketAddr, u16)>) -> String {
    let some: Vec<String> =
        ended.iter().take(8).map(|(peer, port)| format!("{peer} to port {port}")).collect();
    let more = if ended.len() > some.len() { ", ..." } else { "" };
    format!("{}{more}", some.join(", "))
}

/// Gives the number of those that are left.
fn reset_all(
    config: &AddressConfig,
    until: Instant,
    ended: &mut BTreeSet<(SocketAddr, u16)>,
) -> io::Result<usize> {
    let mut diag = Diag::open()?;
    let patient_until = Instant::now() + LAST_WORDS;
    loop {
        let left = diag.list(&[config.address], States::OPEN)?;
        let now = Instant::now();
        if left.is_empty() || now >= until {
            return Ok(left.len());
        }
        for found in left.iter().filter(|f| !f.is_ending() || now >= patient_until) {
            if diag.destroy(found)? {
                ended.insert(found.key());
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The address is gone. A stranger that listens everywhere may have taken a connection at the last moment: the next owner
/// is to know of it too.
pub(crate) fn slipped_in(context: &Context<'_>, config: &AddressConfig) {
    if !config.tickle {
        return;
    }
    let found = Diag::open().and_then(|mut diag| diag.list(&[config.address], States::WAITED_FOR));
    let opened = by_address(found.unwrap_or_default()).remove(&config.address).unwrap_or_default();
    if !opened.is_empty() {
        let of = ServiceAddress { group: context.run.group.clone(), address: config.address };
        let change = Change { whole: false, opened, closed: Vec::new(), beyond: 0 };
        (context.inner.report)(Report::Notice(Notice::Connections { of, change }));
    }
}
