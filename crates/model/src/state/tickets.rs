//! Who may join: the tokens that were made, what of them members recognise, and what became of each.
//!
//! A token is good for one machine and one name. The log decides which: of two that show it at the same time, one comes
//! second. The machine that used it may use it again under the same name, because the answer may have been lost on its
//! way; until it is revoked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::NodeName;
use crate::state::apply::{Changes, void};
use crate::state::{Change, State};

/// Tokens that are open at the same time, at most: the door tries each of them on whoever calls.
pub const OPEN_MAX: usize = 32;
/// Tokens that are remembered, at most.
const KEPT_MAX: usize = 128;
/// How long it is remembered what became of a token, after its end.
const KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// What to type for another one.
const ANOTHER: &str = "make a new one on a member: regent token";

/// The number of a token, by which it is listed and revoked. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketId(pub u32);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for TicketId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = digits.then(|| u32::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or_else(|| format!("{text:?} is no number of a token: those have eight digits"))
    }
}

/// By what a member recognises a token: its hash. Not shown all the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Verifier(pub [u8; 32]);

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier(...)")
    }
}

/// The public key of a machine: it has the private one, and keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MachineKey(pub [u8; 32]);

impl fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "MachineKey({a:02x}{b:02x}{c:02x}{d:02x}...)")
    }
}

/// A token, as the members know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket {
    /// By what they recognise it.
    pub verifier: Verifier,
    /// Whether it is for a witness.
    pub witness: bool,
    /// When it was made, in milliseconds since 1970, by the clock of the node that made it.
    pub made_ms: u64,
    /// Until when it is good.
    pub until_ms: u64,
    /// The node that made it.
    pub made_on: NodeName,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fate {
    /// Nobody has used it.
    Open,
    /// A machine has.
    Used {
        /// Which.
        machine: MachineKey,
        /// The name under which it joined.
        name: NodeName,
        /// When, in milliseconds since 1970.
        at_ms: u64,
    },
    /// An operator has taken it back.
    Revoked,
}

/// A machine shows a token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Showing {
    /// The number of the token.
    pub ticket: TicketId,
    /// What its secret hashes to.
    pub verifier: Verifier,
    /// Who shows it.
    pub machine: MachineKey,
    /// When, in milliseconds since 1970, by the clock of the node that was asked.
    pub at_ms: u64,
}

impl Ticket {
    /// Whether a machine could still join with it at this time.
    #[must_use]
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.fate == Fate::Open && now_ms < self.until_ms
    }

    /// Why this machine cannot join with it under this name, if it cannot: what happened, and what to type.
    #[must_use]
    pub fn objection(&self, showing: &Showing, joins: &NodeName, witness: bool) -> Option<(String, String)> {
        let (id, another) = (showing.ticket, ANOTHER.to_owned());
        if self.verifier != showing.verifier {
            return Some((format!("this is not the token {id} that this cluster made"), another));
        }
        match &self.fate {
            Fate::Revoked => return Some((format!("the token {id} was revoked"), another)),
            Fate::Used { machine, name, .. } if *machine == showing.machine => {
                if name != joins {
                    let what = format!(
                        "the token {id} is used up: this machine has joined with it as {name}, and not as {joins}"
                    );
                    return Some((
                        what,
                        format!("as {name}: regent join TOKEN --node {name}; else {another}"),
                    ));
                }
            }
            Fate::Used { name, .. } => {
                let what = format!(
                    "the token {id} is used up: {name} has joined with it, and it is good for one machine"
                );
                return Some((what, another));
            }
            Fate::Open if showing.at_ms >= self.until_ms => {
                let minutes = (showing.at_ms - self.until_ms) / 60_000;
                return Some((format!("the token {id} expired {minutes} min ago"), another));
            }
            Fate::Open => {}
        }
        match (self.witness, witness) {
            (true, false) => Some((
                "this token is for a witness, not for a node".to_owned(),
                "regent witness TOKEN, or make one for a node: regent token".to_owned(),
            )),
            (false, true) => Some((
                "this token is for a node, not for a witness".to_owned(),
                "regent join TOKEN, or make one for a witness: regent token --witness".to_owned(),
            )),
            _ => None,
        }
    }
}

impl State {
    /// Why this machine cannot join under this name with the token that it shows, if it cannot.
    #[must_use]
    pub fn objection(&self, showing: &Showing, joins: &NodeName, witness: bool) -> Option<(String, String)> {
        match self.tickets.get(&showing.ticket) {
            Some(ticket) => ticket.objection(showing, joins, witness),
            None => Some((format!("there is no token {}", showing.ticket), ANOTHER.to_owned())),
        }
    }

    pub(super) fn invite(&mut self, id: TicketId, ticket: &Ticket) -> Changes {
        let now = ticket.made_ms;
        self.tickets.retain(|_, old| old.is_open(now) || old.until_ms.saturating_add(KEPT_MS) > now);
        if self.tickets.contains_key(&id) {
            return void(format!("there is a token {id} already; make one again"));
        }
        if self.tickets.values().filter(|t| t.is_open(now)).count() >= OPEN_MAX {
            return void(format!(
                "{OPEN_MAX} tokens are open already: regent token list, regent token revoke"
            ));
        }
        while self.tickets.len() >= KEPT_MAX {
            let oldest = self.tickets.iter().filter(|(_, t)| !t.is_open(now)).min_by_key(|(_, t)| t.until_ms);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { break };
            self.tickets.remove(&oldest);
        }
        self.tickets.insert(id, ticket.clone());
        vec![Change::Invited(id)]
    }

    pub(super) fn admit(&mut self, showing: &Showing, name: &NodeName, witness: bool) -> Changes {
        if let Some((why, _)) = self.objection(showing, name, witness) {
            return void(why);
        }
        if let Some(ticket) = self.tickets.get_mut(&showing.ticket) {
            let (machine, name) = (showing.machine, name.clone());
            ticket.fate = Fate::Used { machine, name, at_ms: showing.at_ms };
        }
        vec![Change::Admitted(showing.ticket, name.clone())]
    }

    pub(super) fn revoke(&mut self, id: TicketId) -> Changes {
        match self.tickets.get_mut(&id) {
            None => void(format!("there is no token {id}")),
            Some(ticket) => match &ticket.fate {
                // What was used lets its machine in again, until it is taken back.
                Fate::Open | Fate::Used { .. } => {
                    ticket.fate = Fate::Revoked;
                    vec![Change::Revoked(id)]
                }
                Fate::Revoked => void(format!("the token {id} is revoked already")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Command;
    use crate::state::log::Log;

    const TEXT: &str = "[cluster]\nname = \"w\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.77.0.4\"]\n";

    impl Log {
        fn invite(&mut self, id: u32, made_ms: u64, until_ms: u64) -> Result<(), String> {
            let made_on = NodeName::new("lx4").unwrap();
            let verifier = Verifier([7; 32]);
            let ticket = Ticket { verifier, witness: false, made_ms, until_ms, made_on, fate: Fate::Open };
            self.commit(Command::Invite { id: TicketId(id), ticket })
        }

        fn show(&mut self, id: u32, machine: u8, at_ms: u64, name: &str) -> Result<(), String> {
            let machine = MachineKey([machine; 32]);
            let showing = Showing { ticket: TicketId(id), verifier: Verifier([7; 32]), machine, at_ms };
            self.commit(Command::Admit { showing, name: NodeName::new(name).unwrap(), witness: false })
        }
    }

    #[test]
    fn a_token_is_good_for_one_machine_which_may_show_it_again() {
        let mut log = Log::new(TEXT);
        log.invite(1, 0, 1_000).unwrap();
        log.show(1, 5, 10, "lx5").unwrap();
        let second = log.show(1, 6, 11, "lx6").unwrap_err();
        assert!(second.contains("used up: lx5 has joined"), "{second}");
        log.show(1, 5, 12, "lx5").unwrap();
        // Its answer was lost, and it comes back after the hour.
        log.show(1, 5, 5_000, "lx5").unwrap();
        let imitated = log.show(1, 6, 13, "lx5").unwrap_err();
        assert!(imitated.contains("used up"), "{imitated}");
        let renamed = log.show(1, 5, 14, "lx7").unwrap_err();
        assert!(renamed.contains("this machine has joined with it as lx5, and not as lx7"), "{renamed}");
        log.show(1, 5, 15, "lx5").unwrap();
    }

    #[test]
    fn a_used_token_can_be_revoked_and_then_lets_nobody_in_again() {
        let mut log = Log::new(TEXT);
        log.invite(1, 0, 1_000).unwrap();
        log.show(1, 5, 10, "lx5").unwrap();
        log.commit(Command::Revoke(TicketId(1))).unwrap();
        assert_eq!(log.state.tickets[&TicketId(1)].fate, Fate::Revoked);
        assert!(log.show(1, 5, 12, "lx5").unwrap_err().contains("revoked"));
    }

    #[test]
    fn a_token_ends_by_time_by_revocation_and_is_known_by_its_secret() {
        let mut log = Log::new(TEXT);
        log.invite(1, 0, 1_000).unwrap();
        log.invite(2, 0, 1_000).unwrap();
        assert!(log.show(1, 5, 1_000, "lx5").unwrap_err().contains("expired 0 min ago"));
        log.commit(Command::Revoke(TicketId(2))).unwrap();
        assert!(log.show(2, 5, 10, "lx5").unwrap_err().contains("revoked"));
        assert!(log.commit(Command::Revoke(TicketId(2))).unwrap_err().contains("already"));
        assert!(log.show(3, 5, 10, "lx5").unwrap_err().contains("no token 00000003"));
        log.show(1, 5, 10, "lx5").unwrap();
        let showing = Showing {
            ticket: TicketId(1),
            verifier: Verifier([8; 32]),
            machine: MachineKey([5; 32]),
            at_ms: 10,
        };
        assert!(
            log.state
                .objection(&showing, &NodeName::new("lx5").unwrap(), false)
                .unwrap()
                .0
                .contains("not the token")
        );
    }

    #[test]
    fn open_tokens_are_few_and_what_became_of_old_ones_is_forgotten_in_the_end() {
        let mut log = Log::new(TEXT);
        for id in 0..u32::try_from(OPEN_MAX).unwrap() {
            log.invite(id, 0, 1_000).unwrap();
        }
        assert!(log.invite(900, 999, 2_000).unwrap_err().contains("regent token revoke"));
        log.invite(901, 1_000, 2_000).unwrap();
        assert_eq!(log.state.tickets.len(), OPEN_MAX + 1, "what became of them is told to whoever shows one");
        log.invite(902, KEPT_MS + 1_000, KEPT_MS + 2_000).unwrap();
        assert_eq!(log.state.tickets.len(), 2);
        for id in 1_000..1_400 {
            log.invite(id, KEPT_MS + 10_000 + u64::from(id), KEPT_MS + 10_001 + u64::from(id)).unwrap();
            assert!(log.state.tickets.len() <= KEPT_MAX);
        }
    }

    #[test]
    fn a_number_reads_as_it_is_written_and_a_verifier_is_not_shown() {
        assert_eq!(TicketId(0xab).to_string().parse(), Ok(TicketId(0xab)));
        for bad in ["", "ab", "+00000ab", "0000000g", "000000000"] {
            assert!(bad.parse::<TicketId>().is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", Verifier([7; 32])), "Verifier(...)");
    }
}
