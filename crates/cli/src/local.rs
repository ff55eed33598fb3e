//! What is done on this machine itself, by the node's own functions: becoming a member, and running Regent.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use regent_api::{Answer, Request};
use regent_model::NodeName;
use regent_node::{Launch, Machine, Membership, NodeError, Paths, Started};
use serde_json::json;

use crate::args::{InitArgs, JoinArgs, MachineArgs, WaitArgs};
use crate::client::{self, Asks, Client};
use crate::follow::{Steps, Wait, until};
use crate::look::manner;
use crate::orders::finish;
use crate::screen::Screen;
use crate::settle::Wish;
use crate::trouble::{Exit, Result, Trouble};

/// How long a daemon that was started may take until it answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

impl From<NodeError> for Trouble {
    fn from(error: NodeError) -> Self {
        Self::refused(error.what).next(error.next.unwrap_or_default())
    }
}

/// `regent init`.
///
/// # Errors
/// When this machine cannot begin a cluster, or Regent does not start.
pub fn init(screen: &Screen, args: &InitArgs) -> Result<()> {
    let (paths, launch) = (Paths::from_environment(), Launch::of_this_program()?);
    let membership = regent_node::init(&paths, &args.name, &machine(&args.machine), Some(&launch))?;
    welcome(screen, &membership)?;
    screen.say(
        "  next: on this machine: regent token\n        on another one:  regent join TOKEN\n        \
         a third vote:    regent witness TOKEN on any third machine (regent token --witness); where there is none, a\n        \
         \x20                small partition of a disk that both share: regent arbiter init DISK\n        \
         then:            regent apply FILE\n",
    )
}

/// `regent join` and `regent witness`.
///
/// # Errors
/// When the token is not good, the cluster refuses, or Regent does not start.
pub fn join(screen: &Screen, args: &JoinArgs, witness: bool) -> Result<()> {
    let (paths, launch) = (Paths::from_environment(), Launch::of_this_program()?);
    let machine = machine(&args.machine);
    let membership = regent_node::join(&paths, &args.token, &machine, witness, Some(&launch))?;
    welcome(screen, &membership)?;
    screen.say("  next: regent status\n")
}

fn machine(args: &MachineArgs) -> Machine {
    Machine { name: args.node.clone(), addresses: args.addresses.clone() }
}

fn welcome(screen: &Screen, membership: &Membership) -> Result<()> {
    let who = &membership.identity;
    let addresses: Vec<String> = who.addresses.iter().map(ToString::to_string).collect();
    screen.value(&json!({
        "cluster": who.cluster,
        "node": who.name,
        "id": who.node,
        "addresses": addresses,
        "witness": who.witness,
        "fingerprint": membership.fingerprint,
    }))?;
    let role = if who.witness { "a witness" } else { "a node" };
    let runs = match membership.started {
        Some(Started::BySystemd) => "systemd runs it, also after a reboot",
        Some(Started::Detached) => {
            "its own supervisor runs it; after a reboot something must start `regent node run`"
        }
        Some(Started::Already) => "it ran already",
        None => "it does not run yet",
    };
    screen.say(&format!(
        "{} is {role} of the cluster {}, with the addresses {}\nRegent: {runs}\nfingerprint of the cluster's key: {}\n",
        who.name,
        who.cluster,
        addresses.join(", "),
        membership.fingerprint
    ))
}

/// `regent node start` on a machine whose daemon does not run.
///
/// # Errors
/// When it does not start, or the node is not up within the time.
pub fn start(client: &Client, screen: &Screen, wait: &WaitArgs) -> Result<()> {
    let (paths, launch) = (Paths::from_environment(), Launch::of_this_program()?);
    let began = Instant::now();
    regent_node::start(&paths, &launch, ANSWER_WITHIN)?;
    let node = client::status(client)?.node;
    screen.say(&format!("Regent runs on {node}\n"))?;
    if wait.no_wait {
        return screen.value(&json!({ "done": format!("Regent runs on {node}"), "settled": null }));
    }
    let mut steps = Steps::from_now(client, manner(screen, false))?;
    let started = Starting { client, refused: paths.refused() };
    let settled = until(&started, screen, &until_up(node, wait.wait), &mut steps, began)?;
    finish(screen, &settled)
}

/// A daemon that was started, and may yet refuse to run: then it does not come back by itself.
struct Starting<'a> {
    client: &'a Client,
    refused: PathBuf,
}

impl Asks for Starting<'_> {
    fn ask(&self, request: &Request) -> Result<Answer> {
        self.client.ask(request).map_err(|trouble| match std::fs::read_to_string(&self.refused) {
            Ok(why) if trouble.exit == Exit::Unreachable => {
                Trouble::refused(format!("the daemon of this node refused to run: {}", why.trim()))
            }
            _ => trouble,
        })
    }
}

fn until_up(node: NodeName, limit: Duration) -> Wait {
    Wait { wish: Wish::Node { node, state: "up" }, limit, hold: Duration::from_secs(1), leaves: None }
}

/// `regent node run`: until the node leaves.
///
/// # Errors
/// When there is another supervisor, or guard or daemon refuse to run.
pub fn supervise() -> Result<u8> {
    regent_node::supervise(&Paths::from_environment(), &Launch::of_this_program()?)?;
    Ok(Exit::Done as u8)
}

/// `regent node daemon`: its exit code is for the supervisor.
#[must_use]
pub fn daemon() -> u8 {
    regent_node::daemon(&Paths::from_environment())
}
