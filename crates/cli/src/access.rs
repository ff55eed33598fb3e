//! What lets machines and people in: tokens and roles.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regent_api::roles::ROLES;
use regent_api::{Answer, Request, Role, TokenStatus};
use serde_json::json;

use crate::args_access::{TokenArgs, TokenCommand, TokenMade};
use crate::client::{self, Asks, Client};
use crate::paint::{Cell, Paint, Tone, table};
use crate::screen::Screen;
use crate::trouble::Result;

/// `regent token`.
///
/// # Errors
/// When it is refused.
pub fn token(asks: &dyn Asks, screen: &Screen, args: &TokenArgs) -> Result<()> {
    match &args.verb {
        None => make(asks, screen, &args.made),
        Some(TokenCommand::Create(made)) => make(asks, screen, made),
        Some(TokenCommand::List) => match client::accepted(asks.ask(&Request::Tokens)?)? {
            Answer::Tokens(tokens) => {
                screen.value(&json!({ "tokens": tokens }))?;
                screen.say(&listed(&tokens, &TimeZone::system(), screen.paint))
            }
            other => Err(client::mismatch(&other)),
        },
        Some(TokenCommand::Revoke { token }) => {
            let done = client::order(asks, &Request::RevokeToken { id: token.clone() })?;
            screen.value(&json!({ "done": done }))?;
            screen.say(&format!("{done}\n"))
        }
    }
}

/// `regent access`: the table is the same everywhere, and who asks is told by the daemon, if it runs.
///
/// # Errors
/// When standard output cannot be written.
pub fn access(client: &Result<Client>, screen: &Screen) -> Result<()> {
    let answer = client.as_ref().ok().and_then(|client| client.ask(&Request::Access).ok());
    let you = match answer {
        Some(Answer::Access { node, who, role }) => Some((node, who, role)),
        _ => None,
    };
    let roles: Vec<_> = ROLES
        .iter()
        .map(|role| json!({ "role": role, "group": role.group(), "commands": role.commands() }))
        .collect();
    let me = you.as_ref().map(|(node, who, role)| json!({ "node": node, "who": who, "role": role }));
    screen.value(&json!({ "roles": roles, "you": me }))?;
    screen.say(&who_may_what(screen.paint))?;
    screen.say(&match &you {
        Some((node, who, role)) => {
            let may = role.map_or("have no role", |role| match role {
                Role::Viewer => "are a viewer",
                Role::Operator => "are an operator",
                Role::Admin => "are an admin",
            });
            format!("\nto the daemon of {node} you are {who}, and {may}\n")
        }
        None => "\nwhat you may is known when the daemon runs: regent status\n".to_owned(),
    })
}

fn who_may_what(paint: Paint) -> String {
    let mut rows = vec![["ROLE", "GROUP", "MAY"].map(|head| Cell::new(Tone::Dim, head)).to_vec()];
    for role in ROLES {
        for (at, commands) in role.commands().iter().enumerate() {
            let first = at == 0;
            let group =
                if role == Role::Admin { format!("{}, root", role.group()) } else { role.group().to_owned() };
            rows.push(vec![
                Cell::new(Tone::Strong, if first { role.word() } else { "" }),
                Cell::plain(if first { group.as_str() } else { "" }),
                Cell::plain(*commands),
            ]);
        }
    }
    let below = "each may also do what those above may; instance list may be asked by everybody\n\
                 a role is given on each machine: groupadd -f GROUP && usermod -aG GROUP USER\n";
    table(&rows, "", paint) + below
}

fn make(asks: &dyn Asks, screen: &Screen, made: &TokenMade) -> Result<()> {
    let witness = made.witness;
    let token = client::order(asks, &Request::Token { witness, minutes: made.for_minutes })?;
    screen.value(&json!({ "token": token, "witness": witness }))?;
    screen.say(&format!("{token}\n"))
}

fn listed(tokens: &[TokenStatus], zone: &TimeZone, paint: Paint) -> String {
    if tokens.is_empty() {
        return "no token was made: regent token makes one\n".to_owned();
    }
    let clock = |ms: u64| {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map_or_else(|| "?".to_owned(), |at| at.to_zoned(zone.clone()).strftime("%F %H:%M").to_string())
    };
    let heads = ["TOKEN", "FOR", "MADE", "ON", "GOOD UNTIL", "STATE"];
    let mut rows = vec![heads.map(|head| Cell::new(Tone::Dim, head)).to_vec()];
    for token in tokens {
        let state = match (&token.used_by, token.used_ms) {
            (Some(name), Some(ms)) => format!("{name} joined with it at {}", clock(ms)),
            _ => token.state.clone(),
        };
        let tone = if token.state == "open" { Tone::Good } else { Tone::Dim };
        rows.push(vec![
            Cell::plain(&token.id),
            Cell::plain(if token.witness { "a witness" } else { "a node" }),
            Cell::plain(clock(token.made_ms)),
            Cell::plain(token.made_on.as_str()),
            Cell::plain(clock(token.until_ms)),
            Cell::new(tone, state),
        ]);
    }
    table(&rows, "", paint)
}

#[cfg(test)]
mod tests {
    use regent_model::NodeName;

    use super::*;

    #[test]
    fn tokens_are_listed_with_what_became_of_each_and_without_their_secrets() {
        let token = |id: &str, state: &str, used: Option<&str>| TokenStatus {
            id: id.into(),
            state: state.into(),
            witness: used.is_none(),
            made_on: NodeName::new("lx4").unwrap(),
            made_ms: 0,
            until_ms: 3_600_000,
            used_by: used.map(|name| NodeName::new(name).unwrap()),
            used_ms: used.map(|_| 60_000),
        };
        let tokens = [token("0000000a", "used", Some("lx5")), token("0000000b", "open", None)];
        let text = listed(&tokens, &TimeZone::UTC, Paint(false));
        assert_eq!(
            text,
            "TOKEN     FOR        MADE              ON   GOOD UNTIL        STATE\n\
             0000000a  a node     1970-01-01 00:00  lx4  1970-01-01 01:00  lx5 joined with it at 1970-01-01 00:01\n\
             0000000b  a witness  1970-01-01 00:00  lx4  1970-01-01 01:00  open\n"
        );
        assert!(listed(&[], &TimeZone::UTC, Paint(false)).contains("regent token"));
    }
}
