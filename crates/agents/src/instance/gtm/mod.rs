//! GT.M: a database with before-image journals, served to others by GT.CM.
//!
//! It is never opened before it was recovered: GT.M opens a database that a crash left behind without a word, and shows
//! what it had long before. After a clean stop the recovery finds nothing to do.

mod attached;
mod create;
mod memory;
mod network;
mod recover;
mod server;
mod sys;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_model::action::Failure;
use regent_model::config::{GTM_DATABASE, InstanceConfig};
use regent_model::journal::Level;
use rustix::process::Signal;

use super::environment::gtm_folder;
use super::{Call, Instance, MAIN_FOLDER, Seen};
use crate::cgroup::Folder;
use crate::command::{Finished, Program};
use crate::process::{self, Identity};

/// The global directory of what the instance itself holds.
const OWN_DIRECTORY: &str = "mumps.gld";
/// The one that maps what others hold as well, below `mgr`: made anew at every start.
const WITH_OTHERS: &str = "mgr/network.gld";
/// Where GT.M can be installed; the newest version in them is taken.
const PLACES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/fis-gtm",
    "/usr/lib/aarch64-linux-gnu/fis-gtm",
    "/usr/lib/fis-gtm",
    "/opt/fis-gtm",
];
/// What was asked to end is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Asking for the version takes so long at most.
const VERSION_WITHIN: Duration = Duration::from_secs(10);

/// Where GT.M is on this node.
pub(super) fn find(config: &InstanceConfig) -> Result<PathBuf, String> {
    let places: Vec<PathBuf> = match &config.vendor {
        Some(path) => vec![path.clone()],
        None => PLACES.map(PathBuf::from).into(),
    };
    let is_it = |path: &Path| path.join("mumps").is_file() && path.join("mupip").is_file();
    for place in &places {
        if is_it(place) {
            return Ok(place.clone());
        }
        let inside = std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        if let Some(newest) = inside.filter(|path| is_it(path)).max() {
            return Ok(newest);
        }
    }
    let looked: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
    Err(format!(
        "GT.M is not on this node (looked in {}); type: apt-get install fis-gtm, or say where it is with vendor = \
         \"/path\" in the [[instance]] {}",
        looked.join(", "),
        config.name
    ))
}

/// What processes of the instance on this node have in their environment.
pub(super) fn environment(config: &InstanceConfig, run_dir: &Path) -> Result<Vec<(String, String)>, String> {
    let dist = find(config)?;
    let (dist, directory) = (dist.display(), config.directory.display());
    let shared = gtm_folder(run_dir);
    let shared = shared.display();
    let globals = if network::is_mapped(config) { WITH_OTHERS } else { OWN_DIRECTORY };
    let mut all = vec![
        ("gtm_dist".to_owned(), dist.to_string()),
        ("gtmgbldir".to_owned(), format!("{directory}/{globals}")),
        ("gtmroutines".to_owned(), format!("{directory}/obj({directory}/r) {dist}/libgtmutil.so {dist}")),
        ("gtm_tmp".to_owned(), shared.to_string()),
        ("gtm_log".to_owned(), shared.to_string()),
        // Otherwise a process whose journal cannot be written goes on without one, and acknowledges what no recovery
        // will find.
        ("gtm_error_on_jnl_file_lost".to_owned(), "1".to_owned()),
    ];
    // Without its variable a data server cannot be reached, and what is mapped to it is refused: it never goes into a
    // local file instead.
    for server in config.data_servers.iter().filter(|_| config.networked) {
        let at = format!("[{}]:{}", server.address.ip(), server.address.port());
        all.push((format!("GTCM_{}", network::node_name(server)), at));
    }
    Ok(all)
}

/// The process whose end is the instance's.
pub(super) fn main_process(instance: &Instance<'_>, main: &Folder) -> Option<Identity> {
    (instance.config.kind == regent_model::config::InstanceKind::Gtm).then(|| server::process(main)).flatten()
}

/// Up is what was started and serves its port; without a network, what was started.
pub(super) fn look(instance: &Instance<'_>) -> Result<Seen, Failure> {
    if !instance.config.networked {
        return Ok(if instance.is_locked_here() { Seen::Up } else { Seen::Down });
    }
    let Some(main) = Folder::open(&instance.path().join(MAIN_FOLDER)).map_err(Failure::because)? else {
        return Ok(Seen::Down);
    };
    server::look(instance, &main)
}

/// Recovers the database, which is made where there is none, and serves it.
pub(super) fn start(instance: &Instance<'_>, main: &Folder, until: Instant) -> Result<(), Failure> {
    let shared = gtm_folder(&instance.context.inner.run_dir);
    attached::make_shared(&shared).map_err(|e| {
        Failure::because(format!("cannot make {}, where GT.M's processes meet: {e}", shared.display()))
    })?;
    create::where_there_is_none(instance, until)?;
    // Whoever has it open keeps it from being recovered.
    let open = attached::to(&instance.config.directory);
    if !open.is_empty() {
        let who: Vec<String> = open.iter().map(|p| process::describe(p.pid)).collect();
        instance.context.job.warn("ends processes that have the database open from before", who.join("\n"));
        attached::end(&open, Signal::KILL, until, instance.context.job)?;
    }
    recover::recover(instance, until)?;
    recover::prune(instance);
    network::write(instance, until)?;
    if instance.config.networked {
        server::start(instance, main, until)?;
    }
    Ok(())
}

/// Ends the server and whoever has the database open, and closes it.
pub(super) fn stop(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let job = instance.context.job;
    let open = processes(instance)?;
    if !open.is_empty() {
        let begun = Instant::now();
        attached::end(&open, Signal::TERM, until, job)?;
        instance.step(format!("{} process(es) ended as with mupip stop", open.len()), begun.elapsed(), "");
    }
    recover::run_down(instance, until)?;
    instance.drop_lock();
    Ok(())
}

/// Kills whatever has the database open, and recovers it, so that it can be looked at.
pub(super) fn force(instance: &Instance<'_>, folder: &Folder, until: Instant) -> Result<(), Failure> {
    let job = instance.context.job;
    folder.kill().map_err(Failure::because)?;
    let open = processes(instance)?;
    if !open.is_empty() {
        let who: Vec<String> = open.iter().map(|p| process::describe(p.pid)).collect();
        attached::end(&open, Signal::KILL, until, job)?;
        let what = format!("{} process(es) killed", open.len());
        job.record(Level::Warning, what, Duration::ZERO, who.join("\n"));
    }
    instance.drop_lock();
    recover::recover(instance, until)?;
    recover::run_down(instance, until)
}

/// Its server, and whoever has its files open.
fn processes(instance: &Instance<'_>) -> Result<Vec<Identity>, Failure> {
    let main = Folder::open(&instance.path().join(MAIN_FOLDER)).map_err(Failure::because)?;
    let mut all: Vec<Identity> =
        main.iter().flat_map(Folder::all_processes).filter_map(Identity::of).collect();
    all.extend(attached::to(&instance.config.directory));
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// What GT.M says of itself: `V7.0-005`. It needs nothing of the instance, which may lie on another node.
pub(super) fn version(instance: &Instance<'_>) -> Result<Option<String>, Failure> {
    let dist = find(instance.config).map_err(Failure::because)?;
    let mut environment = instance.environment("version");
    let text = dist.display().to_string();
    environment.retain(|(key, _)| !key.starts_with("gtm"));
    environment.push(("gtmroutines".to_owned(), format!("{text}/libgtmutil.so {text}")));
    environment.push(("gtm_dist".to_owned(), text));
    let (path, words) = (dist.join("mumps"), ["-run", "%XCMD", "write $zversion"]);
    let program = Program::File(&path, &words);
    let call = Call { what: "version", program, environment: &environment, input: None };
    let done = instance.run(&call, instance.context.job.until(VERSION_WITHIN))?;
    Ok(done.output.split_whitespace().find(|word| word.starts_with('V')).map(str::to_owned))
}

/// Runs one of GT.M's programs, on what the instance itself holds.
fn tool(
    instance: &Instance<'_>,
    what: &str,
    program: &str,
    words: &[&str],
    input: Option<&str>,
    until: Instant,
) -> Result<Finished, Failure> {
    let (path, environment) = prepared(instance, what, program)?;
    instance
        .run(&Call { what, program: Program::File(&path, words), environment: &environment, input }, until)
}

/// One of GT.M's programs, and its environment.
fn prepared(
    instance: &Instance<'_>,
    what: &str,
    program: &str,
) -> Result<(PathBuf, Vec<(String, String)>), Failure> {
    let own =
        super::of_instance(instance.config, &instance.context.inner.run_dir).map_err(Failure::because)?;
    let mut environment = instance.environment(what);
    environment.extend(own);
    let globals = instance.config.directory.join(OWN_DIRECTORY).display().to_string();
    environment.iter_mut().filter(|(key, _)| key == "gtmgbldir").for_each(|(_, v)| v.clone_from(&globals));
    let dist = environment.iter().find(|(key, _)| key == "gtm_dist").map(|(_, v)| PathBuf::from(v));
    Ok((dist.unwrap_or_default().join(program), environment))
}

/// The database's file.
pub(super) fn database(config: &InstanceConfig) -> PathBuf {
    config.directory.join(GTM_DATABASE)
}
