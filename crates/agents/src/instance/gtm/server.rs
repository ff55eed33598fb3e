//! The server of GT.CM: others reach the database by it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::config::BindTo;

use super::prepared;
use crate::bind_here;
use crate::cgroup::Folder;
use crate::command::Program;
use crate::hands::failure;
use crate::instance::{Call, Instance, Seen, sockets};
use crate::process::{self, Identity};

/// The kernel keeps so much of the program's name.
const SERVER: &str = "gtcm_gnp_server";
/// It says why it ended in its log only.
const LOG_BYTES: usize = 2048;
const LISTENS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The server that lives in the instance's folder: the oldest, the others serve one client each.
pub(super) fn process(main: &Folder) -> Option<Identity> {
    let is_it =
        |pid: &i32| process::stat(*pid).is_some_and(|s| s.is_alive() && SERVER.starts_with(&s.command));
    main.all_processes().into_iter().filter(is_it).filter_map(Identity::of).min()
}

/// The listener is believed, not the start command: that ends with 0 also where the port is taken.
pub(super) fn look(instance: &Instance<'_>, main: &Folder) -> Result<Seen, Failure> {
    if process(main).is_none() {
        return Ok(Seen::Down);
    }
    let port = instance.config.port;
    match sockets::listener(port).map_err(Failure::because)?.filter(|l| l.is_held_by(&main.all_processes())) {
        Some(_) => Ok(Seen::Up),
        None => Ok(Seen::Unwell(format!("its server does not listen on port {port}"))),
    }
}

/// Starts it, and waits until it listens.
pub(super) fn start(instance: &Instance<'_>, main: &Folder, until: Instant) -> Result<(), Failure> {
    let port = instance.config.port;
    if let Some(listener) = sockets::listener(port).map_err(Failure::because)? {
        let reason = format!("port {port} is taken on this node: {}", listener.in_words());
        return Err(Failure::because(reason));
    }
    send_to_the_service_address(instance, main);
    let log = instance.context.inner.run_dir.join("gtm").join(format!("{}.log", instance.name()));
    rotate(&log);
    let (path, environment) = prepared(instance, "start", SERVER)?;
    let (service, logged) = (format!("-service={port}"), format!("-log={}", log.display()));
    let words = [service.as_str(), logged.as_str()];
    let call =
        Call { what: "start", program: Program::File(&path, &words), environment: &environment, input: None };
    let begun = Instant::now();
    instance.begin_in(main, &call, until)?;
    let until = until.min(begun + LISTENS_WITHIN);
    loop {
        if look(instance, main)? == Seen::Up {
            instance.step(format!("GT.CM listens on port {port}"), begun.elapsed(), "");
            return Ok(());
        }
        instance.context.job.check()?;
        let gone = process(main).is_none() && begun.elapsed() > Duration::from_millis(500);
        if gone || Instant::now() >= until {
            let reason = format!(
                "the server of GT.CM {} port {port}",
                if gone { "ended instead of listening on" } else { "does not listen on" }
            );
            return Err(failure(reason, tail(&log)));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The server knows a port only: left to itself it listens on every address of the node. Where the kernel cannot be
/// taught otherwise it does so.
fn send_to_the_service_address(instance: &Instance<'_>, main: &Folder) {
    let to = match instance.config.address {
        Some(IpAddr::V4(address)) => BindTo { v4: Some(address), v6: None },
        Some(IpAddr::V6(address)) => BindTo { v4: None, v6: Some(address) },
        None => return,
    };
    if let Err(why) = bind_here::attach(main.path(), to) {
        instance.context.job.warn(format!("GT.CM listens on every address of this node: {why}"), "");
    }
}

/// GT.M renames a log that is there, without end; one is kept.
fn rotate(log: &std::path::Path) {
    let _there_may_be_none = std::fs::rename(log, log.with_extension("log.previous"));
}

fn tail(log: &std::path::Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_BYTES)..]).into_owned()
}
