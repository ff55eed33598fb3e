//! What takes too long is said, with evidence, and said again; nothing is killed for it.

use std::collections::BTreeMap;
use std::time::Duration;

use regent_model::Moment;
use regent_model::action::{LookRun, RunId};
use regent_model::event::{Event, EventName};
use regent_model::ids::{Epoch, GroupName};
use regent_model::journal::Level;

use crate::engine::Engine;

/// After the first time it is said again after this, then after twice this, and so on.
const AGAIN: Duration = Duration::from_secs(30);

/// What may take too long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// An event, by the number of its outermost.
    Event(u64),
    /// A group that comes up or goes down.
    Group(GroupName, Epoch, &'static str),
}

/// Since when it lasts, and when it is said next.
struct Watch {
    since: Moment,
    due: Moment,
    times: u32,
}

/// Everything that lasts.
#[derive(Default)]
pub(super) struct Lateness {
    watches: BTreeMap<Subject, Watch>,
    looks: BTreeMap<RunId, (Event, String)>,
}

impl Engine {
    /// Looks what lasts longer than it should.
    pub(crate) fn watch_lateness(&mut self) {
        let lasting = self.lasting();
        let known = |subject: &Subject| lasting.iter().any(|(s, ..)| s == subject);
        self.events.late.watches.retain(|subject, _| known(subject));
        let now = self.now;
        let mut due = Vec::new();
        for (subject, name, doing, limit) in lasting {
            let group = if let Subject::Group(group, ..) = &subject { Some(group.clone()) } else { None };
            let fresh = || Watch { since: now, due: now + limit, times: 0 };
            let watch = self.events.late.watches.entry(subject).or_insert_with(fresh);
            if now < watch.due {
                continue;
            }
            watch.times += 1;
            watch.due = now + AGAIN * watch.times;
            due.push((now.since(watch.since).as_secs(), name, doing, group));
        }
        for (seconds, name, doing, group) in due {
            let id = self.numbers.next();
            let event = Event::new(EventName::ConfigTooLong, [seconds.to_string(), name]);
            self.events.late.looks.insert(id, (event, doing));
            self.out.look.push(LookRun { id, group });
        }
    }

    /// What is at work now, what it is called, what it does, and how long it may.
    fn lasting(&self) -> Vec<(Subject, String, String, Duration)> {
        let rules = self.state.config.event_rules;
        let events = self.events.programs.iter().filter(|p| !p.beside).filter_map(|p| {
            let first = p.open.first()?;
            let name = first.note.event.name.word().to_owned();
            let limit = rules.event_limit + rules.group_limit;
            Some((Subject::Event(first.note.number), name, self.doing(p), limit))
        });
        let groups = self.sequencers.iter().filter(|(_, s)| !s.is_held_up()).filter_map(|(group, s)| {
            let doing = s.at_work()?;
            let word = if doing.starts_with("release") { "release" } else { "acquire" };
            let subject = Subject::Group(group.clone(), s.epoch(), word);
            Some((subject, format!("{word}:{group}"), doing, rules.group_limit))
        });
        events.chain(groups).collect()
    }

    /// An agent has looked at what takes so long.
    pub(crate) fn looked(&mut self, id: RunId, seen: String) {
        let Some((event, doing)) = self.events.late.looks.remove(&id) else { return };
        let [seconds, name] = event.args.as_slice() else { return };
        let text = format!("{name} takes longer than it should: {seconds} s so far; {doing}");
        self.write(Level::Warning, "config_too_long", text, |e| e.evidence = seen);
        self.raise(event);
    }
}
