//! The clients: who writes, remembers what was acknowledged, and looks at the end whether it is there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regent_lab::ledger::{LEDGER_PORT, LedgerWriter, audit, read_ledger};
use regent_lab::{CLIENT, Running};

use crate::oracle::{Oracle, Violation};
use crate::stage::Stage;
use crate::{Result, hands, site};

/// A number is written once so often.
const EVERY: Duration = Duration::from_millis(20);
/// Reading everything back is tried so many times: a service that has just come back may be slow.
const READ_TRIES: usize = 10;

/// Commits row after row, and prints each that was acknowledged.
const ROWS: &str = r#"
at='host=ADDRESS user=postgres dbname=postgres connect_timeout=1 tcp_user_timeout=1000'
i=1
while :; do
    if timeout 3 psql -qAtX "$at" -c "insert into kept values ($i) on conflict do nothing" >/dev/null 2>&1
    then echo "$i"; i=$((i+1)); sleep 0.05
    else timeout 3 psql -qAtX "$at" -c 'create table if not exists kept (n bigint primary key)' >/dev/null 2>&1; sleep 0.1; fi
done
"#;

/// The clients of a run.
pub(crate) struct Clients {
    ledger: Option<LedgerWriter>,
    rows: Option<(Running, PathBuf)>,
}

/// Where the ledger is.
pub(crate) fn ledger_at() -> SocketAddr {
    let address = site::load("ledger").map_or(std::net::Ipv4Addr::LOCALHOST, |l| l.address);
    (address, LEDGER_PORT).into()
}

impl Clients {
    /// Starts those whose services there are.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(crate) fn start(stage: &Stage) -> Result<Self> {
        let has = |name: &str| stage.head.loads.iter().any(|l| l == name);
        let ledger = if has("ledger") {
            let file = stage.folder.join("acknowledged.ledger");
            Some(LedgerWriter::start(&stage.lab, CLIENT, ledger_at(), 1, EVERY, Some(&file))?)
        } else {
            None
        };
        let rows = if has("pg") {
            let file = stage.folder.join("acknowledged.rows");
            let address = site::load("pg").map_or_else(String::new, |l| l.address.to_string());
            Some((hands::in_the_client(stage, &ROWS.replace("ADDRESS", &address), &file)?, file))
        } else {
            None
        };
        Ok(Self { ledger, rows })
    }

    /// How much each got acknowledged so far.
    pub(crate) fn counts(&self) -> Vec<(&'static str, usize)> {
        let ledger = self.ledger.iter().map(|w| ("ledger", w.count().0));
        let rows = self.rows.iter().map(|(_, file)| ("pg", lines(file).len()));
        ledger.chain(rows).collect()
    }

    /// Stops them, and looks whether everything that was acknowledged is there.
    pub(crate) fn audit(self, stage: &Stage) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Some(writer) = self.ledger {
            found.extend(audit_ledger(stage, writer));
        }
        if let Some((running, file)) = self.rows {
            let _dead_already = running.kill();
            let _dead_already = running.wait();
            found.extend(audit_rows(stage, &lines(&file)));
        }
        found
    }
}

fn lines(file: &std::path::Path) -> BTreeSet<u64> {
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

fn audit_rows(stage: &Stage, acknowledged: &BTreeSet<u64>) -> Vec<Violation> {
    let address = site::load("pg").map_or_else(String::new, |l| l.address.to_string());
    let at = format!("host={address} user=postgres dbname=postgres connect_timeout=5");
    for _ in 0..READ_TRIES {
        let output = stage.lab.output(CLIENT, &["psql", "-qAtX", &at, "-c", "select n from kept"]);
        if let Ok(output) = output.map_err(|_| ()).and_then(|o| o.status.success().then_some(o).ok_or(())) {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let kept: BTreeSet<u64> = text.lines().filter_map(|l| l.parse().ok()).collect();
            let lost: Vec<&u64> = acknowledged.difference(&kept).collect();
            if lost.is_empty() {
                return Vec::new();
            }
            let text = format!("{} of {} committed rows are lost: {lost:?}", lost.len(), acknowledged.len());
            return vec![Violation::new(Oracle::Acknowledged, text)];
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    vec![Violation::new(Oracle::Alive, "the database cannot be read at the end")]
}
