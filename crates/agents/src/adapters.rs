//! The interfaces of this node: watched, asked for neighbours, and given the addresses that are its own whoever owns
//! what.

mod keeper;
mod neighbours;
mod watch;

use std::sync::{Arc, Mutex};

use regent_model::action::{NeighbourProbe, Notice, Upkeep};

use crate::clock::Reporter;
use crate::report::Report;
use crate::sync::lock;

/// Looks after the interfaces. Its threads sleep until the kernel, or somebody, says something.
pub(crate) struct Adapters {
    report: Reporter,
    watched: Arc<watch::Watched>,
    /// One upkeep at a time; the newest is what counts.
    wanted: Arc<Mutex<Upkeep>>,
    keeping: Arc<Mutex<()>>,
}

impl Adapters {
    pub(crate) fn new(report: Reporter) -> Self {
        let watched = Arc::new(watch::Watched::new(report.clone()));
        Self { report, watched, wanted: Arc::default(), keeping: Arc::default() }
    }

    /// Puts up what is missing, takes down what is not wanted any more, and watches these interfaces from now on.
    /// Whoever asks for it waits for nothing: the kernel may take its time with questions about interfaces.
    pub(crate) fn keep(&self, upkeep: Upkeep) {
        *lock(&self.wanted) = upkeep;
        let (wanted, keeping) = (self.wanted.clone(), self.keeping.clone());
        let (watched, report) = (self.watched.clone(), self.report.clone());
        let work = move || {
            let _one_at_a_time = lock(&keeping);
            let upkeep = lock(&wanted).clone();
            watched.watch(&upkeep.watch);
            report(Report::Notice(keeper::keep(&upkeep)));
        };
        if let Err(error) = std::thread::Builder::new().name("regent-keep".into()).spawn(work) {
            tracing::error!(%error, "cannot make a thread to keep this node's addresses");
        }
    }

    /// Asks the neighbours, and reports who answered.
    pub(crate) fn ask(&self, probe: NeighbourProbe) {
        let report = self.report.clone();
        let network = probe.network;
        let work = {
            let report = report.clone();
            move || {
                let answered = neighbours::ask(&probe);
                report(Report::Notice(Notice::Neighbours { network, answered }));
            }
        };
        if let Err(error) = std::thread::Builder::new().name("regent-ask".into()).spawn(work) {
            tracing::error!(%error, "cannot make a thread to ask the neighbours");
            report(Report::Notice(Notice::Neighbours { network, answered: Vec::new() }));
        }
    }

    pub(crate) fn stop(&self) {
        self.watched.stop();
    }
}
