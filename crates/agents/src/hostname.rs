//! The name of this machine, while an application is started or stopped that must find another one.
//!
//! The name is one for the whole node, so that one command at a time can have its own. What it was is written down
//! first, where it outlives the daemon: the next one sets it back.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::journal::Level;
use serde::{Deserialize, Serialize};

use crate::application::record::write_text;
use crate::job::Job;
use crate::sync::{lock, wait_until};

/// Whoever waits for the name looks so often whether he still may.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who has the node's name.
pub(crate) struct HostName {
    record: PathBuf,
    /// For what it is another name now.
    holder: Mutex<Option<String>>,
    free: Condvar,
}

/// What must be set back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Borrowed {
    own: String,
    taken: String,
    by: String,
}

/// The node has another name while this lives.
pub(crate) struct Taken<'a> {
    name: &'a HostName,
    job: &'a Job,
    borrowed: Option<Borrowed>,
}

impl HostName {
    /// Begins with nothing borrowed.
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { record: run_dir.join("hostname.json"), holder: Mutex::default(), free: Condvar::new() }
    }

    /// Sets the name back that an earlier daemon did not, and says so. Nothing when there is nothing to set back.
    pub(crate) fn set_back(&self) -> Option<Result<String, String>> {
        let bytes = std::fs::read(&self.record).ok()?;
        let Ok(borrowed) = serde_json::from_slice::<Borrowed>(&bytes) else {
            let _ = std::fs::remove_file(&self.record);
            return None;
        };
        Some(self.give_back(&borrowed))
    }

    /// Waits until nobody else has the name, and gives the node this one until the result is dropped.
    ///
    /// # Errors
    /// Somebody else keeps it too long, the work is called off, or the name cannot be set; it is as it was.
    pub(crate) fn take<'a>(&'a self, name: &str, job: &'a Job, until: Instant) -> Result<Taken<'a>, Failure> {
        let mut holder = lock(&self.holder);
        let begun = Instant::now();
        while let Some(other) = holder.clone() {
            job.check()?;
            if Instant::now() >= until {
                let reason = format!(
                    "the node has another name for the {other}, and one command at a time can have its own"
                );
                return Err(Failure { timed_out: true, ..Failure::because(reason) });
            }
            holder = wait_until(&self.free, holder, Some(until.min(Instant::now() + LOOK_AGAIN)));
        }
        let own = current();
        if begun.elapsed() > LOOK_AGAIN {
            job.record(Level::Step, "waited for the node's name".into(), begun.elapsed(), String::new());
        }
        let mut borrowed = None;
        if own != name {
            let loan = Borrowed { own: own.clone(), taken: name.to_owned(), by: job.what.clone() };
            self.borrow(&loan).map_err(Failure::because)?;
            job.record(
                Level::Step,
                format!("the node is called {name}, no longer {own}"),
                Duration::ZERO,
                String::new(),
            );
            borrowed = Some(loan);
        }
        *holder = Some(job.what.clone());
        Ok(Taken { name: self, job, borrowed })
    }

    fn borrow(&self, loan: &Borrowed) -> Result<(), String> {
        let text = serde_json::to_vec(loan).map_err(|e| e.to_string())?;
        // Before the name: what is not written down nobody could set back.
        write_text(&self.record, &text)?;
        set(&loan.taken).inspect_err(|_| drop(std::fs::remove_file(&self.record)))
    }

    fn give_back(&self, borrowed: &Borrowed) -> Result<String, String> {
        let now = current();
        let said = if now == borrowed.taken {
            set(&borrowed.own)?;
            format!("the node is called {} again, no longer {}", borrowed.own, borrowed.taken)
        } else {
            format!("the node is called {now}, which somebody else has set: it is left so")
        };
        let _ = std::fs::remove_file(&self.record);
        Ok(said)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut holder = lock(&self.name.holder);
        if let Some(borrowed) = self.borrowed.take() {
            match self.name.give_back(&borrowed) {
                Ok(said) => self.job.record(Level::Step, said, Duration::ZERO, String::new()),
                Err(why) => self.job.warn(format!("{why}; type: hostname {}", borrowed.own), ""),
            }
        }
        *holder = None;
        self.name.free.notify_all();
    }
}

fn current() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn set(name: &str) -> Result<(), String> {
    rustix::system::sethostname(name.as_bytes()).map_err(|e| format!("cannot call the node {name}: {e}"))
}
