//! A process that a test needs beside the ones that the hands start.

use std::process::Command;

/// A process of the test's own; killed in the end.
pub(crate) struct Process(pub(crate) std::process::Child);

impl Process {
    pub(crate) fn spawn(line: &str) -> Self {
        Self(Command::new("/bin/sh").arg("-c").arg(format!("exec {line}")).spawn().unwrap())
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
