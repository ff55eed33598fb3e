//! Concurrent groups, and what groups have to do with each other.

use super::*;
use regent_model::config::{Policy, Priority, Startup};

/// [`GOOD`] with lines more in its group `web`.
fn web(lines: &str) -> String {
    with("nodes = [\"lx5\", \"lx4\"]\n", &format!("nodes = [\"lx5\", \"lx4\"]\n{lines}\n"))
}

/// [`GOOD`] with lines more in its group `db`.
fn db(text: &str, lines: &str) -> String {
    if lines.is_empty() {
        return text.to_owned();
    }
    assert!(text.contains("policy = \"cascading\"\n"));
    text.replacen("policy = \"cascading\"\n", &format!("policy = \"cascading\"\n{lines}\n"), 1)
}

fn concurrent(text: &str, nodes: &str) -> String {
    format!(
        "{text}\n[[group]]\nname = \"rpc\"\nnodes = {nodes}\npolicy = \"concurrent\"\n\n[[group.application]]\nname = \
         \"rpcbind\"\nstart = \"rpcbind -w\"\n"
    )
}

const BOTH: &str = "[\"lx4\", \"lx5\"]";

#[test]
fn a_concurrent_group_is_one_group_for_each_of_its_nodes() {
    let config = good(&concurrent(GOOD, BOTH));
    let names: Vec<&str> = config.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["db", "web", "rpc@lx4", "rpc@lx5"]);
    let one = &config.groups[2];
    assert_eq!((one.nodes.len(), one.nodes[0].as_str(), one.policy), (1, "lx4", Policy::CONCURRENT));
    assert_eq!(config.groups_named("rpc").count(), 2);
    assert_eq!(config.groups_named("rpc@lx5").count(), 1);
    // The triple says the same.
    let triple = concurrent(GOOD, BOTH).replace(
        "policy = \"concurrent\"",
        "policy = { startup = \"all\", failover = \"stay\", failback = \"never\" }",
    );
    assert_eq!(good(&triple), config);
}

#[test]
fn a_concurrent_group_can_hold_nothing_that_has_one_owner() {
    let address = format!("{}\n[[group.address]]\naddress = \"10.77.0.109/24\"\n", concurrent(GOOD, BOTH));
    refused(&address, "\"10.77.0.109/24\"", "cannot hold an address", "one owner at a time");
    let disk = format!(
        "{}\n[[group.filesystem]]\ndevice = \"/dev/sdx\"\nmount = \"/x\"\ntype = \"xfs\"\n",
        concurrent(GOOD, BOTH)
    );
    refused(&disk, "\"/x\"", "cannot hold a file system", "group of its own");
    let half = concurrent(GOOD, BOTH).replace(
        "policy = \"concurrent\"",
        "policy = { startup = \"all\", failover = \"next\", failback = \"home\" }",
    );
    refused(
        &half,
        "{ startup = \"all\", failover = \"next\", failback = \"home\" }",
        "nowhere to go",
        "policy = \"concurrent\"",
    );
}

#[test]
fn a_name_with_an_at_cannot_be_typed() {
    let text = with("name = \"web\"", "name = \"web@lx4\"");
    assert!(parse(&text).config.is_none());
}

#[test]
fn relations_are_read() {
    let text = web("parent = \"db\"\nafter = \"db\"\npriority = \"low\"\ndifferent_node_from = [\"db\"]");
    let config = good(&text);
    let r = &config.groups[1].relations;
    assert_eq!(r.parent.as_ref().map(|g| g.as_str()), Some("db"));
    assert_eq!(r.after.len(), 1);
    assert_eq!((r.different_node_from.len(), r.priority), (1, Priority::Low));
    assert_eq!(config.groups[0].relations.priority, Priority::Intermediate);
}

#[test]
fn relations_name_other_groups_that_are_there() {
    refused(&web("parent = \"dbb\""), "\"dbb\"", "there is no group `dbb`", "did you mean \"db\"?");
    refused(&web("after = [\"web\"]"), "\"web\"", "names the group itself", "another group");
    refused(&web("after = [\"db\", \"db\"]"), "\"db\"", "already", "own name");
    let text = concurrent(&web("parent = \"rpc\""), BOTH);
    refused(&text, "\"rpc\"", "runs on every node at once", "clients = [\"rpc\"]");
    let text = with("name = \"cache\"\n", "name = \"cache\"\nclients = [\"web\"]\n");
    refused(&text, "\"web\"", "it is not concurrent", "parent = \"web\"");
}

#[test]
fn what_would_wait_in_a_circle_is_refused_once() {
    let text = db(&web("parent = \"db\""), "after = [\"web\"]");
    let parsed = parse(&text);
    let circles = parsed.findings.iter().filter(|f| f.message.contains("wait for each other")).count();
    assert_eq!(circles, 1, "{}", listed(&text, &parsed));
    refused(&text, "\"db\"", "web > db > web", "leads back");
    // A circle through clients.
    let text = concurrent(&with("name = \"cache\"\n", "name = \"cache\"\nclients = [\"rpc\"]\n"), BOTH)
        .replace("policy = \"concurrent\"", "policy = \"concurrent\"\nparent = \"db\"");
    assert!(parse(&text).config.is_none());
}

#[test]
fn there_are_at_most_three_levels_of_parents() {
    let chain = |count: usize| {
        (0..count).fold(GOOD.to_owned(), |text, n| {
            let parent = if n == 0 { "web".to_owned() } else { format!("g{}", n - 1) };
            format!(
                "{text}\n[[group]]\nname = \"g{n}\"\nnodes = {BOTH}\nparent = \"{parent}\"\n\n[[group.application]]\n\
                 name = \"a\"\nstart = \"a\"\n"
            )
        })
    };
    good(&chain(2));
    refused(&chain(3), "\"g1\"", "4 levels of parents: web > g0 > g1 > g2", "at most 3 levels");
}

#[test]
fn what_excludes_itself_is_refused() {
    let text = web("same_node_as = \"db\"\ndifferent_node_from = [\"db\"]");
    refused(&text, "\"db\"", "on the same node as `db` and on a different one", "delete");
    let text = web("same_node_as = \"db\"").replace("nodes = [\"lx5\", \"lx4\"]", "nodes = [\"lx5\"]");
    let text = text.replacen("nodes = [\"lx4\", \"lx5\"]\npolicy", "nodes = [\"lx4\"]\npolicy", 1);
    refused(&text, "\"db\"", "no node in common", "add a node");
    let both = |text: &str| text.replace("policy = \"cascading\"", "policy = \"rotating\"");
    let text = both(&web("same_node_as = \"db\"\npolicy = \"cascading\""));
    refused(&text, "\"db\"", "both rotating on one network", "one group");
    let text =
        concurrent(&with("name = \"cache\"\n", "name = \"cache\"\nclients = [\"rpc\"]\n"), "[\"lx5\"]");
    let parsed = parse(&text);
    assert!(parsed.config.is_some());
    assert!(
        parsed.findings.iter().any(|f| f.message.contains("never runs on lx4")),
        "{}",
        listed(&text, &parsed)
    );
}

#[test]
fn a_preset_is_the_name_of_a_triple() {
    for (name, policy) in Policy::PRESETS {
        assert_eq!(policy.preset(), Some(name));
    }
    assert_eq!(Policy::CASCADING.triple(), "startup home, failover next, failback home");
    assert_eq!(Policy { startup: Startup::FirstAvailable, ..Policy::CASCADING }.preset(), None);
}

#[test]
fn times_of_failback_and_the_settling_time_are_read() {
    let text = db(GOOD, "failback_after = \"2m\"\nfailback_at = \"sunday 02:00\"")
        .replace("takeover = \"normal\"", "settling_time = \"30s\"");
    let config = good(&text);
    assert_eq!(config.settling_time.as_secs(), 30);
    assert_eq!(config.groups[0].failback.after.as_secs(), 120);
    assert_eq!(config.groups[0].failback.at.map(|at| at.to_string()).as_deref(), Some("sunday 02:00"));
    assert!(good(GOOD).settling_time.is_zero() && good(GOOD).groups[0].failback == Default::default());
    let wrong = |at: &str| db(GOOD, &format!("failback_at = \"{at}\""));
    refused(&wrong("dayly 02:00"), "\"dayly 02:00\"", "no day", "daily 02:00");
    refused(&wrong("daily 25:00"), "\"daily 25:00\"", "no time of day", "23:59");
    let never = db(&GOOD.replace("policy = \"cascading\"", "policy = \"rotating\""), "")
        .replace("policy = \"rotating\"\n", "policy = \"rotating\"\nfailback_after = \"2m\"\n");
    warned(&never, "\"2m\"", "decides nothing", "failback = \"home\"");
}

#[test]
fn the_next_node_is_chosen_by_a_word_or_a_script() {
    use regent_model::figure::{Figure, Prefer};
    let policy = |failover: &str| {
        let triple = format!("policy = {{ startup = \"home\", failover = {failover}, failback = \"home\" }}");
        GOOD.replace("policy = \"cascading\"", &triple)
    };
    assert_eq!(good(&policy("\"disk-idle\"")).groups[0].figure(), Some(Figure::DiskIdle));
    assert_eq!(good(&policy("\"next\"")).groups[0].figure(), None);
    let config = good(&policy(
        "{ script = \"load\", prefer = \"lowest-nonzero\", interval = \"5s\", timeout = \"2s\" }",
    ));
    let script = config.groups[0].figure_script.as_ref().unwrap();
    assert_eq!(
        (script.command.as_str(), script.prefer, script.interval.as_secs()),
        ("load", Prefer::LowestNonzero, 5)
    );
    assert_eq!(config.groups[0].policy.triple(), "startup home, failover script, failback home");
    refused(
        &policy("{ prefer = \"highest\" }"),
        "{ prefer = \"highest\" }",
        "`script` is missing",
        "script =",
    );
    refused(&policy("\"free-mem\""), "\"free-mem\"", "cannot be", "did you mean \"free-memory\"?");
}

#[test]
fn a_date_that_is_past_is_warned_of_and_only_then() {
    use regent_model::config::{LocalTime, parse_at, past_dates};
    let text = db(GOOD, "failback_at = \"2026-12-24 02:00\"");
    let at = |wall_ms| LocalTime::of(wall_ms, 0);
    let (before, after) = (at(1_798_000_000_000), at(1_800_000_000_000));
    assert!(parse_at(&text, Some(before)).findings.is_empty());
    let parsed = parse_at(&text, Some(after));
    assert!(parsed.findings.iter().any(|f| f.message.contains("is past: `db` goes back at once")));
    let config = parsed.config.unwrap();
    assert_eq!((past_dates(&config, before).len(), past_dates(&config, after).len()), (0, 1));
}

#[test]
fn who_cannot_follow_and_who_is_everywhere_anyway_is_told() {
    let half = web("same_node_as = \"db\"").replace("nodes = [\"lx5\", \"lx4\"]", "nodes = [\"lx5\"]");
    let parsed = parse(&half);
    let follow = |f: &regent_model::config::Finding| {
        f.message.contains("`db` may run on lx4, where `web` cannot follow it")
    };
    assert!(parsed.config.is_some() && parsed.findings.iter().any(follow), "{}", listed(&half, &parsed));
    let bound = concurrent(GOOD, BOTH)
        .replace("policy = \"concurrent\"", "policy = \"concurrent\"\ndifferent_node_from = [\"db\"]");
    refused(&bound, "\"db\"", "`different_node_from` cannot change that", "delete");
    warned(&web("priority = \"high\""), "\"high\"", "decides nothing here", "different_node_from");
}
