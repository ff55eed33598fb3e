//! Asking: one prompt after another, with help, and with the ways out of it.

use super::Shell;
use super::console::Wants;
use crate::trouble::{Result as Outcome, Trouble};

/// Why an answer is not the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flow {
    /// `:c`, or the end of the input.
    Cancel,
    /// `:r`: from the first prompt, with the answers so far.
    Restart,
    /// Something went wrong.
    Trouble(Trouble),
}

impl From<Trouble> for Flow {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// What comes of asking.
pub(super) type Asked<T> = Result<T, Flow>;

/// One prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// What is asked.
    pub prompt: &'a str,
    /// What nothing at all means; without it an answer is needed.
    pub default: Option<&'a str>,
    /// Whether that is not shown.
    pub tacit: bool,
    /// What `?` says.
    pub help: &'a str,
    /// Answers to choose from by Tab.
    pub choices: &'a [String],
}

/// What stands behind a question that yes and no answer.
const YES_NO: &str = " (yes/no/?)";

impl<'a> Question<'a> {
    /// A prompt without choices.
    #[must_use]
    pub(super) fn new(prompt: &'a str, default: Option<&'a str>, help: &'a str) -> Self {
        Self { prompt, default, tacit: false, help, choices: &[] }
    }
}

impl Shell<'_> {
    /// Asks until there is an answer that is taken. What is wrong with the others is said.
    ///
    /// # Errors
    /// When the person leaves, or the console fails.
    pub(super) fn ask<T>(
        &self,
        question: &Question<'_>,
        take: impl Fn(&str) -> Result<T, String>,
    ) -> Asked<T> {
        let shown = question.default.filter(|_| !question.tacit);
        let default = shown.map_or_else(String::new, |d| format!(" [{d}]"));
        // What ends in a question mark is a question as it is.
        let end = if question.prompt.trim_end_matches(YES_NO).ends_with('?') { "" } else { ":" };
        let prompt = format!("{}{default}{end} ", question.prompt);
        loop {
            let Some(line) = self.console.ask(&prompt, Wants::Answer(question.choices))? else {
                return Err(Flow::Cancel);
            };
            let answer = match line.trim() {
                "?" => {
                    self.console.say(&format!("  {}\n", question.help))?;
                    continue;
                }
                ":c" => return Err(Flow::Cancel),
                ":r" => return Err(Flow::Restart),
                // To go on is to take what stands there.
                "" | ":p" => question.default,
                other if other.starts_with(':') => {
                    self.console.say("  :c cancels, :r begins again with the answers kept, :p goes on\n")?;
                    continue;
                }
                other => Some(other),
            };
            match answer.map_or_else(|| Err("this needs an answer".to_owned()), &take) {
                Ok(value) => return Ok(value),
                Err(why) => self.console.say(&format!("  {why}\n"))?,
            }
        }
    }

    /// Asks for yes or no.
    ///
    /// # Errors
    /// When the person leaves, or the console fails.
    pub(super) fn ask_yes(&self, prompt: &str, default: Option<bool>, help: &str) -> Asked<bool> {
        let prompt = format!("{prompt}{YES_NO}");
        let default = default.map(super::layout::yes_no);
        self.ask(&Question::new(&prompt, default, help), |answer| match answer.to_lowercase().as_str() {
            "yes" | "y" => Ok(true),
            "no" | "n" => Ok(false),
            _ => Err("type yes or no".to_owned()),
        })
    }

    /// Lets a person choose by number; None is his wish not to choose.
    ///
    /// # Errors
    /// When the person leaves, or the console fails.
    pub(super) fn choose(&self, what: &str, options: &[String]) -> Asked<Option<usize>> {
        let lines = options.iter().enumerate().map(|(at, option)| format!("{at:>3}) {option}\n"));
        self.console.say(&format!("{}  c) cancel\n\n", lines.collect::<String>()))?;
        let help = format!("Type the number of the {what}, or its name; c cancels.");
        let prompt = format!("Choose {what}");
        let question = Question { choices: options, ..Question::new(&prompt, None, &help) };
        self.ask(&question, |answer| {
            let by_number = answer.parse().ok().filter(|at| *at < options.len());
            let by_name = || options.iter().position(|o| o == answer);
            match by_number.or_else(by_name) {
                Some(at) => Ok(Some(at)),
                None if matches!(answer, "c" | "cancel") => Ok(None),
                None => Err(format!("type a number up to {}, or c", options.len().saturating_sub(1))),
            }
        })
    }

    /// A menu of services, where no name was given.
    ///
    /// # Errors
    /// When there is none to choose from, when the person leaves, or the console fails.
    pub(super) fn choose_service(&self, names: &[String], none: &str) -> Asked<String> {
        if names.is_empty() {
            return Err(Trouble::refused(none).next("service show state").into());
        }
        let chosen = self.choose("service", names)?.ok_or(Flow::Cancel)?;
        Ok(names[chosen].clone())
    }
}

/// The end of a talk at the top level: a person who leaves has not failed.
///
/// # Errors
/// When something went wrong.
pub(super) fn ended(shell: &Shell<'_>, asked: Asked<()>) -> Outcome<()> {
    match asked {
        Ok(()) => Ok(()),
        Err(Flow::Trouble(trouble)) => Err(trouble),
        Err(Flow::Cancel | Flow::Restart) => {
            shell.console.say("cancelled; nothing was changed\n")?;
            Err(Trouble::refused(""))
        }
    }
}
