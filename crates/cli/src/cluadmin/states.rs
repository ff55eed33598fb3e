//! `service show`, `enable`, `disable`, `relocate`, `delete`: what services do, and where.

use regent_api::{GroupVerb, NodeStatus, Request, Status};
use regent_model::GroupName;
use regent_model::config::{Config, Startup};

use super::dialog::{Asked, Flow};
use super::{Shell, layout, no_service, state_of};
use crate::client;
use crate::clustat::{self, word};
use crate::edit::Editor;
use crate::follow::Settled;
use crate::settle::Wish;
use crate::trouble::{Result, Trouble};

impl Shell<'_> {
    /// `service show config`.
    ///
    /// # Errors
    /// When there is no such service, or nobody is asked.
    pub(super) fn show_config(&self, name: Option<&str>) -> Asked<()> {
        let (editor, config) = self.editor()?;
        let name = self.named(name, &editor.names("group"))?;
        let service = self.definition(&editor, &config, &name)?;
        Ok(self.console.say(&format!("\n{}\n", layout::render(&service)))?)
    }

    /// `service show state`.
    ///
    /// # Errors
    /// When there is no such service, or the daemon does not answer.
    pub(super) fn show_state(&self, name: Option<&str>) -> Result<()> {
        let view = self.view()?;
        if let Some(name) = name {
            self.some_state(&view.status, name)?;
        }
        self.console.say(&clustat::services(&view, name))
    }

    fn some_state<'s>(&self, status: &'s Status, name: &str) -> Result<&'s regent_api::GroupStatus> {
        let known = || {
            let mut names: Vec<String> = status.groups.iter().map(|g| g.name.base().to_owned()).collect();
            names.dedup();
            names
        };
        state_of(status, name).ok_or_else(|| self.unknown(name, &known()))
    }

    /// The service that is named, or one of those in these states.
    fn service_in(
        &self,
        status: &Status,
        name: Option<&str>,
        fits: impl Fn(&'static str) -> bool,
        none: &str,
    ) -> Asked<String> {
        if let Some(name) = name {
            self.some_state(status, name)?;
            return Ok(name.to_owned());
        }
        if status.groups.is_empty() {
            return Err(no_service().into());
        }
        let mut names: Vec<String> =
            status.groups.iter().filter(|g| fits(word(g))).map(|g| g.name.base().to_owned()).collect();
        names.dedup();
        self.choose_service(&names, none)
    }

    /// `service enable`.
    ///
    /// # Errors
    /// When it does not come to run.
    pub(super) fn enable(&self, name: Option<&str>) -> Asked<()> {
        let status = client::status(self.asks)?;
        let name =
            self.service_in(&status, name, |state| state != "running", "every service runs already")?;
        let state = self.some_state(&status, &name)?;
        if let ("running", Some(owner)) = (word(state), &state.owner) {
            return Ok(self.console.say(&format!("{name} runs on {owner} already\n"))?);
        }
        self.bring_up(&name, Some(GroupVerb::Enable))?;
        Ok(())
    }

    /// Orders a service to run, on its preferred member or, where that is not there, on another; and waits.
    pub(super) fn bring_up(&self, name: &str, verb: Option<GroupVerb>) -> Result<()> {
        let (status, (_, config)) = (client::status(self.asks)?, self.editor()?);
        let order = |verb| Request::Group { group: name.to_owned(), verb };
        let instances: Vec<GroupName> = config.groups_named(name).map(|g| g.name.clone()).collect();
        let online = |group: &GroupName| Wish::Online { group: group.clone(), after: None, on: None };
        let wish = match instances.as_slice() {
            [one] => online(one),
            several => Wish::Every(several.iter().map(online).collect()),
        };
        self.console.say(&format!("notice: Starting service {name} ...\n"))?;
        let mut orders: Vec<Request> = verb.map(order).into_iter().collect();
        if let Some((preferred, other)) = stand_in(&status, &config, name) {
            self.console.say(&format!(
                "notice: {preferred}, its preferred member, is not there: {other} starts it\n"
            ))?;
            orders.push(order(GroupVerb::Move { to: other }));
        }
        let settled = self.carry_out(&orders, wish)?;
        self.started(name, &settled)
    }

    fn started(&self, name: &str, settled: &Settled) -> Result<()> {
        let owners = settled.status.iter().flat_map(|s| &s.groups).filter(|g| g.name.base() == name);
        let owners: Vec<&str> = owners.filter_map(|g| Some(g.owner.as_ref()?.as_str())).collect();
        self.console.say(&format!("notice: Started service {name} on {}\n", owners.join(", ")))
    }

    /// `service disable`.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub(super) fn disable(&self, name: Option<&str>) -> Asked<()> {
        let status = client::status(self.asks)?;
        let name =
            self.service_in(&status, name, |state| state != "disabled", "every service is disabled already")?;
        Ok(self.take_down(&status, &name)?)
    }

    fn take_down(&self, status: &Status, name: &str) -> Result<()> {
        self.console.say(&format!("notice: Stopping service {name} ...\n"))?;
        let meant = status.groups.iter().filter(|g| g.name.as_str() == name || g.name.base() == name);
        let wishes: Vec<Wish> = meant.map(|g| Wish::Disabled { group: g.name.clone() }).collect();
        let wish = if let [one] = wishes.as_slice() { one.clone() } else { Wish::Every(wishes) };
        let order = Request::Group { group: name.to_owned(), verb: GroupVerb::Disable };
        self.carry_out(&[order], wish)?;
        self.console.say(&format!("notice: Stopped service {name}\n"))
    }

    /// `service relocate`.
    ///
    /// # Errors
    /// When it cannot go there, or does not come to run there.
    pub(super) fn relocate(&self, name: Option<&str>, to: Option<&str>) -> Asked<()> {
        let status = client::status(self.asks)?;
        let name = self.service_in(&status, name, |state| state == "running", "no service runs")?;
        let state = self.some_state(&status, &name)?;
        let Some(owner) = state.owner.as_ref().filter(|_| word(state) == "running") else {
            let trouble =
                Trouble::refused(format!("{name} is {}: there is nothing to relocate", word(state)));
            return Err(trouble.next(format!("service enable {name}")).into());
        };
        let is_there = |node: &&NodeStatus| node.state == "up" && &node.name != owner;
        let listed = |node: &&NodeStatus| state.nodes.iter().any(|(n, _)| *n == node.name);
        let others: Vec<String> =
            status.nodes.iter().filter(is_there).filter(listed).map(|n| n.name.to_string()).collect();
        let to = match (to, others.as_slice()) {
            (Some(to), _) if status.nodes.iter().all(|n| n.name.as_str() != to) => {
                return Err(Trouble::refused(format!("there is no member {to}"))
                    .next("cluster status")
                    .into());
            }
            (Some(to), _) => to.to_owned(),
            (None, [one]) => one.clone(),
            (None, []) => {
                let trouble = Trouble::refused(format!("no other member is there that can run {name}"));
                return Err(trouble.next("cluster status").into());
            }
            (None, several) => several[self.choose("member", several)?.ok_or(Flow::Cancel)?].clone(),
        };
        self.console.say(&format!("notice: Relocating service {name} from {owner} to {to} ...\n"))?;
        let group = state.name.clone();
        let on = regent_model::NodeName::new(&to).ok();
        let order = Request::Group { group: name.clone(), verb: GroupVerb::Move { to } };
        let settled = self.carry_out(&[order], Wish::Online { group, after: None, on })?;
        Ok(self.started(&name, &settled)?)
    }

    /// `service delete`.
    ///
    /// # Errors
    /// When the person leaves, or it fails.
    pub(super) fn delete(&self, name: Option<&str>) -> Asked<()> {
        self.may_change()?;
        let (editor, config) = self.editor()?;
        let name = self.named(name, &editor.names("group"))?;
        has_no_instance(&config, &name)?;
        let status = client::status(self.asks)?;
        let state = state_of(&status, &name).filter(|g| g.owner.is_some());
        let runs =
            state.and_then(|g| g.owner.as_ref()).map_or_else(String::new, |o| format!(", which is on {o}"));
        let help = "yes stops the service and takes its definition out of the configuration. Its disks keep what is on them.";
        if !self.ask_yes(&format!("Delete service {name}{runs}"), Some(false), help)? {
            return Err(Flow::Cancel);
        }
        let without = |editor: &mut Editor, _: &Config| {
            editor.remove("group", &name);
            Ok(())
        };
        // Nothing is stopped for a change that could not be put in force.
        let (text, _) = client::config(self.asks)?;
        let mut rest = Editor::read(&text)?;
        rest.remove("group", &name);
        if !self.is_valid(&text, &rest.text())? {
            let trouble = Trouble::refused(format!("{name} is needed by the rest of the configuration"));
            return Err(trouble.next("cluster saveas FILE, edit it, cluster restorefrom FILE").into());
        }
        if state.is_some() {
            self.take_down(&status, &name)?;
        }
        self.change(without, &[], true)?;
        Ok(self.console.say(&format!("Deleted {name}.\n"))?)
    }
}

/// The instances of a service's storage are in the registry, and go first.
fn has_no_instance(config: &Config, name: &str) -> Result<()> {
    let of_it = config.instances().filter(|(group, _)| group.name.base() == name);
    let names: Vec<String> = of_it.map(|(_, instance)| instance.name.to_string()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let what = format!("{name} has the storage of {}", names.join(" and "));
    let trouble = Trouble::refused(what).next(format!("service disable {name}"));
    Err(names.iter().fold(trouble, |trouble, instance| trouble.next(format!("ccontrol delete {instance}"))))
}

/// Where a service is to start whose preferred member is not there: that one, and the first other that is.
fn stand_in(status: &Status, config: &Config, name: &str) -> Option<(String, String)> {
    let group = config.groups_named(name).next().filter(|g| g.policy.startup == Startup::Home)?;
    let is_there = |name: &str| status.nodes.iter().any(|n| n.name.as_str() == name && n.state == "up");
    let preferred = group.nodes.first()?.to_string();
    let other = group.nodes.iter().map(ToString::to_string).find(|n| is_there(n))?;
    (!is_there(&preferred)).then_some((preferred, other))
}
