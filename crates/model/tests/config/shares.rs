//! Shares: which may be written, and the server that they come to.

use regent_model::config::{MainProcess, ShareSync};

use super::*;

/// The good file with a share in its first group.
fn shared(lines: &str) -> String {
    GOOD.replacen(
        "[[group.application]]",
        &format!(
            "[[group.share]]\nname = \"data\"\npath = \"/storage2/data\"\n{lines}\n[[group.application]]"
        ),
        1,
    )
}

#[test]
fn shares_come_to_one_server_of_the_group_before_its_applications() {
    let text = shared(
        "comment = \"Files\"\n[[group.share]]\nname = \"own\"\npath = \"/storage2\"\n\
                       users = [\"anna\"]\nread_only = true\nsync = \"on-flush\"",
    );
    let config = good(&text);
    let group = &config.groups[0];
    let names: Vec<_> = group.resources().iter().map(|r| r.name().to_string()).collect();
    assert_eq!(names[names.len() - 2..], ["samba", "cache"]);
    let shares: Vec<_> = group.shares().map(|s| (s.name.as_str(), s.read_only, s.sync)).collect();
    assert_eq!(shares, [("data", false, ShareSync::Always), ("own", true, ShareSync::OnFlush)]);
    let server = &group.applications[0];
    let samba = server.samba.as_ref().unwrap();
    assert_eq!(samba.addresses, [("10.77.0.100".parse().unwrap(), 24)]);
    assert_eq!(samba.state.display().to_string(), "/storage2/.regent-samba");
    assert_eq!(server.main, MainProcess::Child);
    assert_eq!(good(GOOD).groups[0].shares().count(), 0);
}

#[test]
fn what_would_not_move_with_its_group_is_not_shared() {
    let wrong = |from: &str, to: &str, culprit: &str, message: &str, help: &str| {
        refused(&shared("").replace(from, to), culprit, message, help);
    };
    wrong(
        "/storage2/data",
        "/srv/data",
        "\"/srv/data\"",
        "on none of the file systems of `db`",
        "/storage2/data",
    );
    let local = "local = true\ndevices = { lx4 = \"/dev/sdc4\", lx5 = \"/dev/sdc4\" }";
    wrong(
        "device = \"/dev/sdc4\"",
        local,
        "\"/storage2/data\"",
        "disk of each node's own",
        "shared file system",
    );
    wrong(
        "[[group.address]]\naddress = \"10.77.0.100/24\"\n",
        "",
        "\"data\"",
        "no service address",
        "[[group.address]]",
    );
}

#[test]
fn names_that_clients_could_not_ask_for_are_refused() {
    let named = |name: &str| shared("").replace("name = \"data\"", &format!("name = \"{name}\""));
    refused(&named("global"), "\"global\"", "means something else to Samba", "for example \"data\"");
    refused(&named("a/b"), "\"a/b\"", "no name that clients could ask for", "letters");
    let twice = shared("[[group.share]]\nname = \"DATA\"\npath = \"/storage2/other\"");
    refused(&twice, "\"DATA\"", "share of this name already", "name of its own");
    let rival = shared("").replace("name = \"cache\"", "name = \"samba\"");
    refused(&rival, "\"samba\"", "the server of the group's shares is called `samba`", "another name");
    let both = shared("guests = true\nusers = [\"anna\"]");
    refused(&both, "true", "everybody is let in", "guests = false");
    refused(&shared("comment = \"a\\nb\""), "\"a\\nb\"", "does not fit on one line", "plain text");
}
