//! Becoming a member of a cluster that is there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use regent_api::Answer;
use regent_guard::{NodeIdentity, Paths, release};
use regent_model::NodeId;
use regent_wire::channel::{ChannelError, Handshake, Link, Stream};

use crate::error::{NodeError, Result};
use crate::founding::{self, Founding};
use crate::init::{self, Machine, Membership};
use crate::install::{self, Installation};
use crate::launch::Launch;
use crate::links::JoinAsk;
use crate::os;
use crate::reception::seconds_since_1970;
use crate::token::Token;

const DIAL_WITHIN: Duration = Duration::from_secs(2);
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// A member that has no majority says so by itself within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(45);

/// Makes this machine a member of the cluster that made `token`, as a node or as a witness, and starts Regent if
/// `launch` is given.
///
/// # Errors
/// When the machine is a member already, the token is not good, no member can be reached, or the cluster refuses.
/// When only starting fails, the machine is a member all the same, and the error says how to go on.
pub fn join(
    paths: &Paths,
    token: &str,
    machine: &Machine,
    witness: bool,
    launch: Option<&Launch>,
) -> Result<Membership> {
    install::check_is_new(paths)?;
    let token = Token::parse(token)?;
    token.invitation.check(seconds_since_1970(), witness)?;
    let name = init::node_name(machine)?;
    let addresses = own_addresses(machine, &token)?;
    let ask = JoinAsk {
        sealed: token.sealed.clone(),
        name: name.to_string(),
        addresses: addresses.clone(),
        witness,
        version: release::version().to_owned(),
    };
    let (id, text) = match ask_members(&token, &ask)? {
        Answer::Joined { id, config } => (id, config),
        Answer::Refused(refusal) => return Err(NodeError::new(refusal.reason).next(refusal.advice)),
        other => {
            return Err(NodeError::new(format!("the member gave an answer to something else: {other:?}")));
        }
    };
    let config = founding::parse(&text)?;
    let identity = NodeIdentity {
        cluster: config.cluster.clone(),
        node: NodeId(id),
        name,
        addresses,
        port: config.port,
        witness,
    };
    let founding = Founding::of_newcomer(text.clone());
    init::finish(paths, Installation { identity, founding, key: token.key }, text, launch)
}

/// The addresses given, or for each network of the cluster the one from which its members are reached.
fn own_addresses(machine: &Machine, token: &Token) -> Result<Vec<IpAddr>> {
    if !machine.addresses.is_empty() {
        return Ok(machine.addresses.clone());
    }
    let advice =
        "give one address per network of the cluster, in its order: --address 10.77.0.5 --address 10.78.0.5";
    let member = token.invitation.members.first().cloned().unwrap_or_default();
    let own: Option<Vec<IpAddr>> = member.iter().map(|address| os::address_towards(*address)).collect();
    let own = own.ok_or_else(|| {
        let list: Vec<String> = member.iter().map(ToString::to_string).collect();
        NodeError::new(format!("this machine has no way to all of {}", list.join(", "))).next(advice)
    })?;
    let mut different = own.clone();
    different.sort();
    different.dedup();
    if different.len() < own.len() || own.is_empty() {
        return Err(
            NodeError::new("this machine has not one address in each network of the cluster").next(advice)
        );
    }
    Ok(own)
}

/// Why a member has not answered.
enum NotJoined {
    /// It speaks nothing that this machine does.
    OtherRelease(String),
    /// Anything else.
    NoAnswer(String),
}

/// Asks member after member until one answers.
fn ask_members(token: &Token, ask: &JoinAsk) -> Result<Answer> {
    let speaks = release::speaks();
    let handshake = Handshake::new(&token.key, NodeId(0)).with_versions(speaks.oldest, speaks.newest);
    let mut unreachable = Vec::new();
    for address in token.invitation.members.iter().flatten() {
        match ask_member(SocketAddr::new(*address, token.invitation.port), &handshake, ask) {
            Ok(answer) => return Ok(answer),
            Err(NotJoined::OtherRelease(why)) => {
                return Err(NodeError::new(format!("{address} runs another release of Regent: {why}"))
                    .next("install the release here that the members run: regent status there, regent --version here"));
            }
            Err(NotJoined::NoAnswer(why)) => unreachable.push(format!("{address}: {why}")),
        }
    }
    let what = format!("no member of {} can be asked: {}", token.invitation.cluster, unreachable.join("; "));
    Err(NodeError::new(what).next(format!(
        "check that Regent runs there (regent status) and that port {} is open for TCP and UDP between all nodes",
        token.invitation.port
    )))
}

fn ask_member(
    member: SocketAddr,
    handshake: &Handshake,
    ask: &JoinAsk,
) -> std::result::Result<Answer, NotJoined> {
    let stream = os::dial(None, member, DIAL_WITHIN).map_err(in_words)?;
    let link = Link::connect(stream, handshake, None, OPEN_WITHIN).map_err(|error| match error {
        ChannelError::Version { .. } => NotJoined::OtherRelease(error.to_string()),
        error => in_words(error),
    })?;
    let (mut reader, mut writer) = link.split().map_err(in_words)?;
    let bytes = serde_json::to_vec(ask).map_err(in_words)?;
    writer.send(&bytes).map_err(in_words)?;
    reader.stream().limit_reads(Some(ANSWER_WITHIN)).map_err(in_words)?;
    let answer = reader.recv().map_err(in_words)?;
    serde_json::from_slice(&answer)
        .map_err(|error| NotJoined::OtherRelease(format!("its answer is not understood: {error}")))
}

fn in_words(error: impl std::fmt::Display) -> NotJoined {
    NotJoined::NoAnswer(error.to_string())
}

#[cfg(test)]
mod tests {
    use regent_model::ids::ClusterName;
    use regent_wire::ClusterKey;

    use super::*;
    use crate::testing::Folder;
    use crate::token::Invitation;

    fn token(port: u16, until: u64) -> String {
        let invitation = Invitation {
            cluster: ClusterName::new("ward7").unwrap(),
            members: vec![vec![[127, 0, 33, 1].into()]],
            port,
            witness: false,
            until,
        };
        Token::make(&ClusterKey::generate().unwrap(), invitation).unwrap().to_text().unwrap()
    }

    fn machine() -> Machine {
        Machine { name: Some("lx5".into()), addresses: vec![[127, 0, 33, 2].into()] }
    }

    #[test]
    fn a_machine_that_cannot_join_is_told_why_and_is_left_as_it_was() {
        let folder = Folder::new("join");
        let paths = Paths::below(folder.path());
        let soon = seconds_since_1970() + 60;
        let nobody = join(&paths, &token(17_701, soon), &machine(), false, None).unwrap_err();
        assert!(nobody.what.contains("no member of ward7") && nobody.what.contains("refused"), "{nobody}");
        assert!(nobody.next.unwrap().contains("17701"));
        let old = join(&paths, &token(17_701, 1), &machine(), false, None).unwrap_err();
        assert!(old.what.contains("expired"), "{old}");
        let witness = join(&paths, &token(17_701, soon), &machine(), true, None).unwrap_err();
        assert!(witness.what.contains("for a node"), "{witness}");
        assert!(join(&paths, "hello", &machine(), false, None).unwrap_err().next.is_some());
        assert!(!paths.state.exists());
    }

    #[test]
    fn without_addresses_the_ones_towards_the_members_are_taken() {
        let token = Token::parse(&token(1, u64::MAX)).unwrap();
        let own = own_addresses(&Machine::default(), &token).unwrap();
        assert!(own.len() == 1 && own[0].is_loopback(), "{own:?}");
    }
}
