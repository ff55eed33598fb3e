//! A measurement that was saved with `--json`, read back: to look at it again, or to stand rows that were measured anew
//! beside rows that were not.

use std::path::Path;

use serde_json::Value;

use crate::Result;
use crate::faults::Fault;
use crate::figures::{Cell, Figures};
use crate::report;
use crate::steps::Usual;
use crate::takeover::Measured;

/// Prints the report of saved measurements. Of rows with the same name, that of the last file counts.
///
/// # Errors
/// When a file cannot be read or holds no measurement.
pub(crate) fn show(files: &[&str]) -> Result<()> {
    let mut rows: Vec<Measured> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
        let saved: Value =
            serde_json::from_str(&text).map_err(|e| format!("cannot understand {file}: {e}"))?;
        for row in
            read(&saved).ok_or_else(|| format!("{} holds no measurement", Path::new(file).display()))?
        {
            match rows.iter_mut().find(|r| r.name == row.name) {
                Some(old) => *old = row,
                None => rows.push(row),
            }
        }
    }
    print!("{}", report::text(&rows));
    Ok(())
}

/// The rows of a saved measurement; nothing if it is none.
fn read(saved: &Value) -> Option<Vec<Measured>> {
    saved["rows"].as_array()?.iter().map(row).collect()
}

fn row(saved: &Value) -> Option<Measured> {
    let mut figures = Figures::new();
    for cell in Cell::ALL {
        if let Some(values) = saved["cells"][cell.words().0]["values"].as_array() {
            figures.insert(cell, numbers(values));
        }
    }
    let mut steps = Vec::new();
    for fault in Fault::ALL {
        if let Some(list) = saved["steps"][fault.name()].as_array() {
            steps.push((fault, list.iter().map(usual).collect::<Option<Vec<Usual>>>()?));
        }
    }
    let load = numbers(saved["load"].as_array()?);
    Some(Measured {
        name: saved["name"].as_str()?.to_owned(),
        figures,
        steps,
        notes: texts(&saved["notes"]),
        about: saved["about"].clone(),
        machine: saved["machine"].as_str()?.to_owned(),
        load: [*load.first()?, *load.get(1)?],
        missing: texts(&saved["missing"]),
        failed: saved["failed"].as_str().map(str::to_owned),
    })
}

fn usual(saved: &Value) -> Option<Usual> {
    Some(Usual {
        what: saved["what"].as_str()?.to_owned(),
        at_ms: numbers(saved["at_ms"].as_array()?),
        took_ms: numbers(saved["took_ms"].as_array()?),
    })
}

/// A service that never came back was saved as null.
fn numbers(values: &[Value]) -> Vec<f64> {
    values.iter().map(|v| v.as_f64().unwrap_or(f64::INFINITY)).collect()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_back_whole() {
        let steps = vec![Usual { what: "NEW  mount".into(), at_ms: vec![5.0, 6.5], took_ms: vec![1.5] }];
        let measured = Measured {
            name: "x-ext4".into(),
            figures: Figures::from([(Cell::PowerCut, vec![1.5, f64::INFINITY]), (Cell::Cpu, vec![0.5])]),
            steps: vec![(Fault::PowerCut, steps)],
            notes: vec!["a note".into()],
            about: Value::from("settings"),
            machine: "2 cores".into(),
            load: [1.0, 2.5],
            missing: vec!["corosync".into()],
            failed: Some("why".into()),
        };
        let text = report::value(std::slice::from_ref(&measured)).to_string();
        let back = read(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(back.len(), 1);
        assert_eq!(report::text(&back), report::text(&[measured]));
        assert!(read(&Value::from("nothing")).is_none());
    }
}
