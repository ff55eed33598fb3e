//! Broken syntax, wrong types, unknown and missing keys.

use super::*;

#[test]
fn an_unquoted_address_is_told_to_be_quoted_and_still_checked() {
    refused(&with("\"10.77.0.4\"", "10.77.0.4"), "10.77.0.4", "must stand in quotes", "\"10.77.0.4\"");
    refused(&with("\"10.77.0.100/24\"", "10.77.0.100/24"), "10.77.0.100/24", "quotes", "\"10.77.0.100/24\"");
    let six = good6().replacen("\"fd00:77::4\"", "fd00:77::4", 1);
    refused(&six, "fd00:77::4", "must stand in quotes", "\"fd00:77::4\"");
    let twice = with("addresses = [\"10.77.0.5\"", "addresses = [10.77.0.4");
    let parsed = parse(&twice);
    assert_eq!(parsed.count(Severity::Error), 2, "{}", listed(&twice, &parsed));
    assert!(parsed.findings.iter().any(|f| f.message.contains("already `lx4`'s")));
}

#[test]
fn an_unquoted_word_is_told_to_be_quoted_and_still_read() {
    refused(&with("name = \"lx5\"", "name = lx5"), "lx5", "must stand in quotes", "\"lx5\"");
    refused(&with("\"/dev/sdc4\"", "/dev/sdc4"), "/dev/sdc4", "must stand in quotes", "\"/dev/sdc4\"");
    refused(&with("type = \"ext4\"", "type = \"ext4\"\nacquire_timeout = 90s"), "90s", "quotes", "\"90s\"");
    refused(
        &with("type = \"ext4\"", "type = \"ext4\"\nforce_unmount = yes"),
        "yes",
        "true or false",
        "= true",
    );
    refused(&with("type = \"ext4\"", "type ="), "", "the key has no value", "delete the line");
}

#[test]
fn broken_syntax_is_shown_and_the_rest_is_still_checked() {
    let text = with("nodes = [\"lx4\", \"lx5\"]\npolicy", "nodes = [\"lx4\" \"lx5\"]\npolicy").replacen(
        "takeover = \"normal\"",
        "takeover = \"fats\"",
        1,
    );
    let parsed = parse(&text);
    let list = listed(&text, &parsed);
    assert!(list.contains("this is not TOML: missing comma"), "{list}");
    assert!(list.contains("did you mean \"fast\"?"), "{list}");
    assert_eq!(parsed.count(Severity::Error), 2, "{list}");
}

#[test]
fn a_key_given_twice_is_found_at_the_second() {
    refused(&with("type = \"ext4\"", "type = \"ext4\"\ntype = \"xfs\""), "type", "a second time", "keep one");
    refused(
        "[cluster]\nname = \"w\"\nname = \"v\"\n[[node]]\nname = \"n\"\naddresses = [\"10.0.0.1\"]\n",
        "name",
        "a second time",
        "keep one of them",
    );
    let early = parse("[cluster]\nname = \"w\"\n[[group.address]]\naddress = \"10.0.0.1/8\"\n");
    assert!(early.findings.iter().any(|f| f.message == "what stands in a group comes after its [[group]]"));
    let single = GOOD.replace("[[node]]", "[node]");
    let parsed = parse(&single);
    let list = listed(&single, &parsed);
    assert!(list.contains("[[node]]"), "{list}");
}

#[test]
fn an_unknown_key_is_named_with_what_was_meant_and_what_is_allowed() {
    refused(&with("mount =", "mountpoint ="), "mountpoint", "unknown key", "did you mean `mount`?");
    refused(&with("takeover =", "take-over ="), "take-over", "in [cluster]", "did you mean `takeover`?");
    refused(&with("policy =", "colour ="), "colour", "in [[group]]", "allowed here: name, nodes, policy");
    refused(&with("[[fence]]", "[[fences]]\nname=\"x\"\n[[fence]]"), "fences", "unknown key", "`fence`");
    refused(
        &with("type = \"ext4\"", "type = \"ext4\"\nmonitor = { intervall = \"5s\" }"),
        "intervall",
        "filesystem.monitor",
        "did you mean `interval`?",
    );
}

#[test]
fn a_missing_key_points_at_its_table() {
    refused(
        &with("device = \"/dev/sdc4\"\n", ""),
        "[[group.filesystem]]",
        "`device` is missing",
        "device = ",
    );
    refused(&with("name = \"wit\"\n", ""), "[[witness]]", "`name` is missing", "add a line: name = ");
    refused(&with("nodes = [\"lx5\", \"lx4\"]\n", ""), "[[group]]", "`nodes` is missing", "nodes = [");
    refused(
        &with("start = \"/usr/local/etc/cache start\"\n", ""),
        "[[group.application]]",
        "`start`",
        "start = ",
    );
    refused(&with("name = \"ward7\"\n", ""), "[cluster]", "`name` is missing", "add a line");
    refused(
        &with("[cluster]\nname = \"ward7\"\ntakeover = \"normal\"\n", ""),
        "",
        "no table [cluster]",
        "begin",
    );
    refused(
        &with("agent = \"/usr/sbin/fence_ipmilan\"\n", ""),
        "[[fence]]",
        "`agent` is missing",
        "agent = ",
    );
}

#[test]
fn a_wrong_type_is_told_with_an_example() {
    refused(&with("name = \"ward7\"", "name = 7"), "7", "must be a text in quotes, not a number", "name = ");
    refused(
        &with("name = \"ward7\"", "name = \"ward7\"\nport = \"7410\""),
        "\"7410\"",
        "whole number",
        "7410",
    );
    refused(
        &with("name = \"ward7\"", "name = \"ward7\"\nport = 70000"),
        "70000",
        "`port`",
        "from 1 to 65535",
    );
    refused(
        &with("addresses = [\"10.77.0.6\", \"10.78.0.6\"]", "addresses = \"10.77.0.6\""),
        "\"10.77.0.6\"",
        "must be a list of texts, not a text",
        "addresses = [\"10.77.0.6\"]",
    );
    refused(
        &with("mount = \"/storage2\"", "mount = \"/storage2\"\nforce_unmount = \"no\""),
        "\"no\"",
        "must be true or false",
        "force_unmount = true",
    );
    refused(&with("policy = \"cascading\"", "policy = 1"), "1", "a word or the triple", "\"rotating\"");
    refused(&with("[[witness]]", "[witness]"), "[witness]", "double brackets", "[[witness]]");
    refused(
        &format!("group = 1\n{}", &GOOD[..GOOD.find("[[group]]").unwrap()]),
        "1",
        "must be a table",
        "[[group]]",
    );
}

#[test]
fn a_duration_is_text_with_a_unit() {
    let monitor =
        |value: &str| with("start = \"/usr", &format!("monitor = {{ interval = {value} }}\nstart = \"/usr"));
    refused(&monitor("10"), "10", "the bare number 10 has no unit", "\"10s\" for seconds");
    refused(&monitor("0"), "0", "has no unit", "interval = \"0\"");
    refused(&monitor("1.5"), "1.5", "no unit", "\"10s\"");
    refused(&monitor("\"10\""), "\"10\"", "has no unit", "\"10s\" for seconds");
    refused(&monitor("\"5 min\""), "\"5 min\"", "not a unit", "\"5m\"");
    refused(&monitor("true"), "true", "must be a duration in quotes", "\"10s\"");
    good(&monitor("\"0\""));
    let group = good(&monitor("\"0\"")).groups[0].clone();
    assert!(group.applications[0].monitor.interval.is_zero());
    let timeout = with("start = \"/usr", "start_timeout = \"0s\"\nstart = \"/usr");
    refused(&timeout, "\"0s\"", "cannot be zero", "start_timeout = \"60s\"");
}

#[test]
fn the_takeover_time_is_a_profile_or_a_duration() {
    let takeover = |value: &str| with("\"normal\"", value);
    refused(&takeover("\"quick\""), "\"quick\"", "cannot be", "\"800ms\"");
    refused(&takeover("800"), "800", "the bare number 800 has no unit", "\"800ms\"");
    refused(&takeover("\"800\""), "\"800\"", "has no unit", "\"800ms\"");
    refused(&takeover("\"50ms\""), "\"50ms\"", "between 120 ms and 60 s", "\"fast\" (120 ms)");
    assert_eq!(good(&takeover("\"800ms\"")).timers.lease.as_millis(), 800);
    assert_eq!(good(&takeover("\"slow\"")).timers.lease.as_secs(), 4);
    assert_eq!(good(&with("takeover = \"normal\"\n", "")).timers.lease.as_millis(), 600);
}

#[test]
fn a_bad_name_is_told_with_a_good_one() {
    refused(&with("\"ward7\"", "\"ward 7\""), "\"ward 7\"", "' ' cannot stand in a name", "\"ward-7\"");
    refused(&with("\"ward7\"", "\"-x\""), "\"-x\"", "begins with a letter", "\"x\"");
    refused(&with("\"ward7\"", "\"\""), "\"\"", "is empty", "ward7");
    // A node with a bad name still counts as that node: its groups are not blamed.
    refused(
        &GOOD.replace("lx4", "lx 4").replacen("[\"lx 4\", \"lx5\"]", "[\"lx5\"]", 1),
        "\"lx 4\"",
        "' '",
        "lx-4",
    );
}

#[test]
fn all_errors_are_shown_at_once_in_the_order_of_the_file() {
    let text = with("\"normal\"", "\"fats\"")
        .replace("\"10.78.0.5\"", "\"10.78.0.4\"")
        .replace("/storage2", "storage2")
        .replace("10.77.0.101/24", "10.77.0.101/42");
    let parsed = parse(&text);
    let lines: Vec<_> = parsed.findings.iter().map(|f| f.line_and_column(&text).0).collect();
    assert_eq!(lines, [3, 11, 29, 44], "{}", listed(&text, &parsed));
    assert!(parsed.findings.iter().all(|f| f.severity == Severity::Error && !f.help.is_empty()));
}
