//! Measures what groups choose their next node by, on a thread of its own. Where no group does, it sleeps.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use regent_agents::figures::{Load, free_memory_mib, script};
use regent_engine::Input;
use regent_model::NodeName;
use regent_model::config::{Config, GroupConfig};
use regent_model::figure::{Figure, Figures};

use crate::inbox::Inbox;

/// How often memory, processors and disks are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Follows every configuration that is sent to it.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(me: NodeName, inbox: Inbox) -> io::Result<Sender<Config>> {
    let (sender, configs) = channel();
    let tell = move |figures| inbox.push(Input::Measured(figures));
    std::thread::Builder::new().name("figures".into()).spawn(move || measure(&configs, &me, tell))?;
    Ok(sender)
}

fn measure(configs: &Receiver<Config>, me: &NodeName, tell: impl Fn(Figures)) {
    let Ok(mut config) = configs.recv() else { return };
    let mut told = Figures::new();
    let mut load: Option<Load> = None;
    let mut scripts: BTreeMap<Figure, (Instant, Option<i64>)> = BTreeMap::new();
    loop {
        let groups: Vec<&GroupConfig> = config
            .groups
            .iter()
            .map(|g| &**g)
            .filter(|g| g.figure().is_some() && g.nodes.contains(me))
            .collect();
        let figures = look(&groups, &mut load, &mut scripts);
        if figures != told {
            told.clone_from(&figures);
            tell(figures);
        }
        let shortest = groups.iter().filter_map(|g| g.figure_script.as_ref()).map(|s| s.interval).min();
        let next = if groups.is_empty() {
            load = None;
            configs.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            configs.recv_timeout(shortest.unwrap_or(EVERY).min(EVERY))
        };
        match next {
            Ok(newer) => config = newer,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn look(
    groups: &[&GroupConfig],
    load: &mut Option<Load>,
    scripts: &mut BTreeMap<Figure, (Instant, Option<i64>)>,
) -> Figures {
    let mut figures = Figures::new();
    if groups.is_empty() {
        return figures;
    }
    let now = Load::now();
    let since = now.as_ref().zip(load.as_ref());
    for group in groups {
        let Some(figure) = group.figure() else { continue };
        let value = match (&figure, &group.figure_script) {
            (Figure::FreeMemory, _) => free_memory_mib(),
            (Figure::IdleCpu, _) => since.and_then(|(now, before)| now.idle_cpu(before)),
            (Figure::DiskIdle, _) => since.and_then(|(now, before)| now.disk_idle(before)),
            (Figure::Script(_), Some(s)) => match scripts.get(&figure) {
                Some((at, value)) if at.elapsed() < s.interval => *value,
                _ => {
                    let value = script(&s.command, s.timeout);
                    scripts.insert(figure.clone(), (Instant::now(), value));
                    value
                }
            },
            (Figure::Script(_), None) => None,
        };
        figures.extend(value.map(|value| (figure, value)));
    }
    *load = now;
    figures
}
