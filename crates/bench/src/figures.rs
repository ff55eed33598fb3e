//! The figures of one cell, and what is said of them.

use std::collections::BTreeMap;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cell {
    /// Longest silence while nothing is done: the noise of the machine.
    Quiet,
    /// Silence after the owner's power was cut.
    PowerCut,
    /// Longest silence while that node comes back.
    Rejoin,
    /// Silence after the owner was cut off from everything.
    Partition,
    /// How long two nodes carried the address while the partition lasted.
    TwoOwners,
    /// Longest silence after the partition was healed.
    Heal,
    /// Silence of a planned move.
    Move,
    /// Silence after the application was killed.
    Kill,
    /// Longest silence while one of two networks is lost and healed.
    Network,
    /// Memory of the daemons as if the node were alone on its machine (MiB).
    Memory,
    /// The kernel's proportional set size (MiB): what labs share is divided.
    Pss,
    /// Resident set size, summed (MiB).
    Rss,
    /// Number of processes.
    Processes,
    /// Processor time when idle, in percent of one core.
    Cpu,
}

impl Cell {
    /// All of them, as they stand in the table.
    pub(crate) const ALL: [Self; 14] = [
        Self::Quiet,
        Self::PowerCut,
        Self::Rejoin,
        Self::Partition,
        Self::TwoOwners,
        Self::Heal,
        Self::Move,
        Self::Kill,
        Self::Network,
        Self::Memory,
        Self::Pss,
        Self::Rss,
        Self::Processes,
        Self::Cpu,
    ];

    /// Whether it is what the daemons cost; all others are times.
    pub(crate) fn is_cost(self) -> bool {
        self >= Self::Memory
    }

    /// The word for it, and its unit.
    pub(crate) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Quiet => ("nothing done", "ms"),
            Self::PowerCut => ("power cut", "ms"),
            Self::Rejoin => ("rejoin", "ms"),
            Self::Partition => ("partition", "ms"),
            Self::TwoOwners => ("two owners", "ms"),
            Self::Heal => ("heal", "ms"),
            Self::Move => ("planned move", "ms"),
            Self::Kill => ("application killed", "ms"),
            Self::Network => ("one network lost", "ms"),
            Self::Memory => ("memory", "MiB"),
            Self::Pss => ("PSS", "MiB"),
            Self::Rss => ("RSS", "MiB"),
            Self::Processes => ("processes", ""),
            Self::Cpu => ("idle CPU", "% of a core"),
        }
    }

    /// Whether fewer is better and a ratio means something.
    pub(crate) fn has_ratio(self) -> bool {
        !matches!(self, Self::Quiet | Self::TwoOwners | Self::Rejoin | Self::Heal | Self::Network | Self::Pss)
    }
}

/// Every figure of a row.
pub(crate) type Figures = BTreeMap<Cell, Vec<f64>>;

/// The middle of the figures; nothing if there are none. A service that never came back is infinite.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[half - 1], upper)) }
}

/// The smallest and the largest.
pub(crate) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    Some((least, values.iter().copied().max_by(f64::total_cmp)?))
}

/// A figure with as many digits as it deserves.
pub(crate) fn short(value: f64) -> String {
    match value {
        v if !v.is_finite() => "never".to_owned(),
        v if v.abs() >= 100.0 => format!("{v:.0}"),
        v if v.abs() >= 1.0 || v == 0.0 => trimmed(format!("{v:.1}")),
        v => trimmed(format!("{v:.2}")),
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The median, and what the runs lie between: `135 [130-180]`.
pub(crate) fn told(values: &[f64]) -> String {
    match (median(values), range(values)) {
        (Some(median), Some((low, high))) if values.len() > 1 => {
            format!("{} [{}-{}]", short(median), short(low), short(high))
        }
        (Some(median), _) => short(median),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_told_with_what_the_runs_lie_between() {
        assert_eq!(told(&[180.4, 130.0, 135.0]), "135 [130-180]");
        assert_eq!(told(&[1.0, 2.0, 3.0, 4.0]), "2.5 [1-4]");
        assert_eq!((told(&[0.21]), told(&[])), ("0.21".into(), "-".into()));
        assert_eq!((short(0.0), short(10.0), short(12.34)), ("0".into(), "10".into(), "12.3".into()));
    }

    #[test]
    fn a_service_that_never_came_back_is_the_worst_figure() {
        assert_eq!(told(&[5.0, f64::INFINITY, 6.0]), "6 [5-never]");
        assert_eq!(told(&[f64::INFINITY]), "never");
    }
}
