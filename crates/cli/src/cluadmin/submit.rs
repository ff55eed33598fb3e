//! A changed configuration, put in force: verified, looked at by the cluster, committed on the terms of the lock, and
//! waited for.

use std::time::Instant;

use regent_api::Request;
use regent_model::config::{Config, Finding, Severity, Startup, parse, parse_at};

use super::dialog::{Asked, Flow};
use super::phrases::in_its_words;
use super::service::Service;
use super::store::store;
use super::{PATIENCE, Shell, state_of};
use crate::apply::settling;
use crate::client;
use crate::edit::Editor;
use crate::follow::{Settled, Steps, Wait, until};
use crate::look::{local_now, manner};
use crate::paint::{printable, wrapped};
use crate::screen::Screen;
use crate::settle::Wish;
use crate::trouble::{Result, Trouble};

impl Shell<'_> {
    /// Puts a definition in force: a new one, or one that takes the place of `old`.
    pub(super) fn put(&self, old: Option<&Service>, new: &Service, disabled: bool) -> Asked<()> {
        let edit = |editor: &mut Editor, config: &Config| {
            let now = Service::read(editor, config, &new.name);
            if now.as_ref() != old {
                let what = format!("{} was changed by somebody else while you answered", new.name);
                return Err(Trouble::refused(what).next(format!("service show config {}", new.name)));
            }
            store(editor, config, old, new)
        };
        let off = if disabled { vec![new.name.clone()] } else { Vec::new() };
        // Whether a new service comes to run is waited for where it is started.
        self.change(edit, &off, old.is_some())?;
        let name = &new.name;
        if old.is_some() {
            self.console.say(&format!("Modified {name}.\n"))?;
            self.remark_on_a_running_one(name)?;
            return Ok(self.say_who_gets_in(old, new)?);
        }
        if disabled {
            let text = format!("Added {name}. It is disabled: service enable {name} starts it.\n");
            self.console.say(&text)?;
            return Ok(self.say_who_gets_in(old, new)?);
        }
        match self.bring_up(name, None) {
            Ok(()) => {
                self.console.say(&format!("Added {name}.\n"))?;
                Ok(self.say_who_gets_in(old, new)?)
            }
            Err(trouble) => {
                let what = format!("{name} was added, but it does not run: {}", trouble.what);
                Err(Trouble { what, ..trouble }.next(format!("service modify {name}")).into())
            }
        }
    }

    /// Of folders that were not shared before: nobody has a password yet.
    fn say_who_gets_in(&self, old: Option<&Service>, new: &Service) -> Result<()> {
        let name = &new.name;
        let shares = |service: &Service| service.devices.iter().filter(|d| d.share.is_some()).count();
        if shares(new) == 0 || old.is_some_and(|old| shares(old) > 0) {
            return Ok(());
        }
        let text = format!(
            "Nobody has a password for what {name} shares with Windows clients yet. Set one on the member where {name} \
             runs, for a user whom every member knows by the same number:"
        );
        let conf = format!("/run/regent/work/samba/{name}/smb.conf");
        self.console.say(&format!("{}\n  smbpasswd -c {conf} -a USER\n", wrapped(&text, 90, "")))
    }

    /// What runs goes on as it was started.
    fn remark_on_a_running_one(&self, name: &str) -> Result<()> {
        let now = client::status(self.asks)?;
        let Some(pending) = state_of(&now, name).and_then(|g| g.pending.as_ref()) else { return Ok(()) };
        let (_, config) = self.editor()?;
        let group = config.groups_named(name).next().filter(|g| g.policy.startup == Startup::Home);
        let owner = state_of(&now, name).and_then(|g| g.owner.as_ref());
        let elsewhere = group.and_then(|g| g.nodes.first()).filter(|preferred| Some(*preferred) != owner);
        let starts =
            elsewhere.map_or_else(String::new, |p| format!(" (that starts it on {p}, its preferred member)"));
        let text = format!(
            "{}. For that: service disable {name} and service enable {name}{starts}, or service relocate {name}.",
            in_its_words(pending)
        );
        self.console.say(&format!("{}\n", wrapped(&text, 90, "  ")))
    }

    /// Changes the text of the configuration and puts it in force; groups of `disabled` that are new are not started.
    pub(super) fn change(
        &self,
        edit: impl Fn(&mut Editor, &Config) -> Result<()>,
        disabled: &[String],
        settles: bool,
    ) -> Asked<()> {
        let (text, serial) = client::config(self.asks)?;
        let (mut editor, config) = self.editor()?;
        edit(&mut editor, &config)?;
        let new = editor.text();
        if !self.is_valid(&text, &new)? {
            let help = "yes asks everything again, with your answers in brackets; no gives up.";
            let again = self.ask_yes("This cannot be put in force. Change the answers", Some(true), help)?;
            return Err(if again { Flow::Restart } else { Flow::Cancel });
        }
        self.put_text_in_force(new, serial, disabled, settles)
    }

    /// Says what is found in a new text that was not found in the old one. Whether it may be put in force.
    pub(super) fn is_valid(&self, old: &str, new: &str) -> Result<bool> {
        let before: Vec<String> = parse(old).findings.into_iter().map(|f| f.message).collect();
        let parsed = parse_at(new, Some(local_now()));
        let news = |f: &&Finding| f.severity != Severity::Note && !before.contains(&f.message);
        for finding in parsed.findings.iter().filter(news) {
            let text = in_its_words(&printable(&finding.message)).replace('`', "");
            self.console.say(&format!("{}: {}\n", finding.severity, wrapped(&text, 90, "  ")))?;
            if !finding.help.is_empty() {
                let help = in_its_words(&printable(&finding.help));
                self.console.say(&format!("  {}\n", wrapped(&help, 90, "  ")))?;
            }
        }
        Ok(parsed.config.is_some())
    }

    /// Commits a text that was made from the configuration with this serial; `settles`: and waits until the cluster
    /// is as well with it as it was before.
    pub(super) fn put_text_in_force(
        &self,
        text: String,
        serial: u64,
        disabled: &[String],
        settles: bool,
    ) -> Asked<()> {
        // Refused is refused before anything is committed.
        client::plan(self.asks, &text, true)?;
        let before = client::status(self.asks)?;
        let lock = self.ticket.borrow().clone();
        let order = Request::Change { text, serial, lock, disabled: disabled.to_vec(), later: true };
        let wait = settling(serial, &before, PATIENCE);
        let mut steps = Steps::from_now(self.asks, manner(&Screen::silent(), false))?;
        let began = Instant::now();
        client::order(self.asks, &order)?;
        self.serial.set(serial + 1);
        if settles {
            until(self.asks, self, &wait, &mut steps, began)?;
        }
        Ok(())
    }

    /// Gives orders one after another, and waits for what they are to bring about.
    pub(super) fn carry_out(&self, orders: &[Request], wish: Wish) -> Result<Settled> {
        let mut steps = Steps::from_now(self.asks, manner(&Screen::silent(), false))?;
        let began = Instant::now();
        for order in orders {
            client::order(self.asks, order)?;
        }
        let wait = Wait { wish, limit: PATIENCE, hold: std::time::Duration::ZERO, leaves: None };
        until(self.asks, self, &wait, &mut steps, began)
    }
}
