//! From the words of the command line to what is done.

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;
use regent_api::NodeVerb;
use regent_model::state::StopMode;

use crate::args::{Cli, Command, ConfigVerb, EventCommand, NodeCommand};
use crate::client::Client;
use crate::instance::ask::Anybody;
use crate::screen::Screen;
use crate::trouble::{EXIT_CODES, Exit, Result};
use crate::{
    access, apply, arbiter, cluadmin, clustat, cluster_events, drill, environment, evidence, fence, instance,
    key, lab, local, look, manual, nodes, orders, personality, reach, remove, simulate,
};

/// Does what the words say, and gives the exit code.
#[must_use]
pub fn run(words: Vec<OsString>) -> u8 {
    let words = personality::as_regent(words);
    if words.get(1).is_some_and(|w| w == "lab")
        && let Some(code) = regent_lab::dispatch(&words[2..])
    {
        return code;
    }
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let _nobody_is_left_to_tell = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done as u8,
                _ => Exit::Usage as u8,
            };
        }
    };
    let screen = Screen::new(cli.global.json, cli.global.color);
    match act(&cli, &screen) {
        Ok(code) => code,
        Err(trouble) => {
            screen.tell(&trouble);
            trouble.exit as u8
        }
    }
}

fn act(cli: &Cli, screen: &Screen) -> Result<u8> {
    let client = || reach::client(&cli.global);
    match &cli.command {
        Command::Init(args) => local::init(screen, args)?,
        Command::Join(args) => local::join(screen, args, false)?,
        Command::Witness(args) => local::join(screen, args, true)?,
        Command::Access => access::access(&client(), screen)?,
        Command::Key(verb) => key::key(&client()?, screen, verb)?,
        Command::Token(args) => access::token(&client()?, screen, args)?,
        Command::Apply(args) => apply::apply(&client()?, screen, args)?,
        Command::Verify { nodes: true, .. } => return nodes::verify(&client()?, screen),
        Command::Verify { file, .. } => look::verify(client, screen, file.as_ref())?,
        Command::Prepare { group, dry_run } => {
            return nodes::prepare(&client()?, screen, group.as_deref(), *dry_run);
        }
        Command::Config { verb: ConfigVerb::Show } => look::show_config(&client()?, screen)?,
        Command::Status { watch } => look::status(&client()?, screen, *watch)?,
        Command::Events(args) => look::events(&client()?, screen, args)?,
        Command::Event { verb: EventCommand::List } => cluster_events::list(screen)?,
        Command::Event { verb } => cluster_events::event(&client()?, screen, verb)?,
        Command::Evidence(args) => evidence::evidence(&client()?, screen, args)?,
        Command::Explain { group } => look::explain(&client()?, screen, group)?,
        Command::Env(args) => environment::env(&client()?, screen, args)?,
        Command::Simulate(args) => simulate::simulate(&client()?, screen, args)?,
        Command::Group { verb } => orders::group(&client()?, screen, verb)?,
        Command::Application { verb } => orders::application(&client()?, screen, verb)?,
        Command::Instance(args) => return instance::instance(&Anybody::of(client()?), screen, &args.verb),
        Command::Ccontrol(args) => return Ok(ccontrol(client(), screen, &args.words)),
        Command::Node { verb } => return node(cli, screen, verb),
        Command::Arbiter(args) => return arbiter::run(&client()?, screen, &args.verb),
        Command::Fence(args) => return fence::run(&client()?, screen, &args.verb),
        Command::Cluadmin(args) => return Ok(cluadmin::run(client, args)),
        Command::Clustat(args) => clustat::run(&client()?, screen, args)?,
        Command::Drill(args) => return drill::drill(screen, &cli.global, args),
        Command::Lab(args) => return lab::run(screen, &cli.global, args),
        Command::Completions { shell } => manual::completions(screen, *shell)?,
        Command::Manual { folder } => manual::pages(screen, folder)?,
        Command::ExitCodes => screen.write(&format!("{EXIT_CODES}\n"))?,
    }
    Ok(Exit::Done as u8)
}

/// It knows two exit codes, also where there is no daemon to be found.
fn ccontrol(client: Result<Client>, screen: &Screen, words: &[String]) -> u8 {
    match client {
        Ok(client) => instance::ccontrol::run(&Anybody::of(client), screen, words),
        Err(trouble) => {
            screen.tell(&trouble);
            Exit::Refused as u8
        }
    }
}

fn node(cli: &Cli, screen: &Screen, verb: &NodeCommand) -> Result<u8> {
    let client = || reach::client(&cli.global);
    match verb {
        NodeCommand::Run => return local::supervise(),
        NodeCommand::Daemon => return Ok(local::daemon()),
        NodeCommand::Start { node, wait } => {
            let client = client()?;
            let here = node.is_none() && !reach::is_elsewhere(&cli.global);
            if here && !client.is_there() {
                local::start(&client, screen, wait)?;
            } else {
                match orders::set_node(&client, screen, node.as_deref(), NodeVerb::Start, wait) {
                    // The daemon that was asked was about to end, after a stop.
                    Err(trouble) if here && trouble.exit == Exit::Unreachable && client.ends() => {
                        local::start(&client, screen, wait)?;
                    }
                    done => done?,
                }
            }
        }
        NodeCommand::Standby { node, wait } => {
            orders::set_node(&client()?, screen, node.as_deref(), NodeVerb::Standby, wait)?;
        }
        NodeCommand::Stop { node, graceful, takeover, wait, .. } => {
            let mode = match (graceful, takeover) {
                (true, _) => StopMode::Graceful,
                (_, true) => StopMode::Takeover,
                _ => StopMode::Forced,
            };
            orders::stop_node(&client()?, screen, node.as_deref(), mode, wait)?;
        }
        NodeCommand::Remove(args) => remove::remove(&client()?, screen, args)?,
        NodeCommand::ConfirmDead { node, why, for_minutes, yes } => {
            orders::confirm_dead(&client()?, screen, node, (why, *for_minutes), *yes)?;
        }
    }
    Ok(Exit::Done as u8)
}
