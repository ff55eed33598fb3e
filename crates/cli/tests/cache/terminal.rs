//! A person at a terminal of a machine: types a line when what it answers stands on the screen.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use regent_lab::{Lab, Running};

const PATIENCE: Duration = Duration::from_secs(60);

/// A program in a pseudo-terminal, and everything that it has shown.
pub(crate) struct Terminal {
    running: Running,
    screen: Arc<Mutex<String>>,
    read_to: usize,
}

impl Terminal {
    /// Starts a command line in a terminal of its own on a machine.
    pub(crate) fn open(lab: &Lab, machine: &str, line: &str) -> Self {
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--return", "--command", line, "/dev/null"]);
        command.env("TERM", "dumb").env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = lab.spawn(machine, command).unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let (shown, mut output) = (Arc::clone(&screen), running.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).replace('\r', "");
                shown.lock().unwrap().push_str(&text);
            }
        });
        Self { running, screen, read_to: 0 }
    }

    /// Everything that it has shown so far.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    /// Waits until it shows this after what was waited for before, and gives what stands between.
    pub(crate) fn sees(&mut self, what: &str) -> String {
        let began = Instant::now();
        loop {
            let screen = self.screen();
            if let Some(at) = screen[self.read_to..].find(what) {
                let between = screen[self.read_to..self.read_to + at].to_owned();
                self.read_to += at + what.len();
                return between;
            }
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what:?} on this screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        let input = self.running.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Answers each prompt, in order.
    pub(crate) fn answers(&mut self, dialog: &[(&str, &str)]) {
        for (prompt, answer) in dialog {
            self.sees(prompt);
            self.types(answer);
        }
    }

    /// Waits until the program has ended, and gives its exit code.
    pub(crate) fn ends(self) -> i32 {
        regent_lab::exit_code(self.running.wait().unwrap())
    }
}
