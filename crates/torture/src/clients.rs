//! The clients: who writes, remembers what was acknowledged, and looks at the end whether it is there.

mod gtm;
mod principals;
mod rows;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use regent_lab::ledger::{LEDGER_PORT, LedgerWriter, audit, read_ledger};
use regent_lab::{CLIENT, Running};

use crate::loads::load;
use crate::oracle::{Oracle, Violation};
use crate::stage::Stage;
use crate::{Result, hands};
use gtm::Globals;

/// A number is written once so often.
const EVERY: Duration = Duration::from_millis(20);
/// Reading everything back is tried so many times: a service that has just come back may be slow.
const READ_TRIES: usize = 10;

/// A script that prints the number of everything that was acknowledged.
struct Printer {
    load: &'static str,
    running: Running,
    file: PathBuf,
}

/// The clients of a run.
pub(crate) struct Clients {
    ledger: Option<LedgerWriter>,
    printers: Vec<Printer>,
    globals: Option<Globals>,
}

/// Where the ledger is.
pub(crate) fn ledger_at() -> SocketAddr {
    let address = load("ledger").map_or(std::net::Ipv4Addr::LOCALHOST, |l| l.address);
    (address, LEDGER_PORT).into()
}

impl Clients {
    /// Starts those whose services there are.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) fn start(stage: &Arc<Stage>) -> Result<Self> {
        let has = |name: &str| stage.head.loads.iter().any(|l| l == name);
        let ledger = if has("ledger") {
            let file = stage.folder.join("acknowledged.ledger");
            Some(LedgerWriter::start(&stage.lab, CLIENT, ledger_at(), 1, EVERY, Some(&file))?)
        } else {
            None
        };
        let mut printers = Vec::new();
        for (load, script) in [("pg", rows::script()), ("kdc", principals::script())] {
            if has(load) {
                let file = stage.folder.join(format!("acknowledged.{load}"));
                printers.push(Printer { load, running: hands::in_the_client(stage, &script, &file)?, file });
            }
        }
        let globals = if has("gtm") { Some(Globals::start(stage)?) } else { None };
        Ok(Self { ledger, printers, globals })
    }

    /// How much each got acknowledged so far.
    pub(crate) fn counts(&self) -> Vec<(&'static str, usize)> {
        let ledger = self.ledger.iter().map(|w| ("ledger", w.count().0));
        let printers = self.printers.iter().map(|p| (p.load, numbers(&p.file).len()));
        let globals = self.globals.iter().map(|g| ("gtm", g.count()));
        ledger.chain(printers).chain(globals).collect()
    }

    /// Stops them, and looks whether everything that was acknowledged is there.
    pub(crate) fn audit(self, stage: &Stage) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Some(writer) = self.ledger {
            found.extend(audit_ledger(stage, writer));
        }
        for Printer { load, running, file } in self.printers {
            let _dead_already = running.kill();
            let _dead_already = running.wait();
            let acknowledged = numbers(&file);
            found.extend(match load {
                "pg" => compare(stage, "committed rows", &acknowledged, rows::kept),
                _ => compare(stage, "principals", &acknowledged, principals::kept),
            });
        }
        if let Some(globals) = self.globals {
            let acknowledged = globals.stop();
            found.extend(compare(stage, "flushed globals", &acknowledged, gtm::kept));
        }
        found
    }
}

fn numbers(file: &Path) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|l| l.parse().ok()).collect()
}

fn audit_ledger(stage: &Stage, writer: LedgerWriter) -> Vec<Violation> {
    let acknowledged = writer.stop();
    for _ in 0..READ_TRIES {
        if let Ok(ledger) = read_ledger(&stage.lab, CLIENT, ledger_at()) {
            let audit = audit(&acknowledged, &ledger);
            if audit.is_clean() {
                return Vec::new();
            }
            let (lost, twice, order) = (audit.lost.len(), audit.twice.len(), audit.disordered.len());
            let text = format!(
                "of {} acknowledged numbers {lost} are lost ({:?}), {twice} are there twice, {order} out of order",
                audit.acknowledged,
                audit.lost.iter().take(10).collect::<Vec<_>>()
            );
            return vec![Violation::new(Oracle::Acknowledged, text)];
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    vec![Violation::new(Oracle::Alive, "the ledger cannot be read at the end")]
}

/// Whether everything is there. `kept` reads what is; nothing where it could not be read.
fn compare(
    stage: &Stage,
    what: &str,
    acknowledged: &BTreeSet<u64>,
    kept: impl Fn(&Stage) -> Option<BTreeSet<u64>>,
) -> Vec<Violation> {
    for _ in 0..READ_TRIES {
        if let Some(kept) = kept(stage) {
            return lost(what, acknowledged, &kept);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    vec![Violation::new(Oracle::Alive, format!("the {what} cannot be read at the end"))]
}

fn lost(what: &str, acknowledged: &BTreeSet<u64>, kept: &BTreeSet<u64>) -> Vec<Violation> {
    let lost: Vec<&u64> = acknowledged.difference(kept).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let first = lost.iter().take(20).collect::<Vec<_>>();
    let text = format!("{} of {} {what} are lost: {first:?}", lost.len(), acknowledged.len());
    vec![Violation::new(Oracle::Acknowledged, text)]
}

/// What a command in a machine printed, if it did well.
fn printed(stage: &Stage, machine: &str, words: &[&str]) -> Option<String> {
    let output = stage.lab.output(machine, words).ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_and_is_not_there_is_seen() {
        let (all, some) = (BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 3, 4]));
        assert_eq!(lost("rows", &all, &all), []);
        let found = lost("rows", &all, &some);
        assert_eq!(
            (found[0].oracle, found[0].text.as_str()),
            (Oracle::Acknowledged, "1 of 3 rows are lost: [2]")
        );
    }
}
