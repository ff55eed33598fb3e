//! A cluster in several conditions, journals, and a daemon that answers by the script.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use regent_api::{Answer, GroupStatus, NetworkStatus, NodeStatus, Request, ResourceStatus, Status};
use regent_model::journal::{Entry, Level};
use regent_model::{BootId, Epoch, GroupName, Incarnation, Moment, NodeName, ResourceName};

use crate::client::Asks;
use crate::trouble::{Result, Trouble};

pub(super) fn node_name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(super) fn group_name(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

fn node(name: &str, host: u8, me: bool) -> NodeStatus {
    let network =
        |n: u8| NetworkStatus { address: [10, 76 + n, 0, host].into(), heard: (!me).then_some(true) };
    NodeStatus {
        name: node_name(name),
        witness: name == "wit",
        voter: true,
        state: "up".into(),
        remark: String::new(),
        incarnation: Some(Incarnation(3)),
        boot: Some(BootId("b0b0".into())),
        lease_valid: Some(true),
        networks: vec![network(1), network(2)],
        version: Some("0.1.0".into()),
        reads: Some(1),
        troubles: Vec::new(),
        adapters: Vec::new(),
    }
}

fn resource(kind: &str, name: &str, state: &str) -> ResourceStatus {
    ResourceStatus {
        name: ResourceName::new(name).unwrap(),
        kind: kind.into(),
        state: state.into(),
        suspended: false,
        connections: None,
    }
}

/// The resources of the sample group, all in one state.
pub(super) fn resources(state: &str) -> Vec<ResourceStatus> {
    vec![
        resource("filesystem", "storage2", state),
        resource("address", "192.9.202.197", state),
        resource("application", "cache", state),
    ]
}

fn group() -> GroupStatus {
    GroupStatus {
        name: group_name("cacheha1"),
        state: "online".into(),
        owner: Some(node_name("lx4")),
        epoch: Epoch(7),
        proof: "fenced".into(),
        proof_text: "fenced, confirmed by power".into(),
        policy: "cascading".into(),
        why: "lx4 has it, and nothing asks it to move".into(),
        blocked: None,
        advice: None,
        warnings: Vec::new(),
        pending: None,
        held: None,
        word: None,
        nodes: vec![(node_name("lx4"), "owns it".into()), (node_name("lx5"), "could have it".into())],
        resources: resources("running"),
        guarantee_class: "fenced".into(),
        guarantee: "the next node acts only after power has confirmed that the owner is off".into(),
    }
}

/// Two nodes and a witness; all is well.
pub(crate) fn healthy() -> Status {
    Status {
        cluster: "ward7".into(),
        node: node_name("lx5"),
        leader: Some(node_name("lx5")),
        quorate: true,
        config_serial: 4,
        config_lock: None,
        key_change: None,
        takeover: "normal".into(),
        format: 1,
        lease: Duration::from_millis(600),
        nodes: vec![node("lx4", 4, false), node("lx5", 5, true), node("wit", 6, false)],
        groups: vec![group()],
        fencing: Vec::new(),
        arbiter: None,
        leaving: Vec::new(),
    }
}

/// The owner is silent, and its fence device does not answer.
pub(crate) fn blocked() -> Status {
    let mut status = healthy();
    let lost = &mut status.nodes[0];
    lost.state = "silent".into();
    lost.remark = "not heard on any network; nothing is proven yet".into();
    lost.lease_valid = None;
    lost.networks.iter_mut().for_each(|n| n.heard = Some(false));
    let group = &mut status.groups[0];
    group.state = "blocked".into();
    group.blocked = Some(
        "lx4 owned it and is silent: its lease has ended, but that is no proof for this group. \
         Needed: a fence device's confirmation, or lx4 coming back"
            .into(),
    );
    group.advice = Some("make sure that lx4 is off, then: regent node confirm-dead lx4".into());
    group.why = "no takeover without proof".into();
    group.nodes = vec![
        (node_name("lx4"), "is not heard on any network".into()),
        (node_name("lx5"), "could have it".into()),
    ];
    group.resources = resources("unknown");
    status.fencing = vec!["lx4 by power (attempt 3, operated by lx5)".into()];
    status
}

/// The application starts nowhere.
pub(super) fn failed() -> Status {
    let mut status = healthy();
    let group = &mut status.groups[0];
    group.state = "failed".into();
    group.owner = None;
    group.proof = "released".into();
    group.proof_text = "released by its owner".into();
    let why = "the group failed there: application cache: exit code 3";
    group.blocked = Some(format!("lx4 {why}; lx5 {why}"));
    group.advice = Some("mend the cause, then: regent group enable cacheha1".into());
    group.why = "no node is left that can have it".into();
    group.nodes = vec![(node_name("lx4"), why.into()), (node_name("lx5"), why.into())];
    group.resources = resources("stopped");
    status
}

/// The node that answers is cut off.
pub(crate) fn not_quorate() -> Status {
    let mut status = healthy();
    status.quorate = false;
    status.leader = None;
    status.nodes[1].lease_valid = Some(false);
    for at in [0, 2] {
        let node = &mut status.nodes[at];
        node.state = "silent".into();
        node.lease_valid = None;
        node.networks.iter_mut().for_each(|n| n.heard = Some(false));
    }
    status.groups[0].resources = resources("unknown");
    status
}

/// The same group in another state.
pub(super) fn with_group(state: &str, owner: Option<&str>, epoch: u64) -> Status {
    let mut status = healthy();
    status.groups[0].state = state.into();
    status.groups[0].owner = owner.map(node_name);
    status.groups[0].epoch = Epoch(epoch);
    status
}

/// An entry of a journal.
pub(super) fn entry(node: &str, number: u64, wall_ms: u64, level: Level, text: &str) -> Entry {
    Entry {
        node: node_name(node),
        number,
        at: Moment::from_millis(wall_ms % 1_000_000),
        wall_ms,
        level,
        kind: "step".into(),
        group: None,
        resource: None,
        epoch: None,
        index: None,
        event: None,
        text: text.into(),
        took: None,
        evidence: String::new(),
    }
}

/// The same about a group, and with what it took.
pub(super) fn about(mut entry: Entry, group: &str, took_ms: Option<u64>) -> Entry {
    entry.group = Some(group_name(group));
    entry.took = took_ms.map(Duration::from_millis);
    entry
}

/// A daemon that answers by the script: statuses one after another (the last one for ever), orders with `Done`.
pub(super) struct Scripted {
    statuses: RefCell<VecDeque<Result<Status>>>,
    events: RefCell<Vec<Entry>>,
    /// The configuration in force and its serial.
    pub(super) config: RefCell<(String, u64)>,
    /// Everything but looks, as it was asked.
    pub(super) orders: RefCell<Vec<Request>>,
    /// What is in force after an apply, instead of what was applied: somebody else was quick.
    pub(super) third: Option<String>,
    /// What is answered to an order instead of `Done`.
    refusal: Option<Answer>,
}

impl Scripted {
    pub(super) fn new(statuses: Vec<Status>) -> Self {
        Self {
            statuses: RefCell::new(statuses.into_iter().map(Ok).collect()),
            events: RefCell::default(),
            config: RefCell::default(),
            orders: RefCell::default(),
            third: None,
            refusal: None,
        }
    }

    pub(super) fn that_refuses(self, reason: &str, advice: &str) -> Self {
        Self { refusal: Some(Answer::refused(reason, advice)), ..self }
    }

    /// With these entries in the journal, all of them before anything is asked.
    pub(super) fn with_events(self, entries: Vec<Entry>) -> Self {
        *self.events.borrow_mut() = entries;
        self
    }

    /// Something more happens.
    pub(super) fn happen(&self, entry: Entry) {
        self.events.borrow_mut().push(entry);
    }

    pub(super) fn then_gone(self) -> Self {
        self.statuses.borrow_mut().push_back(Err(Trouble::unreachable("gone")));
        self
    }
}

impl Asks for Scripted {
    fn ask(&self, request: &Request) -> Result<Answer> {
        match request {
            Request::Status => {
                let mut statuses = self.statuses.borrow_mut();
                let next = statuses.pop_front().expect("a script needs a status");
                if statuses.is_empty() {
                    statuses.push_back(next.clone());
                }
                Ok(Answer::Status(Box::new(next?)))
            }
            Request::Events { after, limit } => {
                let entries = self.events.borrow();
                let last = entries.len() as u64;
                let numbered = (1..).zip(entries.iter().cloned()).filter(|(c, _)| c > after);
                Ok(Answer::Events { entries: numbered.take(*limit).collect(), last })
            }
            Request::Config => {
                let (text, serial) = self.config.borrow().clone();
                Ok(Answer::Config { text, serial })
            }
            Request::Apply { text, dry_run: false } => {
                self.orders.borrow_mut().push(request.clone());
                let mut config = self.config.borrow_mut();
                *config = (self.third.clone().unwrap_or_else(|| text.clone()), config.1 + 1);
                Ok(Answer::Done(format!("configuration {} is in force", config.1)))
            }
            other => {
                self.orders.borrow_mut().push(other.clone());
                Ok(self.refusal.clone().unwrap_or_else(|| Answer::Done("it is ordered".into())))
            }
        }
    }
}
