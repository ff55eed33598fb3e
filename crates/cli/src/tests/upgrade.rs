//! An instance is upgraded in place, and its group goes on only when everything fits.

use std::cell::RefCell;
use std::collections::BTreeMap;

use regent_api::{Answer, GroupVerb, InstanceVerb, NodeWord, NodesAnswer, Registry, Request};
use regent_model::instance::InstanceLook;

use super::instances::{look, name, registry, with_two_text};
use super::samples::{healthy, node_name};
use crate::client::Asks;
use crate::instance::upgrade::upgrade;
use crate::screen::Screen;
use crate::trouble::{Result, Trouble};

/// lx4's daemon, which has CACHEHA1.
struct Daemon {
    registry: RefCell<Registry>,
    /// What its agent reads at the next look.
    installed: &'static str,
    orders: RefCell<Vec<&'static str>>,
    silent: bool,
    /// Whose name begins with the name of the one that is upgraded, and which does not fit.
    misfit: Option<&'static str>,
}

impl Daemon {
    fn new(installed: &'static str) -> Self {
        let orders = RefCell::default();
        Self { registry: registry().into(), installed, orders, silent: false, misfit: None }
    }

    fn upgrade(&self, words: &[&str]) -> Result<u8> {
        let command: Vec<_> = words.iter().map(Into::into).collect();
        upgrade(self, &Screen::silent(), "cacheha1", None, &command)
    }
}

impl Asks for Daemon {
    fn ask(&self, request: &Request) -> Result<Answer> {
        let done = |word| {
            self.orders.borrow_mut().push(word);
            Answer::Done(word.to_owned())
        };
        Ok(match request {
            Request::Instances => Answer::Instances(Box::new(self.registry.borrow().clone())),
            Request::Status => Answer::Status(Box::new(healthy())),
            Request::Config => {
                let named = |other: &str| {
                    with_two_text().replace("name = \"cacheha2\"\nkind", &format!("name = \"{other}\"\nkind"))
                };
                Answer::Config { text: self.misfit.map_or_else(with_two_text, named), serial: 1 }
            }
            Request::Environment { group, instance } => {
                assert_eq!((group.as_str(), *instance), ("CACHEHA1", true));
                let variables = vec![("REGENT_GROUP".to_owned(), "cacheha1".to_owned())];
                Answer::Environment { node: node_name("lx4"), owner: None, variables, remarks: Vec::new() }
            }
            Request::Group { verb: GroupVerb::Hold { .. }, .. } => done("hold"),
            Request::Group { verb: GroupVerb::Resume, .. } => done("resume"),
            Request::Instance { verb: InstanceVerb::Status, .. } => {
                let mut registry = self.registry.borrow_mut();
                let version = registry.instances[0].version.as_mut().unwrap();
                version.version = self.installed.to_owned();
                registry.instances[0].installed = Some(self.installed.to_owned());
                done("look")
            }
            Request::Nodes(_) => {
                let second = name(self.misfit.unwrap_or("cacheha2"));
                let looks = |one, two| {
                    NodeWord::Instances(BTreeMap::from([(name("cacheha1"), one), (second.clone(), two)]))
                };
                let away = InstanceLook::default;
                let taken = InstanceLook { listening: self.misfit.is_some(), ..away() };
                let mut told = BTreeMap::from([(node_name("lx4"), looks(look("lx4"), taken))]);
                let silent = if self.silent { vec![node_name("lx5")] } else { Vec::new() };
                if !self.silent {
                    told.insert(node_name("lx5"), looks(away(), look("lx5")));
                }
                Answer::Nodes(Box::new(NodesAnswer { told, silent, ..NodesAnswer::default() }))
            }
            other => panic!("{other:?}"),
        })
    }
}

const TRIES_ITS_ENVIRONMENT: &str = "test \"$REGENT_INSTANCE:$REGENT_INSTANCE_DIRECTORY:$REGENT_INSTANCE_PORT:$REGENT_GROUP\" = \
     CACHEHA1:/store1/c52ha:1973:cacheha1";

#[test]
fn the_group_is_held_while_the_command_runs_and_goes_on_when_the_version_is_right_everywhere() {
    let daemon = Daemon::new("5.2.0.500");
    assert_eq!(daemon.upgrade(&["sh", "-c", TRIES_ITS_ENVIRONMENT]).unwrap(), 0);
    assert_eq!(*daemon.orders.borrow(), ["hold", "look", "resume"]);
    assert_eq!(daemon.registry.borrow().instances[0].version.as_ref().unwrap().version, "5.2.0.500");
}

#[test]
fn what_fails_leaves_the_group_held_and_says_what_to_type() {
    let daemon = Daemon::new("5.2.0.500");
    let failed = daemon.upgrade(&["sh", "-c", "exit 3"]).unwrap_err();
    assert_eq!(*daemon.orders.borrow(), ["hold"]);
    assert!(failed.what.contains("may be half upgraded; cacheha1 stays held"), "{failed}");
    assert_eq!(failed.next.last().unwrap(), "then: regent group resume cacheha1");
    let missing = Daemon::new("5.2.0.500");
    assert!(missing.upgrade(&["/nowhere/cinstall"]).unwrap_err().what.contains("cannot be run"));
    let quiet = Daemon { silent: true, ..Daemon::new("5.2.0.500") };
    let failed: Trouble = quiet.upgrade(&["true"]).unwrap_err();
    assert!(failed.next[0].contains("lx5 said nothing") && failed.what.contains("stays held"), "{failed}");
    assert_eq!(*quiet.orders.borrow(), ["hold", "look"]);
}

#[test]
fn what_does_not_fit_of_another_instance_keeps_no_group_held() {
    let daemon = Daemon { misfit: Some("cacheha10"), ..Daemon::new("5.2.0.500") };
    daemon.registry.borrow_mut().instances[1].name = name("cacheha10");
    assert_eq!(daemon.upgrade(&["true"]).unwrap(), 0);
    assert_eq!(*daemon.orders.borrow(), ["hold", "look", "resume"]);
}

#[test]
fn it_is_upgraded_only_where_it_is() {
    let daemon = Daemon::new("5.2.0.500");
    daemon.registry.borrow_mut().instances[0].owner = Some(node_name("lx5"));
    let refused = daemon.upgrade(&["true"]).unwrap_err();
    assert!(refused.what.contains("lx5, not on lx4"), "{refused}");
    assert!(refused.next[0].contains("regent group move cacheha1 lx4"), "{refused}");
    daemon.registry.borrow_mut().instances[0].owner = None;
    assert!(daemon.upgrade(&["true"]).unwrap_err().what.contains("is not up on lx4"));
    assert!(daemon.orders.borrow().is_empty(), "nothing was held");
}
