//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;
use crate::loads;

pub(crate) const HELP: &str = "\
cargo xtask torture [--minutes N] [--rounds N] [--nodes 2..5] [--seed S] [--load WORDS] [--replay FILE]
                    [--arbiter disk|witness] [--fence power|storage] [--json FILE] [--keep FOLDER]
cargo xtask torture --sabotages [--quick]

  --minutes N     play rounds of faults until N minutes are over (default 5)
  --rounds N      or until N rounds are over, if that is earlier
  --nodes N       so many nodes, 2 to 5 (default 3)
  --arbiter WHAT  who decides between two nodes: a disk, or a witness (default: drawn by the seed)
  --fence WHERE   where the fence device cuts: the power, or at the storage (default: drawn by the seed)
  --seed S        what is drawn; without it, another one each time
  --load WORDS    the groups, of front, ledger, pg, kdc and gtm, with commas (default: all that are installed)
  --replay FILE   play this plan, which an earlier run has kept
  --json FILE     the report for programs, too
  --keep FOLDER   where everything is kept when an oracle sees a violation (default target/torture)
  --only N        of a replayed plan, play only round N (the first is 1)
  --sabotage RULE leave a rule off on purpose, in a debug build: fence-lies, guard-keeps, or a condition of the lease
                  (L4FinishInTime, ...); what comes of it must be seen, so a violation is the success
  --kept          with --sabotage: the same cluster and plan with the rule kept, which must show nothing
  --sabotages     every rule that a plan is aimed at, kept and left off, and a table of what saw it
  --quick         with --sabotages: the quick ones, left off only

Exit code 0: no violation; 3: a violation, with the plan, the logs and the journals kept; 1: it could not run.
";

/// The options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) minutes: u64,
    pub(crate) rounds: Option<u64>,
    pub(crate) nodes: usize,
    pub(crate) seed: u64,
    pub(crate) loads: Vec<String>,
    /// Whether a disk decides between two nodes, and whether the fence device is at the storage, where that is said.
    pub(crate) arbiter_disk: Option<bool>,
    pub(crate) storage_fence: Option<bool>,
    pub(crate) replay: Option<PathBuf>,
    pub(crate) only: Option<usize>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) keep: PathBuf,
    pub(crate) sabotage: Option<String>,
    pub(crate) kept: bool,
    /// Every aimed one; whether only the quick ones.
    pub(crate) sabotages: Option<bool>,
}

impl Options {
    /// Reads the words.
    ///
    /// # Errors
    /// The first that is wrong, and how it is done.
    pub(crate) fn read(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            minutes: 5,
            rounds: None,
            nodes: 3,
            seed: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |d| u64::from(d.subsec_nanos()) ^ d.as_secs())
                % 1_000_000,
            loads: loads::loads_here(),
            arbiter_disk: None,
            storage_fence: None,
            replay: None,
            only: None,
            json: None,
            keep: "target/torture".into(),
            sabotage: None,
            kept: false,
            sabotages: None,
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().copied().ok_or_else(|| format!("{word} needs a value\n\n{HELP}"));
            match *word {
                "--minutes" => options.minutes = value()?.parse()?,
                "--rounds" => options.rounds = Some(value()?.parse()?),
                "--nodes" => options.nodes = value()?.parse()?,
                "--seed" => options.seed = value()?.parse()?,
                "--load" => options.loads = value()?.split(',').map(str::to_owned).collect(),
                "--arbiter" => options.arbiter_disk = Some(either(value()?, ["witness", "disk"])?),
                "--fence" => options.storage_fence = Some(either(value()?, ["power", "storage"])?),
                "--replay" => options.replay = Some(value()?.into()),
                "--only" => options.only = Some(value()?.parse()?),
                "--json" => options.json = Some(value()?.into()),
                "--sabotage" => options.sabotage = Some(value()?.to_owned()),
                "--kept" => options.kept = true,
                "--sabotages" => options.sabotages = Some(options.sabotages.unwrap_or(false)),
                "--quick" => options.sabotages = Some(true),
                "--keep" => options.keep = value()?.into(),
                _ => return Err(format!("what is {word}?\n\n{HELP}").into()),
            }
        }
        if !(2..=5).contains(&options.nodes) {
            return Err("a cluster under torture has 2 to 5 nodes".into());
        }
        if options.arbiter_disk == Some(true) && options.nodes != 2 {
            return Err("a disk decides between two nodes: --nodes 2 --arbiter disk".into());
        }
        loads::check_loads(&options.loads)?;
        Ok(options)
    }

    /// How long rounds are begun.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.minutes * 60)
    }
}

/// Whether it is the second of the two words.
fn either(word: &str, words: [&str; 2]) -> Result<bool> {
    match words.iter().position(|w| *w == word) {
        Some(at) => Ok(at == 1),
        None => Err(format!("`{word}` is neither {} nor {}", words[0], words[1]).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_wrong_ones_are_named() {
        let options =
            Options::read(&["--minutes", "30", "--nodes", "2", "--seed", "9", "--load", "front"]).unwrap();
        assert_eq!((options.minutes, options.nodes, options.seed), (30, 2, 9));
        assert_eq!(options.loads, ["front"]);
        assert_eq!((options.arbiter_disk, options.storage_fence), (None, None));
        let said = Options::read(&["--nodes", "2", "--arbiter", "disk", "--fence", "power"]).unwrap();
        assert_eq!((said.arbiter_disk, said.storage_fence), (Some(true), Some(false)));
        for (words, why) in [
            (&["--nodes", "6"][..], "2 to 5"),
            (&["--speed"][..], "--speed"),
            (&["--seed"][..], "needs a value"),
            (&["--load", "oracle"][..], "oracle"),
            (&["--nodes", "3", "--arbiter", "disk"][..], "two nodes"),
            (&["--fence", "garden"][..], "garden"),
        ] {
            assert!(Options::read(words).unwrap_err().to_string().contains(why));
        }
    }
}
