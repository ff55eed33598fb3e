//! The habits of the project, each one command: `cargo xtask demo`, `test`, `bench`, `sim`, `fuzz`, `torture`, `vm`, `tidy`,
//! `deny`, `setup`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a habit speaks to the person who has it")]

mod bench;
mod deny;
mod fuzz;
mod needs;
mod picture;
mod run;
mod tests;
mod tidy;
mod vm;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  demo              a whole cluster on this machine: power cut, takeover, nothing lost (about a minute)
  test [--quick]    everything that CI checks; --quick leaves out the lab and the simulator
  sim [--seeds N [--marks]] [--seed S --verbose] [--mutants]
                    the simulator: whole clusters in virtual time, with faults; --marks counts the rare branches
                    reached (2000 seeds must reach all), --mutants switches off each condition of the lease
  bench takeover [--runs N] [--only NAME] [--quick] [--json FILE]
                    takeover times beside keepalived, Pacemaker and the bare system calls (docs/benchmarks.md)
  torture [--minutes N] [--nodes 2..5] [--arbiter disk|witness] [--fence power|storage] [--seed S] [--replay FILE]
          [--json FILE] [--sabotages]
                    the real daemons in the lab, under load and random faults, judged by oracles; --sabotages leaves
                    each rule off, which the oracles must see (docs/reliability.md)
  vm [--only SCENE] machines of QEMU's with kernels, watchdogs and disks: lease end by watchdog, by power and by SCSI
                    reservation, a kernel that hangs; slow, some fifteen minutes (docs/reliability.md)
  fuzz [--seconds N] [--keep] [TARGET...]
                    look for inputs on which a reader breaks a promise, a minute each (crates/fuzz); --keep adds to
                    the corpus what reaches code that nothing kept before reached
  tidy              the rules of the house: arrows, lengths, words
  deny              licences and known advisories of the dependencies
  picture           run the demo and draw what it printed: docs/takeover.svg
  setup [--peers]   install the Debian packages that demo and test need; with --peers, those of the peers for bench

demo, test and bench install what they need themselves. They need root (namespaces, mounts, loop devices).
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let result = match args.first().map(String::as_str) {
        Some("demo") => tests::demo(),
        Some("test") => tests::all(rest.contains(&"--quick")),
        Some("sim") => tests::simulate(&rest),
        Some("bench") => bench::run(&rest),
        Some("torture") => tests::torture(&rest),
        Some("fuzz") => fuzz::run(&rest),
        Some("vm") => vm::run(&rest),
        Some("tidy") => tidy::check(),
        Some("deny") => deny::check(),
        Some("picture") => picture::draw(),
        Some("setup") => {
            needs::install(if rest.contains(&"--peers") { &needs::PEERS } else { &needs::TESTS[..] })
        }
        Some("help" | "--help" | "-h") | None => {
            print!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("there is no command {other:?}\n\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\nxtask: {why}");
            ExitCode::FAILURE
        }
    }
}
