//! What applications and instances name: files in their commands, as far as that can be seen without a shell, and users.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::GroupConfig;

/// Words that a shell knows itself.
const OF_THE_SHELL: [&str; 19] = [
    "cd", "test", "exec", "export", "if", "for", "while", "until", "case", "set", "unset", "umask", "ulimit",
    "trap", "wait", "true", "false", "echo", "printf",
];
/// Where what a running program leaves lies: not a part of how a node is equipped.
const OF_THE_MOMENT: [&str; 5] = ["/run", "/var/run", "/tmp", "/proc", "/dev"];

/// A file that a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The program at its beginning, by its path.
    Program(PathBuf),
    /// The program at its beginning, to be looked for where programs are.
    Searched(String),
    /// Another path in it.
    File(PathBuf),
}

/// The files that the commands of a group's applications and instances name, each with whose it is and the key. What lies on the
/// group's own file systems is there only while they are: of that only the programs count ([`moves`]).
#[must_use]
pub fn words_of(group: &GroupConfig) -> Vec<(String, Word)> {
    let mut found = Vec::new();
    for application in &group.applications {
        for (key, line) in application.commands() {
            let command = if key == "script" { "" } else { " command" };
            let whose = format!("the {key}{command} of {}", application.name);
            found.extend(words_in(line).into_iter().map(|word| (whose.clone(), word)));
        }
    }
    for instance in &group.instances {
        for (key, line) in instance.commands() {
            let whose = format!("the {key} command of {}", instance.name);
            found.extend(words_in(line).into_iter().map(|word| (whose.clone(), word)));
        }
    }
    found.retain(|(_, word)| match word {
        Word::File(path) => moves(group, path).next().is_none(),
        Word::Program(_) | Word::Searched(_) => true,
    });
    found
}

/// Where those of the group's file systems are mounted that a path lies on: without them it is nowhere.
pub fn moves<'a>(group: &'a GroupConfig, path: &'a Path) -> impl Iterator<Item = &'a Path> {
    group.filesystems.iter().map(|f| f.mount.as_path()).filter(move |mount| path.starts_with(mount))
}

/// The users that a group's applications and its preparation name.
#[must_use]
pub fn users_of(group: &GroupConfig) -> BTreeSet<&str> {
    let run_as = group.applications.iter().filter_map(|a| a.user.as_deref());
    let watched = group.applications.iter().flat_map(|a| a.monitoring.owners());
    let let_in = group.shares().flat_map(|s| s.users.iter().map(String::as_str));
    run_as
        .chain(watched)
        .chain(let_in)
        .chain(group.prepare.directories.iter().map(|d| d.owner.as_str()))
        .collect()
}

/// The files that a command line names, its program first.
#[must_use]
pub fn words_in(line: &str) -> Vec<Word> {
    let plain = |word: &str| word.chars().all(|c| c.is_alphanumeric() || "/._-+@:".contains(c));
    let mut words = line.split_ascii_whitespace().skip_while(|w| *w == "exec");
    let mut found = Vec::new();
    match words.next() {
        Some(first) if first.starts_with('/') && plain(first) => found.push(Word::Program(first.into())),
        Some(first)
            if plain(first)
                && first.starts_with(|c: char| c.is_ascii_alphanumeric())
                && !first.contains('/')
                && !OF_THE_SHELL.contains(&first) =>
        {
            found.push(Word::Searched(first.to_owned()));
        }
        _ => {}
    }
    let paths = words.filter(|w| w.starts_with('/') && w.len() > 1 && plain(w));
    let paths = paths.filter(|w| !OF_THE_MOMENT.iter().any(|folder| Path::new(w).starts_with(folder)));
    found.extend(paths.map(|w| Word::File(w.into())));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_program_and_the_files_given_to_it() {
        assert_eq!(
            words_in("exec /usr/sbin/slapd -f /etc/ldap/slapd.conf -h ldap:/// --pid /run/slapd.pid"),
            [Word::Program("/usr/sbin/slapd".into()), Word::File("/etc/ldap/slapd.conf".into())]
        );
        assert_eq!(words_in("systemctl start slapd"), [Word::Searched("systemctl".into())]);
        for line in ["cd /", "test -e $X", "(/a &)", "\"$B\" x", "", "./here"] {
            assert!(
                !words_in(line).iter().any(|w| matches!(w, Word::Program(_) | Word::Searched(_))),
                "{line}"
            );
        }
    }
}
