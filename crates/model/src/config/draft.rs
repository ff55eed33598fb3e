//! What was read so far: the typed parts, and the places that the cross-checks point at.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::arbiter::ArbiterDraft;
use super::bind::Wanted;
use super::claims::{ClaimsDraft, Port};
use super::event::{EventDraft, EventRules};
use super::failback::FailbackDraft;
use super::finding::Span;
use super::instance::InstanceDraft;
use super::prepare::PrepareDraft;
use super::share::ShareDraft;
use super::tree::At;
use super::{
    AdapterRole, AddressConfig, ApplicationConfig, FenceConfig, FilesystemConfig, IpTakeover, NodeConfig,
    OnDown, Policy, Prefixed, Priority, ReleaseEnd, Startup, Timers, VolumeConfig, subnet, volume,
};
use crate::figure::FigureScript;
use crate::proof::Need;

/// The whole file. A part that is wrong is missing here and was reported.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) cluster: Option<ClusterDraft>,
    pub(super) networks: Vec<NetworkDraft>,
    pub(super) nodes: Vec<MemberDraft>,
    pub(super) witnesses: Vec<MemberDraft>,
    pub(super) arbiter: Option<ArbiterDraft>,
    pub(super) fences: Vec<FenceDraft>,
    pub(super) groups: Vec<GroupDraft>,
    pub(super) instances: Vec<InstanceDraft>,
    pub(super) events: Vec<EventDraft>,
}

impl Draft {
    /// Nodes, then witnesses.
    pub(super) fn members(&self) -> impl Iterator<Item = &MemberDraft> {
        self.nodes.iter().chain(&self.witnesses)
    }

    /// The node of that name.
    pub(super) fn node(&self, name: &str) -> Option<&MemberDraft> {
        self.nodes.iter().find(|n| n.name.as_ref().is_some_and(|at| at.value == name))
    }

    /// Whether some node's or witness's name could not be read, so that an unknown name may well be its.
    pub(super) fn has_nameless_member(&self) -> bool {
        self.members().any(|m| m.name.is_none())
    }
}

#[derive(Debug)]
pub(super) struct ClusterDraft {
    pub(super) header: Span,
    pub(super) name: Option<At<String>>,
    pub(super) takeover: String,
    /// Where `takeover` is written, if it is.
    pub(super) takeover_span: Option<Span>,
    /// `None` when `takeover` is wrong.
    pub(super) timers: Option<Timers>,
    pub(super) settling_time: Duration,
    pub(super) port: u16,
    pub(super) rules: EventRules,
    pub(super) verify_at: Option<u16>,
}

#[derive(Debug)]
pub(super) struct MemberDraft {
    pub(super) header: Span,
    pub(super) name: Option<At<String>>,
    /// One per network; `None` where it could not be read.
    pub(super) addresses: Vec<Option<At<IpAddr>>>,
    /// The list itself, if there is one.
    pub(super) list: Option<Span>,
    pub(super) adapters: Vec<AdapterDraft>,
    pub(super) persistent: Vec<At<Prefixed>>,
    pub(super) watchdog: Option<At<PathBuf>>,
    pub(super) config: Option<NodeConfig>,
}

impl MemberDraft {
    /// Its name for a message.
    pub(super) fn title(&self) -> &str {
        self.name.as_ref().map_or("this one", |n| &n.value)
    }

    /// Every address that could be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = &At<IpAddr>> {
        self.addresses.iter().flatten()
    }
}

#[derive(Debug)]
pub(super) struct NetworkDraft {
    pub(super) header: Span,
    pub(super) name: Option<At<String>>,
    pub(super) on_down: OnDown,
    pub(super) takeover: IpTakeover,
}

#[derive(Debug)]
pub(super) struct AdapterDraft {
    pub(super) header: Span,
    pub(super) interface: Option<At<String>>,
    pub(super) network: Option<At<String>>,
    pub(super) role: AdapterRole,
    /// Its boot address.
    pub(super) boot: Option<At<Prefixed>>,
}

#[derive(Debug)]
pub(super) struct FenceDraft {
    pub(super) name: Option<At<String>>,
    pub(super) nodes: Option<At<Vec<At<String>>>>,
    /// What it cuts a node off from; none for one that cuts power.
    pub(super) disks: Vec<At<PathBuf>>,
    /// The keys of `plugs`.
    pub(super) plugs: Vec<At<String>>,
    /// The keys of `delay`.
    pub(super) delays: Vec<At<String>>,
    /// The options whose values are not shown.
    pub(super) hidden: Vec<At<String>>,
    pub(super) config: Option<FenceConfig>,
}

#[derive(Debug)]
pub(super) struct GroupDraft {
    pub(super) header: Span,
    pub(super) name: Option<At<String>>,
    pub(super) nodes: Option<At<Vec<At<String>>>>,
    pub(super) policy: Option<At<Policy>>,
    pub(super) figure_script: Option<FigureScript>,
    pub(super) failback: FailbackDraft,
    pub(super) relations: RelationsDraft,
    /// What the group accepts as proof.
    pub(super) needs: Vec<Need>,
    /// Where that is written, if it is.
    pub(super) needs_span: Option<Span>,
    /// When its release is complete, and where that is written, if it is.
    pub(super) release: Option<At<ReleaseEnd>>,
    pub(super) hostname: Option<At<String>>,
    pub(super) prepare: PrepareDraft,
    pub(super) requires: crate::survey::Limits,
    pub(super) requires_ports: Vec<At<Port>>,
    pub(super) events: Vec<EventDraft>,
    pub(super) volumes: Vec<VolumeDraft>,
    pub(super) filesystems: Vec<FilesystemDraft>,
    pub(super) addresses: Vec<AddressDraft>,
    pub(super) shares: Vec<ShareDraft>,
    pub(super) applications: Vec<ApplicationDraft>,
}

impl GroupDraft {
    /// Its name for a message.
    pub(super) fn title(&self) -> &str {
        self.name.as_ref().map_or("this group", |n| &n.value)
    }

    /// Where a finding about the group as a whole points.
    pub(super) fn place(&self) -> &Span {
        self.name.as_ref().map_or(&self.header, |n| &n.span)
    }

    /// Whether it runs on all its nodes at once.
    pub(super) fn is_concurrent(&self) -> bool {
        self.policy.as_ref().is_some_and(|p| p.value.startup == Startup::All)
    }

    /// The concurrent groups that its applications need.
    pub(super) fn clients(&self) -> impl Iterator<Item = &At<String>> {
        self.applications.iter().flat_map(|a| &a.clients)
    }

    /// The networks of its addresses, each once.
    pub(super) fn networks(&self) -> BTreeSet<String> {
        let addresses = self.addresses.iter().filter_map(|a| a.address.as_ref());
        addresses.map(|at| subnet::network_text(at.value.0, at.value.1)).collect()
    }

    /// The names of its nodes.
    pub(super) fn node_names(&self) -> impl Iterator<Item = &At<String>> {
        self.nodes.iter().flat_map(|list| &list.value)
    }

    /// Whether two owners at once could both write what only one may write.
    pub(super) fn has_shared_writer(&self) -> bool {
        !self.volumes.is_empty() || self.filesystems.iter().any(FilesystemDraft::is_shared)
    }

    /// The first device that two owners at once could both write.
    pub(super) fn shared_device(&self) -> Option<&At<PathBuf>> {
        self.filesystems.iter().find_map(FilesystemDraft::shared_device)
    }

    /// The names of all its resources.
    pub(super) fn resource_names(&self) -> impl Iterator<Item = &At<String>> {
        let volumes = self.volumes.iter().filter_map(|v| v.name.as_ref());
        let storage = volumes.chain(self.filesystems.iter().filter_map(|f| f.name.as_ref()));
        let addresses = self.addresses.iter().filter_map(|a| a.name.as_ref());
        storage.chain(addresses).chain(self.applications.iter().filter_map(|a| a.name.as_ref()))
    }
}

/// The keys of a group that name other groups.
#[derive(Debug, Default)]
pub(super) struct RelationsDraft {
    pub(super) parent: Option<At<String>>,
    pub(super) after: Vec<At<String>>,
    pub(super) same_node_as: Option<At<String>>,
    pub(super) different_node_from: Vec<At<String>>,
    pub(super) priority: Option<At<Priority>>,
}

#[derive(Debug)]
pub(super) struct VolumeDraft {
    /// Given, or made of the volume's (then with its place).
    pub(super) name: Option<At<String>>,
    pub(super) vg: Option<At<String>>,
    pub(super) lv: Option<At<String>>,
    pub(super) config: Option<VolumeConfig>,
}

impl VolumeDraft {
    /// The logical volume, where one is named.
    pub(super) fn lv(&self) -> Option<&str> {
        self.lv.as_ref().map(|lv| lv.value.as_str())
    }

    /// It as LVM's commands take it.
    pub(super) fn id(&self) -> String {
        volume::id(self.vg.as_ref().map_or("", |vg| &vg.value), self.lv())
    }
}

#[derive(Debug)]
pub(super) struct FilesystemDraft {
    /// Given, or made of the mount point (then with its place).
    pub(super) name: Option<At<String>>,
    pub(super) place: Option<Place>,
    pub(super) mount: Option<At<PathBuf>>,
    pub(super) config: Option<FilesystemConfig>,
}

/// What a file system lives on, as far as it could be read.
#[derive(Debug)]
pub(super) enum Place {
    /// One device for all nodes.
    Shared(At<PathBuf>),
    /// A device of each node's own.
    Local(At<Vec<(At<String>, At<PathBuf>)>>),
    /// A folder of another file system of the group.
    Folder(At<PathBuf>),
}

impl FilesystemDraft {
    /// The shared device, where it is one.
    pub(super) fn shared_device(&self) -> Option<&At<PathBuf>> {
        match &self.place {
            Some(Place::Shared(device)) => Some(device),
            _ => None,
        }
    }

    /// Whether two nodes could write it at once; one that could not be read counts.
    pub(super) fn is_shared(&self) -> bool {
        !matches!(self.place, Some(Place::Local(_) | Place::Folder(_)))
    }

    /// The folder that it shows, where it is one.
    pub(super) fn folder(&self) -> Option<&At<PathBuf>> {
        match &self.place {
            Some(Place::Folder(folder)) => Some(folder),
            _ => None,
        }
    }

    /// Its devices, and on which node each is one; on all where none is named.
    pub(super) fn devices(&self) -> Vec<(Option<&str>, &At<PathBuf>)> {
        match &self.place {
            Some(Place::Shared(device)) => vec![(None, device)],
            Some(Place::Local(devices)) => {
                devices.value.iter().map(|(node, device)| (Some(node.value.as_str()), device)).collect()
            }
            Some(Place::Folder(_)) | None => Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct AddressDraft {
    /// Given, or made of the address (then with its place).
    pub(super) name: Option<At<String>>,
    pub(super) address: Option<At<(IpAddr, u8)>>,
    /// Whether an interface is named.
    pub(super) has_interface: bool,
    /// The interface and the network, where they are named and could be read.
    pub(super) interface: Option<At<String>>,
    pub(super) network: Option<At<String>>,
    pub(super) portal: Option<At<u16>>,
    pub(super) config: Option<AddressConfig>,
}

#[derive(Debug)]
pub(super) struct ApplicationDraft {
    pub(super) name: Option<At<String>>,
    /// Where it is written, if it is, and its value.
    pub(super) lapse_grace: Option<At<Duration>>,
    /// Its profile, role and paths, each with its place.
    pub(super) claims: ClaimsDraft,
    /// What is removed before it starts under a new epoch.
    pub(super) stale: Vec<At<String>>,
    /// The concurrent groups that it needs.
    pub(super) clients: Vec<At<String>>,
    /// Where wildcard binds of its processes go.
    pub(super) bind: Option<At<Vec<At<Wanted>>>>,
    pub(super) config: Option<ApplicationConfig>,
}
