//! Who may ask what: three roles, and the role of every request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ApplicationVerb, GroupVerb, InstanceVerb, NodeVerb, NodesAsk, Request};

/// What somebody may ask of a daemon. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks, and changes nothing.
    Viewer,
    /// Orders groups, nodes and instances about, as the configuration allows.
    Operator,
    /// Changes what is configured, who is a member, and what is taken for true.
    Admin,
}

/// The roles, the least first.
pub const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

impl Role {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The group of a machine's users whose members have it on that machine.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Viewer => "regent-viewer",
            Self::Operator => "regent-operator",
            Self::Admin => "regent",
        }
    }

    /// Which commands need it, for people.
    #[must_use]
    pub const fn commands(self) -> &'static [&'static str] {
        match self {
            Self::Viewer => &[
                "status, events, explain, simulate, event queue, instance list",
                "verify --nodes, apply --dry-run, config show (passwords are not shown)",
            ],
            Self::Operator => &[
                "group enable, disable, move, restore, restart, hold, resume; application suspend, resume",
                "node start, standby, stop; event resume; instance start, stop, force",
                "prepare, env, evidence, token list",
            ],
            Self::Admin => &[
                "apply, and every other change of the configuration; config show with passwords",
                "node confirm-dead; instance version; token, token revoke",
            ],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Request {
    /// The role that it needs; none for what anybody may ask.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        Some(match self {
            Self::Access | Self::Instances => return None,
            Self::Status
            | Self::Events { .. }
            | Self::Config
            | Self::Simulate { .. }
            | Self::EventQueue
            | Self::Instance { verb: InstanceVerb::Status, .. }
            | Self::Apply { dry_run: true, .. }
            | Self::ApplyLater { dry_run: true, .. }
            | Self::Nodes(
                NodesAsk::Survey | NodesAsk::Instances | NodesAsk::License { .. } | NodesAsk::Presence { .. },
            ) => Role::Viewer,
            Self::Group { .. } | Self::Application { .. } | Self::Instance { .. }
                if !matches!(self, Self::Instance { verb: InstanceVerb::Version { .. }, .. }) =>
            {
                Role::Operator
            }
            // What a command is told, or has said, may hold what only its administrator knows.
            Self::Environment { .. }
            | Self::Nodes(
                NodesAsk::Prepare { .. } | NodesAsk::Evidence { .. } | NodesAsk::EvidenceText { .. },
            )
            | Self::Node { .. }
            | Self::ResumeEvents { .. }
            | Self::Tokens => Role::Operator,
            _ => Role::Admin,
        })
    }

    /// What it orders, in words, for the record of who did what; none of what only looks. It holds no secret, and not the
    /// text of a configuration.
    #[must_use]
    pub fn order(&self) -> Option<String> {
        let size = |text: &String| format!("a configuration of {} bytes", text.len());
        Some(match self {
            Self::Apply { text, dry_run: false } => format!("apply {}", size(text)),
            Self::ApplyLater { text, dry_run: false } => format!("apply {}, for later", size(text)),
            Self::Change { text, serial, .. } => {
                format!("apply {} in the place of number {serial}", size(text))
            }
            Self::LockConfig { lock: Some(_), .. } => "take the lock of the configuration".to_owned(),
            Self::LockConfig { lock: None, .. } => "give up the lock of the configuration".to_owned(),
            Self::Application { group, application, verb } => {
                let verb = match verb {
                    ApplicationVerb::Suspend => "suspend",
                    ApplicationVerb::Resume => "resume",
                };
                format!("application {verb} {group} {application}")
            }
            Self::Group { group, verb } => group_order(group, verb),
            Self::Instance { verb: InstanceVerb::Status, .. } => return None,
            Self::Instance { name, verb, .. } => {
                let verb = match verb {
                    InstanceVerb::Start => "start",
                    InstanceVerb::Stop => "stop",
                    InstanceVerb::Force => "force",
                    InstanceVerb::Status => "status",
                    InstanceVerb::Version { .. } => "version",
                };
                format!("instance {verb} {name}")
            }
            Self::Node { node, verb } => {
                let node = node.as_deref().unwrap_or("(this node)");
                match verb {
                    NodeVerb::Stop(mode) => format!("node stop {node} --{}", mode.word()),
                    NodeVerb::Start => format!("node start {node}"),
                    NodeVerb::Standby => format!("node standby {node}"),
                }
            }
            Self::ResumeEvents { node } => {
                format!("event resume --node {}", node.as_deref().unwrap_or("(this node)"))
            }
            Self::ConfirmDead { node, why, .. } => format!("node confirm-dead {node} --why {why:?}"),
            Self::Nodes(NodesAsk::Prepare { group, dry_run: false }) => {
                format!("prepare {}", group.as_deref().unwrap_or(""))
            }
            Self::Token { witness, minutes } => {
                let kind = if *witness { "a witness" } else { "a node" };
                format!("token for {kind}, good for {} min", minutes.unwrap_or(60))
            }
            Self::RevokeToken { id } => format!("token revoke {id}"),
            _ => return None,
        })
    }
}

fn group_order(group: &str, verb: &GroupVerb) -> String {
    match verb {
        GroupVerb::Enable => format!("group enable {group}"),
        GroupVerb::Disable => format!("group disable {group}"),
        GroupVerb::Move { to } => format!("group move {group} {to}"),
        GroupVerb::Restore => format!("group move {group} --restore"),
        GroupVerb::Restart => format!("group restart {group}"),
        GroupVerb::Hold { why, .. } => format!("group hold {group} --why {why:?}"),
        GroupVerb::Resume => format!("group resume {group}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Request {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_order_needs_more_than_a_viewer_and_what_only_looks_leaves_no_record() {
        // Everything that a command of the first release says.
        let asked = include_str!("../tests/releases/asked-1.jsonl");
        for request in asked.lines().map(read) {
            let order = request.order();
            assert!(order.is_none() || request.role() >= Some(Role::Operator), "{request:?}");
        }
        for (json, role) in [
            (r#""status""#, Some(Role::Viewer)),
            (r#""instances""#, None),
            (r#""access""#, None),
            (r#"{"apply":{"text":"x","dry_run":true}}"#, Some(Role::Viewer)),
            (r#"{"apply":{"text":"x","dry_run":false}}"#, Some(Role::Admin)),
            (r#"{"group":{"group":"g","verb":"enable"}}"#, Some(Role::Operator)),
            (r#"{"instance":{"name":"I","verb":"stop"}}"#, Some(Role::Operator)),
            (r#"{"instance":{"name":"I","verb":{"version":{"version":"5","who":"m"}}}}"#, Some(Role::Admin)),
            (r#"{"confirm_dead":{"node":"n","who":"m","why":"w"}}"#, Some(Role::Admin)),
            (r#"{"token":{"witness":false}}"#, Some(Role::Admin)),
            (r#"{"revoke_token":{"id":"0"}}"#, Some(Role::Admin)),
        ] {
            assert_eq!(read(json).role(), role, "{json}");
        }
    }

    #[test]
    fn the_record_names_the_order_and_not_the_text_of_a_configuration() {
        let apply = read(r#"{"apply":{"text":"password = \"hunter2\"","dry_run":false}}"#);
        assert_eq!(apply.order().unwrap(), "apply a configuration of 20 bytes");
        let moved = read(r#"{"group":{"group":"web","verb":{"move":{"to":"lx5"}}}}"#);
        assert_eq!(moved.order().unwrap(), "group move web lx5");
    }
}
