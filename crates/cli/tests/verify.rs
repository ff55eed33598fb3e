//! What `regent verify` prints, in full.

use regent_cli::verify::{render, verify_json};
use regent_model::config::parse;

/// A file with ten different mistakes, one of each kind that is made most.
const TEN_MISTAKES: &str = r#"[cluster]
name     = "ward7"
takeover = "normal"

[[node]]
name      = "lx4"
addresses = [10.77.0.4, "10.78.0.4"]

[[node]]
name      = "lx5"
addresses = ["10.77.0.5", "10.78.0.4"]

[[witness]]
name      = "wit"
addresses = ["10.77.0.6", "10.78.0.6"]

[[group]]
name   = "cacheha1"
nodes  = ["lx4", "lx6"]
policy = "cascadin"

  [[group.filesystem]]
  device     = "/dev/sdc4"
  mountpoint = "/storage2"
  type       = "ext4"

  [[group.address]]
  address = "10.77.0.197/33"

  [[group.application]]
  name    = "cache"
  start   = "/usr/local/etc/cachesys/cache-init start"
  monitor = { interval = 10, failures = 2 }

[[group]]
name  = "web"
nodes = ["lx5", "lx4"]

  [[group.filesystem]]
  device = "/dev/sdc4"
  mount  = "/storage3"
  type   = "ext4"

  [[group.application]]
  name        = "web"
  start       = "/usr/local/bin/web"
  foreground  = "yes"
  lapse_grace = "2s"
"#;

/// A good file on IPv6 that is content with the guard for a shared disk.
const GUARD_ALONE_ON_IPV6: &str = r#"[cluster]
name     = "ward6"
takeover = "fast"

[[node]]
name      = "a"
addresses = ["fd00:77::4", "fd00:78::4"]

[[node]]
name      = "b"
addresses = ["fd00:77::5", "fd00:78::5"]

[[witness]]
name      = "w"
addresses = ["fd00:77::6", "fd00:78::6"]

[[group]]
name   = "files"
nodes  = ["a", "b"]
policy = "rotating"
needs  = ["fenced", "lease-ended"]

  [[group.filesystem]]
  device = "/dev/vdb"
  mount  = "/srv/files"
  type   = "xfs"

  [[group.address]]
  address = "fd00:77::100/64"
"#;

fn rendered(path: &str, text: &str) -> String {
    render(path, text, &parse(text), false)
}

#[test]
fn ten_different_mistakes_are_shown_at_once_each_at_its_line() {
    insta::assert_snapshot!(rendered("ward7.toml", TEN_MISTAKES));
}

#[test]
fn a_valid_file_shows_its_timers_their_inequality_and_its_guarantees() {
    insta::assert_snapshot!(rendered("ward6.toml", GUARD_ALONE_ON_IPV6));
}

#[test]
fn the_examples_are_shown_with_what_follows_from_them() {
    insta::assert_snapshot!("ward7", rendered("ward7.toml", include_str!("../../../examples/ward7.toml")));
    let postgresql = include_str!("../../../examples/postgresql.toml");
    insta::assert_snapshot!("postgresql", rendered("postgresql.toml", postgresql));
}

#[test]
fn programs_get_the_same_as_people() {
    let refused = verify_json("ward7.toml", TEN_MISTAKES, &parse(TEN_MISTAKES));
    assert_eq!(refused["valid"], false);
    assert_eq!(refused["errors"], 10);
    assert_eq!(refused["findings"].as_array().map(Vec::len), Some(12));
    assert_eq!(refused["findings"][0]["at"]["line"], 7);
    assert_eq!(refused["findings"][0]["at"]["column"], 14);
    assert!(refused["timers"].is_null() && refused["groups"].is_null());
    let valid = verify_json("ward6.toml", GUARD_ALONE_ON_IPV6, &parse(GUARD_ALONE_ON_IPV6));
    insta::assert_snapshot!(format!("{valid:#}"));
}

#[test]
fn color_adds_color_and_nothing_else() {
    let parsed = parse(TEN_MISTAKES);
    let colored = render("x.toml", TEN_MISTAKES, &parsed, true);
    assert!(colored.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain.push_str(rest);
    assert_eq!(plain, render("x.toml", TEN_MISTAKES, &parsed, false));
}

#[test]
fn a_hostile_file_cannot_command_the_terminal() {
    let text = "[cluster]\nname = \"\\u001b[2J\"\n\"\\u001b]0;x\\u0007\" = 1\nport = \u{1b}[31m\n";
    let out = rendered("x\u{1b}[2J.toml", text);
    assert!(!out.contains('\u{1b}') && !out.contains('\u{7}'), "{out:?}");
}

#[test]
fn any_text_can_be_shown() {
    for text in [
        "",
        "\n",
        "[",
        "ä",
        "a = \"\u{1F980}",
        "\r\n[cluster]\r\nname = 1\r\n",
        "\t[[node]]\n\tname = 1",
        "\0",
    ] {
        let out = rendered("x.toml", text);
        assert!(out.contains("x.toml is refused: "), "{out}");
    }
    for end in (0..TEN_MISTAKES.len()).step_by(3) {
        assert!(rendered("x.toml", &TEN_MISTAKES[..end]).contains("x.toml is refused: "));
    }
}
