//! `cluadmin`: the administration shell of Red Hat Cluster Manager, on this cluster. Nothing is stored beside the
//! configuration: a service is a group, and every change goes the way of `regent apply`.

mod aloud;
mod cluster;
mod console;
mod define;
mod dialog;
mod layout;
mod list;
mod lock;
mod parts;
pub mod phrases;
mod service;
mod states;
mod store;
mod submit;
mod words;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use jiff::tz::TimeZone;
use regent_api::{GroupStatus, Status};
use regent_model::config::{Config, parse_shown};
use regent_model::journal::{Entry, Level};

use crate::args::CluadminArgs;
use crate::client::{self, Asks, Client};
use crate::clustat::{History, View};
use crate::edit::Editor;
use crate::follow::{Steps, Watches, wall_ms};
use crate::orders;
use crate::paint::printable;
use crate::screen::complain;
use crate::trouble::{Exit, Result, Trouble};
use dialog::{Asked, ended};
use words::Verb;

pub(crate) use aloud::Aloud;
pub use console::{Console, Vocabulary, Wants};

/// The prompt of the shell.
const PROMPT: &str = "cluadmin> ";
/// That a cluster event begins or ends: the guide of this shell knows none, and what is done in it says enough.
const FRAMES: [&str; 2] = ["event_start", "event_complete"];
/// How long is waited for a service to start or stop: a database may have to recover first.
const PATIENCE: Duration = Duration::from_secs(600);

/// The shell: whom it asks, and what it knows of the talk so far.
pub struct Shell<'a> {
    asks: &'a dyn Asks,
    console: &'a dyn Console,
    /// The ticket of the lock of the configuration, while this shell has it.
    ticket: RefCell<Option<String>>,
    /// The cluster before the last prompt, for the names that Tab completes.
    known: RefCell<Option<Status>>,
    /// The configuration in force when it was last looked at.
    serial: Cell<u64>,
    setting: Setting,
}

/// Who is at the shell, and how he reads the clock.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Who.
    pub who: String,
    /// His time zone.
    pub zone: TimeZone,
    /// Now, in milliseconds since 1970.
    pub clock: fn() -> u64,
    /// Whether he takes the lock over without being asked.
    pub take_lock: bool,
    /// Whether he wants to see every step with all that was seen.
    pub debug: bool,
}

/// `cluadmin`, with one command or as a shell. The exit code is that of the first command that failed.
#[must_use]
pub fn run(client: impl FnOnce() -> Result<Client>, args: &CluadminArgs) -> u8 {
    let begun = without_tcl(args).and_then(|()| {
        let (client, console) = (client()?, console::of_this_process()?);
        let who = orders::who(|variable| std::env::var(variable).ok());
        let (zone, take_lock, debug) = (TimeZone::system(), args.take_lock, args.debug);
        let setting = Setting { who, zone, clock: wall_ms, take_lock, debug };
        let aloud = Aloud::new(&client, console.as_ref(), setting.clock);
        let asks: &dyn Asks = if debug { &aloud } else { &client };
        let shell = Shell::new(asks, console.as_ref(), setting)?;
        Ok(shell.run(args))
    });
    begun.unwrap_or_else(|trouble| {
        complain(&format!("cluadmin: {}\n", phrases::in_its_words(&trouble.to_string())));
        trouble.exit as u8
    })
}

/// Of the options that were once known, the one that means nothing here.
fn without_tcl(args: &CluadminArgs) -> Result<()> {
    if args.tcl {
        let what =
            "--tcl: this shell has no Tcl interpreter; scripts give it commands, one a line or one a call";
        return Err(Trouble::usage(what)
            .next("cluadmin < FILE, with one command a line")
            .next("cluadmin -- service relocate NAME"));
    }
    Ok(())
}

impl<'a> Shell<'a> {
    /// A shell on a cluster that answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn new(asks: &'a dyn Asks, console: &'a dyn Console, setting: Setting) -> Result<Self> {
        let status = client::status(asks)?;
        Ok(Self {
            asks,
            console,
            ticket: RefCell::default(),
            serial: Cell::new(status.config_serial),
            known: RefCell::new(Some(status)),
            setting,
        })
    }

    /// One command, or one after another until `exit`.
    #[must_use]
    pub fn run(&self, args: &CluadminArgs) -> u8 {
        let code = if args.nointeractive && args.words.is_empty() {
            self.greet().map_or_else(|trouble| self.tell(&trouble), |()| Exit::Done as u8)
        } else if args.words.is_empty() {
            self.talk()
        } else {
            let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
            self.command(&words).map_or_else(|trouble| self.tell(&trouble), |_| Exit::Done as u8)
        };
        self.give_up_the_lock();
        code
    }

    fn greet(&self) -> Result<()> {
        let status = client::status(self.asks)?;
        self.console.say(&format!(
            "cluadmin of the cluster {}, asked on {}. help shows what can be typed.\n",
            status.cluster, status.node
        ))
    }

    /// Reads and does commands until there are no more.
    fn talk(&self) -> u8 {
        let mut code = Exit::Done as u8;
        let mut done = |result: Result<bool>| match result {
            Ok(goes_on) => goes_on,
            Err(trouble) => {
                let failed = self.tell(&trouble);
                code = if code == 0 { failed } else { code };
                // Nobody reads any more, or nothing can be read.
                !(trouble.what.is_empty() && trouble.exit == Exit::Done)
            }
        };
        let begun = self.greet().and_then(|()| self.begin_with_the_lock());
        let mut goes_on = done(begun.map(|()| true));
        while goes_on {
            self.known.replace(client::status(self.asks).ok());
            let line = match self.console.ask(PROMPT, Wants::Command(self)) {
                Ok(line) => line,
                Err(trouble) => {
                    done(Err(trouble));
                    break;
                }
            };
            let Some(line) = line else { break };
            let words: Vec<&str> = line.split_whitespace().take_while(|w| !w.starts_with('#')).collect();
            if !words.is_empty() {
                goes_on = done(self.news().and_then(|()| self.command(&words)));
            }
        }
        code
    }

    /// Does one command. Whether more may come.
    ///
    /// # Errors
    /// When it is none, fails, or was cancelled (which has been said: the trouble has no words).
    pub fn command(&self, words: &[&str]) -> Result<bool> {
        let (command, rest) = words::meant(words)?;
        let name = rest.first().copied();
        let too_many = rest.len() > command.arguments.split_whitespace().count();
        if too_many && command.verb != Verb::Help {
            return Err(
                Trouble::usage(format!("`{}` is too much here", rest.join(" "))).next(command.usage())
            );
        }
        match command.verb {
            Verb::Help => self.console.say(&words::help(rest)?)?,
            Verb::Apropos => {
                let word = name.ok_or_else(|| Trouble::usage("which word?").next("apropos relocate"))?;
                self.console.say(&words::apropos(word)?)?;
            }
            Verb::Clear => self.console.clear()?,
            Verb::Exit => return Ok(false),
            Verb::Add => ended(self, self.add(name))?,
            Verb::Modify => ended(self, self.modify(name))?,
            Verb::ShowConfig => ended(self, self.show_config(name))?,
            Verb::ShowState => self.show_state(name)?,
            Verb::Enable => ended(self, self.enable(name))?,
            Verb::Disable => ended(self, self.disable(name))?,
            Verb::Relocate => ended(self, self.relocate(name, rest.get(1).copied()))?,
            Verb::Delete => ended(self, self.delete(name))?,
            about => ended(self, self.cluster(about, name))?,
        }
        Ok(true)
    }

    /// Says what went wrong, and gives the exit code.
    fn tell(&self, trouble: &Trouble) -> u8 {
        if !trouble.what.is_empty() {
            let text = phrases::in_its_words(&trouble.to_string());
            let _nobody_is_left_to_tell = self.console.say(&format!("{text}\n"));
        }
        trouble.exit as u8
    }

    /// Members, heartbeats and services now.
    fn view(&self) -> Result<View> {
        View::look(self.asks, History::default(), &self.setting.zone, self.setting.clock)
    }

    /// The configuration in force: to be edited, and what it means.
    fn editor(&self) -> Result<(Editor, Config)> {
        let (text, _) = client::config(self.asks)?;
        let config = parse_shown(&text, None).config;
        let config = config.ok_or_else(|| {
            Trouble::refused("the configuration in force is of another version of Regent")
                .next("regent --version, here and on the other members")
        })?;
        Ok((Editor::read(&text)?, config))
    }

    /// The service of that name, or the one that is chosen from a menu.
    fn named(&self, name: Option<&str>, known: &[String]) -> Asked<String> {
        match name {
            Some(name) if known.iter().any(|k| k == name) => Ok(name.to_owned()),
            Some(name) => Err(self.unknown(name, known).into()),
            None if known.is_empty() => Err(no_service().into()),
            None => self.choose_service(known, ""),
        }
    }

    fn unknown(&self, name: &str, known: &[String]) -> Trouble {
        let trouble = Trouble::refused(format!("there is no service {name}"));
        if known.is_empty() {
            trouble.next(format!("service add {name}"))
        } else {
            trouble.next(format!("the services are: {}", known.join(", ")))
        }
    }
}

/// What is said where there is none.
fn no_service() -> Trouble {
    Trouble::refused("there is no service").next("service add NAME")
}

/// The group of a service, or the one of its instances that is furthest from running.
fn state_of<'s>(status: &'s Status, name: &str) -> Option<&'s GroupStatus> {
    let of = |g: &&GroupStatus| g.name.as_str() == name || g.name.base() == name;
    status.groups.iter().filter(of).max_by_key(|g| g.state != "online")
}

impl Watches for Shell<'_> {
    fn step(&self, _: &mut Steps, entry: &Entry) -> Result<()> {
        let debug = self.setting.debug;
        if FRAMES.contains(&entry.kind.as_str()) && entry.level == Level::Step && !debug {
            return Ok(());
        }
        let level = match entry.level {
            Level::Step => "info",
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let evidence = crate::paint::block(&entry.evidence, "    | ");
        let evidence = if debug || entry.level >= Level::Warning { evidence } else { String::new() };
        let text = format!("{level}: {}: {}\n{evidence}", entry.node, printable(&entry.text));
        self.console.say(&phrases::in_its_words(&text))
    }

    fn spin(&self, _: usize, _: &str) {}

    fn unspin(&self) {}
}

impl std::fmt::Debug for Shell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("setting", &self.setting).finish_non_exhaustive()
    }
}

impl Vocabulary for Shell<'_> {
    fn after(&self, words: &[&str]) -> Vec<String> {
        let next = words::next_words(words);
        if !next.is_empty() {
            return next;
        }
        let Ok((command, rest)) = words::meant(words) else { return Vec::new() };
        let wants = command.arguments.split_whitespace().nth(rest.len()).unwrap_or_default();
        let known = self.known.borrow();
        let names = |of: fn(&Status) -> Vec<String>| known.as_ref().map(of).unwrap_or_default();
        match wants.trim_matches(['[', ']']) {
            "NAME" if command.verb != Verb::Add => {
                names(|s| s.groups.iter().map(|g| g.name.base().to_owned()).collect())
            }
            "MEMBER" => {
                names(|s| s.nodes.iter().filter(|n| !n.witness).map(|n| n.name.to_string()).collect())
            }
            _ => Vec::new(),
        }
    }
}
