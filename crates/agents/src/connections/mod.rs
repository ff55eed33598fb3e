//! Who is connected to the service addresses of this node: recorded while an address is here, made to notice it where
//! the connection ended with an earlier owner, and reset before the address goes.
//!
//! A client whose request was acknowledged by the machine that was lost has nothing left to send: without a word from
//! the new owner it waits for its own keepalive, two hours by default.

mod diag;
mod record;
mod reset;
mod tickle;

use std::net::IpAddr;

use regent_model::connection::{ServiceAddress, TickleRun};

use crate::clock::Reporter;

pub(crate) use reset::{before_it_goes, slipped_in};

/// What cannot be done here because of the kernel; nothing where everything can.
#[must_use]
pub(crate) fn lacks() -> Option<String> {
    match diag::Diag::open().and_then(|mut diag| diag.can_destroy()) {
        Ok(true) => None,
        Ok(false) => Some(reset::CANNOT_END.to_owned()),
        Err(error) => Some(format!("it does not tell who is connected to an address: {error}")),
    }
}

/// Looks after the connections of the addresses that are here. Its threads live while there is something to do.
pub(crate) struct Connections {
    recorder: record::Recorder,
    tickler: tickle::Tickler,
}

impl Connections {
    pub(crate) fn new(report: Reporter) -> Self {
        Self { recorder: record::Recorder::new(report.clone()), tickler: tickle::Tickler::new(report) }
    }

    /// Records the connections of exactly these addresses from now on. Of each, all are told at first, then what
    /// changes.
    pub(crate) fn record(&self, addresses: Vec<ServiceAddress>) {
        self.recorder.record(addresses);
    }

    /// Makes clients notice that their connections are no more; returns at once, and reports when all were told once.
    pub(crate) fn tickle(&self, run: TickleRun) {
        self.tickler.start(run);
    }

    /// Nothing more is sent to clients of this address.
    pub(crate) fn leave_alone(&self, address: IpAddr) {
        self.tickler.stop(address);
    }

    pub(crate) fn stop(&self) {
        self.recorder.record(Vec::new());
        self.tickler.stop_all();
    }
}
