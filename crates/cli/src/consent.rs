//! A person says that something is to be done that may do harm.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::trouble::{Result, Trouble};

/// Has a person at the terminal type a word after this question.
///
/// # Errors
/// Where nobody can be asked, with what to type `instead`; and where anything else is typed. Nothing was done then.
pub(crate) fn typed(command: &str, question: &str, word: &str, instead: &str) -> Result<()> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Trouble::usage(format!("{command} asks a person, and standard input is no terminal"))
            .next(instead.to_owned()));
    }
    let mut out = std::io::stderr().lock();
    let _nobody_sees_the_question = out.write_all(question.as_bytes()).and_then(|()| out.flush());
    let mut answer = String::new();
    let read = input.lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == word {
        return Ok(());
    }
    Err(Trouble::refused("not confirmed; nothing was done"))
}
