//! What is typed after `takeover`.

use std::path::PathBuf;

use crate::Result;
use crate::faults::Fault;

/// How it is used.
pub(crate) const HELP: &str = "\
usage: cargo xtask bench takeover [--runs N] [--only NAME[,NAME...]] [--faults NAME[,NAME...]] [--quick] [--json FILE]

  --runs N      how often each fault is repeated in each row (default 5)
  --only NAME   only rows whose name contains one of these; repeat it or separate with commas
  --faults F    only these: idle, quiet, power-cut, partition, move, kill, network
  --quick       two runs, and shorter waits
  --list        the names of the rows
  --json FILE   also write everything, every single figure, into a file

cargo xtask bench show FILE...   print what was written; of rows that are in several files, that of the last one";

/// What is to be measured, and how it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// How often each fault is repeated.
    pub(crate) runs: usize,
    /// Parts of the names of the wanted rows; all when empty.
    pub(crate) only: Vec<String>,
    /// The wanted faults.
    pub(crate) faults: Vec<Fault>,
    /// Shorter waits.
    pub(crate) quick: bool,
    /// Print the names of the rows and nothing else.
    pub(crate) list: bool,
    /// Where everything is written for programs.
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Reads them.
    ///
    /// # Errors
    /// When a word is not known, with the usage.
    pub(crate) fn read(words: &[&str]) -> Result<Self> {
        let mut options =
            Self { runs: 0, only: Vec::new(), faults: Vec::new(), quick: false, list: false, json: None };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().copied().ok_or_else(|| format!("{word} needs a value\n\n{HELP}"));
            match *word {
                "--runs" => {
                    let text = value()?;
                    let runs = text.parse().ok().filter(|n| (1..=1000).contains(n));
                    options.runs = runs.ok_or_else(|| format!("--runs is 1 to 1000, not {text:?}"))?;
                }
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--faults" => {
                    for name in value()?.split(',') {
                        let fault = Fault::ALL.into_iter().find(|f| f.name() == name);
                        options.faults.push(fault.ok_or_else(|| format!("no fault {name:?}\n\n{HELP}"))?);
                    }
                }
                "--help" | "-h" => return Err(HELP.into()),
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                "--json" => options.json = Some(value()?.into()),
                other => return Err(format!("what is {other:?}?\n\n{HELP}").into()),
            }
        }
        if options.runs == 0 {
            options.runs = if options.quick { 2 } else { 5 };
        }
        if options.faults.is_empty() {
            options.faults = Fault::ALL.to_vec();
        }
        Ok(options)
    }

    /// Whether a row of that name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_words_everything_is_measured_five_times() {
        let options = Options::read(&[]).unwrap();
        assert_eq!((options.runs, options.faults.len()), (5, Fault::ALL.len()));
        assert!(options.wants("regent-fast-address"));
        assert_eq!(Options::read(&["--quick"]).unwrap().runs, 2);
    }

    #[test]
    fn rows_and_faults_are_chosen_by_name_and_unknown_words_are_refused() {
        let options =
            Options::read(&["--only", "fast,floor", "--only", "keep", "--faults", "move,kill"]).unwrap();
        assert_eq!(
            ["a-fast", "floor-x", "keepalived", "regent-normal"].map(|n| options.wants(n)),
            [true, true, true, false]
        );
        assert_eq!(options.faults, [Fault::Move, Fault::Kill]);
        for wrong in [&["--runs"][..], &["--runs", "0"], &["--faults", "fire"], &["now"]] {
            assert!(Options::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
