//! Evidence of an instance that failed, before it is ended, restarted or moved.

use std::time::{Duration, Instant};

use regent_model::action::{Failure, Outcome};

use super::Instance;
use crate::evidence::{Gathering, is_worth_while};
use crate::slot;

/// Gathers the evidence of a failure that the engine is about to act on, or to leave alone.
pub(super) fn gather(instance: &Instance<'_>) -> Result<Outcome, Failure> {
    let why = instance.told("REGENT_FAILURE").unwrap_or("");
    instance.keep_evidence(why, instance.context.job.soft_deadline());
    Ok(Outcome::Running)
}

impl Instance<'_> {
    /// Evidence before something of it is ended: within its budget, and within what the work at hand can spare beyond
    /// `kept_back`.
    pub(super) fn evidence_before_end(&self, why: &str, kept_back: Duration) {
        let Some(diagnose) = &self.config.diagnose else { return };
        let spare = self.context.job.left().saturating_sub(kept_back);
        self.keep_evidence(why, self.context.job.until(diagnose.budget.min(spare)));
    }

    fn keep_evidence(&self, why: &str, until: Instant) {
        let Some(diagnose) = &self.config.diagnose else { return };
        let job = self.context.job;
        if !is_worth_while(until) || job.is_called_off() {
            return;
        }
        let gathering = Gathering {
            context: self.context,
            diagnose,
            user: self.user.as_ref(),
            environment: self.environment("diagnose"),
            cgroups: vec![self.path()],
            output: self.output_path(""),
            answers: self.context.inner.answers.in_words(&slot::key(self.context.run)),
        };
        gathering.keep(why, until, true);
    }
}
