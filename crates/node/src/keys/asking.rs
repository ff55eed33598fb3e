//! Asking the other members for the cluster's keys, without trusting a channel or an older key with it.

use std::net::SocketAddr;
use std::time::Duration;

use regent_guard::release;
use regent_wire::KeyRing;
use regent_wire::channel::{ChannelError, Handshake, Link, Refusal};
use regent_wire::handover::{Asker, KeysGiven};

use super::{Inner, Known, socket};
use crate::links::lock;
use crate::os;

const DIAL_WITHIN: Duration = Duration::from_secs(1);
const OPEN_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// No member had keys that were wanted.
pub(super) struct NoneGiven {
    /// In words.
    pub(super) why: String,
    /// Members answered, and none of them knows this machine.
    pub(super) nobody_knows_us: bool,
    /// A member has given its keys, and they were not wanted.
    pub(super) answered: bool,
}

/// Asks one member after the other, until one has keys that are wanted.
///
/// # Errors
/// When none has.
pub(super) fn ask_all(keys: &Inner, wanted: &dyn Fn(&KeyRing) -> bool) -> Result<KeyRing, NoneGiven> {
    let (others, known) = (lock(&keys.addresses).clone(), lock(&keys.known).clone());
    let (mut whys, mut unknown, mut answered) = (Vec::new(), false, false);
    for (node, addresses) in others.iter().filter(|(node, _)| **node != keys.me) {
        for address in addresses {
            match ask_one(keys, &known, socket(*address, keys.port)) {
                Ok(ring) if wanted(&ring) => return Ok(ring),
                Ok(_) => {
                    answered = true;
                    whys.push(format!("node {node} has not got it yet"));
                    break;
                }
                Err(NotGiven::Unknown) => {
                    unknown = true;
                    whys.push(format!("{address}: it does not know this machine"));
                }
                Err(NotGiven::Other(why)) => whys.push(format!("{address}: {why}")),
            }
        }
    }
    let why = if whys.is_empty() { "there is no other member to ask".to_owned() } else { whys.join("; ") };
    Err(NoneGiven { why, nobody_knows_us: unknown && !answered, answered })
}

fn ask_one(keys: &Inner, known: &Known, member: SocketAddr) -> Result<KeyRing, NotGiven> {
    let (asker, given) = ask(keys, member)?;
    match known.machines.get(&given.by) {
        Some(machine) => asker.take(&given, &machine.0).map_err(in_words),
        None => Err(in_words("a machine that is not known here has answered")),
    }
}

enum NotGiven {
    /// The member does not know this machine.
    Unknown,
    /// Anything else.
    Other(String),
}

fn in_words(error: impl std::fmt::Display) -> NotGiven {
    NotGiven::Other(error.to_string())
}

fn ask(keys: &Inner, member: SocketAddr) -> Result<(Asker, KeysGiven), NotGiven> {
    let asker = Asker::new(&keys.cluster, keys.me, &keys.secret).map_err(in_words)?;
    let speaks = release::speaks();
    let side = Handshake::of_member(&keys.secret.public()).with_versions(speaks.oldest, speaks.newest);
    let stream = os::dial(None, member, DIAL_WITHIN).map_err(in_words)?;
    let link = Link::connect(stream, &side, None, OPEN_WITHIN).map_err(|error| match error {
        ChannelError::Refused(Refusal::UnknownToken) => NotGiven::Unknown,
        error => in_words(error),
    })?;
    let (mut reader, mut writer) = link.split().map_err(in_words)?;
    writer.send(&serde_json::to_vec(asker.ask()).map_err(in_words)?).map_err(in_words)?;
    let answer = reader.recv_within(ANSWER_WITHIN).map_err(in_words)?;
    let given: Option<KeysGiven> = serde_json::from_slice(&answer).map_err(in_words)?;
    Ok((asker, given.ok_or(NotGiven::Unknown)?))
}
