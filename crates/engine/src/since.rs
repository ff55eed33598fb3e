//! Since when: how long each node was heard, how long the leader leads, and what time its wall shows.
//!
//! Nothing of it is in the log. Another leader counts by its own memory: the settling time begins anew with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regent_model::Moment;
use regent_model::config::LocalTime;
use regent_model::figure::Figures;
use regent_model::ids::{Epoch, GroupName, Incarnation, IncarnationOf, NodeId};
use regent_planner::View;

use crate::engine::Engine;
use crate::portal::Portals;

/// So long after its beginning, or a lease if that is longer, a daemon that has not heard a node says that it has only
/// begun. Nothing is decided by it.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// What this daemon remembers of times.
pub(crate) struct Since {
    /// When this daemon began.
    began: Moment,
    /// Since when each incarnation is heard without a break.
    heard: BTreeMap<IncarnationOf, Moment>,
    /// Everyone who was ever heard.
    met: BTreeSet<IncarnationOf>,
    /// Since when the present leader leads, as far as this node knows.
    pub(crate) leader: Moment,
    /// How many seconds the local time is ahead of UTC, once the daemon has said so.
    pub(crate) utc_offset_s: Option<i32>,
    /// Since when this node has the groups that say so at their addresses.
    pub(crate) portals: Portals,
    /// As leader: the words on which groups are free, since when this node leads with them, and whether they were old then.
    pub(crate) words: BTreeMap<(GroupName, Epoch), (Moment, bool)>,
}

impl Since {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            began: now,
            heard: BTreeMap::new(),
            met: BTreeSet::new(),
            leader: now,
            utc_offset_s: None,
            portals: Portals::default(),
            words: BTreeMap::new(),
        }
    }

    pub(crate) fn heard(&mut self, about: IncarnationOf, now: Moment) {
        self.heard.retain(|known, _| known.node != about.node || *known == about);
        self.heard.entry(about).or_insert(now);
        self.met.insert(about);
    }

    /// Nobody but these is heard any more.
    pub(crate) fn only(&mut self, heard: &BTreeMap<NodeId, Incarnation>, me: NodeId) {
        self.heard.retain(|about, _| about.node == me || heard.get(&about.node) == Some(&about.incarnation));
    }

    pub(crate) fn all_silent(&mut self) {
        self.heard.clear();
    }
}

impl Engine {
    /// How long everyone who is heard was heard without a break.
    pub(crate) fn heard_for(&self) -> BTreeMap<IncarnationOf, Duration> {
        self.since.heard.iter().map(|(about, since)| (*about, self.now.since(*since))).collect()
    }

    /// How long ago this daemon began, while that is all there is to say of this node's not having been heard: it
    /// belongs to the cluster, this daemon never heard it in this life, and nobody has promised anything about it.
    pub(crate) fn not_heard_yet(&self, node: NodeId) -> Option<Duration> {
        let life = self.state.living(node)?;
        let begun = self.now.since(self.since.began);
        let is_new = begun < FIRST_WORDS.max(self.state.config.timers.lease);
        let doubted = self.promises.keys().chain(&self.own_promises).any(|promise| promise.about == life);
        (is_new && !self.since.met.contains(&life) && !doubted).then_some(begun)
    }

    /// What the planner goes by, for people: with those who are not heard yet because this daemon has only begun.
    pub(crate) fn view_to_show(&self) -> View {
        let mut view = self.view();
        let nodes = self.state.lives.keys().filter(|node| self.not_heard_yet(**node).is_some());
        view.heard.extend(nodes.filter_map(|node| self.state.living(*node)));
        view
    }

    /// What every node has measured, as it said last.
    pub(crate) fn all_figures(&self) -> BTreeMap<NodeId, Figures> {
        let told = self.facts.iter().filter(|(_, f)| !f.figures.is_empty());
        let mut all: BTreeMap<NodeId, Figures> = told.map(|(node, f)| (*node, f.figures.clone())).collect();
        if !self.figures.is_empty() {
            all.insert(self.me.id, self.figures.clone());
        }
        all
    }

    pub(crate) fn met(&self) -> BTreeSet<IncarnationOf> {
        self.since.met.clone()
    }

    /// What is left of the settling time.
    pub(crate) fn settling(&self) -> Option<Duration> {
        let left = self.state.config.settling_time.saturating_sub(self.now.since(self.since.leader));
        (!left.is_zero()).then_some(left)
    }

    /// The time on the wall of this node.
    pub(crate) fn local_time(&self) -> Option<LocalTime> {
        self.since.utc_offset_s.map(|offset| LocalTime::of(self.wall_ms, offset))
    }
}
