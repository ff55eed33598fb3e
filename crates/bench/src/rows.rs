//! The rows of the table: who is measured, with which settings, and with which group.

use crate::contestant::Contestant;
use crate::floor::Floor;
use crate::keepalived::Keepalived;
use crate::pacemaker::Pacemaker;
use crate::regent::Regent;
use crate::service::Kind;

/// One row.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: String,
    /// What its group consists of.
    pub(crate) kind: Kind,
    /// Who is measured.
    pub(crate) contestant: Box<dyn Contestant>,
}

fn row(name: &str, kind: Kind, contestant: impl Contestant + 'static) -> Row {
    Row { name: format!("{name}-{}", kind.word()), kind, contestant: Box::new(contestant) }
}

/// Every row there is, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [Kind::Address, Kind::Application, Kind::Ext4] {
        rows.push(row("floor", kind, Floor::new(kind)));
    }
    for (name, profile) in [("regent-fast", "fast"), ("regent-normal", "normal")] {
        for kind in [Kind::Address, Kind::Application, Kind::Ext4] {
            rows.push(row(name, kind, Regent { profile, kind }));
        }
    }
    for (name, tuned) in [("keepalived-default", false), ("keepalived-tuned", true)] {
        for kind in [Kind::Address, Kind::Application] {
            rows.push(row(name, kind, Keepalived { tuned, kind }));
        }
    }
    for (name, tuned) in [("pacemaker-default", false), ("pacemaker-tuned", true)] {
        for kind in [Kind::Address, Kind::Ext4] {
            rows.push(row(name, kind, Pacemaker { tuned, kind }));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_name_and_says_what_its_group_is() {
        let rows = all();
        for (at, row) in rows.iter().enumerate() {
            assert!(rows[..at].iter().all(|other| other.name != row.name), "{} twice", row.name);
            assert!(row.name.ends_with(row.kind.word()));
        }
    }
}
