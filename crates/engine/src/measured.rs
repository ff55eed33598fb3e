//! How long the steps of groups took, as the journal has measured them; what was not measured is assumed.

use std::collections::BTreeMap;
use std::time::Duration;

use regent_api::{Part, Source};
use regent_model::action::Resource;
use regent_model::config::Config;
use regent_model::ids::{GroupName, NodeId, ResourceName};
use regent_model::state::{FenceRequest, State};
use regent_planner::foresee::Costs;

use crate::chronicle::Chronicle;

/// What a step is taken to last before it was ever measured.
const ASSUMED_VOLUME: Duration = Duration::from_secs(1);
const ASSUMED_FILESYSTEM: Duration = Duration::from_millis(500);
const ASSUMED_ADDRESS: Duration = Duration::from_millis(50);
const ASSUMED_APPLICATION: Duration = Duration::from_secs(1);
const ASSUMED_FENCE: Duration = Duration::from_secs(3);
const ASSUMED_REBOOT: Duration = Duration::from_secs(60);

type Samples = BTreeMap<(&'static str, GroupName, ResourceName), Vec<Duration>>;

/// Times from the journal.
pub(crate) struct Measured<'a> {
    config: &'a Config,
    steps: Samples,
    fences: Vec<Duration>,
}

impl<'a> Measured<'a> {
    /// The times for the groups of a state, as far as the journal has them.
    pub(crate) fn of(state: &'a State, chronicle: &Chronicle) -> Self {
        let mut steps = Samples::new();
        let mut fences = Vec::new();
        for entry in chronicle.all() {
            let Some(took) = entry.took else { continue };
            let kind = match entry.kind.as_str() {
                "acquire" => "acquire",
                "release" => "release",
                "fence" => {
                    fences.push(took);
                    continue;
                }
                _ => continue,
            };
            if let (Some(group), Some(resource)) = (&entry.group, &entry.resource) {
                steps.entry((kind, group.clone(), resource.clone())).or_default().push(took);
            }
        }
        Self { config: &state.config, steps, fences }
    }

    /// The steps of a group in one direction.
    pub(crate) fn parts(&self, kind: &'static str, group: &GroupName) -> Vec<Part> {
        let Some(config) = self.config.group(group) else { return Vec::new() };
        let mut resources = config.resources();
        if kind == "release" {
            resources.reverse();
        }
        resources.iter().map(|resource| self.part(kind, group, resource)).collect()
    }

    fn part(&self, kind: &'static str, group: &GroupName, resource: &Resource) -> Part {
        let what = format!("{kind} {} {}", resource.kind(), resource.name());
        let key = (kind, group.clone(), resource.name().clone());
        let (takes, from) = match self.steps.get(&key) {
            Some(samples) => (median(samples), Source::Measured(samples.len())),
            None => {
                let assumed = match resource {
                    Resource::Volume(_) => ASSUMED_VOLUME,
                    Resource::Filesystem(_) => ASSUMED_FILESYSTEM,
                    Resource::Address(_) => ASSUMED_ADDRESS,
                    Resource::Instance(_) | Resource::Application(_) => ASSUMED_APPLICATION,
                };
                (assumed, Source::Assumed)
            }
        };
        Part { what, takes, from }
    }

    fn sum(&self, kind: &'static str, group: &GroupName) -> Duration {
        self.parts(kind, group).iter().map(|p| p.takes).sum()
    }

    /// How long the devices of a request take to confirm, and where that is known from.
    pub(crate) fn fencing(&self, request: &FenceRequest) -> (Duration, Source) {
        if !self.fences.is_empty() {
            return (median(&self.fences), Source::Measured(self.fences.len()));
        }
        let devices = self.config.fences.iter().filter(|f| request.devices.contains(&f.name));
        let slowest = devices.map(|f| f.timeout.min(ASSUMED_FENCE)).max();
        (slowest.unwrap_or_default(), Source::Assumed)
    }
}

impl Costs for Measured<'_> {
    fn acquire(&self, group: &GroupName, _: NodeId) -> Duration {
        self.sum("acquire", group)
    }
    fn release(&self, group: &GroupName, _: NodeId) -> Duration {
        self.sum("release", group)
    }
    fn reboot(&self, _: NodeId) -> Option<Duration> {
        Some(ASSUMED_REBOOT)
    }
    fn fence(&self, request: &FenceRequest) -> Option<Duration> {
        Some(self.fencing(request).0)
    }
}

fn median(samples: &[Duration]) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_no_outlier() {
        let ms = |n: &[u64]| n.iter().map(|n| Duration::from_millis(*n)).collect::<Vec<_>>();
        assert_eq!(median(&ms(&[5, 9_000, 7])), Duration::from_millis(7));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
