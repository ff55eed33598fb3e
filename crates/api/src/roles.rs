//! Who may ask what: three roles, and the role of every request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ApplicationVerb, GroupVerb, InstanceVerb, KeyVerb, NodeVerb, NodesAsk, RemoveStep, Request};

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

/// What is kept for the record of an order, or of what came of it, in characters.
pub const WORDS_MAX: usize = 300;

/// These words as they may stand in the record, in a log or on a screen: on one line, without control characters, and cut
/// to [`WORDS_MAX`] characters, however long they were.
#[must_use]
pub fn plain_words(words: &str) -> String {
    let mut plain = String::new();
    for (place, c) in words.chars().enumerate() {
        if place == WORDS_MAX {
            plain.push_str("...");
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// What an operator may hand on to the command of an instance's vendor.
const OPERATORS_WORDS: [&str; 4] = ["nostu", "nouser", "bypass", "stopnoshut"];

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
                "status, events, explain, simulate, event queue, instance list, key status",
                "verify --nodes, apply --dry-run, config show (passwords are not shown)",
            ],
            Self::Operator => &[
                "group enable, disable, move, restore, restart, hold, resume; application suspend, resume",
                "node start, standby, stop; event resume; instance start, stop, force; fence off, on, test",
                "prepare, env, evidence, token list",
            ],
            Self::Admin => &[
                "apply, and every other change of the configuration; config show with passwords",
                "node confirm-dead, remove; instance version; token, token revoke; key rotate; arbiter init",
                "instance start with a file of settings or EmergencyId=USER,PASSWORD",
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
            | Self::Key(KeyVerb::Status)
            | Self::Instance { verb: InstanceVerb::Status, .. }
            | Self::Apply { dry_run: true, .. }
            | Self::ApplyLater { dry_run: true, .. }
            | Self::Nodes(
                NodesAsk::Survey
                | NodesAsk::Instances
                | NodesAsk::License { .. }
                | NodesAsk::Presence { .. }
                | NodesAsk::Arbiter,
            ) => Role::Viewer,
            // Other words reach the vendor's command, which runs as root: a file of settings runs what stands in it.
            Self::Instance { verb, words, .. } => {
                let usual =
                    |word: &String| OPERATORS_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known));
                let is_version = matches!(verb, InstanceVerb::Version { .. });
                if !is_version && words.iter().all(usual) { Role::Operator } else { Role::Admin }
            }
            Self::Group { .. } | Self::Application { .. } => Role::Operator,
            // What a command is told, or has said, may hold what only its administrator knows.
            Self::Environment { .. }
            | Self::Nodes(
                NodesAsk::Prepare { .. } | NodesAsk::Evidence { .. } | NodesAsk::EvidenceText { .. },
            )
            | Self::Node { .. }
            | Self::FenceByHand { .. }
            | Self::ResumeEvents { .. }
            | Self::Tokens => Role::Operator,
            _ => Role::Admin,
        })
    }

    /// What it orders, in words, for the record of who did what; none of what only looks. It holds no secret, and not the
    /// text of a configuration, and is one line of at most [`WORDS_MAX`] characters, whatever the request holds.
    #[must_use]
    pub fn order(&self) -> Option<String> {
        self.ordered().map(|order| plain_words(&order))
    }

    fn ordered(&self) -> Option<String> {
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
            Self::Instance { name, verb, words } => {
                let verb = match verb {
                    InstanceVerb::Start => "start",
                    InstanceVerb::Stop => "stop",
                    InstanceVerb::Force => "force",
                    InstanceVerb::Status => "status",
                    InstanceVerb::Version { .. } => "version",
                };
                // What is given a name may be a password.
                let words = words.iter().map(|word| match word.split_once('=') {
                    Some((name, _)) => format!(" {name}="),
                    None => format!(" {word}"),
                });
                format!("instance {verb} {name}{}", words.collect::<String>())
            }
            Self::Node { node, verb } => {
                let node = node.as_deref().unwrap_or("(this node)");
                match verb {
                    NodeVerb::Stop(mode) => format!("node stop {node} --{}", mode.word()),
                    NodeVerb::Start => format!("node start {node}"),
                    NodeVerb::Standby => format!("node standby {node}"),
                }
            }
            Self::Remove { node, step } => return removal_order(node, step),
            Self::ResumeEvents { node } => {
                format!("event resume --node {}", node.as_deref().unwrap_or("(this node)"))
            }
            Self::ConfirmDead { node, why, .. } => format!("node confirm-dead {node} --why {why:?}"),
            Self::FenceByHand { node, act, ended, .. } => {
                let how = match ended {
                    None => "begins",
                    Some(end) if end.done => "has ended",
                    Some(_) => "has failed",
                };
                format!("fence {} {node}: {how}", act.word())
            }
            Self::Nodes(NodesAsk::Prepare { group, dry_run: false }) => {
                format!("prepare {}", group.as_deref().unwrap_or(""))
            }
            Self::Token { witness, minutes } => {
                let kind = if *witness { "a witness" } else { "a node" };
                format!("token for {kind}, good for {} min", minutes.unwrap_or(60))
            }
            Self::MakeArea { disk, force } => {
                format!("arbiter init {}{}", disk.display(), if *force { " --force" } else { "" })
            }
            Self::Key(KeyVerb::Rotate { without }) => {
                let without: String = without.iter().map(|node| format!(" --without {node}")).collect();
                format!("key rotate{without}")
            }
            Self::RevokeToken { id } => format!("token revoke {id}"),
            _ => return None,
        })
    }
}

fn removal_order(node: &str, step: &RemoveStep) -> Option<String> {
    let how = match step {
        RemoveStep::Look { .. } => return None,
        RemoveStep::Leave { dead: false, .. } => "",
        RemoveStep::Leave { dead: true, .. } => " --dead",
        RemoveStep::Stay => " --undo",
        RemoveStep::Finish { .. } => ": it has left, and is taken out",
    };
    Some(format!("node remove {node}{how}"))
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
            (
                r#"{"instance":{"name":"I","verb":"stop","words":["stopnoshut","bypass"]}}"#,
                Some(Role::Operator),
            ),
            (r#"{"instance":{"name":"I","verb":"start","words":["nostu","nouser"]}}"#, Some(Role::Operator)),
            (r#"{"instance":{"name":"I","verb":"start","words":["nostu","/tmp/x.cpf"]}}"#, Some(Role::Admin)),
            (r#"{"instance":{"name":"I","verb":"start","words":["EmergencyId=u,p"]}}"#, Some(Role::Admin)),
            (r#"{"instance":{"name":"I","verb":"force","words":["x"]}}"#, Some(Role::Admin)),
            (r#"{"instance":{"name":"I","verb":{"version":{"version":"5","who":"m"}}}}"#, Some(Role::Admin)),
            (r#"{"confirm_dead":{"node":"n","who":"m","why":"w"}}"#, Some(Role::Admin)),
            (r#"{"token":{"witness":false}}"#, Some(Role::Admin)),
            (r#"{"revoke_token":{"id":"0"}}"#, Some(Role::Admin)),
        ] {
            assert_eq!(read(json).role(), role, "{json}");
        }
    }

    #[test]
    fn an_order_is_one_short_line_whatever_its_names_are() {
        let long = Request::Node { node: Some("x".repeat(1 << 20)), verb: NodeVerb::Start };
        let order = long.order().unwrap();
        assert!(order.len() <= WORDS_MAX + 3 && order.ends_with("x..."), "{}", order.len());
        let forged = Request::RevokeToken { id: "1\nroot (uid 0): apply\r\u{1b}[2K\u{202e}".into() };
        assert_eq!(forged.order().unwrap(), "token revoke 1\\nroot (uid 0): apply\\r\\u{1b}[2K\\u{202e}");
        assert_eq!(plain_words("grüße, \"x\""), "grüße, \"x\"");
    }

    #[test]
    fn the_record_names_the_order_and_not_the_text_of_a_configuration() {
        let apply = read(r#"{"apply":{"text":"password = \"hunter2\"","dry_run":false}}"#);
        assert_eq!(apply.order().unwrap(), "apply a configuration of 20 bytes");
        let words = r#"["nostu","EmergencyId=maria,hunter2","/c/other.cpf"]"#;
        let start = read(&format!(r#"{{"instance":{{"name":"I","verb":"start","words":{words}}}}}"#));
        assert_eq!(start.order().unwrap(), "instance start I nostu EmergencyId= /c/other.cpf");
        let moved = read(r#"{"group":{"group":"web","verb":{"move":{"to":"lx5"}}}}"#);
        assert_eq!(moved.order().unwrap(), "group move web lx5");
    }
}
