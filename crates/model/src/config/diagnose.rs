//! Reads `diagnose`: what is looked at before a failure of an application or an instance is acted on, and how long that may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::reader::{Reader, Zero};

/// How long gathering evidence may take, unless the configuration says otherwise.
const BUDGET: Duration = Duration::from_secs(5);
/// More than this delays what follows a failure by more than anybody expects.
const BUDGET_LONG: Duration = Duration::from_secs(60);
const FORM: &str = "{ command = \"/usr/local/bin/db-diagnose\", timeout = \"10s\" }";

/// Evidence is gathered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnose {
    /// Run beside what is always looked at.
    pub command: Option<String>,
    /// When all of it ends at the latest, with what was seen until then.
    pub budget: Duration,
}

impl Default for Diagnose {
    fn default() -> Self {
        Self { command: None, budget: BUDGET }
    }
}

/// Nothing when it is turned off. `place` is the table's name.
pub(super) fn read(reader: &mut Reader<'_>, place: &'static str) -> Option<Diagnose> {
    if reader.is_flag("diagnose") {
        let on = reader.flag("diagnose")?;
        return on.value.then(Diagnose::default);
    }
    let mut diagnose = Diagnose::default();
    let Some(table) = reader.table("diagnose", FORM) else { return Some(diagnose) };
    let mut inner = Reader::new(place, table, reader.findings);
    if let Some(command) = inner.text("command", "\"/usr/local/bin/db-diagnose\"") {
        if command.value.contains('\0') {
            let finding = Finding::error(&command.span, "`command` holds a zero byte")
                .help("write the command as you would type it");
            inner.findings.add(finding);
        }
        diagnose.command = Some(command.value);
    }
    if let Some(timeout) = inner.duration("timeout", Zero::Refused, "\"10s\"") {
        if timeout.value > BUDGET_LONG {
            let text = super::scalar::duration_text(timeout.value);
            let message = format!("what failed is restarted or moved up to {text} later for it");
            let help = "write a shorter `timeout`; what was seen by then is kept in any case";
            inner.findings.add(Finding::warning(&timeout.span, message).help(help));
        }
        diagnose.budget = timeout.value;
    }
    inner.finish();
    Some(diagnose)
}
