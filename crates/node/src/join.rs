//! Becoming a member of a cluster that is there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use regent_api::Answer;
use regent_guard::{NodeIdentity, Paths, release};
use regent_model::NodeId;
use regent_wire::channel::{ChannelError, Handshake, Link, Refusal, Stream};

use crate::error::{NodeError, Result};
use crate::founding::{self, Founding};
use crate::init::{self, Machine, Membership};
use crate::install::{self, Installation};
use crate::launch::Launch;
use crate::links::{JoinAnswer, JoinAsk};
use crate::machine;
use crate::os;
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
    token.invitation.check(witness)?;
    let name = init::node_name(machine)?;
    let addresses = own_addresses(machine, &token)?;
    let secret = machine::secret(paths)?;
    let ask = JoinAsk {
        secret: *token.secret.expose(),
        machine: secret.public(),
        signature: secret.sign(&JoinAsk::signed(&token.secret, name.as_str())),
        name: name.to_string(),
        addresses: addresses.clone(),
        witness,
        version: release::version().to_owned(),
    };
    let keep = || machine::keep(paths, &secret);
    let JoinAnswer { answer, key } = ask_members(&token, &ask, &keep)?;
    let (id, text) = match answer {
        Answer::Joined { id, config } => (id, config),
        Answer::Refused(refusal) => return Err(NodeError::new(refusal.reason).next(refusal.advice)),
        other => {
            return Err(NodeError::new(format!("the member gave an answer to something else: {other:?}")));
        }
    };
    let keys = key.as_deref().unwrap_or_default().parse().map_err(|error| {
        NodeError::new(format!(
            "the member has let this machine in, and gave it no key of the cluster: {error}"
        ))
        .next("regent join TOKEN, once more, with the same token")
    })?;
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
    init::finish(paths, Installation { identity, founding, keys }, text, launch)
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
    /// It knows the cluster, and not the token.
    UnknownToken,
    /// This machine cannot go on.
    Here(NodeError),
    /// It speaks nothing that this machine does.
    OtherRelease(String),
    /// Anything else.
    NoAnswer(String),
}

/// Asks member after member until one answers.
fn ask_members(token: &Token, ask: &JoinAsk, keep: &dyn Fn() -> Result<()>) -> Result<JoinAnswer> {
    let speaks = release::speaks();
    let handshake = Handshake::of_newcomer(&token.secret).with_versions(speaks.oldest, speaks.newest);
    let (mut unreachable, mut unknown) = (Vec::new(), 0);
    for address in token.invitation.members.iter().flatten() {
        match ask_member(SocketAddr::new(*address, token.invitation.port), &handshake, ask, keep) {
            Ok(answer) => return Ok(answer),
            Err(NotJoined::OtherRelease(why)) => {
                return Err(NodeError::new(format!("{address} runs another release of Regent: {why}"))
                    .next("install the release here that the members run: regent status there, regent --version here"));
            }
            Err(NotJoined::Here(error)) => return Err(error),
            Err(NotJoined::UnknownToken) => unknown += 1,
            Err(NotJoined::NoAnswer(why)) => unreachable.push(format!("{address}: {why}")),
        }
    }
    if unknown > 0 {
        let id = token.invitation.id;
        let what = format!(
            "the members of {} do not know the token {id}: it is too old, or they have agreed on nothing yet",
            token.invitation.cluster
        );
        return Err(NodeError::new(what).next("make a new one on a member: regent token"));
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
    keep: &dyn Fn() -> Result<()>,
) -> std::result::Result<JoinAnswer, NotJoined> {
    let stream = os::dial(None, member, DIAL_WITHIN).map_err(in_words)?;
    let link = Link::connect(stream, handshake, None, OPEN_WITHIN).map_err(|error| match error {
        ChannelError::Version { .. } => NotJoined::OtherRelease(error.to_string()),
        ChannelError::Refused(Refusal::UnknownToken) => NotJoined::UnknownToken,
        error => in_words(error),
    })?;
    let (mut reader, mut writer) = link.split().map_err(in_words)?;
    keep().map_err(NotJoined::Here)?;
    let bytes = serde_json::to_vec(ask).map_err(in_words)?;
    writer.send(&bytes).map_err(in_words)?;
    reader.stream().limit_reads(Some(ANSWER_WITHIN)).map_err(in_words)?;
    let answer = reader.recv().map_err(|error| {
        let again = "regent join TOKEN may be typed again on this machine, with the same token";
        NotJoined::NoAnswer(format!("{error}; {again}"))
    })?;
    serde_json::from_slice(&answer)
        .map_err(|_| NotJoined::OtherRelease("its answer is not understood".to_owned()))
}

fn in_words(error: impl std::fmt::Display) -> NotJoined {
    NotJoined::NoAnswer(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use regent_model::ids::ClusterName;
    use regent_model::state::TicketId;

    use super::*;
    use crate::testing::Folder;
    use crate::token::Invitation;

    fn token(port: u16) -> String {
        let invitation = Invitation {
            id: TicketId(7),
            cluster: ClusterName::new("ward7").unwrap(),
            members: vec![vec![[127, 0, 33, 1].into()]],
            port,
            witness: false,
        };
        Token::make(invitation).unwrap().to_text().unwrap()
    }

    fn machine() -> Machine {
        Machine { name: Some("lx5".into()), addresses: vec![[127, 0, 33, 2].into()] }
    }

    #[test]
    fn a_machine_that_cannot_join_is_told_why_and_is_left_as_it_was() {
        let folder = Folder::new("join");
        let paths = Paths::below(folder.path());
        let nobody = join(&paths, &token(17_701), &machine(), false, None).unwrap_err();
        assert!(nobody.what.contains("no member of ward7") && nobody.what.contains("refused"), "{nobody}");
        assert!(nobody.next.unwrap().contains("17701"));
        let witness = join(&paths, &token(17_701), &machine(), true, None).unwrap_err();
        assert!(witness.what.contains("for a node"), "{witness}");
        assert!(join(&paths, "hello", &machine(), false, None).unwrap_err().next.is_some());
        assert!(!paths.state.exists());
    }

    #[test]
    fn a_machine_is_known_again_when_it_tries_once_more_and_its_secret_is_its_own() {
        let folder = Folder::new("join-again");
        let paths = Paths::below(folder.path());
        let first = machine::secret(&paths).unwrap();
        machine::keep(&paths, &first).unwrap();
        assert_eq!(machine::secret(&paths).unwrap().public(), first.public());
        let mode = |path: &std::path::Path| {
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
        };
        assert_eq!((mode(&paths.machine_secret()), mode(&paths.state)), (0o600, 0o700));
        install::check_is_new(&paths).unwrap();
        fs::write(paths.machine_secret(), "regent-node-").unwrap();
        let error = machine::secret(&paths).unwrap_err();
        assert!(error.what.contains("damaged") && error.next.unwrap().contains("regent token"));
    }

    #[test]
    fn without_addresses_the_ones_towards_the_members_are_taken() {
        let token = Token::parse(&token(1)).unwrap();
        let own = own_addresses(&Machine::default(), &token).unwrap();
        assert!(own.len() == 1 && own[0].is_loopback(), "{own:?}");
    }
}
