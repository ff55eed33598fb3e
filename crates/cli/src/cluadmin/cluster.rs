//! `cluster ...`: the cluster as a whole, and the text of its configuration.

use std::path::{Path, PathBuf};

use regent_node::Paths;

use super::Shell;
use super::dialog::{Asked, Flow, Question};
use super::words::Verb;
use crate::client;
use crate::clustat;
use crate::diff;
use crate::look::read;
use crate::paint::Paint;
use crate::trouble::{Result, Trouble};

impl Shell<'_> {
    /// The commands about the cluster as a whole.
    pub(super) fn cluster(&self, verb: Verb, file: Option<&str>) -> Asked<()> {
        match verb {
            Verb::Status => {
                let text = clustat::render(&self.view()?);
                self.console.say(&text)?;
            }
            Verb::Name => {
                let status = client::status(self.asks)?;
                self.console.say(&format!("cluster name: {}\n", status.cluster))?;
            }
            Verb::Reload => {
                let (_, serial) = client::config(self.asks)?;
                self.console.say(&format!(
                    "configuration {serial} is in force on every member; a change is, as soon as it is made\n"
                ))?;
            }
            Verb::LogLevel => self.console.say(
                "The daemons have no log levels. Everything that happens is in one journal, which is read afterwards:\n  \
                 regent events, regent events --verbose, regent events --follow\n",
            )?,
            Verb::Edit => self.console.say(
                "The configuration is one text, with comments:\n  cluster saveas FILE\n  edit FILE in another window\n  \
                 cluster restorefrom FILE\n",
            )?,
            Verb::Backup => self.save(&backup_file())?,
            Verb::SaveAs => self.save(&self.file("Write it into which file", file)?)?,
            Verb::Restore => self.restore(&backup_file())?,
            _ => {
                let file = self.file("Read it from which file", file)?;
                self.restore(&file)?;
            }
        }
        Ok(())
    }

    fn file(&self, prompt: &str, given: Option<&str>) -> Asked<PathBuf> {
        let asked = |text: &str| Ok(PathBuf::from(text));
        match given {
            Some(file) => Ok(file.into()),
            None => self.ask(&Question::new(prompt, None, "The path of a file on this machine."), asked),
        }
    }

    fn save(&self, file: &Path) -> Result<()> {
        let (text, serial) = client::config(self.asks)?;
        std::fs::write(file, text)
            .map_err(|e| Trouble::refused(format!("cannot write {}: {e}", file.display())))?;
        self.console.say(&format!("configuration {serial} is in {}\n", file.display()))
    }

    fn restore(&self, file: &Path) -> Asked<()> {
        self.may_change()?;
        let text = read(file)?;
        let (old, serial) = client::config(self.asks)?;
        if text == old {
            return Ok(self.console.say("nothing changes: this configuration is in force\n")?);
        }
        if !self.is_valid(&old, &text)? {
            return Err(
                Trouble::usage(format!("{} is not valid; nothing was changed", file.display())).into()
            );
        }
        self.console.say(&diff::render(&old, &text, Paint(false)))?;
        let prompt = format!("Put {} in force on every member", file.display());
        if !self.ask_yes(
            &prompt,
            Some(false),
            "yes makes the changes that are shown; no leaves everything as it is.",
        )? {
            return Err(Flow::Cancel);
        }
        self.put_text_in_force(text, serial, &[], true)?;
        Ok(self.console.say(&format!("configuration {} is in force\n", serial + 1))?)
    }
}

/// Where `cluster backup` keeps the configuration: on the node where it is typed.
fn backup_file() -> PathBuf {
    Paths::from_environment().kept_configuration()
}
