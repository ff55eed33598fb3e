//! What the daemon answers by itself: tokens, and machines that want to join. Everything else is the engine's.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use regent_api::{Answer, KeyChangeStatus, KeyVerb, NodeWord, NodesAsk, Request};
use regent_guard::{NodeIdentity, clock};
use regent_model::action::Notice;
use regent_model::config::{Config, Severity};
use regent_model::ids::ClusterName;
use regent_model::state::{Fate, MachineKey, Showing, Ticket, TicketId, Verifier};
use regent_model::survey::Difference;
use regent_model::{NodeName, config, survey};
use regent_wire::invite::{TokenSecret, signed_by};
use ring::rand::{SecureRandom, SystemRandom};

use crate::api::Answers;
use crate::area;
use crate::desk::Desk;
use crate::equipment;
use crate::error::NodeError;
use crate::keys::Keys;
use crate::links::{JoinAnswer, JoinAsk, lock};
use crate::nightly;
use crate::side::Side;
use crate::surroundings;
use crate::token::{Invitation, Token, VALIDITY, VALIDITY_MAX};

/// The reception.
pub(crate) struct Reception {
    desk: Arc<Desk>,
    keys: Keys,
    /// One change of the key is ordered after the other.
    rotating: Mutex<()>,
    cluster: ClusterName,
    name: NodeName,
    port: u16,
    side: Arc<Side>,
}

fn refusal(error: NodeError) -> Answer {
    Answer::refused(error.what, error.next.unwrap_or_default())
}

/// A change of the cluster's key that is not finished: the old one is still good.
fn unfinished_change(change: &KeyChangeStatus) -> Difference {
    Difference {
        severity: Severity::Warning,
        topic: "key".to_owned(),
        group: None,
        nodes: change.silent.iter().chain(&change.waits_for).cloned().collect(),
        text: format!("{}; until then the old key is good", change.line()),
        help: change.next.clone().unwrap_or_else(|| "it goes on by itself: regent key status".to_owned()),
    }
}

impl Reception {
    pub(crate) fn new(desk: Arc<Desk>, keys: Keys, identity: &NodeIdentity, side: Arc<Side>) -> Self {
        let NodeIdentity { cluster, name, port, .. } = identity.clone();
        Self { desk, keys, rotating: Mutex::default(), cluster, name, port, side }
    }

    fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Token { witness, minutes } => self.token(witness, minutes),
            Request::Invite { .. } | Request::Join { .. } => Answer::refused(
                "only a daemon may ask this, for a machine that shows it a token",
                "regent token",
            ),
            Request::Key(KeyVerb::Begin { .. }) => {
                Answer::refused("only a daemon may ask this, for a key that it has made", "regent key rotate")
            }
            Request::Key(KeyVerb::Rotate { without }) => self.rotate(without),
            Request::Environment { group, instance } => {
                surroundings::answer(&self.desk, self.side.registrar(), &group, instance)
            }
            Request::Nodes(NodesAsk::Survey) => {
                let answer = self.nodes(&NodesAsk::Survey);
                // What was told at night is over when somebody sees that it is.
                if let Answer::Nodes(found) = &answer
                    && nightly::findings(found).is_empty()
                {
                    self.desk.tell(nightly::well());
                }
                answer
            }
            Request::Instances => {
                // As it is now, not as it was a few seconds ago.
                if let Some(registrar) = self.side.registrar() {
                    registrar.look_now();
                }
                self.desk.ask(Request::Instances)
            }
            Request::Nodes(ask) => self.nodes(&ask),
            Request::MakeArea { disk, force } => match self.in_force() {
                Ok((text, config)) => area::make(&self.side, &text, &config, &disk, force),
                Err(refused) => *refused,
            },
            other => self.desk.ask(other),
        }
    }

    /// The engine, for those who ask it in the reception's name.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Who this node is.
    pub(crate) fn me(&self) -> &NodeName {
        &self.name
    }

    /// Where the daemons of other nodes are asked.
    pub(crate) fn side(&self) -> Arc<Side> {
        self.side.clone()
    }

    /// The configuration in force, as text and as it is understood.
    ///
    /// # Errors
    /// The answer for whoever asked for what needs it.
    pub(crate) fn in_force(&self) -> Result<(String, Config), Box<Answer>> {
        let text = match self.desk.ask(Request::Config) {
            Answer::Config { text, .. } => text,
            other => return Err(Box::new(other)),
        };
        match config::parse(&text).config {
            Some(config) => Ok((text, config)),
            None => Err(Box::new(Answer::refused(
                "this version of Regent cannot read the configuration in force",
                "regent config show",
            ))),
        }
    }

    /// Asks all nodes, and holds what they say side by side.
    pub(crate) fn nodes(&self, ask: &NodesAsk) -> Answer {
        let (text, config) = match self.in_force() {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        let named = match ask {
            NodesAsk::Prepare { group, .. } => group.as_ref(),
            NodesAsk::Presence { group } => Some(group),
            // Evidence may be of a group that is not configured any more.
            NodesAsk::Survey
            | NodesAsk::Evidence { .. }
            | NodesAsk::EvidenceText { .. }
            | NodesAsk::Instances
            | NodesAsk::Disk { .. }
            | NodesAsk::Arbiter
            | NodesAsk::License { .. } => None,
        };
        if let Some(name) = named
            && !config.groups.iter().any(|g| equipment::is_called(g, name))
        {
            return Answer::refused(format!("there is no group {name:?}"), "regent status");
        }
        let mut answer = self.side.ask(&text, &config, ask);
        if *ask == NodesAsk::Survey {
            let unfinished;
            let owners = match self.desk.ask(Request::Status) {
                Answer::Status(status) => {
                    unfinished = status.key_change.as_ref().map(unfinished_change);
                    status.groups.into_iter().filter_map(|g| Some((g.name, g.owner?))).collect()
                }
                other => return other,
            };
            let surveys = answer.told.iter().filter_map(|(node, word)| match word {
                NodeWord::Surveyed(survey) => Some((node.clone(), (**survey).clone())),
                _ => None,
            });
            answer.differences = survey::differences(&config, &surveys.collect(), &owners);
            answer.differences.extend(unfinished);
        }
        Answer::Nodes(Box::new(answer))
    }

    /// Changes the cluster's key: a new one is made here, once the engine has nothing against it.
    fn rotate(&self, without: Vec<String>) -> Answer {
        let _one_at_a_time = lock(&self.rotating);
        let number = match self.desk.ask(Request::Key(KeyVerb::Rotate { without: without.clone() })) {
            Answer::MakeKey { number } => number,
            other => return other,
        };
        match self.keys.make(number) {
            Ok(mark) => self.desk.ask(Request::Key(KeyVerb::Begin { number, mark, without })),
            Err(why) => Answer::refused(why, "regent key status; then regent key rotate, once more"),
        }
    }

    /// Makes a token, once the members know how to recognise it.
    fn token(&self, witness: bool, minutes: Option<u32>) -> Answer {
        let (_, config) = match self.in_force() {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        let validity = minutes.map_or(VALIDITY, |minutes| Duration::from_secs(u64::from(minutes) * 60));
        if validity.is_zero() || validity > VALIDITY_MAX {
            let most = VALIDITY_MAX.as_secs() / 60;
            let reason = format!("a token is good for 1 to {most} min, not for {}", validity.as_secs() / 60);
            return Answer::refused(reason, "regent token --for-minutes 60");
        }
        let mut id = [0; 4];
        if SystemRandom::new().fill(&mut id).is_err() {
            return Answer::refused("the kernel gives no random numbers", "try again in a moment");
        }
        let id = TicketId(u32::from_le_bytes(id));
        // This node first: it is the one that certainly runs.
        let (own, others): (Vec<_>, Vec<_>) =
            config.nodes.iter().chain(&config.witnesses).partition(|member| member.name == self.name);
        let members = own.into_iter().chain(others).map(|member| member.addresses.clone()).collect();
        let invitation = Invitation { id, cluster: self.cluster.clone(), members, port: self.port, witness };
        let token = match Token::make(invitation) {
            Ok(token) => token,
            Err(error) => return refusal(error),
        };
        let made_ms = clock::wall_ms();
        let ticket = Ticket {
            verifier: Verifier(token.secret.verifier()),
            witness,
            made_ms,
            until_ms: made_ms.saturating_add(u64::try_from(validity.as_millis()).unwrap_or(u64::MAX)),
            made_on: self.name.clone(),
            fate: Fate::Open,
        };
        match (self.desk.ask(Request::Invite { id, ticket }), token.to_text()) {
            (Answer::Done(_), Ok(text)) => Answer::Done(text),
            (Answer::Done(_), Err(error)) => refusal(error),
            (refused, _) => refused,
        }
    }

    /// A machine wants to join, and has shown that it holds this token.
    pub(crate) fn join(&self, ticket: TicketId, ask: JoinAsk) -> JoinAnswer {
        let _open = self.desk.open();
        let secret = TokenSecret::from_bytes(ask.secret);
        if !signed_by(&ask.machine, &JoinAsk::signed(&secret, &ask.name), &ask.signature) {
            let reason = "the machine that wants to join has not signed what it asks";
            return JoinAnswer::without_key(Answer::refused(reason, "regent join TOKEN, once more"));
        }
        let showing = Showing {
            ticket,
            verifier: Verifier(secret.verifier()),
            machine: MachineKey(ask.machine),
            at_ms: clock::wall_ms(),
        };
        let JoinAsk { name, addresses, witness, .. } = ask;
        let answer = self.desk.ask(Request::Join { name, addresses, witness, showing: Some(showing) });
        let key = matches!(answer, Answer::Joined { .. }).then(|| self.keys.ring().to_text());
        JoinAnswer { answer, key }
    }
}

impl Answers for Reception {
    fn serve(&self, request: Request, send: &mut dyn FnMut(&Answer)) {
        let _open = self.desk.open();
        send(&self.answer(request));
    }

    fn record(&self, ordered: Notice) {
        self.desk.tell(ordered);
    }

    fn node(&self) -> NodeName {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use regent_engine::Input;
    use regent_model::NodeId;
    use regent_wire::invite::MachineSecret;
    use regent_wire::{ClusterKey, KeyRing};

    use super::*;
    use crate::inbox::inbox;

    const CONFIG: &str = "[cluster]\nname = \"w\"\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n\
                          [[node]]\nname = \"b\"\naddresses = [\"10.0.0.2\"]\n";

    /// A reception whose engine answers everything by `answer`.
    fn reception(answer: fn(&Request) -> Answer) -> Reception {
        let (inbox, inputs) = inbox();
        let desk = Arc::new(Desk::new(inbox));
        let engine = desk.clone();
        std::thread::spawn(move || {
            while let Ok(input) = inputs.next(Duration::from_secs(20)) {
                let Input::Request { id, request } = input else { continue };
                engine.answer(id, answer(&request));
            }
        });
        let identity = NodeIdentity {
            cluster: ClusterName::new("w").unwrap(),
            node: NodeId(2),
            name: NodeName::new("b").unwrap(),
            addresses: vec![[10, 0, 0, 2].into()],
            port: 7410,
            witness: false,
        };
        let side = Side::new(identity.name.clone(), 1);
        let ring = KeyRing::first(ClusterKey::generate().unwrap());
        let paths = regent_guard::Paths::below(&std::env::temp_dir());
        let keys = Keys::new(&paths, &identity, ring, MachineSecret::generate().unwrap());
        Reception::new(desk, keys, &identity, side)
    }

    fn answer(request: &Request) -> Answer {
        match request {
            Request::Config => Answer::Config { text: CONFIG.to_owned(), serial: 1 },
            Request::Invite { id, .. } if id.0 == u32::MAX => Answer::refused("no", "way"),
            Request::Invite { .. } => Answer::Done("made".to_owned()),
            Request::Join { name, showing: Some(_), .. } => Answer::Joined { id: 3, config: name.clone() },
            other => Answer::Done(format!("{other:?}")),
        }
    }

    fn ask(token: &Token) -> JoinAsk {
        let (addresses, machine) = (vec![[10, 0, 0, 3].into()], MachineSecret::generate().unwrap());
        JoinAsk {
            secret: *token.secret.expose(),
            machine: machine.public(),
            signature: machine.sign(&JoinAsk::signed(&token.secret, "c")),
            name: "c".into(),
            addresses,
            witness: false,
            version: "0".into(),
        }
    }

    fn token(reception: &Reception, minutes: Option<u32>) -> Token {
        let answer = reception.answer(Request::Token { witness: false, minutes });
        let Answer::Done(text) = answer else { panic!("{answer:?}") };
        Token::parse(&text).unwrap()
    }

    #[test]
    fn a_token_names_the_node_that_made_it_first_and_does_not_hold_the_clusters_key() {
        let reception = reception(answer);
        let token = token(&reception, None);
        assert_eq!(token.invitation.members[0], [std::net::IpAddr::from([10, 0, 0, 2])]);
        assert_eq!(token.invitation.members.len(), 2);
        assert_ne!(token.secret.expose(), reception.keys.ring().current().expose());
        assert_ne!(&token.secret.verifier(), reception.keys.ring().current().expose());
    }

    #[test]
    fn whoever_may_join_is_given_the_key_and_nobody_else_is() {
        let reception = reception(answer);
        let token = token(&reception, Some(1));
        let told = reception.join(token.invitation.id, ask(&token));
        assert_eq!(told.answer, Answer::Joined { id: 3, config: "c".into() });
        assert_eq!(told.key, Some(reception.keys.ring().to_text()));
        let mut forged = ask(&token);
        forged.machine = MachineSecret::generate().unwrap().public();
        let told = reception.join(token.invitation.id, forged);
        assert!(matches!(&told.answer, Answer::Refused(r) if r.reason.contains("not signed")));
        assert!(told.key.is_none());
        let refusing = self::reception(|_| Answer::refused("used up", "regent token"));
        assert!(refusing.join(token.invitation.id, ask(&token)).key.is_none());
    }

    #[test]
    fn a_token_is_made_for_a_time_that_ends_and_only_daemons_let_machines_in() {
        let reception = reception(answer);
        for minutes in [0, 7 * 24 * 60 + 1, u32::MAX] {
            let refused = reception.answer(Request::Token { witness: false, minutes: Some(minutes) });
            assert!(matches!(refused, Answer::Refused(_)), "{minutes}: {refused:?}");
        }
        token(&reception, Some(7 * 24 * 60));
        let (name, addresses) = ("c".to_owned(), Vec::new());
        let join = Request::Join { name, addresses, witness: false, showing: None };
        assert!(matches!(reception.answer(join), Answer::Refused(_)));
    }
}
