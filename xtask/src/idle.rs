//! A program that uses only the time that nothing else wants, while other steps run.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::run::{root, target};

/// A program under way. Dropped, it is ended.
pub(crate) struct Idle {
    what: &'static str,
    child: Child,
    output: PathBuf,
    began: Instant,
}

impl Idle {
    /// Starts it in the kernel's idle class, so that it takes no processor from anything else; it ends with this process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(what: &'static str, program: &str, args: &[&str]) -> Result<Self, String> {
        let output = target().join("idle.log");
        let failed = |e: std::io::Error| format!("{what} could not be started: {e}");
        let log = File::create(&output).map_err(failed)?;
        println!("\n== {what}, in the time that the next steps leave\n   {program} {}", args.join(" "));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "chrt", "--idle", "0", program])
            .args(args)
            .current_dir(root())
            .stderr(log.try_clone().map_err(failed)?)
            .stdout(log)
            .spawn()
            .map_err(failed)?;
        Ok(Self { what, child, output, began: Instant::now() })
    }

    /// Waits for its end and shows what it printed.
    ///
    /// # Errors
    /// When it does not end with 0.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        println!("\n== {}: waiting for its end", self.what);
        let mut told = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().map_err(|e| format!("{}: {e}", self.what))? {
                break status;
            }
            if told.elapsed() > Duration::from_secs(60) {
                println!("   {} s so far", self.began.elapsed().as_secs());
                told = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        print!("{}", std::fs::read_to_string(&self.output).unwrap_or_default());
        if !status.success() {
            return Err(format!("{} failed ({status})", self.what));
        }
        println!("   done in {:.1} s", self.began.elapsed().as_secs_f32());
        Ok(())
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Both fail only for one that has ended.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
