//! What the guard must know of its machine's watchdog device.

use regent_lease::FromDaemon;
use regent_lease::io::WatchdogWish;
use regent_model::proof::Need;

use crate::engine::Engine;

impl Engine {
    /// Tells the guard which device to feed, and for whom, when that has changed.
    pub(crate) fn tell_watchdog(&mut self) {
        let Some(me) = self.state.members.get(&self.me.id).map(|member| &member.name) else { return };
        let own = self.state.config.nodes.iter().find(|node| node.name == *me);
        let watched = |name: &&regent_model::GroupName| {
            self.state.definition(name).is_some_and(|group| group.needs.contains(&Need::Watchdog))
        };
        let wish = WatchdogWish {
            device: own.and_then(|node| node.watchdog.clone()),
            groups: self.state.groups.keys().filter(watched).cloned().collect(),
        };
        if self.watchdog_told.as_ref() != Some(&wish) {
            self.out.guard.push(FromDaemon::Watchdog(wish.clone()));
            self.watchdog_told = Some(wish);
        }
    }
}
