//! What groups want of the kernels of their nodes, added up for the worst case.

use std::sync::Arc;

use super::Limits;
use super::compare::{Found, Surveys};
use crate::config::{Config, GroupConfig, Severity};
use crate::ids::NodeName;

/// Where settings of the kernel are kept.
const FILE: &str = "/etc/sysctl.d/60-regent.conf";
/// The smallest page there is: counted in these, memory is never set too low.
const PAGE_BYTES: u64 = 4096;
/// With more groups that avoid each other, all of them are added up: that is too much, and never too little.
const TRIED_MAX: usize = 16;

/// One of the limits.
type Part = fn(&Limits) -> u64;

/// What all groups that a node may have at once want of its kernel, and the lines that grant it.
pub(super) fn check(config: &Config, surveys: &Surveys, found: &mut Found) {
    let parts: [(&str, Part); 5] = [
        ("memory in bytes", |l| l.memory),
        ("huge pages", |l| l.huge_pages),
        ("shared memory in bytes", |l| l.shared_memory),
        ("semaphores", |l| l.semaphores),
        ("open files", |l| l.open_files),
    ];
    for (node, survey) in surveys {
        // Rotating groups too: when a node is lost, the last one has them all.
        let may: Vec<_> = config.groups.iter().filter(|g| g.nodes.contains(node)).collect();
        for (what, of) in parts {
            let (sum, groups) = worst(&may, of);
            let has = of(&survey.limits);
            if sum <= has {
                continue;
            }
            let text = format!(
                "{node} grants {has} {what}, and all groups that may be there at once want {sum} ({})",
                groups.join(", ")
            );
            let help = match lines(what, sum, &survey.semaphores) {
                Some(lines) => set(node, &lines),
                None => format!("on {node}: put in more memory, or let fewer groups name this node"),
            };
            found.add(Severity::Warning, "limit", None, &[node], (text, help));
        }
    }
}

/// The most that groups can want which may be on one node together, and which they are.
fn worst<'a>(may: &[&'a Arc<GroupConfig>], of: Part) -> (u64, Vec<&'a str>) {
    let want: Vec<_> = may.iter().copied().filter(|g| of(&g.requires) > 0).collect();
    let choosy = want.iter().filter(|g| want.iter().any(|o| apart(g, o))).count();
    let chosen = if choosy > TRIED_MAX { want } else { heaviest(&want, of) };
    let sum = total(&chosen, of);
    (sum, chosen.into_iter().map(|g| g.name.as_str()).collect())
}

fn total(groups: &[&Arc<GroupConfig>], of: Part) -> u64 {
    groups.iter().map(|g| of(&g.requires)).fold(0, u64::saturating_add)
}

/// Of groups of which some avoid each other, those that want the most together.
fn heaviest<'a>(groups: &[&'a Arc<GroupConfig>], of: Part) -> Vec<&'a Arc<GroupConfig>> {
    let Some(at) = groups.iter().position(|g| groups.iter().any(|o| apart(g, o))) else {
        return groups.to_vec();
    };
    let mut without = groups.to_vec();
    let one = without.remove(at);
    let beside: Vec<_> = without.iter().copied().filter(|o| !apart(one, o)).collect();
    let mut with = heaviest(&beside, of);
    with.push(one);
    let without = heaviest(&without, of);
    if total(&with, of) >= total(&without, of) { with } else { without }
}

fn apart(one: &GroupConfig, other: &GroupConfig) -> bool {
    let avoids = |a: &GroupConfig, b: &GroupConfig| a.relations.different_node_from.contains(&b.name);
    avoids(one, other) || avoids(other, one)
}

/// The lines that let the kernel grant so much of it.
fn lines(what: &str, sum: u64, semaphores: &[u64]) -> Option<Vec<String>> {
    match what {
        "huge pages" => Some(vec![format!("vm.nr_hugepages = {sum}")]),
        "shared memory in bytes" => Some(vec![
            format!("kernel.shmmax = {sum}"),
            format!("kernel.shmall = {}", sum.div_ceil(PAGE_BYTES)),
        ]),
        "semaphores" => {
            // Four numbers in one; the others stay what they are.
            let [each, _, at_once, sets] = semaphores else {
                return Some(vec![format!("kernel.sem = 250 {sum} 32 {sum}")]);
            };
            Some(vec![format!("kernel.sem = {each} {sum} {at_once} {sets}")])
        }
        "open files" => Some(vec![format!("fs.file-max = {sum}")]),
        _ => None,
    }
}

fn set(node: &NodeName, lines: &[String]) -> String {
    let text = lines.iter().map(|line| format!("{line}\\n")).collect::<String>();
    format!("on {node}: printf '{text}' >> {FILE} && sysctl -p {FILE}")
}
