//! The commands: their names, what each does, and what an abbreviation means.

use crate::trouble::{Result, Trouble};

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    /// What it is.
    pub verb: Verb,
    /// Its words.
    pub words: &'static [&'static str],
    /// What comes behind them.
    pub arguments: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `help`
    Help,
    /// `apropos`
    Apropos,
    /// `clear`
    Clear,
    /// `exit`
    Exit,
    /// `cluster status`
    Status,
    /// `cluster name`
    Name,
    /// `cluster loglevel`
    LogLevel,
    /// `cluster reload`
    Reload,
    /// `cluster edit`
    Edit,
    /// `cluster backup`
    Backup,
    /// `cluster restore`
    Restore,
    /// `cluster saveas`
    SaveAs,
    /// `cluster restorefrom`
    RestoreFrom,
    /// `service add`
    Add,
    /// `service modify`
    Modify,
    /// `service show config`
    ShowConfig,
    /// `service show state`
    ShowState,
    /// `service enable`
    Enable,
    /// `service disable`
    Disable,
    /// `service relocate`
    Relocate,
    /// `service delete`
    Delete,
}

const fn command(
    verb: Verb,
    words: &'static [&'static str],
    arguments: &'static str,
    about: &'static str,
) -> Command {
    Command { verb, words, arguments, about }
}

/// All commands, in the order in which help shows them.
pub(super) const COMMANDS: &[Command] = &[
    command(Verb::Help, &["help"], "[COMMAND]", "what can be typed here; ? does the same"),
    command(
        Verb::Status,
        &["cluster", "status"],
        "",
        "members, heartbeats and services, as clustat shows them",
    ),
    command(Verb::Name, &["cluster", "name"], "", "the name of the cluster"),
    command(Verb::LogLevel, &["cluster", "loglevel"], "", "where the logs are, which have no levels to set"),
    command(Verb::Reload, &["cluster", "reload"], "", "what is in force now; there is nothing to reload"),
    command(Verb::Edit, &["cluster", "edit"], "", "how the configuration is edited as a text"),
    command(Verb::Backup, &["cluster", "backup"], "", "keep the configuration on this node"),
    command(Verb::Restore, &["cluster", "restore"], "", "put the configuration in force that was kept"),
    command(Verb::SaveAs, &["cluster", "saveas"], "FILE", "write the configuration into a file"),
    command(
        Verb::RestoreFrom,
        &["cluster", "restorefrom"],
        "FILE",
        "put the configuration of a file in force",
    ),
    command(Verb::Add, &["service", "add"], "[NAME]", "define a service, and start it"),
    command(Verb::Modify, &["service", "modify"], "[NAME]", "change the definition of a service"),
    command(Verb::ShowState, &["service", "show", "state"], "[NAME]", "what the services do, and where"),
    command(Verb::ShowConfig, &["service", "show", "config"], "[NAME]", "how a service is defined"),
    command(Verb::Disable, &["service", "disable"], "[NAME]", "stop a service, and keep it down"),
    command(Verb::Enable, &["service", "enable"], "[NAME]", "start a service, and keep it running"),
    command(
        Verb::Relocate,
        &["service", "relocate"],
        "[NAME [MEMBER]]",
        "stop a service here, start it on another member",
    ),
    command(Verb::Delete, &["service", "delete"], "[NAME]", "stop a service, and forget its definition"),
    command(Verb::Apropos, &["apropos"], "WORD", "the commands that have to do with a word"),
    command(Verb::Clear, &["clear"], "", "empty the screen"),
    command(Verb::Exit, &["exit"], "", "end cluadmin; quit does the same"),
];

impl Command {
    /// Its words and what comes behind them.
    #[must_use]
    pub(super) fn usage(&self) -> String {
        format!("{} {}", self.words.join(" "), self.arguments).trim_end().to_owned()
    }
}

/// The commands that begin with these words, each of which may be abbreviated, with the words that were not used.
fn that_begin<'w>(words: &'w [&'w str]) -> (Vec<&'static Command>, usize, &'w [&'w str]) {
    let mut fit: Vec<&'static Command> = COMMANDS.iter().collect();
    let mut level = 0;
    while let Some(word) = words.get(level) {
        if fit.iter().all(|c| c.words.len() <= level) {
            break;
        }
        let has = |c: &&&'static Command, exact: bool| {
            c.words.get(level).is_some_and(|w| if exact { w == word } else { w.starts_with(word) })
        };
        let exact: Vec<_> = fit.iter().filter(|c| has(c, true)).copied().collect();
        let begins = || fit.iter().filter(|c| has(c, false)).copied().collect();
        let next: Vec<_> = if exact.is_empty() { begins() } else { exact };
        if next.is_empty() {
            return (next, level, &words[level..]);
        }
        fit = next;
        level += 1;
    }
    (fit, level, &words[level..])
}

/// The command that is meant, and what comes behind it.
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn meant<'w>(words: &'w [&'w str]) -> Result<(&'static Command, &'w [&'w str])> {
    let words_meant = match words {
        ["?", rest @ ..] => return Ok((&COMMANDS[0], rest)),
        ["quit", rest @ ..] => return Ok((&COMMANDS[COMMANDS.len() - 1], rest)),
        words => words,
    };
    let (fit, level, rest) = that_begin(words_meant);
    match fit.as_slice() {
        [] => Err(Trouble::usage(format!("there is no command `{}`", words.join(" "))).next("help")),
        [one] if one.words.len() == level => Ok((one, rest)),
        many => Err(several(words, many)),
    }
}

fn several(words: &[&str], fit: &[&Command]) -> Trouble {
    let trouble = Trouble::usage(format!("`{}` may be the beginning of several commands", words.join(" ")));
    fit.iter().fold(trouble, |trouble, command| trouble.next(command.usage()))
}

/// `help`, and `help COMMAND`.
///
/// # Errors
/// When there is no such command.
pub(super) fn help(words: &[&str]) -> Result<String> {
    let (fit, _, rest) = that_begin(words);
    if fit.is_empty() || !rest.is_empty() {
        return Err(Trouble::usage(format!("there is no command `{}`", words.join(" "))).next("help"));
    }
    let mut out = listed(&fit);
    if words.is_empty() {
        out.push_str(
            "\nWords may be abbreviated as long as one command is meant. Where a name is left out, a menu asks\n\
             for it. While it asks: ? explains, :c cancels, :r begins again with the answers kept, :p goes on.\n",
        );
    }
    Ok(out)
}

/// `apropos WORD`.
///
/// # Errors
/// When nothing has to do with it.
pub(super) fn apropos(word: &str) -> Result<String> {
    let word = word.to_lowercase();
    let about =
        |c: &&Command| c.usage().to_lowercase().contains(&word) || c.about.to_lowercase().contains(&word);
    let fit: Vec<&Command> = COMMANDS.iter().filter(about).collect();
    if fit.is_empty() {
        return Err(Trouble::usage(format!("no command has to do with {word:?}")).next("help"));
    }
    Ok(listed(&fit))
}

fn listed(commands: &[&Command]) -> String {
    let width = commands.iter().map(|c| c.usage().len()).max().unwrap_or_default();
    commands.iter().map(|c| format!("  {:width$}  {}\n", c.usage(), c.about)).collect()
}

/// The words that may come next; what comes behind a whole command is for others to say.
#[must_use]
pub(super) fn next_words(words: &[&str]) -> Vec<String> {
    let begins = |c: &&Command| c.words.len() > words.len() && c.words.iter().zip(words).all(|(a, b)| a == b);
    let mut next: Vec<String> = Vec::new();
    for word in COMMANDS.iter().filter(begins).map(|c| c.words[words.len()]) {
        if !next.iter().any(|known| known == word) {
            next.push(word.to_owned());
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(line: &str) -> Result<(Verb, Vec<String>)> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (command, rest) = meant(&words)?;
        Ok((command.verb, rest.iter().map(|w| (*w).to_owned()).collect()))
    }

    #[test]
    fn words_may_be_abbreviated_while_one_command_is_meant() {
        assert_eq!(
            verb("service show config cachehal").unwrap(),
            (Verb::ShowConfig, vec!["cachehal".into()])
        );
        assert_eq!(verb("s sh c cachehal").unwrap(), (Verb::ShowConfig, vec!["cachehal".into()]));
        assert_eq!(verb("ser rel cachehal lx5").unwrap().0, Verb::Relocate);
        assert_eq!(verb("cl st").unwrap().0, Verb::Status);
        assert_eq!(verb("?").unwrap().0, Verb::Help);
        assert_eq!(
            verb("q"),
            verb("nonsense").map_err(|mut t| {
                t.what = "there is no command `q`".into();
                t
            })
        );
        assert_eq!(verb("quit").unwrap().0, Verb::Exit);
    }

    #[test]
    fn a_whole_word_is_that_word_even_where_another_one_begins_so() {
        assert_eq!(verb("cluster restore").unwrap().0, Verb::Restore);
        assert_eq!(verb("cluster restoref x").unwrap(), (Verb::RestoreFrom, vec!["x".into()]));
    }

    #[test]
    fn what_may_mean_several_is_told_with_all_of_them() {
        let next = |line: &str| verb(line).unwrap_err().next;
        assert_eq!(next("c re"), ["cluster reload", "cluster restore", "cluster restorefrom FILE"]);
        assert_eq!(next("service s"), ["service show state [NAME]", "service show config [NAME]"]);
        assert_eq!(next("c s")[..1], ["cluster status".to_owned()]);
        assert_eq!(next("service frob"), ["help"]);
    }
}
