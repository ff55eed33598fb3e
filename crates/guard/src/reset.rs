//! The reset line: what is left when letting go cannot be shown in time.
//!
//! On a real machine the kernel restarts it at once: nothing is written to the disks and no service is stopped,
//! because that is exactly what must not happen any more. In a lab, where the kernel is shared, the command in
//! `REGENT_RESET_COMMAND` cuts the machine's power.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};

use rustix::system::{RebootCommand, reboot};

use crate::identity::BOOT_VARIABLE;

/// The environment variable with the command that cuts this machine's power: words, separated by spaces.
pub const COMMAND_VARIABLE: &str = "REGENT_RESET_COMMAND";

/// How this machine is reset. Made at the start, when memory, disk and processes can still be had.
#[derive(Debug)]
pub struct ResetLine {
    command: Option<Command>,
    running: Option<Child>,
    kernel_log: Option<File>,
}

impl ResetLine {
    /// The reset line of this process's environment.
    ///
    /// # Errors
    /// In words, when the environment names a boot of its own but no command: then the kernel is not this machine's
    /// alone, and restarting it would hit others.
    pub fn from_environment() -> Result<Self, String> {
        let command = std::env::var(COMMAND_VARIABLE).ok().filter(|words| !words.trim().is_empty());
        if command.is_none() && std::env::var_os(BOOT_VARIABLE).is_some() {
            return Err(format!(
                "{BOOT_VARIABLE} says that this machine shares its kernel with others, so {COMMAND_VARIABLE} must name \
                 the command that cuts its power"
            ));
        }
        Ok(Self::with_command(command.as_deref()))
    }

    fn with_command(words: Option<&str>) -> Self {
        let mut words = words.unwrap_or_default().split_ascii_whitespace();
        let command = words.next().map(|program| {
            let mut command = Command::new(program);
            command.args(words).stdin(Stdio::null());
            command
        });
        let kernel_log = OpenOptions::new()
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open("/dev/kmsg")
            .ok()
            .filter(|_| command.is_none());
        Self { command, running: None, kernel_log }
    }

    /// Resets the machine. Where that works there is no return; after a return it is to be tried again.
    pub fn pull(&mut self, reason: &str) {
        tracing::error!("resetting this machine: {reason}");
        let Some(command) = &mut self.command else {
            if let Some(log) = &mut self.kernel_log {
                let _for_the_console_only = log.write_all(format!("<0>regent: reset: {reason}\n").as_bytes());
            }
            if let Err(error) = reboot(RebootCommand::Restart) {
                tracing::error!(%error, "the kernel does not restart; cut the power of this machine");
            }
            return;
        };
        if let Some(child) = &mut self.running {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(status)) => {
                    tracing::error!(%status, "the reset command has ended and this machine runs")
                }
                Err(error) => tracing::error!(%error, "the reset command is lost"),
            }
        }
        self.running = match command.spawn() {
            Ok(child) => Some(child),
            Err(error) => {
                tracing::error!(%error, "cannot run the reset command; cut the power of this machine");
                None
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::held::tests::Folder;

    #[test]
    fn the_command_is_run_with_its_words_and_again_when_it_ended_without_effect() {
        let folder = Folder::new("reset");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let words = format!("mkdir {} {}", first.display(), second.display());
        let mut line = ResetLine::with_command(Some(&words));
        let wait_for = |line: &mut ResetLine| {
            for _ in 0..1000 {
                line.pull("test");
                if second.exists() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            panic!("the command was not run");
        };
        wait_for(&mut line);
        std::fs::remove_dir(&first).unwrap();
        std::fs::remove_dir(&second).unwrap();
        wait_for(&mut line);
        line.running.iter_mut().for_each(|child| drop(child.wait()));
    }
}
