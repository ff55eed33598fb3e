//! One event, line by line.

use regent_model::action::Tier;
use regent_model::event::{Event, EventName, EventNote};
use regent_model::ids::{GroupName, NodeId};
use regent_model::journal::Level;

use super::command::Work;
use super::table::{Kind, Line, Way, Whose};
use super::{Claim, Open, Program};
use crate::engine::Engine;

impl Engine {
    /// Carries out lines until one has to wait. True if something moved.
    pub(super) fn run_program(&mut self, program: &mut Program) -> bool {
        let mut moved = false;
        while !program.is_over() && program.blocked.is_none() {
            if program.work.is_some() {
                if !self.work_on(program) {
                    break;
                }
                moved = true;
                continue;
            }
            let before = (program.at, program.within_part, program.open.len());
            self.run_line(program);
            if before == (program.at, program.within_part, program.open.len()) && program.work.is_none() {
                break;
            }
            moved = true;
        }
        moved
    }

    fn run_line(&mut self, program: &mut Program) {
        match program.lines[program.at] {
            Line::Await => program.at += usize::from(self.others_are_done(program)),
            Line::Begin(name) => {
                let groups = self.concerned(program);
                self.begin_event(program, Event { name, args: self.arguments(program, name) }, &groups);
                program.at += 1;
            }
            Line::End(_) => {
                let groups: Vec<GroupName> = program.claims.keys().cloned().collect();
                self.end_event(program, &groups);
                program.at += 1;
            }
            Line::Gather(way) => {
                if self.expected(program, way).is_empty() {
                    program.gathered.push(way);
                    program.at += 1;
                }
            }
            Line::Part(name, way, tier, whose) => self.run_part(program, name, (way, tier), whose),
            Line::Start => {
                self.start_applications(program);
                program.at += 1;
            }
        }
    }

    fn run_part(&mut self, program: &mut Program, name: EventName, (way, tier): (Way, Tier), whose: Whose) {
        let groups = self.part_groups(program, (way, tier), whose);
        if !program.within_part {
            if groups.is_empty() {
                program.at += 1;
                return;
            }
            let args = self.resources_of(&groups, tier);
            self.begin_event(program, Event { name, args }, &groups);
            program.within_part = true;
            return;
        }
        for group in &groups {
            if let Some(claim) = program.claims.get_mut(group) {
                claim.open = Some(tier);
            }
        }
        let reached = groups.iter().all(|g| program.claims.get(g).is_none_or(|c| self.reached(g, c, tier)));
        if reached {
            program.within_part = false;
            self.end_event(program, &groups);
            program.at += 1;
        }
    }

    /// The applications come up by themselves from here on, group by group.
    fn start_applications(&mut self, program: &mut Program) {
        let claims = std::mem::take(&mut program.claims);
        let within = program.open.first().map(|o| o.note.number);
        for (group, claim) in claims {
            if claim.way == Way::Down {
                program.claims.insert(group, claim);
                continue;
            }
            let mut start = Program::new(Kind::Starts, Vec::new(), 0, self.now);
            start.beside = true;
            start.within = within;
            start.gathered.push(Way::Up);
            start
                .claims
                .insert(group.clone(), Claim { open: claim.open.max(Some(Tier::Addresses)), ..claim });
            self.begin_program(start);
            // It stays a group of the event, for what follows.
            program
                .claims
                .insert(group, Claim { epoch: claim.epoch, way: Way::Up, open: Some(Tier::Applications) });
        }
    }

    fn begin_event(&mut self, program: &mut Program, event: Event, groups: &[GroupName]) {
        let number = self.chronicle.next_event();
        let within = program.open.last().map(|o| o.note.number).or(program.within);
        let note = EventNote { number, event, within };
        if program.open.is_empty() {
            program.skipping = false;
        }
        let text = format!("begins: {}", note.event);
        let index = (program.index > 0).then_some(program.index);
        self.write(Level::Step, "event_start", text, |e| {
            e.event = Some(note.clone());
            e.index = index;
            e.group = one_of(groups);
        });
        let work = (!program.skipping).then(|| self.work_before(&note, groups)).flatten();
        program.open.push(Open { note, began: self.now, status: 0 });
        program.work = work;
    }

    fn end_event(&mut self, program: &mut Program, groups: &[GroupName]) {
        let Some(open) = program.open.last() else { return };
        let work = (!program.skipping).then(|| self.work_after(&open.note, open.status, groups)).flatten();
        // An event without commands after it has ended at once.
        program.work = Some(work.unwrap_or_else(|| Work::nothing_more(groups)));
    }

    /// The event is over, with its last command.
    pub(super) fn event_over(&mut self, program: &mut Program, groups: &[GroupName]) {
        let Some(open) = program.open.pop() else { return };
        let took = self.now.since(open.began);
        let how = match (program.skipping, open.status) {
            (true, _) => "ended by hand".to_owned(),
            (false, 0) => "done".to_owned(),
            (false, status) => format!("done, status {status}"),
        };
        let text = format!("{how}: {}", open.note.event);
        self.write(Level::Step, "event_complete", text, |e| {
            e.event = Some(open.note);
            e.took = Some(took);
            e.group = one_of(groups);
        });
        if program.open.is_empty() {
            program.skipping = false;
        }
    }

    fn arguments(&self, program: &Program, name: EventName) -> Vec<String> {
        use EventName::*;
        match name {
            NodeUpLocal | NodeUpLocalComplete => Vec::new(),
            NodeDownLocal | NodeDownLocalComplete => program.args.iter().skip(1).cloned().collect(),
            _ => program.args.clone(),
        }
    }

    /// The groups of a part that have something in its tier.
    fn part_groups(&self, program: &Program, (way, tier): (Way, Tier), whose: Whose) -> Vec<GroupName> {
        let at_home = |group: &GroupName| {
            self.state.config.group(group).is_some_and(|g| g.nodes.first() == Some(&self.me.name))
        };
        let is_ours = |group: &GroupName| match whose {
            Whose::All => true,
            Whose::Home => at_home(group),
            Whose::Away => !at_home(group),
        };
        program
            .claims
            .iter()
            .filter(|(group, claim)| claim.way == way && is_ours(group))
            .filter(|(group, _)| {
                let config = self.state.definition(group);
                config.is_some_and(|g| g.resources().iter().any(|r| r.tier() == tier))
            })
            .map(|(group, _)| group.clone())
            .collect()
    }

    fn resources_of(&self, groups: &[GroupName], tier: Tier) -> Vec<String> {
        let configs = groups.iter().filter_map(|g| self.state.definition(g));
        let all = configs.flat_map(|g| g.resources());
        all.filter(|r| r.tier() == tier).map(|r| r.name().to_string()).collect()
    }

    /// The event that what happens to a group belongs to: the innermost that has begun.
    pub(crate) fn event_of_group(&self, group: &GroupName) -> Option<EventNote> {
        let claimed = self.events.programs.iter().rev().filter(|p| p.claims.contains_key(group));
        claimed.filter_map(|p| p.open.last()).map(|o| o.note.clone()).next()
    }

    pub(super) fn node_name(&self, node: NodeId) -> String {
        self.state.name_of(node)
    }
}

fn one_of(groups: &[GroupName]) -> Option<GroupName> {
    if let [group] = groups { Some(group.clone()) } else { None }
}
