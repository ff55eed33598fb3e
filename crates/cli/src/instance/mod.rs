//! Instances of databases: `regent instance`, and `ccontrol` over the same registry.

pub mod ask;
pub mod ccontrol;
pub mod change;
pub mod check;
pub mod layout;
pub mod phrases;
pub mod ports;
mod servers;
pub mod show;
mod switch;
pub mod upgrade;
pub mod values;

use regent_api::InstanceVerb;
use serde_json::json;

use crate::args_instance::InstanceCommand;
use crate::client::Asks;
use crate::environment;
use crate::screen::Screen;
use crate::trouble::{Exit, Result};

/// `regent instance VERB`.
///
/// # Errors
/// When it is refused or fails.
pub fn instance(asks: &dyn Asks, screen: &Screen, verb: &InstanceCommand) -> Result<u8> {
    let done = match verb {
        InstanceCommand::List => return show::list(asks, screen),
        InstanceCommand::Status { name } => return show::status(asks, screen, name),
        InstanceCommand::Env(args) => {
            environment::of(asks, screen, args, true)?;
            return Ok(Exit::Done as u8);
        }
        InstanceCommand::Check => return check::check(asks, screen),
        InstanceCommand::License { name } => return check::license(asks, screen, name),
        InstanceCommand::Upgrade { name, versionid, command } => {
            return upgrade::upgrade(asks, screen, name, versionid.as_deref(), command);
        }
        InstanceCommand::Create(args) => change::create(asks, &args.name, &args.values)?,
        InstanceCommand::Update(args) => change::update(asks, &args.name, &args.values)?,
        InstanceCommand::Delete { name } => change::delete(asks, name)?,
        InstanceCommand::Start { name } => ask::order(asks, &ask::named(name)?, InstanceVerb::Start)?,
        InstanceCommand::Stop { name } => ask::order(asks, &ask::named(name)?, InstanceVerb::Stop)?,
        InstanceCommand::Force { name } => ask::order(asks, &ask::named(name)?, InstanceVerb::Force)?,
    };
    screen.value(&json!({ "done": done }))?;
    screen.say(&format!("{done}\n"))?;
    Ok(Exit::Done as u8)
}
