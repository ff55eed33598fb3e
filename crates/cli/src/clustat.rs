//! `clustat`: the screen of Red Hat Cluster Manager 1.0, of this cluster, as the node sees it that is asked.

mod layout;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use regent_api::{GroupStatus, NodeStatus, Status};
use regent_model::GroupName;
use regent_model::config::{Config, FenceConfig, FenceKind, duration_text, parse_shown};
use regent_model::journal::Entry;
use serde_json::{Value, json};

use crate::args::ClustatArgs;
use crate::client::{self, Asks};
use crate::follow::{self, wall_ms};
use crate::orders;
use crate::screen::Screen;
use crate::trouble::{Result, Trouble};

pub(crate) use layout::clock;
pub use layout::{render, services};

/// More than a node keeps.
const ALL_EVENTS: usize = 100_000;

/// What a group does, in the words of that screen.
#[must_use]
pub fn word(group: &GroupStatus) -> &'static str {
    match group.state.as_str() {
        "online" => "running",
        "acquiring" => "starting",
        "releasing" | "awaits reboot" => "stopping",
        "disabled" => "disabled",
        "offline" => "stopped",
        "unknown" => "unknown",
        // What it holds, or why it does not run, is a matter for a person.
        _ => "error",
    }
}

/// Everything that the screen shows.
#[derive(Debug, Clone)]
pub struct View {
    /// The cluster.
    pub status: Status,
    /// Its configuration, where it can be read.
    pub config: Option<Config>,
    /// What its journal says of the services.
    pub history: History,
    /// Now, in milliseconds since 1970.
    pub now_ms: u64,
    /// The time zone of the reader.
    pub zone: TimeZone,
}

/// What a journal says of services.
#[derive(Debug, Clone, Default)]
pub struct History {
    after: u64,
    /// When each one last became something else, in milliseconds since 1970.
    changed_ms: BTreeMap<GroupName, u64>,
    /// How often something of it was restarted where it is, by ownership.
    restarts: BTreeMap<(GroupName, u64), usize>,
}

impl History {
    /// Takes in what is new.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn learn(&mut self, asks: &dyn Asks) -> Result<()> {
        let (entries, last) = follow::events(asks, self.after, ALL_EVENTS)?;
        if last < self.after {
            // The daemon was restarted, and counts anew.
            *self = Self::default();
            return self.learn(asks);
        }
        self.after = last;
        entries.iter().for_each(|entry| self.take(entry));
        Ok(())
    }

    fn take(&mut self, entry: &Entry) {
        const CHANGES: [&str; 7] =
            ["assigned", "online", "release_begins", "vacated", "group_failed", "stuck", "awaits_reboot"];
        let Some(group) = &entry.group else { return };
        if CHANGES.contains(&entry.kind.as_str()) {
            let at = self.changed_ms.entry(group.clone()).or_default();
            *at = entry.wall_ms.max(*at);
        }
        if let ("restart", Some(epoch)) = (entry.kind.as_str(), entry.epoch) {
            *self.restarts.entry((group.clone(), epoch.0)).or_default() += 1;
        }
    }

    fn changed_ms(&self, group: &GroupStatus) -> Option<u64> {
        self.changed_ms.get(&group.name).copied()
    }

    fn restarts(&self, group: &GroupStatus) -> usize {
        self.restarts.get(&(group.name.clone(), group.epoch.0)).copied().unwrap_or_default()
    }
}

impl View {
    /// Looks at the cluster.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn look(asks: &dyn Asks, mut history: History, zone: &TimeZone, clock: fn() -> u64) -> Result<Self> {
        let status = client::status(asks)?;
        let (text, _) = client::config(asks)?;
        history.learn(asks)?;
        let config = parse_shown(&text, None).config;
        Ok(Self { status, config, history, now_ms: clock(), zone: zone.clone() })
    }

    /// How often a service's own application is asked, in seconds; 0 = never.
    #[must_use]
    pub fn interval(&self, group: &GroupStatus) -> String {
        let config = self.config.as_ref().and_then(|c| c.group(&group.name));
        // The user script, or what comes first; a Samba server of the group's own is none of them.
        let of = |g: &&std::sync::Arc<regent_model::config::GroupConfig>| {
            let own = || g.applications.iter().filter(|a| a.samba.is_none());
            own().find(|a| a.script.is_some()).or_else(|| own().next()).map(|a| a.monitor.interval)
        };
        seconds(config.as_ref().and_then(of).unwrap_or_default())
    }

    /// What is known of the device that cuts a node's power.
    #[must_use]
    pub fn power(&self, node: &NodeStatus) -> &'static str {
        let power = |f: &&std::sync::Arc<FenceConfig>| f.kind == FenceKind::Power;
        let devices = || self.config.iter().flat_map(|c| c.fences_of(&node.name)).filter(power);
        let in_doubt = |device: &str| {
            let about = format!("fence device {device} ");
            self.status.nodes.iter().flat_map(|n| &n.troubles).any(|t| t.contains(&about))
        };
        let asked = format!("{} by ", node.name);
        if devices().next().is_none() {
            "None"
        } else if self.status.fencing.iter().any(|f| f.starts_with(&asked))
            || devices().any(|d| in_doubt(&d.name))
        {
            "Wrn"
        } else if is_up(node) {
            "Good"
        } else {
            "Unknown"
        }
    }
}

/// Whole seconds as a number, anything else with its unit.
#[must_use]
pub fn seconds(time: Duration) -> String {
    if time.subsec_nanos() == 0 { time.as_secs().to_string() } else { duration_text(time) }
}

/// Whether a member takes part.
#[must_use]
pub fn is_up(node: &NodeStatus) -> bool {
    matches!(node.state.as_str(), "up" | "standby" | "stopping")
}

/// The pairs of members that hear each other, or do not, by what the answering node hears: the other node, the number
/// of the network from 1, and whether it is heard.
pub fn heartbeats(status: &Status) -> impl Iterator<Item = (&NodeStatus, usize, bool)> {
    let others = status.nodes.iter().filter(|n| n.name != status.node);
    others.flat_map(|node| {
        (1..).zip(&node.networks).filter_map(move |(number, n)| Some((node, number, n.heard?)))
    })
}

/// `clustat`.
///
/// # Errors
/// When the daemon does not answer, or what was asked for is not so.
pub fn run(asks: &dyn Asks, screen: &Screen, args: &ClustatArgs) -> Result<()> {
    let zone = TimeZone::system();
    let mut view = View::look(asks, History::default(), &zone, wall_ms)?;
    if !args.quiet {
        show(&view, screen, args)?;
    }
    while let Some(seconds) = args.interval {
        std::thread::sleep(Duration::from_secs(seconds.into()));
        view = View::look(asks, view.history, &zone, wall_ms)?;
        show(&view, screen, args)?;
    }
    judged(&view, args)
}

/// The exit code: nothing is printed for it, the screen has said it.
fn judged(view: &View, args: &ClustatArgs) -> Result<()> {
    let said = |what: String| Err(Trouble::refused(if args.quiet { String::new() } else { what }));
    if let Some(name) = &args.service {
        let groups = orders::groups_of(&view.status, name)?;
        if let Some(group) = groups.into_iter().find(|g| word(g) != "running") {
            return said(format!("{} is {}", group.name, word(group)));
        }
    }
    if args.quiet && !view.status.quorate {
        return said(String::new());
    }
    Ok(())
}

fn show(view: &View, screen: &Screen, args: &ClustatArgs) -> Result<()> {
    screen.value(&as_json(view, args.service.as_deref()))?;
    let text = match &args.service {
        Some(name) => {
            orders::groups_of(&view.status, name)?;
            services(view, Some(name))
        }
        None => render(view),
    };
    let page = args.interval.is_some() && screen.watched;
    screen.say(if page { "\u{1b}[H\u{1b}[2J\u{1b}[3J" } else { "" })?;
    screen.say(&text)
}

/// The same for programs.
#[must_use]
pub fn as_json(view: &View, only: Option<&str>) -> Value {
    let status = &view.status;
    let members = status.nodes.iter().enumerate().map(|(id, node)| {
        let state = if is_up(node) { "UP" } else { "DOWN" };
        json!({ "member": node.name, "status": state, "id": id, "power_switch": view.power(node), "state": node.state })
    });
    let beats = heartbeats(status).map(|(node, network, heard)| {
        let state = if heard { "ONLINE" } else { "OFFLINE" };
        json!({ "members": [status.node, node.name], "type": "network", "network": network, "status": state })
    });
    let services = status.groups.iter().filter(|g| is_meant(g, only)).map(|group| {
        json!({
            "service": group.name,
            "status": word(group),
            "owner": group.owner,
            "last_transition_ms": view.history.changed_ms(group),
            "monitor_interval": view.interval(group),
            "restart_count": view.history.restarts(group),
            "state": group.state,
            "why": group.blocked,
            "next": group.advice,
            "pending": group.pending,
        })
    });
    json!({
        "cluster": status.cluster,
        "node": status.node,
        "time_ms": view.now_ms,
        "quorate": status.quorate,
        "members": members.collect::<Vec<_>>(),
        "heartbeats": beats.collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(),
    })
}

fn is_meant(group: &GroupStatus, only: Option<&str>) -> bool {
    only.is_none_or(|name| group.name.as_str() == name || group.name.base() == name)
}
