//! Globals that other instances hold: a global directory of its own maps them to their servers.

use std::time::Instant;

use regent_model::action::Failure;
use regent_model::config::{DataServer, InstanceConfig};

use super::create::believe;
use super::{OWN_DIRECTORY, WITH_OTHERS, tool};
use crate::instance::Instance;

/// Whether anything is mapped.
pub(super) fn is_mapped(config: &InstanceConfig) -> bool {
    config.data_servers.iter().any(|s| !s.globals.is_empty() && s.database.is_some())
}

/// What GT.M calls a data server.
pub(super) fn node_name(server: &DataServer) -> String {
    DataServer::gtm_name(server.name.as_str())
}

/// Writes the global directory that maps what others hold beside what the instance holds itself. The one of the
/// instance alone is never touched: recovery works on that.
pub(super) fn write(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    if !is_mapped(instance.config) {
        return Ok(());
    }
    let begun = Instant::now();
    let directory = &instance.config.directory;
    let (own, new) = (directory.join(OWN_DIRECTORY), directory.join(format!("{WITH_OTHERS}.new")));
    let fail = |what: &str| {
        let what = format!("cannot {what} {}", new.display());
        move |e: std::io::Error| Failure::because(format!("{what}: {e}"))
    };
    std::fs::copy(&own, &new).map_err(fail("write"))?;
    instance.give_to_user(&new).map_err(fail("give away"))?;
    let lines = format!("setgd -file=\"{}\"\n{}exit\n", new.display(), lines(instance.config));
    let done = tool(instance, "gde", "mumps", &["-run", "GDE"], Some(&lines), until)?;
    believe("the globals of its data servers cannot be mapped", &done)?;
    std::fs::rename(&new, directory.join(WITH_OTHERS)).map_err(fail("put in place"))?;
    let what = if instance.config.networked { "mapped" } else { "mapped, and kept out of reach," };
    let servers: Vec<String> = instance.config.data_servers.iter().map(|s| s.name.to_string()).collect();
    instance.step(format!("{what} the globals of {}", servers.join(", ")), begun.elapsed(), done.output);
    Ok(())
}

/// What GDE is told.
fn lines(config: &InstanceConfig) -> String {
    let mut lines = String::new();
    for server in config.data_servers.iter().filter(|s| !s.globals.is_empty()) {
        let Some(database) = &server.database else { continue };
        let node = node_name(server);
        let region = format!("R{}", node.to_ascii_uppercase());
        let file = database.display();
        lines.push_str(&format!("add -segment {region} -file=\"{node}:{file}\"\n"));
        lines.push_str(&format!("add -region {region} -dynamic={region}\n"));
        for global in &server.globals {
            lines.push_str(&format!("add -name {global} -region={region}\n"));
        }
    }
    lines
}
