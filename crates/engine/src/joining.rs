//! Machines that join: tokens, and what follows when one is shown.

use std::net::IpAddr;

use regent_api::{Answer, TokenStatus, node_name};
use regent_model::config;
use regent_model::ids::NodeId;
use regent_model::journal::Level;
use regent_model::state::{Change, Command, Fate, Member, NewConfig, Showing, Ticket, TicketId};

use crate::engine::Engine;
use crate::io::RequestId;
use crate::proposals::Waiting;

/// A machine that wants to join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Newcomer {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) witness: bool,
    /// The token that it shows. Nobody but the simulator, whose machines need none, asks without.
    pub(crate) showing: Option<Showing>,
}

/// What makes a newcomer a member.
enum Way {
    /// The configuration names it already.
    Configured(Command),
    /// This configuration is put in force first.
    Configure(Box<NewConfig>),
}

impl Engine {
    /// A token was made on this node.
    pub(crate) fn invite(&mut self, id: RequestId, ticket: TicketId, what: Ticket) -> Option<Answer> {
        let words = format!("the token {ticket} was made");
        self.propose_for(Command::Invite { id: ticket, ticket: what }, Waiting::Request(id, words));
        None
    }

    /// What became of the tokens that were made.
    pub(crate) fn tokens(&self) -> Answer {
        let now = self.wall_ms;
        let mut all: Vec<TokenStatus> =
            self.state.tickets.iter().map(|(id, ticket)| TokenStatus::of(*id, ticket, now)).collect();
        all.sort_by_key(|token| token.made_ms);
        Answer::Tokens(all)
    }

    pub(crate) fn revoke_token(&mut self, id: RequestId, ticket: &str) -> Option<Answer> {
        let list = "regent token list";
        let ticket: TicketId = match ticket.parse() {
            Ok(ticket) => ticket,
            Err(why) => return Some(Answer::refused(why, list)),
        };
        let words = match self.state.tickets.get(&ticket).map(|t| &t.fate) {
            None => return Some(Answer::refused(format!("there is no token {ticket}"), list)),
            Some(Fate::Revoked) => {
                return Some(Answer::Done(format!("the token {ticket} is revoked already")));
            }
            Some(Fate::Used { name, .. }) => format!(
                "the token {ticket} is revoked: {name}, which joined with it, cannot join with it again, and stays what it is"
            ),
            Some(Fate::Open) => {
                format!("the token {ticket} is revoked: nobody can join with it any more")
            }
        };
        self.propose_for(Command::Revoke(ticket), Waiting::Request(id, words));
        None
    }

    /// A machine wants to join. What is wrong with it is told before its token is used up.
    pub(crate) fn join(&mut self, id: RequestId, newcomer: &Newcomer) -> Option<Answer> {
        let Some(showing) = &newcomer.showing else { return self.admitted(id, newcomer) };
        let name = match node_name(&newcomer.name) {
            Ok(name) => name,
            Err(refusal) => return Some(refusal),
        };
        if let Some((why, advice)) = self.state.objection(showing, &name, newcomer.witness) {
            return Some(Answer::refused(why, advice));
        }
        if let Err(refusal) = self.way_in(newcomer) {
            return Some(*refusal);
        }
        let command = Command::Admit { showing: showing.clone(), name, witness: newcomer.witness };
        self.propose_for(command, Waiting::Admitted(id, Box::new(newcomer.clone())));
        None
    }

    /// Its token was applied; `void` says why it is not good.
    pub(crate) fn answer_admitted(&mut self, id: RequestId, newcomer: &Newcomer, void: Option<String>) {
        let answer = match void {
            Some(why) => Some(Answer::refused(why, "make a new one on a member: regent token")),
            None => self.admitted(id, newcomer),
        };
        if let Some(answer) = answer {
            self.out.answer.push((id, answer));
        }
    }

    /// It may join.
    fn admitted(&mut self, id: RequestId, newcomer: &Newcomer) -> Option<Answer> {
        let (number, member, way) = match self.way_in(newcomer) {
            Ok(found) => found,
            Err(refusal) => return Some(*refusal),
        };
        match way {
            Way::Configured(command) => self.propose_for(command, Waiting::Joined(id, number)),
            Way::Configure(new) => {
                let waiting = Waiting::Joining(id, Box::new((number, member)));
                self.propose_for(Command::SetConfig(new), waiting);
            }
        }
        None
    }

    /// Under which number it would be a member, and what makes it one; or why it cannot be one.
    fn way_in(&self, newcomer: &Newcomer) -> Result<(NodeId, Member, Way), Box<Answer>> {
        let Newcomer { name, addresses, witness, .. } = newcomer;
        let name = node_name(name).map_err(Box::new)?;
        let state = &self.state;
        let known = state.members.keys().chain(state.lives.keys()).chain(state.ended.keys());
        let highest = known.chain(state.retired.keys()).max();
        let number = highest.map_or(NodeId(1), |id| id.next());
        let member = Member { name: name.clone(), witness: *witness, votes: true };
        if let Some(known) = state.config.member(&name) {
            if &known.addresses != addresses {
                let reason = format!(
                    "{name} is configured with the addresses {:?}, not {addresses:?}",
                    known.addresses
                );
                let advice = "join with those, or change the configuration first";
                return Err(Box::new(Answer::refused(reason, advice)));
            }
            let command = Command::AddMember { id: number, member: member.clone() };
            let (_, changes) = state.preview(&command, &self.consensus.voters());
            if let Some(Change::Void(why)) = changes.first() {
                let advice =
                    "give this machine another name (--node NAME), or end that node first: regent status";
                return Err(Box::new(Answer::refused(why, advice)));
            }
            return Ok((number, member, Way::Configured(command)));
        }
        let table = if *witness { "witness" } else { "node" };
        let list: Vec<String> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
        let text = format!(
            "{}\n[[{table}]]\nname = \"{name}\"\naddresses = [{}]\n",
            state.config_text.trim_end(),
            list.join(", ")
        );
        let parsed = config::parse(&text);
        let errors: Vec<&str> = parsed.errors().map(|f| f.message.as_str()).collect();
        let reason = format!("{name} cannot join: {}", errors.join("; "));
        let help = parsed.errors().map(|f| f.help.clone()).find(|help| !help.is_empty());
        let help = help.unwrap_or_else(|| "regent config show".to_owned());
        let advice = match (&state.config.arbiter, *witness) {
            (Some(_), true) => format!("regent arbiter remove, and then this at once; {help}"),
            _ => help,
        };
        let Some(config) = parsed.config else {
            return Err(Box::new(Answer::refused(reason, advice)));
        };
        let new = NewConfig::replacing(state.config_serial, text, config, state.past_dates.clone());
        Ok((number, member, Way::Configure(Box::new(new))))
    }

    /// A token was made, used or taken back.
    pub(crate) fn tell_ticket(&mut self, index: u64, change: &Change) {
        let text = match change {
            Change::Invited(id) => {
                let Some(ticket) = self.state.tickets.get(id) else { return };
                let kind = if ticket.witness { "a witness" } else { "a node" };
                let minutes = ticket.until_ms.saturating_sub(ticket.made_ms) / 60_000;
                format!("the token {id} for {kind} was made on {}, good for {minutes} min", ticket.made_on)
            }
            Change::Admitted(id, name) => format!("{name} joins with the token {id}"),
            Change::Revoked(id) => format!("the token {id} was revoked"),
            _ => return,
        };
        self.tell_indexed(index, Level::Notice, "token", text, None);
    }
}
