//! Where the shell's lines come from and go to: a terminal with history and completion, or any other input, line by line.

use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use crate::trouble::{Exit, Result, Trouble};

/// How many lines of commands are remembered.
const HISTORY_LINES: usize = 500;
/// Where they are remembered, in the home of the user.
const HISTORY_FILE: &str = ".cluadmin_history";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wants<'a> {
    /// A command; the words that may come next, after the words before the cursor.
    Command(&'a dyn Vocabulary),
    /// An answer; some that may be meant.
    Answer(&'a [String]),
}

/// Which words may follow.
pub trait Vocabulary: std::fmt::Debug {
    /// The words that may come after these.
    fn after(&self, words: &[&str]) -> Vec<String>;
}

/// A person, or a script in the place of one.
pub trait Console {
    /// Shows text.
    ///
    /// # Errors
    /// When nobody reads it.
    fn say(&self, text: &str) -> Result<()>;

    /// Asks for a line. None at the end of the input.
    ///
    /// # Errors
    /// When the input cannot be read.
    fn ask(&self, prompt: &str, wants: Wants<'_>) -> Result<Option<String>>;

    /// Empties the screen.
    ///
    /// # Errors
    /// When nobody reads it.
    fn clear(&self) -> Result<()>;
}

/// The console of this process.
///
/// # Errors
/// When the terminal cannot be used.
pub(super) fn of_this_process() -> Result<Box<dyn Console>> {
    let person = io::stdin().is_terminal() && io::stdout().is_terminal();
    if person { Ok(Box::new(Terminal::new()?)) } else { Ok(Box::new(Plain)) }
}

fn write(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| {
        let what = format!("cannot write to standard output: {error}");
        let gone = error.kind() == io::ErrorKind::BrokenPipe;
        if gone {
            Trouble { exit: Exit::Done, what: String::new(), next: Vec::new() }
        } else {
            Trouble::refused(what)
        }
    })
}

fn unreadable(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::refused(format!("cannot read what is typed: {error}"))
}

/// Standard input that is no terminal: what is read is shown after its prompt, so that the output reads as a talk.
struct Plain;

impl Console for Plain {
    fn say(&self, text: &str) -> Result<()> {
        write(text)
    }

    fn ask(&self, prompt: &str, _: Wants<'_>) -> Result<Option<String>> {
        write(prompt)?;
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line).map_err(|e| unreadable(&e))?;
        let line = line.trim_end_matches(['\n', '\r']);
        let echo = if io::stdin().is_terminal() { "" } else { line };
        write(&format!("{echo}\n"))?;
        Ok((read > 0).then(|| line.to_owned()))
    }

    fn clear(&self) -> Result<()> {
        Ok(())
    }
}

/// A terminal: commands and answers each have an editor, so that answers do not come up among the commands.
struct Terminal {
    commands: RefCell<Editor<Words, FileHistory>>,
    answers: RefCell<Editor<Words, FileHistory>>,
    history: Option<PathBuf>,
}

impl Terminal {
    fn new() -> Result<Self> {
        let config = || {
            Config::builder()
                .max_history_size(HISTORY_LINES)
                .map(|c| c.auto_add_history(false).completion_type(CompletionType::List).build())
        };
        let editor = || {
            let mut editor = Editor::with_config(config()?)?;
            editor.set_helper(Some(Words::default()));
            Ok::<_, ReadlineError>(editor)
        };
        let mut commands = editor().map_err(|e| unreadable(&e))?;
        let answers = editor().map_err(|e| unreadable(&e))?;
        let history = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(HISTORY_FILE));
        if let Some(file) = &history {
            // There is none the first time.
            let _begins_empty = commands.load_history(file);
        }
        Ok(Self { commands: RefCell::new(commands), answers: RefCell::new(answers), history })
    }
}

impl Console for Terminal {
    fn say(&self, text: &str) -> Result<()> {
        write(text)
    }

    fn ask(&self, prompt: &str, wants: Wants<'_>) -> Result<Option<String>> {
        let (editor, is_command) = match wants {
            Wants::Command(_) => (&self.commands, true),
            Wants::Answer(_) => (&self.answers, false),
        };
        // The editor's own prompt is the last line.
        let (before, prompt) = prompt.rsplit_once('\n').unwrap_or(("", prompt));
        if !before.is_empty() {
            write(&format!("{before}\n"))?;
        }
        let mut editor = editor.borrow_mut();
        if let Some(helper) = editor.helper_mut() {
            helper.learn(wants);
        }
        let read = match editor.readline(prompt) {
            Ok(line) => Some(line),
            Err(ReadlineError::Interrupted) if is_command => {
                write("exit, or Ctrl-D, ends cluadmin\n")?;
                Some(String::new())
            }
            Err(ReadlineError::Interrupted) => Some(":c".to_owned()),
            Err(ReadlineError::Eof) => None,
            Err(error) => return Err(unreadable(&error)),
        };
        if let Some(line) = read.as_ref().filter(|line| is_command && !line.trim().is_empty()) {
            let _history_is_a_convenience = editor.add_history_entry(line);
            if let Some(file) = &self.history {
                let _history_is_a_convenience = editor.save_history(file);
            }
        }
        Ok(read)
    }

    fn clear(&self) -> Result<()> {
        write("\u{1b}[H\u{1b}[2J\u{1b}[3J")
    }
}

/// What the editor completes.
#[derive(Debug, Default)]
struct Words {
    answers: Vec<String>,
    /// Every beginning of a command with the words that may follow.
    commands: Vec<(Vec<String>, Vec<String>)>,
}

impl Words {
    fn learn(&mut self, wants: Wants<'_>) {
        self.commands.clear();
        self.answers.clear();
        match wants {
            Wants::Answer(answers) => self.answers.extend_from_slice(answers),
            Wants::Command(vocabulary) => self.grow(vocabulary, Vec::new()),
        }
    }

    /// Commands are at most four words long.
    fn grow(&mut self, vocabulary: &dyn Vocabulary, before: Vec<String>) {
        let words: Vec<&str> = before.iter().map(String::as_str).collect();
        let next = vocabulary.after(&words);
        if next.is_empty() || before.len() > 3 {
            return;
        }
        self.commands.push((before.clone(), next.clone()));
        for word in next {
            self.grow(vocabulary, [before.as_slice(), &[word]].concat());
        }
    }

    fn that_fit(&self, before: &str) -> (usize, Vec<String>) {
        let at = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let typed: Vec<&str> = before[..at].split_whitespace().collect();
        let known = |words: &[String]| words.iter().map(String::as_str).eq(typed.iter().copied());
        let next = self.commands.iter().find(|(words, _)| known(words)).map(|(_, next)| next);
        let fit = |word: &&String| word.starts_with(&before[at..]);
        let space = |word: &String| if next.is_some() { format!("{word} ") } else { word.clone() };
        (at, next.unwrap_or(&self.answers).iter().filter(fit).map(space).collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.that_fit(&line[..pos]))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Two;

    impl Vocabulary for Two {
        fn after(&self, words: &[&str]) -> Vec<String> {
            let next: &[&str] = match words {
                [] => &["help", "service"],
                ["service"] => &["add", "show"],
                ["service", "show"] => &["config", "state"],
                _ => &[],
            };
            next.iter().map(|w| (*w).to_owned()).collect()
        }
    }

    #[test]
    fn what_is_typed_is_completed_word_by_word() {
        let mut words = Words::default();
        words.learn(Wants::Command(&Two));
        assert_eq!(words.that_fit("se"), (0, vec!["service ".to_owned()]));
        assert_eq!(words.that_fit("service show "), (13, vec!["config ".to_owned(), "state ".to_owned()]));
        assert_eq!(words.that_fit("service add x"), (12, vec![]));
        let answers = ["lx4".to_owned(), "lx5".to_owned()];
        words.learn(Wants::Answer(&answers));
        assert_eq!(words.that_fit("lx"), (0, answers.to_vec()));
        assert_eq!(words.that_fit("lx4"), (0, vec!["lx4".to_owned()]));
    }
}
