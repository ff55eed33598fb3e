//! Whatever happened before: when everything is up, the planner comes to rest, and every group that can run runs.

use crate::story::Story;
use proptest::prelude::*;
use regent_model::state::{Phase, State, Tenure};
use regent_planner::foresee::{AtOnce, foresee};
use regent_planner::{Intent, View, place};

/// A group of a generated configuration; what it names comes before it in the file, so there are no circles.
#[derive(Debug, Clone)]
struct Wish {
    home: bool,
    policy: usize,
    parent: Option<usize>,
    after: Option<usize>,
    same: Option<usize>,
    different: Option<usize>,
    priority: usize,
    clients: bool,
}

const POLICIES: [&str; 4] = [
    "\"cascading\"",
    "\"rotating\"",
    r#"{ startup = "first-available", failover = "next", failback = "home" }"#,
    r#"{ startup = "first-available", failover = "next", failback = "never" }"#,
];
const PRIORITIES: [&str; 3] = ["high", "intermediate", "low"];

fn wish() -> impl Strategy<Value = Wish> {
    let named = || prop::option::weighted(0.3, 0..6_usize);
    (any::<bool>(), 0..4_usize, named(), named(), named(), named(), 0..3_usize, any::<bool>()).prop_map(
        |(home, policy, parent, after, same, different, priority, clients)| Wish {
            home,
            policy,
            parent,
            after,
            same,
            different,
            priority,
            clients,
        },
    )
}

/// The configuration's groups, as far as the wishes do not exclude themselves.
fn text(wishes: &[Wish]) -> String {
    let mut out = String::from(
        "\n[[group]]\nname = \"rpc\"\nnodes = [\"lx4\", \"lx5\"]\npolicy = \"concurrent\"\n\n[[group.application]]\nname = \
         \"rpc\"\nstart = \"rpcbind\"\n",
    );
    let mut levels: Vec<usize> = Vec::new();
    for (at, wish) in wishes.iter().enumerate() {
        let earlier = |n: Option<usize>| n.filter(|n| *n < at).map(|n| format!("g{n}"));
        let parent = wish.parent.filter(|n| *n < at && levels[*n] < 3);
        levels.push(parent.map_or(1, |n| levels[n] + 1));
        // Two rotating groups exclude each other on a node.
        let same = earlier(wish.same).filter(|_| wish.policy != 1);
        let different = earlier(wish.different).filter(|d| Some(d) != same.as_ref());
        let nodes = if wish.home { r#"["lx4", "lx5"]"# } else { r#"["lx5", "lx4"]"# };
        out +=
            &format!("\n[[group]]\nname = \"g{at}\"\nnodes = {nodes}\npolicy = {}\n", POLICIES[wish.policy]);
        out += &parent.map_or_else(String::new, |p| format!("parent = \"g{p}\"\n"));
        out += &earlier(wish.after).map_or_else(String::new, |g| format!("after = [\"{g}\"]\n"));
        out += &same.map_or_else(String::new, |g| format!("same_node_as = \"{g}\"\n"));
        if let Some(g) = different {
            out +=
                &format!("different_node_from = [\"{g}\"]\npriority = \"{}\"\n", PRIORITIES[wish.priority]);
        }
        out += &format!("\n[[group.address]]\naddress = \"10.77.0.{}/24\"\n", 100 + at);
        if wish.clients {
            out += "\n[[group.application]]\nname = \"a\"\nstart = \"a\"\nclients = [\"rpc\"]\n";
        }
    }
    out
}

fn line() -> impl Strategy<Value = String> {
    let node = prop::sample::select(vec!["lx4", "lx5"]);
    let group = (0..6_usize).prop_map(|n| format!("g{n}"));
    prop_oneof![
        node.clone().prop_map(|n| format!("crash {n}")),
        node.clone().prop_map(|n| format!("up {n}")),
        node.clone().prop_map(|n| format!("standby {n}")),
        node.clone().prop_map(|n| format!("active {n}")),
        (group.clone(), node).prop_map(|(g, n)| format!("move {g} {n}")),
        group.clone().prop_map(|g| format!("disable {g}")),
        group.clone().prop_map(|g| format!("restart {g}")),
        group.prop_map(|g| format!("enable {g}")),
        Just("disable rpc@lx4".to_owned()),
        Just("enable rpc@lx4".to_owned()),
    ]
}

fn happens(story: &mut Story, line: &str, groups: usize) {
    let number = line.split(' ').find_map(|w| w.strip_prefix('g')).and_then(|n| n.parse::<usize>().ok());
    if number.is_some_and(|n| n >= groups) {
        return;
    }
    if let Some(node) = line.strip_prefix("crash ") {
        if story.is_up(node) {
            story.line(&format!("silent {node}"));
            story.line(&format!("promised {node}"));
        }
        return;
    }
    story.line(line);
}

/// What has to be so at rest: a group is online, or another group is the reason why it is not.
fn reasons(state: &State, view: &View) -> Vec<String> {
    let online =
        |name: &regent_model::GroupName| state.ownership(name).is_some_and(|o| o.phase == Phase::Online);
    let mut wrong = Vec::new();
    for config in &state.config.groups {
        let name = &config.name;
        let placement = place(state, view, name);
        if online(name) {
            let node = |g| state.ownership(g).map(|o| o.owner.node);
            let mut apart = config.relations.different_node_from.iter();
            if let Some(other) = apart.find(|other| node(other) == node(name)) {
                wrong.push(format!("{name} shares its node with {other}"));
            }
            if placement.intent != Intent::Stay {
                wrong.push(format!("{name} is online, and {:?}", placement.intent));
            }
            continue;
        }
        let r = &config.relations;
        let before_down = r.parent.iter().chain(&r.after).chain(&r.same_node_as).any(|other| !online(other));
        let different = |a: &regent_model::config::GroupConfig| {
            a.name != *name
                && online(&a.name)
                && (r.different_node_from.contains(&a.name) || a.relations.different_node_from.contains(name))
        };
        let apart = state.config.groups.iter().any(|g| different(g));
        // Of more rotating groups than nodes one may stay down, until it has run once.
        let crowded =
            matches!(&placement.intent, Intent::Blocked { reason, .. } if reason.contains("rotating"));
        if !before_down && !apart && !crowded {
            wrong.push(format!("{name} is down, and no other group is the reason: {:?}", placement.intent));
        }
        if let Tenure::Owned(o) = &state.groups[name].tenure {
            wrong.push(format!("{name} is {:?}", o.phase));
        }
    }
    wrong
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn with_everything_up_every_group_that_can_run_runs(
        wishes in prop::collection::vec(wish(), 1..6),
        lines in prop::collection::vec(line(), 0..12),
    ) {
        let text = text(&wishes);
        let mut story = Story::begin(&text);
        for line in &lines {
            happens(&mut story, line, wishes.len());
        }
        for line in ["up lx4", "up lx5", "active lx4", "active lx5", "enable rpc@lx4", "enable rpc@lx5"] {
            story.line(line);
        }
        for at in 0..wishes.len() {
            story.line(&format!("enable g{at}"));
        }
        let foreseen = foresee(&story.state, &story.view, &AtOnce, &[]);
        prop_assert!(foreseen.settles, "it goes round in a circle:\n{}", text);
        prop_assert_eq!(&foreseen.state, &story.state, "nothing was left to do");
        let wrong = reasons(&story.state, &story.view);
        prop_assert!(wrong.is_empty(), "{}\n{}\n{:?}", wrong.join("\n"), text, lines);
    }
}
