//! A state with a history, entries of several kinds, and the frames of guards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_engine::format::write;
use regent_lease::frame::{Ack, Frame, Keepalive};
use regent_model::ids::IncarnationOf;
use regent_model::proof::{Promise, Proof};
use regent_model::state::{Command, FenceRequest, Member, NodeMode, Proposal, ProposalId, State, StopMode};
use regent_model::{BootId, Epoch, GroupName, Incarnation, NodeId, NodeName, Round, config};

const CONFIG: &str = r#"
[cluster]
name = "ward7"

[[node]]
name = "lx4"
addresses = ["10.77.0.4", "10.78.0.4"]

[[node]]
name = "lx5"
addresses = ["10.77.0.5", "10.78.0.5"]

[[witness]]
name = "wit"
addresses = ["10.77.0.3", "10.78.0.3"]

[[fence]]
name = "power"
agent = "/usr/sbin/fence_ipmilan"
nodes = ["lx4", "lx5"]

[[group]]
name = "cacheha1"
nodes = ["lx4", "lx5"]
[[group.filesystem]]
device = "/dev/sdc4"
mount = "/storage2"
type = "ext4"
[[group.address]]
address = "10.77.0.100/24"
[[group.application]]
name = "cache"
start = "/usr/local/etc/cachesys/cache-init start cacheha1 failover"
stop = "/usr/local/etc/cachesys/cache-init stop cacheha1 failover"
monitor = { command = "/bin/true", interval = "10s" }
"#;

fn group() -> GroupName {
    GroupName::new("cacheha1").unwrap()
}

fn life(node: u64) -> IncarnationOf {
    IncarnationOf { node: NodeId(node), incarnation: Incarnation(7) }
}

fn state() -> State {
    let member = |name: &str, witness| Member { name: NodeName::new(name).unwrap(), witness, votes: true };
    let members = BTreeMap::from([
        (NodeId(1), member("lx4", false)),
        (NodeId(2), member("lx5", false)),
        (NodeId(3), member("wit", true)),
    ]);
    let parsed = config::parse(CONFIG);
    let config = parsed.config.unwrap_or_else(|| panic!("{:?}", parsed.findings));
    State::founded(config, CONFIG.to_owned(), members)
}

fn commands() -> Vec<(&'static str, Command)> {
    let promise = |voter| Promise { voter: NodeId(voter), about: life(1), round: Round(3) };
    let up =
        |node: u64| Command::NodeUp { about: life(node), boot: BootId(format!("boot-{node}")), clean: true };
    let proof = Proof::LeaseEnded { promises: vec![promise(2), promise(3)] };
    let request = FenceRequest {
        level: 1,
        devices: vec!["power".to_owned()],
        by: NodeId(2),
        attempt: 1,
        round: 0,
        barriers: BTreeMap::new(),
    };
    let (who, why) = ("maria".to_owned(), "pulled its plug".to_owned());
    vec![
        ("present", Command::Present),
        ("node up", up(1)),
        ("node up 2", up(2)),
        ("assign", Command::Assign { group: group(), after: Epoch(0), to: life(1) }),
        ("online", Command::Online { group: group(), epoch: Epoch(1) }),
        ("request fence", Command::RequestFence { about: life(1), request }),
        ("mode", Command::SetMode { node: NodeId(2), mode: NodeMode::Stopping(StopMode::Takeover) }),
        ("move", Command::Move { group: group(), to: NodeId(2) }),
        ("withdraw", Command::Withdraw(promise(3))),
        ("node down", Command::NodeDown { about: life(1), proof, takeovers: vec![(group(), life(2))] }),
        ("confirm dead", Command::ConfirmDead { about: life(1), who, why, given_ms: 1_000, minutes: 30 }),
        ("expire word", Command::ExpireWord { group: group(), epoch: Epoch(2) }),
        ("speaks", Command::Speaks { node: NodeId(1), newest: 1 }),
    ]
}

/// Everything with its name, as it is written in this format.
pub(crate) fn all(format: u8) -> Vec<(String, Vec<u8>)> {
    let mut state = state();
    let mut all = vec![("state founded".to_owned(), write(format, &state))];
    let voters: BTreeSet<NodeId> = [1, 2, 3].map(NodeId).into();
    for (number, (name, command)) in commands().into_iter().enumerate() {
        let id = ProposalId { node: NodeId(3), session: 4, number: number as u64 };
        let proposal = Proposal { id, command };
        all.push((format!("entry {name}"), write(format, &proposal)));
        state.apply(&proposal, &voters);
    }
    all.push(("state after them".to_owned(), write(format, &state)));
    let lease = Duration::from_millis(600);
    let (node, incarnation, number) = (NodeId(1), Incarnation(7), 300);
    let keepalive = Keepalive { node, incarnation, number, lease, renews: true };
    all.push(("frame keepalive".to_owned(), write(format, &Frame::Keepalive(keepalive))));
    let ack = Ack { voter: NodeId(3), node, incarnation, number };
    all.push(("frame ack".to_owned(), write(format, &Frame::Ack(ack))));
    all
}

/// What was recorded: names, each with its bytes.
pub(crate) fn parse(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("  "), parts.last_mut()) {
            (Some(hex), Some((_, bytes))) => {
                let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
                bytes.extend(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()));
            }
            _ => parts.push((line.to_owned(), Vec::new())),
        }
    }
    parts
}
