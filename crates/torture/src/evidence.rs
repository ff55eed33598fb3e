//! What is kept when an oracle sees a violation: everything that one needs to understand it and to see it again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Result;
use crate::report::Report;
use crate::site;
use crate::stage::Stage;

/// Keeps the plan, the SAN's journal, the nodes' journals and consoles, status, and the report. Gives the folder.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn keep(stage: &Stage, report: &Report, plan: &str, into: &Path) -> Result<PathBuf> {
    let folder =
        into.join(format!("seed-{}-nodes-{}-{}", stage.head.seed, stage.head.nodes, std::process::id()));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("plan"), plan)?;
    std::fs::write(folder.join("report.txt"), report.text())?;
    std::fs::write(folder.join("cluster.toml"), site::config(&stage.head, 0))?;
    let lab = stage.lab.folder();
    for (from, name) in [(lab.san_log(), "san.log"), (lab.fabric_log(), "fabric.log")] {
        let _what_there_is = std::fs::copy(from, folder.join(name));
    }
    for name in ["acknowledged.ledger", "acknowledged.pg", "acknowledged.kdc"] {
        let _what_there_is = std::fs::copy(stage.folder.join(name), folder.join(name));
    }
    for member in site::members(&stage.head) {
        let _what_there_is = std::fs::copy(lab.console(&member), folder.join(format!("{member}.console")));
        for (words, name) in [
            (&["status"][..], "status"),
            (&["events", "--last", "4000", "--verbose"][..], "events"),
            (&["events", "--last", "4000", "--json"][..], "events.json"),
        ] {
            let said = stage.regent(&member, words, Duration::from_secs(20));
            std::fs::write(folder.join(format!("{member}.{name}")), said.out + &said.err)?;
        }
    }
    Ok(folder)
}
