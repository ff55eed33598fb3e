//! Which service addresses of this node say over HTTP who has them, and what they say.
//!
//! A portal is open while its address is up here. It is taken out of the list in the step that asks for the release of
//! its address, so that it is closed before the address goes.

use std::collections::BTreeMap;

use regent_api::portal::{Portal, PortalInstance, PortalPage};
use regent_model::config::{GroupConfig, InstanceConfig};
use regent_model::ids::{Epoch, GroupName};
use regent_model::state::{Ownership, Phase};

use crate::engine::Engine;
use crate::io::ResourceWord;

/// What was said of portals last.
#[derive(Default)]
pub(crate) struct Portals {
    told: Vec<Portal>,
    /// Since when each group has its epoch, on this node's wall.
    since: BTreeMap<GroupName, (Epoch, u64)>,
}

/// What the page says of an instance.
fn instance(config: &InstanceConfig) -> PortalInstance {
    PortalInstance {
        name: config.name.to_string(),
        kind: config.kind,
        directory: config.directory.clone(),
        configuration: config.kind.settings_file().map(|file| config.directory.join(file)),
    }
}

impl Engine {
    /// Tells the daemon which portals are open now, when that or what they say has changed.
    pub(crate) fn follow_portals(&mut self) {
        let wanted = |g: &GroupConfig| g.addresses.iter().any(|a| a.portal.is_some());
        let groups: Vec<_> = self.state.config.groups.iter().filter(|g| wanted(g)).cloned().collect();
        if groups.is_empty() && self.since.portals.told.is_empty() {
            return;
        }
        self.since.portals.since.retain(|name, _| groups.iter().any(|g| g.name == *name));
        let open: Vec<Portal> = groups.iter().flat_map(|group| self.portals_of(group)).collect();
        if open != self.since.portals.told {
            self.since.portals.told.clone_from(&open);
            self.out.portals = Some(open);
        }
    }

    fn portals_of(&mut self, group: &GroupConfig) -> Vec<Portal> {
        let Some(sequencer) = self.sequencers.get(&group.name) else { return Vec::new() };
        let words = sequencer.words();
        let Some(owned) = self.state.ownership(&group.name).cloned() else { return Vec::new() };
        if owned.owner.node != self.me.id || owned.epoch != sequencer.epoch() {
            return Vec::new();
        }
        let is_up = |name| {
            let word = words.iter().find(|(known, _)| known == name).map(|(_, word)| *word);
            matches!(word, Some(ResourceWord::Running | ResourceWord::Slow | ResourceWord::Unwell))
        };
        let up: Vec<_> = group.addresses.iter().filter(|a| is_up(&a.name)).collect();
        if up.is_empty() {
            return Vec::new();
        }
        let page = self.portal_page(group, &owned, &words);
        let open = up.iter().filter_map(|a| {
            let here = group.instances.iter().filter(|i| i.address.is_none_or(|at| at == a.address));
            let page = PortalPage { instances: here.map(|i| instance(i)).collect(), ..page.clone() };
            Some(Portal { address: a.address, port: a.portal?, page })
        });
        open.collect()
    }

    fn portal_page(
        &mut self,
        group: &GroupConfig,
        owned: &Ownership,
        words: &[(regent_model::ResourceName, ResourceWord)],
    ) -> PortalPage {
        let state = match &owned.phase {
            _ if owned.without_lease => "unmanaged",
            Phase::Acquiring => "acquiring",
            Phase::Online => "online",
            Phase::Releasing(_) => "releasing",
            Phase::Stuck(_) => "stuck",
            Phase::AwaitsReboot => "awaits reboot",
        };
        let word = |name| {
            let word = words.iter().find(|(known, _)| known == name).map(|(_, word)| word.word());
            word.unwrap_or("stopped").to_owned()
        };
        let resources = group.resources();
        let resources =
            resources.iter().map(|r| (r.name().clone(), r.kind().to_owned(), word(r.name()))).collect();
        PortalPage {
            cluster: self.state.config.cluster.to_string(),
            group: group.name.clone(),
            instances: Vec::new(),
            node: self.me.name.clone(),
            state: state.to_owned(),
            epoch: owned.epoch,
            since_ms: self.owned_since(&group.name, owned.epoch),
            proof: owned.proof.word().to_owned(),
            resources,
            config_serial: self.state.config_serial,
            version: self.me.version.clone(),
        }
    }

    /// Since when a group has its epoch. A daemon that has begun anew finds it in the journal.
    fn owned_since(&mut self, group: &GroupName, epoch: Epoch) -> u64 {
        if let Some((known, since)) = self.since.portals.since.get(group)
            && *known == epoch
        {
            return *since;
        }
        let earlier = self.chronicle.began(group, epoch);
        let since = earlier.map_or(self.wall_ms, |ms| ms.min(self.wall_ms));
        self.since.portals.since.insert(group.clone(), (epoch, since));
        since
    }
}
