//! The commands around one event: notify, pre, its own, post; recovery and another try; and what happens when all
//! of that fails.

use std::collections::VecDeque;
use std::sync::Arc;

use regent_model::Moment;
use regent_model::action::{CommandEnd, EventRun, RunId};
use regent_model::config::{EventConfig, OnError};
use regent_model::event::{Event, EventName, EventNote};
use regent_model::ids::GroupName;
use regent_model::journal::Level;

use super::{Blocked, Program};
use crate::engine::Engine;

/// What a command is to its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Notify,
    Pre,
    Command,
    Post,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Pre => "pre",
            Self::Command => "command",
            Self::Post => "post",
        }
    }
}

/// A command that is to be run.
#[derive(Clone)]
struct Todo {
    role: Role,
    config: Arc<EventConfig>,
    /// The group whose table it stands in.
    group: Option<GroupName>,
    line: String,
    args: Vec<String>,
    /// How often recovery may still be tried.
    recoveries: u32,
}

/// One that runs.
struct Running {
    id: RunId,
    began: Moment,
    recovers: bool,
}

/// The commands at the beginning or at the end of an event.
pub(super) struct Work {
    pub(super) groups: Vec<GroupName>,
    todo: VecDeque<Todo>,
    running: Option<Running>,
    ends: bool,
}

impl Work {
    /// An event's end with nothing to be run.
    pub(super) fn nothing_more(groups: &[GroupName]) -> Self {
        Self { groups: groups.to_vec(), todo: VecDeque::new(), running: None, ends: true }
    }

    pub(super) fn waits_for(&self, id: RunId) -> bool {
        self.running.as_ref().is_some_and(|r| r.id == id)
    }

    /// What runs, since when.
    pub(super) fn running(&self) -> Option<(String, Moment)> {
        let (running, todo) = (self.running.as_ref()?, self.todo.front()?);
        let line = if running.recovers { todo.config.recovery.as_ref()? } else { &todo.line };
        let role = if running.recovers { "recovery" } else { todo.role.word() };
        Some((format!("{role} command {line}"), running.began))
    }

    pub(super) fn skip(&mut self) {
        self.todo.truncate(usize::from(self.running.is_some()));
    }
}

impl Engine {
    /// What is run when an event begins.
    pub(super) fn work_before(&self, note: &EventNote, groups: &[GroupName]) -> Option<Work> {
        let event = &note.event;
        let named = with_event(event, &[]);
        let mut todo = Vec::new();
        for (role, args) in [
            (Role::Notify, with_event(event, &["start"])),
            (Role::Pre, named),
            (Role::Command, event.args.clone()),
        ] {
            // Applications' commands are replaced where they are run.
            let runs = role != Role::Command || event.name.entry().own == regent_model::event::Own::Nothing;
            if runs {
                todo.extend(self.todo(event, groups, role, &args));
            }
        }
        (!todo.is_empty()).then(|| Work {
            groups: groups.to_vec(),
            todo: todo.into(),
            running: None,
            ends: false,
        })
    }

    /// What is run when it ends.
    pub(super) fn work_after(&self, note: &EventNote, status: i32, groups: &[GroupName]) -> Option<Work> {
        let event = &note.event;
        let mut args = with_event(event, &[]);
        args.insert(1, status.to_string());
        let mut todo = self.todo(event, groups, Role::Post, &args);
        todo.extend(self.todo(event, groups, Role::Notify, &with_event(event, &["complete"])));
        (!todo.is_empty()).then(|| Work {
            groups: groups.to_vec(),
            todo: todo.into(),
            running: None,
            ends: true,
        })
    }

    fn todo(&self, event: &Event, groups: &[GroupName], role: Role, args: &[String]) -> Vec<Todo> {
        let mut todo = Vec::new();
        for (group, config) in self.state.config.around(event.name, &self.me.name, groups) {
            let lines: &[String] = match role {
                Role::Notify => config.notify.as_slice(),
                Role::Pre => &config.pre,
                Role::Command => config.command.as_slice(),
                Role::Post => &config.post,
            };
            todo.extend(lines.iter().map(|line| Todo {
                role,
                config: config.clone(),
                group: group.cloned(),
                line: line.clone(),
                args: args.to_vec(),
                recoveries: config.recovery_count,
            }));
        }
        todo
    }

    /// Goes on with the commands at hand. False if one runs.
    pub(super) fn work_on(&mut self, program: &mut Program) -> bool {
        let Some(work) = &mut program.work else { return false };
        if work.running.is_some() {
            return false;
        }
        if work.todo.is_empty() {
            let (ends, groups) = (work.ends, std::mem::take(&mut work.groups));
            program.work = None;
            if ends {
                self.event_over(program, &groups);
            }
            return true;
        }
        self.start_command(program, false);
        true
    }

    fn start_command(&mut self, program: &mut Program, recovers: bool) {
        let (Some(work), Some(open)) = (&mut program.work, program.open.last()) else { return };
        let Some(todo) = work.todo.front() else { return };
        let id = self.numbers.next();
        work.running = Some(Running { id, began: self.now, recovers });
        let recovery = todo.config.recovery.clone().filter(|_| recovers);
        let (line, args) = match recovery {
            Some(line) => (line, with_event(&open.note.event, &[])),
            None => (todo.line.clone(), todo.args.clone()),
        };
        let role = if recovers { "recovery" } else { todo.role.word() };
        let environment = self.event_environment(&open.note, &work.groups, todo.group.as_ref());
        self.out.event_run.push(EventRun {
            id,
            what: format!("{role} of {}", open.note.event),
            line,
            args,
            timeout: todo.config.timeout,
            environment,
        });
    }

    /// A command has ended.
    pub(super) fn ended(&mut self, program: &mut Program, end: CommandEnd) {
        let (Some(work), Some(open)) = (&mut program.work, program.open.last()) else { return };
        let (Some(running), Some(todo)) = (work.running.take(), work.todo.front_mut()) else { return };
        let took = self.now.since(running.began);
        let fine = end.is_success();
        let (role, line) = match (&todo.config.recovery, running.recovers) {
            (Some(recovery), true) => ("recovery", recovery.clone()),
            _ => (todo.role.word(), todo.line.clone()),
        };
        let text = format!("{role} command of {} {}: {line}", open.note.event, end.words);
        let note = open.note.clone();
        let group = todo.group.clone();
        let tries_recovery = !running.recovers && todo.recoveries > 0 && todo.config.recovery.is_some();
        let again = running.recovers && fine;
        let (role, on_error) = (todo.role, todo.config.on_error);
        if !fine && tries_recovery {
            todo.recoveries -= 1;
        }
        let level = if fine { Level::Step } else { Level::Warning };
        self.write(level, "event_command", text.clone(), |e| {
            e.event = Some(note);
            e.group = group;
            e.took = Some(took);
            e.evidence.clone_from(&end.output);
        });
        if again {
            self.start_command(program, false);
        } else if !fine && role != Role::Notify && tries_recovery {
            self.start_command(program, true);
        } else {
            if let Some(work) = &mut program.work {
                work.todo.pop_front();
            }
            if !fine && role != Role::Notify {
                self.failed_for_good(program, text, end, on_error);
            }
        }
    }

    fn failed_for_good(
        &mut self,
        program: &mut Program,
        text: String,
        end: CommandEnd,
        on_error: Option<OnError>,
    ) {
        let Some(open) = program.open.last_mut() else { return };
        open.status = end.code.filter(|code| *code != 0).unwrap_or(1);
        let (note, failed) = (open.note.clone(), open.note.event.name);
        let on_error = on_error.unwrap_or(self.state.config.event_rules.on_error);
        // What is told beside the queue holds nobody up: blocking it would help nobody.
        let blocks = on_error == OnError::Block && !failed.is_beside_the_queue() && !program.skipping;
        if !blocks {
            let text = format!("{text}; the event goes on");
            self.write(Level::Error, "event_failed", text, |e| e.event = Some(note));
        }
        if failed != EventName::EventError {
            self.raise(Event::new(EventName::EventError, [self.me.name.as_str(), failed.word()]));
        }
        if blocks {
            program.blocked = Some(Blocked { text, evidence: end.output, since: self.now });
            self.tell_blocked(program);
        }
    }

    /// What the commands of an event find in their environment.
    fn event_environment(
        &self,
        note: &EventNote,
        groups: &[GroupName],
        of: Option<&GroupName>,
    ) -> Vec<(String, String)> {
        let one = of.or(if let [group] = groups { Some(group) } else { None });
        let own = one.map(|group| self.environment(group, self.state.ownership(group)));
        let mut environment = own.unwrap_or_default();
        let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
        let ours = [
            ("REGENT_CLUSTER", self.state.config.cluster.to_string()),
            ("REGENT_NODE", self.me.name.to_string()),
            ("REGENT_GROUPS", names.join(" ")),
            ("REGENT_EVENT", note.event.name.to_string()),
            ("REGENT_EVENT_ARGS", note.event.args.join(" ")),
            ("REGENT_EVENT_NUMBER", note.number.to_string()),
        ];
        environment.retain(|(key, _)| ours.iter().all(|(own, _)| own != key));
        if let Some(group) = one.filter(|_| !environment.iter().any(|(key, _)| key == "REGENT_GROUP")) {
            environment.push(("REGENT_GROUP".to_owned(), group.to_string()));
        }
        environment.extend(ours.map(|(key, value)| (key.to_owned(), value)));
        environment
    }
}

fn with_event(event: &Event, before: &[&str]) -> Vec<String> {
    let words = before.iter().copied().chain([event.name.word()]);
    words.map(str::to_owned).chain(event.args.iter().cloned()).collect()
}
