//! The numbers of a node's requests to its agents.

use regent_model::action::RunId;

/// Numbers the runs of a node.
#[derive(Debug, Default)]
pub(crate) struct RunNumbers(u64);

impl RunNumbers {
    pub(crate) fn next(&mut self) -> RunId {
        self.0 += 1;
        RunId(self.0)
    }
}
