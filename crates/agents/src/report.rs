//! What the hands say to whoever gave them work.

use std::time::Duration;

use regent_model::action::{CommandEnd, Failure, FenceFound, Notice, Outcome, RunId};
use regent_model::holding::{Act, Held};
use regent_model::journal::Level;
use regent_model::{Epoch, GroupName};

/// The way to the guard, which keeps the list of what must be let go of and is the only one that acts.
///
/// Every call answers only after the guard has: [`Gate::hold`] and [`Gate::perform`] fail when the lease does
/// not allow them. Called from several threads at once.
pub trait Gate: Send + Sync {
    /// Puts something on the guard's release list before it comes into being.
    ///
    /// # Errors
    /// The guard's refusal; nothing is on the list.
    fn hold(&self, held: Held) -> Result<(), String>;

    /// Has the guard perform an act, with its holding on the list first.
    ///
    /// # Errors
    /// The guard's refusal, or why the act failed.
    fn perform(&self, group: &GroupName, epoch: Epoch, act: Act) -> Result<(), String>;

    /// Takes something that was shown to be released off the list. What is not on the list is no error.
    ///
    /// # Errors
    /// The guard could not be told; it still holds the thing on its list.
    fn drop(&self, held: Held) -> Result<(), String>;
}

/// One step of what was done, for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was done or found.
    pub what: String,
    /// How long it took; zero for a finding.
    pub took: Duration,
    /// How much it matters.
    pub level: Level,
    /// The end of a command's output, the holders of a mount, the kernel's words.
    pub evidence: String,
}

/// What the hands say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The one answer to a [`regent_model::action::Run`].
    Done {
        /// The number of the run.
        id: RunId,
        /// What was found or done.
        outcome: Outcome,
        /// The steps on the way, in order.
        steps: Vec<Step>,
    },
    /// The one answer to a [`regent_model::action::FenceRun`].
    Fenced {
        /// The number of the run.
        id: RunId,
        /// What the device confirmed, or why it did not.
        result: Result<FenceFound, Failure>,
        /// The steps on the way, in order.
        steps: Vec<Step>,
    },
    /// The one answer to a [`regent_model::action::EventRun`].
    Ran {
        /// The number of the run.
        id: RunId,
        /// How the command ended.
        end: CommandEnd,
    },
    /// The one answer to a [`regent_model::action::LookRun`].
    Seen {
        /// The number of the look.
        id: RunId,
        /// The processes, and what they wait for.
        text: String,
    },
    /// Something happened that nobody asked for.
    Notice(Notice),
}
