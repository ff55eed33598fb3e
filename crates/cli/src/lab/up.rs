//! `regent lab up`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use regent_lab::ledger::LEDGER_PORT;
use regent_lab::{Lab, SeedFile};
use serde_json::json;

use super::cluster::{Plan, SERVICE, default_config, form, wait_for_votes};
use super::{DEFAULT_NAME, need_root, option};
use crate::client;
use crate::follow::{Steps, Wait, until};
use crate::look::{manner, read};
use crate::paint::{Cell, Paint, Tone, table};
use crate::screen::Screen;
use crate::settle::Wish;
use crate::trouble::{Exit, Result, Trouble};

/// How long the groups may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a lab has besides what its configuration asks for.
pub(super) struct More<'a> {
    /// Files of this machine, and where every machine of the lab finds them.
    pub(super) put: &'a [(PathBuf, PathBuf)],
    /// Shared disks.
    pub(super) disk: &'a [PathBuf],
    /// A blank one for an arbiter.
    pub(super) arbiter_disk: Option<&'a Path>,
}

/// Builds a lab for a configuration, or for the default one, and starts its cluster.
///
/// # Errors
/// What failed. If the machines could not become a cluster, nothing of the lab is left.
pub(super) fn up(screen: &Screen, name: Option<&str>, file: Option<&Path>, more: &More<'_>) -> Result<()> {
    need_root()?;
    let name = name.unwrap_or(DEFAULT_NAME);
    let mut plan = match file {
        Some(file) => Plan::of(name, read(file)?, &file.display().to_string())?,
        None => Plan::of(name, default_config(name), "the default configuration")?,
    };
    plan.spec.share(more.disk);
    if let Some(device) = more.arbiter_disk {
        plan.spec.share_for_arbiter(device);
    }
    for (from, to) in more.put {
        let seeds =
            seeds(from, to).map_err(|e| Trouble::usage(format!("cannot read {}: {e}", from.display())))?;
        for machine in &mut plan.spec.machines {
            machine.files.extend(seeds.iter().cloned());
        }
    }
    let began = Instant::now();
    screen.say(&format!("building the lab {name}: {}\n", inventory(&plan)))?;
    // Until its cluster runs, a lab on a leash goes down with this process, also by Ctrl-C.
    let lab = Lab::up_leashed(&plan.spec)?;
    let formed = start(screen, &lab, &plan, began);
    match formed {
        Err(trouble) if trouble.exit != Exit::Unsettled => return Err(trouble),
        _ => {}
    }
    let lab = lab.stay()?;
    formed.map_err(|t| {
        t.next(format!("the lab stays up to look at; when done: regent lab down --name {name}"))
    })?;
    let option = option(&lab);
    screen.value(
        &json!({ "lab": name, "folder": lab.folder().path(), "seconds": began.elapsed().as_secs_f64() }),
    )?;
    screen.say(&what_to_type(name, &option, file.is_none(), &plan, screen.paint))
}

/// A file, or the files of a folder and of those in it, as the machines shall find them at `to`. A link to a file by
/// its absolute path is one there too.
fn seeds(from: &Path, to: &Path) -> std::io::Result<Vec<SeedFile>> {
    if from.is_dir() {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            all.extend(seeds(&entry.path(), &to.join(entry.file_name()))?);
        }
        return Ok(all);
    }
    if let Some(target) = std::fs::read_link(from).ok().filter(|target| target.is_absolute()) {
        return Ok(vec![SeedFile::link(to, &target)]);
    }
    let mode = std::fs::metadata(from)?.permissions().mode() & 0o7777;
    Ok(vec![SeedFile { path: to.to_owned(), mode, content: std::fs::read(from)? }])
}

fn start(screen: &Screen, lab: &Lab, plan: &Plan, began: Instant) -> Result<()> {
    let tell = |words: &str| screen.say(&format!("{:6.1} s  {words}\n", began.elapsed().as_secs_f64()));
    tell("the machines have booted")?;
    let client = form(lab, plan, tell)?;
    let mut steps = Steps::from_now(&client, manner(screen, false))?;
    let (_, serial) = client::config(&client)?;
    let wait = Wait {
        wish: Wish::Config { serial, unwell: Vec::new() },
        limit: PATIENCE,
        hold: plan.config.timers.lease,
        leaves: None,
    };
    let settled = until(&client, screen, &wait, &mut steps, Instant::now())
        .map_err(|t| Trouble { exit: Exit::Unsettled, ..t })?;
    wait_for_votes(&client)?;
    tell(&settled.words)
}

/// What a lab is made of, in words.
pub(super) fn inventory(plan: &Plan) -> String {
    let names = |list: Vec<&str>| list.join(", ");
    let nodes = names(plan.config.nodes.iter().map(|n| n.name.as_str()).collect());
    let witnesses = names(plan.config.witnesses.iter().map(|n| n.name.as_str()).collect());
    let witnesses = if witnesses.is_empty() { String::new() } else { format!(", witness {witnesses}") };
    let disks: Vec<String> = plan.spec.disks.iter().map(|d| d.device.display().to_string()).collect();
    let disks = if disks.is_empty() { String::new() } else { format!(", shared disk {}", disks.join(", ")) };
    format!("nodes {nodes}{witnesses}, a client, {} networks{disks}, a power switch", plan.spec.networks())
}

/// The commands that a person wants now.
fn what_to_type(name: &str, option: &str, default: bool, plan: &Plan, paint: Paint) -> String {
    let node = plan.config.nodes.first().map_or("NODE", |n| n.name.as_str());
    let lab = if option == "--lab" { String::new() } else { format!(" --name {name}") };
    let mut lines = vec![
        (format!("regent status {option}"), "the cluster at a glance".to_owned()),
        (format!("regent lab off {node}{lab}"), format!("cut the power of {node}")),
        (format!("regent events {option}"), "what happened, step by step".into()),
        (format!("regent lab on {node}{lab}"), format!("boot {node} again")),
        (format!("regent lab run {node}{lab} -- bash"), format!("a shell in {node}")),
        (format!("regent lab down{lab}"), "end it; nothing of it is left".into()),
    ];
    if default {
        let probe = format!("regent lab probe {SERVICE}:{LEDGER_PORT}{lab}");
        lines.insert(3, (probe, "what a client notices of it".into()));
    }
    let row = |(command, what): &(String, String)| vec![Cell::new(Tone::Strong, command), Cell::plain(what)];
    let rows: Vec<Vec<Cell>> = lines.iter().map(row).collect();
    format!("\nThe lab {name} is up. What to type next:\n{}", table(&rows, "  ", paint))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_by_an_absolute_path_is_one_in_the_machines_too() {
        let folder = std::env::temp_dir().join(format!("regent-test-put-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("inner/script"), "exit 0\n").unwrap();
        symlink("/usr/local/bin/regent", folder.join("ccontrol")).unwrap();
        symlink("inner/script", folder.join("short")).unwrap();
        let mut all = seeds(&folder, Path::new("/usr/bin")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(all[0], SeedFile::link("/usr/bin/ccontrol", Path::new("/usr/local/bin/regent")));
        let held = |seed: &SeedFile| (seed.path.display().to_string(), seed.content.clone());
        assert_eq!(held(&all[1]), ("/usr/bin/inner/script".into(), b"exit 0\n".to_vec()));
        assert_eq!(held(&all[2]), ("/usr/bin/short".into(), b"exit 0\n".to_vec()));
    }
}
