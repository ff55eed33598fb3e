//! What the daemon answers by itself: tokens, and machines that want to join. Everything else is the engine's.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use regent_api::{Answer, NodeWord, NodesAsk, Request};
use regent_guard::NodeIdentity;
use regent_model::config::Config;
use regent_model::ids::ClusterName;
use regent_model::{NodeName, config, survey};
use regent_wire::ClusterKey;

use crate::api::Answers;
use crate::desk::Desk;
use crate::equipment;
use crate::error::NodeError;
use crate::links::JoinAsk;
use crate::nightly;
use crate::side::Side;
use crate::surroundings;
use crate::token::{Invitation, Token, VALIDITY};

/// The reception.
pub(crate) struct Reception {
    desk: Arc<Desk>,
    key: ClusterKey,
    cluster: ClusterName,
    name: NodeName,
    port: u16,
    side: Arc<Side>,
}

pub(crate) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn refusal(error: NodeError) -> Answer {
    Answer::refused(error.what, error.next.unwrap_or_default())
}

impl Reception {
    pub(crate) fn new(desk: Arc<Desk>, key: ClusterKey, identity: &NodeIdentity, side: Arc<Side>) -> Self {
        let NodeIdentity { cluster, name, port, .. } = identity.clone();
        Self { desk, key, cluster, name, port, side }
    }

    fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Token { witness } => self.token(witness),
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
            | NodesAsk::License { .. } => None,
        };
        if let Some(name) = named
            && !config.groups.iter().any(|g| equipment::is_called(g, name))
        {
            return Answer::refused(format!("there is no group {name:?}"), "regent status");
        }
        let mut answer = self.side.ask(&text, &config, ask);
        if *ask == NodesAsk::Survey {
            let owners = match self.desk.ask(Request::Status) {
                Answer::Status(status) => {
                    status.groups.into_iter().filter_map(|g| Some((g.name, g.owner?))).collect()
                }
                other => return other,
            };
            let surveys = answer.told.iter().filter_map(|(node, word)| match word {
                NodeWord::Surveyed(survey) => Some((node.clone(), (**survey).clone())),
                _ => None,
            });
            answer.differences = survey::differences(&config, &surveys.collect(), &owners);
        }
        Answer::Nodes(Box::new(answer))
    }

    fn token(&self, witness: bool) -> Answer {
        let (_, config) = match self.in_force() {
            Ok(found) => found,
            Err(refused) => return *refused,
        };
        // This node first: it is the one that certainly runs.
        let (own, others): (Vec<_>, Vec<_>) =
            config.nodes.iter().chain(&config.witnesses).partition(|member| member.name == self.name);
        let members = own.into_iter().chain(others).map(|member| member.addresses.clone()).collect();
        let until = seconds_since_1970() + VALIDITY.as_secs();
        let invitation =
            Invitation { cluster: self.cluster.clone(), members, port: self.port, witness, until };
        match Token::make(&self.key, invitation).and_then(|token| token.to_text()) {
            Ok(text) => Answer::Done(text),
            Err(error) => refusal(error),
        }
    }

    /// A machine wants to join, and has shown that it holds the cluster's key.
    pub(crate) fn join(&self, ask: &JoinAsk) -> Answer {
        let _open = self.desk.open();
        let invitation = match ask.sealed.open(&self.key) {
            Ok(invitation) => invitation,
            Err(error) => return refusal(error),
        };
        if let Err(error) = invitation.check(seconds_since_1970(), ask.witness) {
            return refusal(error);
        }
        let (name, addresses, witness) = (ask.name.clone(), ask.addresses.clone(), ask.witness);
        self.desk.ask(Request::Join { name, addresses, witness })
    }
}

impl Answers for Reception {
    fn serve(&self, request: Request, send: &mut dyn FnMut(&Answer)) {
        let _open = self.desk.open();
        send(&self.answer(request));
    }
}

#[cfg(test)]
mod tests {
    use regent_engine::Input;
    use regent_model::NodeId;

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
            while let Ok(input) = inputs.next(std::time::Duration::from_secs(20)) {
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
        Reception::new(desk, ClusterKey::generate().unwrap(), &identity, side)
    }

    fn answer(request: &Request) -> Answer {
        match request {
            Request::Config => Answer::Config { text: CONFIG.to_owned(), serial: 1 },
            Request::Join { name, .. } => Answer::Joined { id: 3, config: name.clone() },
            other => Answer::Done(format!("{other:?}")),
        }
    }

    fn ask(token: &Token, witness: bool) -> JoinAsk {
        let addresses = vec![[10, 0, 0, 3].into()];
        JoinAsk { sealed: token.sealed.clone(), name: "c".into(), addresses, witness, version: "0".into() }
    }

    #[test]
    fn a_token_names_the_node_that_made_it_first_and_opens_the_door() {
        let reception = reception(answer);
        let Answer::Done(text) = reception.answer(Request::Token { witness: false }) else { panic!() };
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.invitation.members[0], [std::net::IpAddr::from([10, 0, 0, 2])]);
        assert_eq!(token.invitation.members.len(), 2);
        assert_eq!(reception.join(&ask(&token, false)), Answer::Joined { id: 3, config: "c".into() });
    }

    #[test]
    fn a_token_that_ended_or_is_foreign_or_for_another_kind_opens_nothing() {
        let reception = reception(answer);
        let mut invitation = Invitation {
            cluster: ClusterName::new("w").unwrap(),
            members: Vec::new(),
            port: 1,
            witness: false,
            until: seconds_since_1970() + 60,
        };
        let good = Token::make(&reception.key, invitation.clone()).unwrap();
        let foreign = Token::make(&ClusterKey::generate().unwrap(), invitation.clone()).unwrap();
        invitation.until = seconds_since_1970() - 1;
        let old = Token::make(&reception.key, invitation).unwrap();
        assert!(matches!(reception.join(&ask(&good, false)), Answer::Joined { .. }));
        for (token, witness, word) in [
            (&foreign, false, "not made by this cluster"),
            (&old, false, "expired"),
            (&good, true, "for a node"),
        ] {
            let Answer::Refused(refusal) = reception.join(&ask(token, witness)) else { panic!("{word}") };
            assert!(refusal.reason.contains(word) && !refusal.advice.is_empty(), "{refusal:?}");
        }
    }
}
