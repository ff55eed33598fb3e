//! `service add`, `service modify`, `service delete`: the questions, in the order of the guide.

use regent_model::config::Config;

use super::Shell;
use super::dialog::{Asked, Flow, Question};
use super::layout;
use super::parts::is_none;
use super::service::{NONE, Service};
use crate::trouble::Trouble;

/// The most characters of a name.
const NAME_MAX: usize = 63;

const BANNER: &str = "
What is not needed may be left out: Enter takes what stands in brackets.
  ?   explains a prompt
  :c  cancels, and goes back to the command prompt
  :r  begins again at the first prompt, with the answers kept
  :p  goes on with the next prompt

";

impl Shell<'_> {
    /// `service add`.
    ///
    /// # Errors
    /// When the person leaves, or it fails.
    pub(super) fn add(&self, name: Option<&str>) -> Asked<()> {
        self.may_change()?;
        let known = self.editor()?.0.names("group");
        if let Some(name) = name {
            new_name(name, &known).map_err(Trouble::usage)?;
        }
        self.console.say(BANNER)?;
        let mut draft = Service { interval: "0".to_owned(), ..Service::default() };
        let mut disabled = false;
        self.again_and_again(|shell| {
            draft.name = match name {
                Some(name) => name.to_owned(),
                None => shell.ask_name(&draft.name, &known)?,
            };
            shell.ask_definition(&mut draft)?;
            let help = "yes defines the service without starting it: service enable NAME starts it later.";
            disabled = shell.ask_yes("Disable service", Some(disabled), help)?;
            shell.confirm("Add", &draft)?;
            shell.put(None, &draft, disabled)
        })
    }

    /// `service modify`.
    ///
    /// # Errors
    /// When the person leaves, or it fails.
    pub(super) fn modify(&self, name: Option<&str>) -> Asked<()> {
        self.may_change()?;
        let (editor, config) = self.editor()?;
        let name = self.named(name, &editor.names("group"))?;
        let old = self.definition(&editor, &config, &name)?;
        self.console.say(BANNER)?;
        let mut draft = old.clone();
        self.again_and_again(|shell| {
            shell.ask_definition(&mut draft)?;
            if draft == old {
                shell.console.say(&format!("nothing of {name} was changed\n"))?;
                return Ok(());
            }
            shell.confirm("Modify", &draft)?;
            shell.put(Some(&old), &draft, false)
        })
    }

    /// Until the person is through, or leaves.
    fn again_and_again(&self, mut talk: impl FnMut(&Self) -> Asked<()>) -> Asked<()> {
        loop {
            match talk(self) {
                Err(Flow::Restart) => {
                    self.console.say("\nfrom the beginning, with the answers so far\n\n")?
                }
                other => return other,
            }
        }
    }

    /// The definition of a service in this configuration.
    pub(super) fn definition(
        &self,
        editor: &crate::edit::Editor,
        config: &Config,
        name: &str,
    ) -> Asked<Service> {
        Service::read(editor, config, name)
            .ok_or_else(|| Flow::Trouble(self.unknown(name, &editor.names("group"))))
    }

    fn ask_name(&self, before: &str, known: &[String]) -> Asked<String> {
        let default = Some(before).filter(|name| !name.is_empty());
        let help = "Letters, digits, '_', '.' and '-', at most 63; a letter or '_' comes first.";
        self.ask(&Question::new("Service name", default, help), |name| {
            new_name(name, known).map(|()| name.to_owned())
        })
    }

    fn ask_definition(&self, draft: &mut Service) -> Asked<()> {
        let (_, config) = self.editor()?;
        let mut members: Vec<String> = config.nodes.iter().map(|n| n.name.to_string()).collect();
        members.push(NONE.to_owned());
        let default = draft.preferred.clone().unwrap_or_else(|| NONE.to_owned());
        let help = format!(
            "The member that runs it unless that one is lost, or somebody relocates it: {}. None: whichever is there.",
            members.join(", ")
        );
        let question =
            Question { choices: &members, ..Question::new("Preferred member", Some(&default), &help) };
        draft.preferred = self.ask(&question, |text| match members.iter().find(|m| *m == text) {
            _ if is_none(text) => Ok(None),
            Some(member) => Ok(Some(member.clone())),
            None => Err(format!("there is no member {text:?}; type one of {}", members.join(", "))),
        })?;
        let help = "no leaves it where it is, so that you decide when it goes back; yes takes it back, which interrupts it.";
        let prompt = "Relocate when the preferred member joins the cluster";
        draft.relocate = self.ask_yes(prompt, Some(draft.relocate), help)?;
        if draft.preferred.is_none() && draft.relocate {
            self.console.say("  without a preferred member there is nowhere to go back to: no\n")?;
            draft.relocate = false;
        }
        self.ask_script(draft)?;
        self.ask_list(&mut draft.addresses)?;
        self.ask_list(&mut draft.devices)
    }

    fn ask_script(&self, draft: &mut Service) -> Asked<()> {
        let default = draft.script.clone().unwrap_or_else(|| NONE.to_owned());
        let help = "A script that is called with start, stop and status, the same on every member; its exit code says \
                    whether that went well.";
        let question = Question::new("User script (e.g., /usr/foo/script or None)", Some(&default), help);
        draft.script = self.ask(&question, |text| match text {
            text if is_none(text) => Ok(None),
            text if text.starts_with('/') => Ok(Some(text.to_owned())),
            text => Err(format!("{text:?} is no path; it begins with /, or type None")),
        })?;
        let help = "How often the script is called with status, in seconds. Evidence is gathered before anything is done \
                    about a failure. 0: never; then only the loss of its member moves the service.";
        let question = Question::new("Status check interval", Some(&draft.interval), help);
        let kept = draft.interval.clone();
        draft.interval = self.ask(&question, |text| match text.parse::<u32>() {
            Ok(seconds) => Ok(seconds.to_string()),
            Err(_) if text == kept => Ok(kept.clone()),
            Err(_) => Err("type a number of seconds; 0 is never".to_owned()),
        })?;
        if draft.script.is_none() && draft.interval != "0" {
            self.console.say("  without a script nothing is checked: 0\n")?;
            draft.interval = "0".to_owned();
        }
        Ok(())
    }

    fn confirm(&self, verb: &str, draft: &Service) -> Asked<()> {
        self.console.say(&format!("\n{}\n", layout::render(draft)))?;
        let help = "yes puts it in force on every member; no cancels; :r begins again with these answers.";
        let prompt = format!("{verb} {} service as shown?", draft.name);
        if self.ask_yes(&prompt, None, help)? { Ok(()) } else { Err(Flow::Cancel) }
    }
}

/// Whether a new service may have that name.
fn new_name(name: &str, known: &[String]) -> Result<(), String> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if !begins || !good || name.len() > NAME_MAX {
        return Err(format!(
            "{name:?} is no name: letters, digits, '_', '.' and '-', at most {NAME_MAX}, a letter or '_' first"
        ));
    }
    if let Some(there) = known.iter().find(|k| k.eq_ignore_ascii_case(name)) {
        return Err(format!("there is a service {there} already: service modify {there}"));
    }
    Ok(())
}
