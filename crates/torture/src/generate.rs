//! Rounds of faults, drawn by a seed: each has a mix of its own, so that over many rounds rare company is found too.

use std::time::Duration;

use regent_lab::Direction;

use crate::fault::{Device, Edit, Fault, Ill, Victim};
use crate::plan::{Head, Line, Round};
use crate::random::Random;
use crate::site;

/// How long the faults of a round begin, at the most.
const ROUND_MS: (u64, u64) = (6_000, 16_000);

/// What a round can draw from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Power,
    Reset,
    Kill,
    Stop,
    Blackout,
    Freeze,
    Pause,
    Cut,
    OneWay,
    Flap,
    Loss,
    Split,
    Apart,
    San,
    StateDisk,
    Full,
    Torn,
    Duplicate,
    Fence,
    Application,
    Order,
    Apply,
}

const FAMILIES: [Family; 22] = [
    Family::Power,
    Family::Reset,
    Family::Kill,
    Family::Stop,
    Family::Blackout,
    Family::Freeze,
    Family::Pause,
    Family::Cut,
    Family::OneWay,
    Family::Flap,
    Family::Loss,
    Family::Split,
    Family::Apart,
    Family::San,
    Family::StateDisk,
    Family::Full,
    Family::Torn,
    Family::Duplicate,
    Family::Fence,
    Family::Application,
    Family::Order,
    Family::Apply,
];

/// The cluster of a seed.
pub(crate) fn head(seed: u64, nodes: usize, loads: Vec<String>) -> Head {
    let mut random = Random::new(seed, 0);
    let takeover = *random.pick(&["normal", "normal", "2s", "fast"]);
    Head { seed, nodes, takeover: takeover.into(), loads, sabotage: None, kept: false }
}

/// The round of that number.
pub(crate) fn round(head: &Head, number: u64) -> Round {
    let mut random = Random::new(head.seed, number + 1);
    // A swarm: a few families per round, each round others.
    let families: Vec<Family> = (0..random.between(1, 5)).map(|_| *random.pick(&FAMILIES)).collect();
    let count = random.between(2, 7);
    let span = random.between(ROUND_MS.0, ROUND_MS.1);
    let mut lines: Vec<Line> = (0..count)
        .map(|_| {
            let family = *random.pick(&families);
            let (fault, lasts) = fault(head, family, &mut random);
            let at = Duration::from_millis(random.between(0, span));
            Line { at, fault, lasts }
        })
        .collect();
    lines.sort_by_key(|line| line.at);
    at_most_one_torn(&mut lines);
    lines
}

/// A state that is torn is as good as a lost voter until an operator has been there: one in a round is enough.
fn at_most_one_torn(lines: &mut Round) {
    let mut torn = false;
    lines.retain(|line| !matches!(line.fault, Fault::Torn(_)) || !std::mem::replace(&mut torn, true));
}

fn fault(head: &Head, family: Family, random: &mut Random) -> (Fault, Duration) {
    let nodes = site::nodes(head);
    let members = site::members(head);
    let node = random.pick(&nodes).clone();
    let member = random.pick(&members).clone();
    let group = random.pick(&head.loads).clone();
    let ms = |random: &mut Random, low, high| Duration::from_millis(random.between(low, high));
    let ill = *random.pick(&[Ill::Slow, Ill::Hang, Ill::Error]);
    match family {
        Family::Power => (Fault::Power(member), ms(random, 500, 9_000)),
        Family::Reset => (Fault::Reset(node), Duration::ZERO),
        Family::Kill => {
            let victim = *random.pick(&[Victim::Daemon, Victim::Daemon, Victim::Guard, Victim::Both]);
            (Fault::Kill(member, victim), Duration::ZERO)
        }
        Family::Stop => {
            let victim = *random.pick(&[Victim::Daemon, Victim::Guard, Victim::Both]);
            (Fault::Stop(member, victim), ms(random, 50, 7_000))
        }
        Family::Blackout => (Fault::Blackout, ms(random, 500, 3_000)),
        Family::Freeze => (Fault::Freeze(node), ms(random, 50, 6_000)),
        Family::Pause => (Fault::Pause(node), ms(random, 50, 8_000)),
        Family::Cut => {
            let network = *random.pick(&[None, None, Some(0), Some(1)]);
            (Fault::Cut(member, network, Direction::Both), ms(random, 100, 8_000))
        }
        Family::OneWay => {
            let way = *random.pick(&[Direction::In, Direction::Out]);
            let network = *random.pick(&[None, None, Some(0), Some(1)]);
            (Fault::Cut(member, network, way), ms(random, 300, 8_000))
        }
        Family::Flap => (Fault::Flap(member, random.between(0, 1) as usize), ms(random, 1_000, 6_000)),
        Family::Loss => {
            let percent = random.between(5, 60) as u8;
            (Fault::Loss(member, percent), ms(random, 1_000, 8_000))
        }
        Family::Split => (Fault::Split(part(&members, random)), ms(random, 500, 8_000)),
        Family::Apart => {
            let others = part(&members, random).into_iter().filter(|n| *n != member).collect::<Vec<_>>();
            let others = if others.is_empty() {
                members.into_iter().filter(|n| *n != member).collect()
            } else {
                others
            };
            (Fault::Apart(member, others), ms(random, 500, 8_000))
        }
        Family::San => (Fault::San(node, ill), ms(random, 300, 6_000)),
        Family::StateDisk => (Fault::StateDisk(node, ill), ms(random, 300, 6_000)),
        Family::Full => (Fault::FullDisk(node), ms(random, 500, 6_000)),
        Family::Torn => (Fault::Torn(node), ms(random, 500, 3_000)),
        Family::Duplicate => (Fault::Duplicate(group), ms(random, 300, 3_000)),
        Family::Fence => {
            let device = *random.pick(&[Device::Broken, Device::Slow]);
            (Fault::Fence(device), ms(random, 2_000, 10_000))
        }
        Family::Application => {
            let with: Vec<&String> = head.loads.iter().filter(|l| l.as_str() != "front").collect();
            let killed = if with.is_empty() { group } else { (*random.pick(&with)).clone() };
            (Fault::KillApplication(killed), Duration::ZERO)
        }
        Family::Order => (order(&nodes, &node, &group, random), Duration::ZERO),
        Family::Apply => (Fault::Apply(node, Edit::Next), Duration::ZERO),
    }
}

/// A part of the members that is neither none nor all.
fn part(members: &[String], random: &mut Random) -> Vec<String> {
    let size = random.between(1, members.len() as u64 - 1) as usize;
    let mut rest = members.to_vec();
    let mut part: Vec<String> = Vec::new();
    while part.len() < size {
        let at = random.between(0, rest.len() as u64 - 1) as usize;
        part.push(rest.swap_remove(at));
    }
    part.sort();
    part
}

fn order(nodes: &[String], node: &str, group: &str, random: &mut Random) -> Fault {
    let target = random.pick(nodes).clone();
    let from = random.pick(nodes).clone();
    let words: Vec<&str> = match random.between(0, 9) {
        0..=3 => vec!["group", "move", group, &target],
        4 => vec!["group", "disable", group],
        5 => vec!["group", "enable", group],
        6 => vec!["group", "restart", group],
        7 => vec!["node", "stop", node, if random.percent(50) { "--graceful" } else { "--takeover" }],
        8 => vec!["node", "standby", node],
        _ => vec!["node", "start", node],
    };
    Fault::Order(from, words.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn some(nodes: usize) -> Head {
        head(7, nodes, vec!["front".into(), "ledger".into()])
    }

    #[test]
    fn a_seed_gives_the_same_rounds_and_another_seed_others() {
        let head = some(3);
        assert_eq!(round(&head, 4), round(&head, 4));
        assert_ne!(round(&head, 4), round(&head, 5));
        assert_ne!(round(&head, 4), round(&Head { seed: 8, ..head.clone() }, 4));
    }

    #[test]
    fn every_family_is_drawn_and_names_only_what_is_there() {
        let head = some(2);
        let lines: Vec<Line> = (0..400).flat_map(|n| round(&head, n)).collect();
        let kinds: BTreeSet<String> = lines.iter().map(|l| l.fault.kind()).collect();
        for kind in [
            "power",
            "reset",
            "kill both",
            "stop guard",
            "blackout",
            "freeze",
            "pause",
            "cut all",
            "cut one network",
            "one way (in)",
            "flap",
            "loss",
            "split",
            "apart",
            "san hang",
            "state disk error",
            "full disk",
            "torn state",
            "duplicate address",
            "fence broken",
            "kill application",
            "order group move",
            "order node stop",
            "order apply",
        ] {
            assert!(kinds.contains(kind), "{kind} is never drawn: {kinds:?}");
        }
        let members = site::members(&head);
        assert!(lines.iter().flat_map(|l| l.fault.nodes()).all(|n| members.iter().any(|m| m == n)));
    }

    #[test]
    fn a_split_leaves_somebody_on_either_side() {
        let members = site::members(&some(5));
        let mut random = Random::new(1, 1);
        for _ in 0..100 {
            let part = part(&members, &mut random);
            assert!(!part.is_empty() && part.len() < members.len());
        }
    }
}
