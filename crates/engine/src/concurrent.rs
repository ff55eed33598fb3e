//! What the command line says of a concurrent group is meant for all its instances.

use std::collections::BTreeSet;

use regent_api::{Answer, GroupVerb, group_name};
use regent_model::GroupName;
use regent_model::state::Command;

use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

/// The groups that a name means.
pub(crate) enum Meant {
    /// One group, or one instance.
    One(GroupName),
    /// Every instance of a concurrent group, by node.
    Every(Vec<GroupName>),
}

impl Engine {
    /// What is meant by a name that somebody typed.
    pub(crate) fn meant_group(&self, text: &str) -> Result<Meant, Answer> {
        let name = group_name(text)?;
        if self.state.groups.contains_key(&name) {
            return Ok(Meant::One(name));
        }
        let instances: Vec<GroupName> =
            self.state.groups.keys().filter(|g| g.node().is_some() && g.base() == text).cloned().collect();
        if !instances.is_empty() {
            return Ok(Meant::Every(instances));
        }
        let known: BTreeSet<&str> = self.state.groups.keys().map(GroupName::base).collect();
        let known: Vec<&str> = known.into_iter().collect();
        Err(Answer::refused(
            format!("there is no group {name}"),
            format!("the groups are: {}", known.join(", ")),
        ))
    }

    /// The one group that is meant; of a concurrent group this node's own instance.
    pub(crate) fn known_group(&self, text: &str) -> Result<GroupName, Answer> {
        match self.meant_group(text)? {
            Meant::One(name) => Ok(name),
            Meant::Every(names) => {
                let own = names.iter().find(|name| name.node() == Some(self.me.name.as_str()));
                own.cloned().ok_or_else(|| {
                    let all: Vec<&str> = names.iter().map(GroupName::as_str).collect();
                    let reason = format!("{text} does not run on {}", self.me.name);
                    Answer::refused(reason, format!("its instances are: {}", all.join(", ")))
                })
            }
        }
    }

    /// Does to every instance what was asked for the group. The answer comes with the last of them; the others are
    /// said again until they are in the log, too.
    pub(crate) fn group_everywhere(
        &mut self,
        id: RequestId,
        group: &str,
        names: Vec<GroupName>,
        verb: GroupVerb,
    ) -> Option<Answer> {
        let since_ms = self.wall_ms;
        let (order, words): (Box<dyn Fn(GroupName) -> Command>, &str) = match verb {
            GroupVerb::Enable => (Box::new(Command::Enable), "is enabled"),
            GroupVerb::Disable => (Box::new(Command::Disable), "is disabled"),
            GroupVerb::Restart => (Box::new(Command::Restart), "is being restarted"),
            GroupVerb::Hold { who, why } => {
                let hold = move |group| Command::Hold { group, who: who.clone(), why: why.clone(), since_ms };
                (Box::new(hold), "is held")
            }
            GroupVerb::Resume => (Box::new(Command::Resume), "is looked after again"),
            GroupVerb::Move { .. } | GroupVerb::Restore => {
                let reason = format!("{group} runs on every node of its list and cannot move");
                let advice = format!("regent group disable {group}@NODE takes it down on one node");
                return Some(Answer::refused(reason, advice));
            }
        };
        let last = names.len().saturating_sub(1);
        for (at, name) in names.into_iter().enumerate() {
            if at == last {
                let words = format!("{group} {words} on every node of its list");
                self.propose_for(order(name), Waiting::Request(id, words));
            } else {
                self.propose(order(name));
            }
        }
        None
    }
}
