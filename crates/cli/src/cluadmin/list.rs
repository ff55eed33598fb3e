//! The lists of a service, addresses and devices: add, modify, delete, show, until finished.

use super::Shell;
use super::dialog::{Asked, Question};

/// One entry of such a list.
pub(super) trait Listed: Sized + Clone {
    /// What one is called, with its article.
    const ONE: &'static str;
    /// What is added, modified, deleted or shown, as the guide's question has it.
    const ANY: &'static str;
    /// The same without it.
    const NAME: &'static str;
    /// What several are called.
    const MANY: &'static str;
    /// What `?` says about them.
    const HELP: &'static str;

    /// What tells it from the others.
    fn title(&self) -> String;

    /// Its lines of the definition.
    fn lines(&self, number: usize) -> String;

    /// Asks for everything of it. None is one that needs no entry, which has been said.
    ///
    /// # Errors
    /// When the person leaves, or the console fails.
    fn ask(shell: &Shell<'_>, old: Option<&Self>) -> Asked<Option<Self>>;
}

impl Shell<'_> {
    /// Asks what becomes of a list.
    ///
    /// # Errors
    /// When the person leaves, or the console fails.
    pub(super) fn ask_list<T: Listed>(&self, items: &mut Vec<T>) -> Asked<()> {
        if items.is_empty() {
            let prompt = format!("Do you want to add {} to the service", T::ONE);
            if !self.ask_yes(&prompt, Some(false), T::HELP)? {
                return Ok(());
            }
            items.extend(T::ask(self, None)?);
        }
        let prompt = format!(
            "Do you want to (a)dd, (m)odify, (d)elete or (s)how {}, or\nare you (f)inished adding {}",
            T::ANY,
            T::MANY
        );
        let help = format!("{} Type a, m, d, s or f.", T::HELP);
        loop {
            self.console.say("\n")?;
            let question = Question::new(&prompt, Some("f"), &help);
            let what = self.ask(&question, |answer| match answer.chars().next() {
                Some(letter @ ('a' | 'm' | 'd' | 's' | 'f')) => Ok(letter),
                _ => Err("type a, m, d, s or f".to_owned()),
            })?;
            match what {
                'f' => return Ok(()),
                'a' => items.extend(T::ask(self, None)?),
                _ if items.is_empty() => self.console.say(&format!("  the service has no {}\n", T::NAME))?,
                'm' => {
                    if let Some(at) = self.which(items)? {
                        items[at] = T::ask(self, Some(&items[at]))?.unwrap_or_else(|| items[at].clone());
                    }
                }
                'd' => {
                    if let Some(at) = self.which(items)? {
                        let gone = items.remove(at);
                        self.console.say(&format!("  {} is taken out\n", gone.title()))?;
                    }
                }
                _ => {
                    let lines = items.iter().enumerate().map(|(n, item)| item.lines(n));
                    self.console.say(&lines.collect::<String>())?;
                }
            }
        }
    }

    /// The only one, or the one that is chosen.
    fn which<T: Listed>(&self, items: &[T]) -> Asked<Option<usize>> {
        if items.len() == 1 {
            return Ok(Some(0));
        }
        let titles: Vec<String> = items.iter().map(Listed::title).collect();
        self.choose(T::NAME, &titles)
    }
}
