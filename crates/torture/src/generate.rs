//! Rounds of faults, drawn by a seed: each has a mix of its own, so that over many rounds rare company is found too.

use std::time::Duration;

use regent_lab::Direction;

use crate::fault::{Device, Edit, Fault, Ill, Victim};
use crate::loads::load;
use crate::plan::{Head, Line, Round};
use crate::random::Random;
use crate::site;

/// How long the faults of a round begin, at the most.
const ROUND_MS: (u64, u64) = (6_000, 16_000);

/// The part of a seed that says what kind of site it is.
const SITE: u64 = u64::MAX;

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
    ArbiterDisk,
    StateDisk,
    Full,
    Torn,
    PutBack,
    Duplicate,
    Fence,
    Application,
    Order,
    Remove,
    Apply,
}

const FAMILIES: [Family; 25] = [
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
    Family::ArbiterDisk,
    Family::StateDisk,
    Family::Full,
    Family::Torn,
    Family::PutBack,
    Family::Duplicate,
    Family::Fence,
    Family::Application,
    Family::Order,
    Family::Remove,
    Family::Apply,
];

/// The cluster of a seed.
pub(crate) fn head(seed: u64, nodes: usize, loads: Vec<String>) -> Head {
    let mut random = Random::new(seed, 0);
    let takeover = *random.pick(&["normal", "normal", "2s", "fast"]);
    // Of another part, so that a seed goes on to have the takeover that it had.
    let mut site = Random::new(seed, SITE);
    let arbiter_disk = site.percent(50) && nodes == 2;
    let storage_fence = site.percent(30) && loads.iter().any(|l| load(l).is_some_and(|l| l.device.is_some()));
    Head {
        seed,
        nodes,
        takeover: takeover.into(),
        loads,
        arbiter_disk,
        storage_fence,
        sabotage: None,
        kept: false,
    }
}

/// The round of that number.
pub(crate) fn round(head: &Head, number: u64) -> Round {
    let mut random = Random::new(head.seed, number + 1);
    // A swarm: a few families per round, each round others.
    let drawn: Vec<Family> = (0..random.between(1, 5)).map(|_| *random.pick(&FAMILIES)).collect();
    let families: Vec<Family> = drawn.iter().map(|family| at_this_site(head, *family)).collect();
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
    at_most_one_lost(&mut lines);
    alone_where_lost(head, &mut lines);
    lines.extend(comes_back(&lines, &mut random));
    lines
}

/// What is drawn where there is no such thing.
fn at_this_site(head: &Head, family: Family) -> Family {
    match family {
        Family::ArbiterDisk if !head.arbiter_disk => Family::Cut,
        // Three votes cannot become two.
        Family::Remove if head.nodes < 4 => Family::Order,
        other => other,
    }
}

/// A state that is torn or put back, and a member that was removed, are as good as a lost voter until an operator has been
/// there: one in a round is enough.
fn at_most_one_lost(lines: &mut Round) {
    let mut lost = false;
    let loses =
        |fault: &Fault| matches!(fault, Fault::Torn(_) | Fault::PutBack(_)) || fault.removes().is_some();
    lines.retain(|line| !loses(&line.fault) || !std::mem::replace(&mut lost, true));
}

/// Only who heard a node after the copy was made knows that it has forgotten something (`docs/guarantees.md`): nobody else
/// is kept from hearing it meanwhile. And of two between which a disk decides, nobody may have been named whose state is lost
/// before the other has got it: that is a cluster to be made anew.
fn alone_where_lost(head: &Head, lines: &mut Round) {
    let lost = lines.iter().find_map(|line| match &line.fault {
        Fault::PutBack(node) => Some(node.clone()),
        Fault::Torn(node) if head.arbiter_disk => Some(node.clone()),
        _ => None,
    });
    let Some(node) = lost else { return };
    lines.retain(|line| match &line.fault {
        Fault::Blackout => false,
        Fault::ArbiterDisk(..) => true,
        Fault::Cut(..) | Fault::Flap(..) | Fault::Loss(..) | Fault::Freeze(_) if head.arbiter_disk => false,
        Fault::Split(_) | Fault::Apart(..) => false,
        Fault::Order(_, words) => words.first().is_some_and(|word| word == "group"),
        fault => fault.nodes().iter().all(|n| *n == node),
    });
}

/// An operator may bring who was removed back while the faults go on.
fn comes_back(lines: &Round, random: &mut Random) -> Option<Line> {
    let (removed, at) = lines.iter().find_map(|line| Some((line.fault.removes()?, line.at)))?;
    let at = at + Duration::from_millis(random.between(2_000, 8_000));
    let line = Line { at, fault: Fault::Join(removed.to_owned()), lasts: Duration::ZERO };
    random.percent(50).then_some(line)
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
        Family::ArbiterDisk => {
            let ill = *random.pick(&[None, None, Some(ill)]);
            (Fault::ArbiterDisk(node, ill), ms(random, 500, 9_000))
        }
        Family::StateDisk => (Fault::StateDisk(node, ill), ms(random, 300, 6_000)),
        Family::Full => (Fault::FullDisk(node), ms(random, 500, 6_000)),
        Family::Torn => (Fault::Torn(node), ms(random, 500, 3_000)),
        Family::PutBack => (Fault::PutBack(node), ms(random, 500, 3_000)),
        Family::Duplicate => (duplicate(group, random), ms(random, 300, 3_000)),
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
        Family::Remove => (removal(&nodes, &node, random), Duration::ZERO),
        Family::Apply => (Fault::Apply(node, Edit::Next), Duration::ZERO),
    }
}

fn duplicate(group: String, random: &mut Random) -> Fault {
    let six = load(&group).is_some_and(|l| l.six.is_some()) && random.percent(50);
    if six { Fault::DuplicateSix(group) } else { Fault::Duplicate(group) }
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

/// Another node is asked to remove this one.
fn removal(nodes: &[String], node: &str, random: &mut Random) -> Fault {
    let others: Vec<&String> = nodes.iter().filter(|n| *n != node).collect();
    let from = (*random.pick(&others)).clone();
    Fault::Order(from, ["node", "remove", node].map(str::to_owned).to_vec())
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
            "state put back",
            "duplicate address",
            "duplicate IPv6 address",
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
    fn a_site_draws_what_it_has_and_who_is_removed_comes_back() {
        let kinds = |head: &Head| -> BTreeSet<String> {
            (0..400).flat_map(|n| round(head, n)).map(|l| l.fault.kind()).collect()
        };
        let disk = kinds(&Head { arbiter_disk: true, ..some(2) });
        assert!(disk.contains("arbiter disk hidden") && disk.contains("arbiter disk hang"));
        assert!(!kinds(&some(3)).iter().any(|k| k.starts_with("arbiter disk") || k == "order node remove"));
        let four = kinds(&some(4));
        assert!(four.contains("order node remove") && four.contains("order join"));
    }

    #[test]
    fn nobody_is_kept_from_hearing_who_is_put_back() {
        let head = some(3);
        let rounds = (0..2000).map(|n| round(&head, n));
        let mut with: Vec<Round> =
            rounds.filter(|r| r.iter().any(|l| matches!(l.fault, Fault::PutBack(_)))).collect();
        assert!(with.len() > 50);
        for line in with.iter_mut().flat_map(|r| r.drain(..)) {
            assert!(!matches!(line.fault, Fault::Blackout | Fault::Split(_) | Fault::Apart(..)), "{line}");
        }
        let head = Head { arbiter_disk: true, ..some(2) };
        for round in (0..2000).map(|n| round(&head, n)) {
            let torn = round.iter().any(|l| matches!(l.fault, Fault::Torn(_)));
            assert!(
                !torn || round.iter().all(|l| !matches!(l.fault, Fault::Cut(..) | Fault::Flap(..))),
                "{round:?}"
            );
        }
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
