//! An instance that runs is watched: its end is news, unless it was asked for.

use regent_model::action::Failure;

use super::{Instance, MAIN_FOLDER, gtm};
use crate::application::life::{Life, Watch};
use crate::cgroup::Folder;
use crate::output::Output;
use crate::process::Identity;
use crate::slot;

impl Instance<'_> {
    /// Watches it from now on.
    pub(super) fn watch(&self, folder: &Folder) -> Result<(), Failure> {
        let run = self.context.run;
        let main = folder.create_child(MAIN_FOLDER).map_err(Failure::because)?;
        if !main.is_populated().map_err(Failure::because)? {
            // It has no process of its own: nothing can end.
            return Ok(());
        }
        let process: Option<Identity> = gtm::main_process(self, &main);
        let again = |folder: &Folder| {
            let opened = Folder::open(folder.path()).map_err(Failure::because)?;
            opened.ok_or_else(|| Failure::because(format!("{} was removed", folder.path().display())))
        };
        let life = Life::new(slot::key(run), run.epoch, again(folder)?, main, process, false);
        let life = life.map_err(Failure::because)?;
        self.context.inner.applications.insert(&life);
        let output = Output::reopen(&self.output_path("start"));
        let report = self.context.inner.report.clone();
        life.watch(Watch { child: None, output, pid_file: None, report }).map_err(Failure::because)
    }

    /// From now on its end is no news.
    pub(super) fn expect_end(&self) {
        let run = self.context.run;
        if let Some(life) = self.context.inner.applications.find(&slot::key(run), run.epoch) {
            life.expect_end();
        }
    }

    /// Its end is over.
    pub(super) fn unwatch(&self) {
        self.context.inner.applications.remove(&slot::key(self.context.run));
    }
}
