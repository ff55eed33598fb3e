//! Asking for the registry and for one instance of it, also as a user who may not order.

use std::path::PathBuf;

use regent_api::{Answer, InstanceStatus, InstanceVerb, Registry, Request};
use regent_model::ids::InstanceName;

use crate::client::{self, Asks, Client};
use crate::trouble::{Exit, Result, Trouble};

/// The registry.
///
/// # Errors
/// When there is no answer.
pub fn registry(asks: &dyn Asks) -> Result<Registry> {
    match client::accepted(asks.ask(&Request::Instances)?)? {
        Answer::Instances(registry) => Ok(*registry),
        other => Err(client::mismatch(&other)),
    }
}

/// The instance of that name, whatever its case.
///
/// # Errors
/// When there is none.
pub fn find<'r>(registry: &'r Registry, name: &str) -> Result<&'r InstanceStatus> {
    let wanted = named(name)?;
    let found = registry.instances.iter().find(|i| i.name == wanted);
    found.ok_or_else(|| {
        Trouble::refused(format!("there is no instance {wanted}")).next("regent instance list")
    })
}

/// The name of an instance.
///
/// # Errors
/// When it is none.
pub fn named(name: &str) -> Result<InstanceName> {
    InstanceName::new(name)
        .map_err(|why| Trouble::usage(format!("{name:?} is no name of an instance: {why}")))
}

/// Orders something of an instance; what was done, in words.
///
/// # Errors
/// When it is refused or fails.
pub fn order(asks: &dyn Asks, name: &InstanceName, verb: InstanceVerb) -> Result<String> {
    order_with(asks, name, verb, Vec::new())
}

/// The same, with words for its vendor's command.
///
/// # Errors
/// When it is refused or fails.
pub fn order_with(
    asks: &dyn Asks,
    name: &InstanceName,
    verb: InstanceVerb,
    words: Vec<String>,
) -> Result<String> {
    client::order(asks, &Request::Instance { name: name.to_string(), verb, words })
}

/// The daemon of this node; for one who may not order, where anybody may ask for the registry.
pub struct Anybody {
    client: Client,
    open: PathBuf,
}

impl Anybody {
    /// The daemon behind `client`.
    #[must_use]
    pub fn of(client: Client) -> Self {
        let open = client.socket.with_file_name(regent_api::OPEN_SOCKET);
        Self { client, open }
    }
}

impl Asks for Anybody {
    fn ask(&self, request: &Request) -> Result<Answer> {
        let first = self.client.ask(request);
        match &first {
            Err(trouble) if trouble.exit == Exit::Unreachable && *request == Request::Instances => {}
            _ => return first,
        }
        let open = Client { socket: self.open.clone(), whose: self.client.whose.clone() };
        open.ask(request).or(first)
    }
}
