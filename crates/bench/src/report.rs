//! What came of the measurement, for people and for programs.

use serde_json::{Map, Value, json};

use crate::figures::{Cell, Figures, median, range, short, told};
use crate::steps;
use crate::tables::table;
use crate::takeover::Measured;

/// The rows that the others are compared with.
const YARDSTICKS: [&str; 2] = ["regent-fast", "regent-normal"];

/// How busy the machine was over the last minute.
pub(crate) fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0)
}

/// The size of this machine, and its kernel.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        memory.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    format!("{cores} cores, {} MiB, Linux {kernel}", total.unwrap_or(0_u64) / 1024)
}

/// For people: the tables, and where the time goes.
pub(crate) fn text(measured: &[Measured]) -> String {
    let mut machines: Vec<&str> = measured.iter().map(|m| m.machine.as_str()).collect();
    machines.dedup();
    let machines = machines.join("; ");
    let loads = measured.iter().flat_map(|m| m.load);
    let (low, high) = loads.fold((f64::INFINITY, 0.0_f64), |(l, h), x| (l.min(x), h.max(x)));
    let counts = measured.iter().flat_map(|m| m.figures.iter().filter(|(c, _)| !c.is_cost()));
    let runs = counts.map(|(_, values)| values.len()).max().unwrap_or(0);
    let mut text = format!(
        "\n{machines}; load {low:.1} to {high:.1}; median [least-most] of {runs} runs; \
         a client that asks every 2 ms\n"
    );
    text += &figures(measured, "the client's silence, ms", |cell| !cell.is_cost());
    text += &figures(measured, "the daemons of the owner", Cell::is_cost);
    text += &ratios(measured);
    for row in measured {
        for (fault, steps) in row.steps.iter().filter(|(_, s)| !s.is_empty()) {
            text += &format!("\n{}, {}: where the time goes (medians)\n", row.name, fault.name());
            text += &steps::lines(steps);
        }
    }
    let notes: Vec<String> =
        measured.iter().flat_map(|m| counted(&m.notes).map(|n| format!("  {}: {n}\n", m.name))).collect();
    if !notes.is_empty() {
        text += &format!("\nRemarks\n{}", notes.concat());
    }
    for row in measured {
        if !row.missing.is_empty() {
            let programs = row.missing.join(", ");
            text += &format!(
                "\n{} was left out: {programs} not installed, see `cargo xtask setup --peers`\n",
                row.name
            );
        }
        if let Some(why) = &row.failed {
            text += &format!("\n{} is not complete: {why}\n", row.name);
        }
    }
    text
}

/// Each remark once, with how many runs have it.
fn counted(notes: &[String]) -> impl Iterator<Item = String> {
    let first = |(at, note): &(usize, &String)| !notes[..*at].contains(note);
    notes.iter().enumerate().filter(first).map(|(_, note)| {
        match notes.iter().filter(|other| *other == note).count() {
            1 => note.clone(),
            times => format!("{note} ({times} runs)"),
        }
    })
}

/// The figures that are `wanted`, of the rows that have any.
fn figures(measured: &[Measured], what: &str, wanted: impl Fn(Cell) -> bool) -> String {
    let has = |m: &Measured, c: &Cell| m.figures.contains_key(c);
    let cells: Vec<Cell> =
        Cell::ALL.into_iter().filter(|c| wanted(*c) && measured.iter().any(|m| has(m, c))).collect();
    let mut head = vec![what.to_owned()];
    head.extend(cells.iter().map(|c| match c.words() {
        (name, "" | "ms") => name.to_owned(),
        (name, unit) => format!("{name}, {unit}"),
    }));
    let rows: Vec<Vec<String>> = measured
        .iter()
        .filter(|m| !m.missing.is_empty() || cells.iter().any(|c| has(m, c)))
        .map(|m| {
            let cell = |c: &Cell| m.figures.get(c).map_or_else(|| "-".to_owned(), |v| told(v));
            std::iter::once(m.name.clone()).chain(cells.iter().map(cell)).collect()
        })
        .collect();
    if cells.is_empty() { String::new() } else { format!("\n{}", table(&head, &rows)) }
}

/// Every row against Regent with the same kind of group: how many times as long, or as much.
fn ratios(measured: &[Measured]) -> String {
    let mut text = String::new();
    for yardstick in YARDSTICKS {
        let of_kind = |name: &str| -> Option<&Figures> {
            let kind = name.rsplit('-').next()?;
            Some(&measured.iter().find(|m| m.name == format!("{yardstick}-{kind}"))?.figures)
        };
        let cells: Vec<Cell> = Cell::ALL.into_iter().filter(|c| c.has_ratio()).collect();
        let mut rows = Vec::new();
        for row in measured.iter().filter(|m| !m.name.starts_with(yardstick)) {
            let Some(base) = of_kind(&row.name) else { continue };
            let ratio = |cell: &Cell| ratio(&row.figures, base, *cell);
            rows.push(std::iter::once(row.name.clone()).chain(cells.iter().map(ratio)).collect::<Vec<_>>());
        }
        if !rows.is_empty() {
            let head: Vec<String> = std::iter::once(format!("times {yardstick}"))
                .chain(cells.iter().map(|c| c.words().0.to_owned()))
                .collect();
            text += &format!("\n{}", table(&head, &rows));
        }
    }
    text
}

fn ratio(row: &Figures, base: &Figures, cell: Cell) -> String {
    let of = |figures: &Figures| median(figures.get(&cell)?);
    match (of(row), of(base)) {
        (Some(value), Some(base)) if base > 0.0 && base.is_finite() => short(value / base),
        _ => "-".to_owned(),
    }
}

/// For programs: everything.
pub(crate) fn value(measured: &[Measured]) -> Value {
    let rows: Vec<Value> = measured.iter().map(row_value).collect();
    json!({
        "rows": rows,
    })
}

fn row_value(row: &Measured) -> Value {
    let mut cells = Map::new();
    for (cell, values) in &row.figures {
        let (name, unit) = cell.words();
        // A service that never came back has no number in JSON: null.
        let (low, high) = range(values).unzip();
        cells.insert(
            name.to_owned(),
            json!({ "unit": unit, "values": values, "median": median(values), "least": low, "most": high }),
        );
    }
    let steps: Map<String, Value> = row
        .steps
        .iter()
        .map(|(fault, steps)| {
            let one = |s: &steps::Usual| json!({ "what": s.what, "at_ms": s.at_ms, "took_ms": s.took_ms });
            (fault.name().to_owned(), steps.iter().map(one).collect())
        })
        .collect();
    json!({
        "name": row.name,
        "cells": cells,
        "steps": steps,
        "notes": row.notes,
        "about": row.about,
        "machine": row.machine,
        "load": row.load,
        "missing": row.missing,
        "failed": row.failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(name: &str, cell: Cell, values: &[f64]) -> Measured {
        Measured {
            name: name.into(),
            figures: Figures::from([(cell, values.to_vec())]),
            steps: Vec::new(),
            notes: Vec::new(),
            about: Value::Null,
            machine: "2 cores".into(),
            load: [1.0, 2.0],
            missing: Vec::new(),
            failed: None,
        }
    }

    #[test]
    fn a_row_is_compared_with_regent_for_the_same_kind_of_group() {
        let rows = [
            measured("regent-fast-address", Cell::PowerCut, &[100.0]),
            measured("regent-fast-ext4", Cell::PowerCut, &[200.0]),
            measured("pacemaker-tuned-ext4", Cell::PowerCut, &[1_200.0]),
        ];
        let text = ratios(&rows);
        assert!(text.contains("| pacemaker-tuned-ext4 | 6 "), "{text}");
        assert!(!text.contains("regent-normal"), "{text}");
    }

    #[test]
    fn a_remark_is_made_once_with_how_many_runs_have_it() {
        let notes = ["a", "b", "a"].map(str::to_owned);
        assert_eq!(counted(&notes).collect::<Vec<_>>(), ["a (2 runs)", "b"]);
    }

    #[test]
    fn a_figure_that_is_not_there_is_a_dash_and_never_is_null_for_programs() {
        let rows =
            [measured("a-address", Cell::Move, &[f64::INFINITY]), measured("b-address", Cell::Kill, &[5.0])];
        let text = figures(&rows, "times", |c| !c.is_cost());
        assert!(text.contains("never") && text.contains("| - "), "{text}");
        assert_eq!(figures(&rows, "costs", Cell::is_cost), "");
        assert_eq!(row_value(&rows[0])["cells"]["planned move"]["median"], Value::Null);
    }
}
