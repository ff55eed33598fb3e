//! What can happen to a cluster, and how a plan says it.

use std::fmt;
use std::time::Duration;

use regent_lab::Direction;

use crate::Result;

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    Daemon,
    Guard,
    Both,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ill {
    Slow,
    Hang,
    Error,
}

/// What is wrong with the fence device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Broken,
    Slow,
}

/// Something that happens. Nodes and groups are called by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The power is cut, and comes back.
    Power(String),
    /// The power of all members is cut at once, and comes back.
    Blackout,
    /// The node's own reset line is pulled.
    Reset(String),
    /// Processes of Regent are killed.
    Kill(String, Victim),
    /// Processes of Regent stand still; everything else goes on.
    Stop(String, Victim),
    /// Every process stands still; the kernel, which is the host's, answers and writes on.
    Freeze(String),
    /// As a hypervisor pauses a machine: nothing of it answers, nothing of it is written.
    Pause(String),
    /// Frames are swallowed, on one network or on all.
    Cut(String, Option<usize>, Direction),
    /// A network goes away and comes back four times a second.
    Flap(String, usize),
    /// So many of a hundred frames are lost, each way, on every network.
    Loss(String, u8),
    /// These nodes hear each other, and nobody else.
    Split(Vec<String>),
    /// The first does not hear these others, nor they it; all else hears each other.
    Apart(String, Vec<String>),
    /// The way to the shared disks.
    San(String, Ill),
    /// The way to the arbiter's disk alone; without a word, the device is not there.
    ArbiterDisk(String, Option<Ill>),
    /// The disk with the node's own state.
    StateDisk(String, Ill),
    /// No room is left on it.
    FullDisk(String),
    /// Power off, and the end of a file of the state is torn meanwhile.
    Torn(String),
    /// Power off, and the disk with its state is put back as it was when the round began.
    PutBack(String),
    /// A foreign machine answers for a group's address.
    Duplicate(String),
    /// The same for its IPv6 address.
    DuplicateSix(String),
    /// The fence device on every node.
    Fence(Device),
    /// Every process of a group's applications is killed where it runs.
    KillApplication(String),
    /// An operator types this on a node: `regent` and these words.
    Order(String, Vec<String>),
    /// An operator brings a member in again that was removed.
    Join(String),
    /// An operator puts an edited configuration in force, from this node.
    Apply(String, Edit),
}

/// What is edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Something that changes nothing of what runs.
    Next,
    /// The time of a takeover.
    Takeover(String),
    /// The addresses of `front` and `ledger` change places.
    Swapped,
}

impl Fault {
    /// The kind of it, for counting.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Power(_) => "power".into(),
            Self::Blackout => "blackout".into(),
            Self::Reset(_) => "reset".into(),
            Self::Stop(_, victim) => format!("stop {}", victim_word(*victim)),
            Self::Kill(_, victim) => format!("kill {}", victim_word(*victim)),
            Self::Freeze(_) => "freeze".into(),
            Self::Pause(_) => "pause".into(),
            Self::Cut(_, network, way) => match (network, way) {
                (None, Direction::Both) => "cut all".into(),
                (Some(_), Direction::Both) => "cut one network".into(),
                (_, way) => format!("one way ({})", way_word(*way)),
            },
            Self::Flap(..) => "flap".into(),
            Self::Loss(..) => "loss".into(),
            Self::Split(_) => "split".into(),
            Self::Apart(..) => "apart".into(),
            Self::San(_, ill) => format!("san {}", ill_word(*ill)),
            Self::ArbiterDisk(_, ill) => format!("arbiter disk {}", ill.map_or(HIDDEN, ill_word)),
            Self::StateDisk(_, ill) => format!("state disk {}", ill_word(*ill)),
            Self::FullDisk(_) => "full disk".into(),
            Self::Torn(_) => "torn state".into(),
            Self::PutBack(_) => "state put back".into(),
            Self::Join(_) => "order join".into(),
            Self::Duplicate(_) => "duplicate address".into(),
            Self::DuplicateSix(_) => "duplicate IPv6 address".into(),
            Self::Fence(device) => format!("fence {}", device_word(*device)),
            Self::KillApplication(_) => "kill application".into(),
            Self::Order(_, words) => {
                format!("order {}", words.iter().take(2).cloned().collect::<Vec<_>>().join(" "))
            }
            Self::Apply(..) => "order apply".into(),
        }
    }

    /// The nodes that it happens to.
    pub(crate) fn nodes(&self) -> Vec<&str> {
        match self {
            Self::Power(n)
            | Self::Reset(n)
            | Self::Kill(n, _)
            | Self::Stop(n, _)
            | Self::Freeze(n)
            | Self::Pause(n)
            | Self::Cut(n, ..)
            | Self::Flap(n, _)
            | Self::Loss(n, _)
            | Self::San(n, _)
            | Self::StateDisk(n, _)
            | Self::FullDisk(n)
            | Self::Torn(n)
            | Self::ArbiterDisk(n, _)
            | Self::PutBack(n)
            | Self::Join(n)
            | Self::Apart(n, _) => vec![n],
            Self::Split(nodes) => nodes.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Who is removed by this order.
    pub(crate) fn removes(&self) -> Option<&str> {
        match self {
            Self::Order(_, words) => match words.as_slice() {
                [node, remove, who, ..] if node == "node" && remove == "remove" => Some(who),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a frozen process may keep what this release lets only processes end (class `guard`).
    pub(crate) fn stops_the_guard(&self) -> bool {
        matches!(self, Self::Freeze(_) | Self::Stop(_, Victim::Guard | Victim::Both))
    }

    /// Reads the words of a plan's line between the time and `for`.
    ///
    /// # Errors
    /// When they are none of a plan.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let s = |w: &str| w.to_owned();
        let found = match *words {
            ["power", node] => Self::Power(s(node)),
            ["reset", node] => Self::Reset(s(node)),
            ["kill", victim, node] => Self::Kill(s(node), victim_of(victim)?),
            ["blackout"] => Self::Blackout,
            ["stop", victim, node] => Self::Stop(s(node), victim_of(victim)?),
            ["freeze", node] => Self::Freeze(s(node)),
            ["pause", node] => Self::Pause(s(node)),
            ["cut", node, network, way] => Self::Cut(s(node), network_of(network)?, way_of(way)?),
            ["flap", node, network] => Self::Flap(s(node), network.parse()?),
            ["loss", node, percent] => Self::Loss(s(node), percent.trim_end_matches('%').parse()?),
            ["split", ref nodes @ ..] if !nodes.is_empty() => {
                Self::Split(nodes.iter().map(|n| s(n)).collect())
            }
            ["apart", node, ref others @ ..] if !others.is_empty() => {
                Self::Apart(s(node), others.iter().map(|n| s(n)).collect())
            }
            ["san", node, ill] => Self::San(s(node), ill_of(ill)?),
            ["state-disk", node, ill] => Self::StateDisk(s(node), ill_of(ill)?),
            ["full-disk", node] => Self::FullDisk(s(node)),
            ["torn-state", node] => Self::Torn(s(node)),
            ["arbiter-disk", node, HIDDEN] => Self::ArbiterDisk(s(node), None),
            ["arbiter-disk", node, ill] => Self::ArbiterDisk(s(node), Some(ill_of(ill)?)),
            ["put-back", node] => Self::PutBack(s(node)),
            ["join", node] => Self::Join(s(node)),
            ["duplicate-six", group] => Self::DuplicateSix(s(group)),
            ["duplicate", group] => Self::Duplicate(s(group)),
            ["fence", "broken"] => Self::Fence(Device::Broken),
            ["fence", "slow"] => Self::Fence(Device::Slow),
            ["kill-application", group] => Self::KillApplication(s(group)),
            ["order", node, ref words @ ..] if !words.is_empty() => {
                Self::Order(s(node), words.iter().map(|w| s(w)).collect())
            }
            ["apply", node] => Self::Apply(s(node), Edit::Next),
            ["apply", node, "takeover", time] => Self::Apply(s(node), Edit::Takeover(s(time))),
            ["apply", node, "swapped"] => Self::Apply(s(node), Edit::Swapped),
            _ => return Err(format!("`{}` is nothing that a plan can do", words.join(" ")).into()),
        };
        Ok(found)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Power(n) => write!(f, "power {n}"),
            Self::Reset(n) => write!(f, "reset {n}"),
            Self::Kill(n, victim) => write!(f, "kill {} {n}", victim_word(*victim)),
            Self::Blackout => write!(f, "blackout"),
            Self::Stop(n, victim) => write!(f, "stop {} {n}", victim_word(*victim)),
            Self::Freeze(n) => write!(f, "freeze {n}"),
            Self::Pause(n) => write!(f, "pause {n}"),
            Self::Cut(n, network, way) => {
                let network = network.map_or_else(|| "all".to_owned(), |n| n.to_string());
                write!(f, "cut {n} {network} {}", way_word(*way))
            }
            Self::Flap(n, network) => write!(f, "flap {n} {network}"),
            Self::Loss(n, percent) => write!(f, "loss {n} {percent}%"),
            Self::Split(nodes) => write!(f, "split {}", nodes.join(" ")),
            Self::Apart(n, others) => write!(f, "apart {n} {}", others.join(" ")),
            Self::San(n, ill) => write!(f, "san {n} {}", ill_word(*ill)),
            Self::StateDisk(n, ill) => write!(f, "state-disk {n} {}", ill_word(*ill)),
            Self::FullDisk(n) => write!(f, "full-disk {n}"),
            Self::Torn(n) => write!(f, "torn-state {n}"),
            Self::ArbiterDisk(n, ill) => write!(f, "arbiter-disk {n} {}", ill.map_or(HIDDEN, ill_word)),
            Self::PutBack(n) => write!(f, "put-back {n}"),
            Self::Join(n) => write!(f, "join {n}"),
            Self::Duplicate(group) => write!(f, "duplicate {group}"),
            Self::DuplicateSix(group) => write!(f, "duplicate-six {group}"),
            Self::Fence(device) => write!(f, "fence {}", device_word(*device)),
            Self::KillApplication(group) => write!(f, "kill-application {group}"),
            Self::Order(n, words) => write!(f, "order {n} {}", words.join(" ")),
            Self::Apply(n, Edit::Next) => write!(f, "apply {n}"),
            Self::Apply(n, Edit::Takeover(time)) => write!(f, "apply {n} takeover {time}"),
            Self::Apply(n, Edit::Swapped) => write!(f, "apply {n} swapped"),
        }
    }
}

/// A device that is not there.
const HIDDEN: &str = "hidden";

fn victim_word(victim: Victim) -> &'static str {
    match victim {
        Victim::Daemon => "daemon",
        Victim::Guard => "guard",
        Victim::Both => "both",
    }
}

fn victim_of(word: &str) -> Result<Victim> {
    [Victim::Daemon, Victim::Guard, Victim::Both]
        .into_iter()
        .find(|v| victim_word(*v) == word)
        .ok_or_else(|| format!("`{word}` cannot be killed; use daemon, guard or both").into())
}

fn ill_word(ill: Ill) -> &'static str {
    match ill {
        Ill::Slow => "slow",
        Ill::Hang => "hang",
        Ill::Error => "error",
    }
}

fn ill_of(word: &str) -> Result<Ill> {
    [Ill::Slow, Ill::Hang, Ill::Error]
        .into_iter()
        .find(|i| ill_word(*i) == word)
        .ok_or_else(|| format!("a disk cannot be `{word}`; use slow, hang or error").into())
}

fn device_word(device: Device) -> &'static str {
    match device {
        Device::Broken => "broken",
        Device::Slow => "slow",
    }
}

fn way_word(way: Direction) -> &'static str {
    match way {
        Direction::Both => "both",
        Direction::In => "in",
        Direction::Out => "out",
        Direction::Cable => "cable",
    }
}

fn way_of(word: &str) -> Result<Direction> {
    [Direction::Both, Direction::In, Direction::Out, Direction::Cable]
        .into_iter()
        .find(|w| way_word(*w) == word)
        .ok_or_else(|| format!("`{word}` is no way of frames; use both, in, out or cable").into())
}

fn network_of(word: &str) -> Result<Option<usize>> {
    Ok(if word == "all" { None } else { Some(word.parse()?) })
}

/// `3.100s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3}s", time.as_secs_f64())
}

/// The other way round.
///
/// # Errors
/// When it is no time.
pub(crate) fn seconds_of(word: &str) -> Result<Duration> {
    let number = word.strip_suffix('s').ok_or_else(|| format!("`{word}` is no time like 3.1s"))?;
    let number: f64 = number.parse()?;
    Duration::try_from_secs_f64(number).map_err(|e| format!("{word}: {e}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_back_as_it_is_written() {
        let n = || "lx1".to_owned();
        let all = [
            Fault::Power(n()),
            Fault::Reset(n()),
            Fault::Kill(n(), Victim::Both),
            Fault::Blackout,
            Fault::Stop(n(), Victim::Guard),
            Fault::Freeze(n()),
            Fault::Pause(n()),
            Fault::Cut(n(), None, Direction::Both),
            Fault::Cut(n(), Some(1), Direction::In),
            Fault::Flap(n(), 0),
            Fault::Loss(n(), 30),
            Fault::Split(vec![n(), "lx2".into()]),
            Fault::San(n(), Ill::Error),
            Fault::StateDisk(n(), Ill::Hang),
            Fault::FullDisk(n()),
            Fault::Torn(n()),
            Fault::Duplicate("front".into()),
            Fault::DuplicateSix("front".into()),
            Fault::ArbiterDisk(n(), None),
            Fault::ArbiterDisk(n(), Some(Ill::Hang)),
            Fault::PutBack(n()),
            Fault::Join(n()),
            Fault::Fence(Device::Slow),
            Fault::KillApplication("ledger".into()),
            Fault::Order(n(), vec!["group".into(), "move".into(), "front".into(), "lx2".into()]),
            Fault::Apart(n(), vec!["lx2".into(), "lx3".into()]),
            Fault::Apply(n(), Edit::Next),
            Fault::Apply(n(), Edit::Takeover("fast".into())),
            Fault::Apply(n(), Edit::Swapped),
        ];
        for fault in all {
            let text = fault.to_string();
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(Fault::parse(&words).unwrap(), fault, "{text}");
        }
        assert!(Fault::parse(&["explode", "lx1"]).is_err());
        assert!(Fault::parse(&["kill", "everything", "lx1"]).is_err());
    }
}
