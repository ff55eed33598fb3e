//! `ccontrol`: its words, its screens of its own, and how it ends.

use regent_api::{Answer, InstanceVerb, Request};
use regent_model::config::InstanceKind;

use super::registering::Daemon;
use crate::client::Asks;
use crate::instance::phrases::in_its_words;
use crate::instance::{ccontrol, change};
use crate::screen::Screen;
use crate::trouble::Result;

#[test]
fn ccontrol_ends_with_0_or_1_and_nothing_else() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=cache"]).unwrap();
    for (words, code) in [
        (vec!["list"], 0),
        (vec!["LIST", "CacheHA1"], 0),
        (vec!["list", "other"], 1),
        (vec!["qlist", "cacheha1"], 0),
        (vec!["all"], 0),
        (vec!["help"], 0),
        (vec![], 1),
        (vec!["stat", "cacheha1"], 0),
        (vec!["stat"], 0),
        (vec!["console", "cacheha1"], 0),
        (vec!["view", "cacheha1"], 1),
        (vec!["load"], 1),
        (vec!["default"], 0),
        (vec!["start", "cacheha1", "quietly"], 0),
        (vec!["start", "other"], 1),
        (vec!["start", "cacheha1", "other.cpf"], 1),
        (vec!["start", "cacheha1", "help"], 0),
        (vec!["stop", "cacheha1", "quietly"], 1),
        (vec!["stopnoshut", "cacheha1"], 1),
        (vec!["stopstart", "cacheha1", "quietly"], 1),
        (vec!["force", "cacheha1", "quietly"], 0),
        (vec!["create", "x"], 1),
    ] {
        assert_eq!(daemon.say(&words), code, "{words:?}");
    }
    let started = daemon.orders.borrow();
    let verbs: Vec<_> =
        started.iter().filter(|r| matches!(r, Request::Instance { verb: InstanceVerb::Start, .. })).collect();
    assert_eq!(verbs.len(), 1, "after a stop that failed nothing is started");
}

/// What was ordered of instances: the verb, which, and the words for the vendor's command.
fn ordered(daemon: &Daemon) -> Vec<String> {
    let all = daemon.orders.take();
    let one = |request: Request| match request {
        Request::Instance { name, verb, words } => Some(format!("{verb:?} {name} {}", words.join(" "))),
        _ => None,
    };
    all.into_iter().filter_map(one).collect()
}

#[test]
fn without_a_name_the_default_instance_is_meant() {
    let daemon = Daemon::new();
    for words in [vec!["start"], vec!["default"], vec!["console"], vec!["force", "quietly"]] {
        assert_eq!(daemon.say(&words), 1, "there is none: {words:?}");
    }
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=cache"]).unwrap();
    daemon.change(change::create, &["cacheha2", "directory=/store2/c", "kind=gtm"]).unwrap();
    assert_eq!(daemon.say(&["default", "CacheHA2"]), 0);
    insta::assert_snapshot!("ccontrol_default", ccontrol::default(&daemon.registry()).unwrap());
    daemon.orders.take();
    for words in
        [vec!["start"], vec!["START", "Quietly"], vec!["force", "quietly"], vec!["start", "cacheha1"]]
    {
        assert_eq!(daemon.say(&words), 0, "{words:?}");
    }
    assert_eq!(
        ordered(&daemon),
        ["Start CACHEHA2 ", "Start CACHEHA2 ", "Force CACHEHA2 ", "Start CACHEHA1 "]
    );
    assert_eq!(daemon.say(&["start", "cacheha3"]), 1, "that is no word of a start: it was meant as a name");
    assert_eq!(daemon.say(&["delete"]), 1, "that is asked for by name");
    assert_eq!(ordered(&daemon), Vec::<String>::new());
}

#[test]
fn what_is_the_vendors_goes_on_to_its_command_and_means_nothing_elsewhere() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=cache"]).unwrap();
    daemon.change(change::create, &["cacheha2", "directory=/store2/c", "kind=gtm"]).unwrap();
    daemon.orders.take();
    let said = |words: &[&str]| (daemon.say(words), ordered(&daemon));
    let one = |order: &str| (0, vec![order.to_owned()]);
    assert_eq!(
        said(&["start", "cacheha1", "quietly", "nostu", "nouser", "EmergencyId=me,secret", "/c/other.CPF"]),
        one("Start CACHEHA1 nostu nouser EmergencyId=me,secret /c/other.CPF")
    );
    assert_eq!(said(&["stop", "cacheha1", "quietly", "bypass", "nouser"]).1, ["Stop CACHEHA1 bypass nouser"]);
    assert_eq!(said(&["stopnoshut", "cacheha1", "nouser"]).1, ["Stop CACHEHA1 stopnoshut nouser"]);
    assert_eq!(said(&["force", "cacheha1", "quietly"]), one("Force CACHEHA1 "));
    assert_eq!(said(&["start", "cacheha2", "nostu", "EmergencyId=me,secret"]), one("Start CACHEHA2 "));
    assert_eq!(said(&["start", "cacheha2", "/c/other.cpf"]), (1, vec![]), "it would have other settings");
    for wrong in [["start", "cacheha1", "other.cpf"], ["start", "cacheha1", "at once"]] {
        assert_eq!(said(&wrong), (1, vec![]));
    }
}

#[test]
fn the_log_of_an_instance_and_what_only_the_vendor_has() {
    let registry = super::instances::registry();
    let with = |kind| regent_api::InstanceStatus { kind, ..registry.instances[0].clone() };
    let logs = [InstanceKind::Cache, InstanceKind::Iris, InstanceKind::Gtm]
        .map(|kind| ccontrol::console(&with(kind)).unwrap());
    assert_eq!(
        logs.concat(),
        "/store1/c52ha/mgr/cconsole.log\n/store1/c52ha/mgr/messages.log\n/run/regent/work/gtm/CACHEHA1.log\n"
    );
    let unknown = ccontrol::console(&with(InstanceKind::Command)).unwrap_err();
    let view = ccontrol::elsewhere("view", &with(InstanceKind::Cache));
    let load = ccontrol::elsewhere("load", &with(InstanceKind::Gtm));
    insta::assert_snapshot!("ccontrol_elsewhere", format!("{unknown}\n{view}\n{load}\n"));
}

#[test]
fn the_help_of_ccontrol() {
    insta::assert_snapshot!("ccontrol_help", ccontrol::HELP);
    assert!(ccontrol::HELP.lines().all(|line| line.len() <= 120));
}

#[test]
fn what_to_type_next_is_said_in_the_words_of_ccontrol() {
    let daemon = Daemon::new();
    let none = change::update(&daemon, "none", &["port=1".to_owned()]).unwrap_err();
    assert_eq!(in_its_words(&none.to_string()), "there is no instance NONE\n  next: ccontrol list");
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha", "kind=cache"]).unwrap();
    let other = daemon.change(change::create, &["cacheha1", "directory=/store1/x"]).unwrap_err();
    assert!(in_its_words(&other.to_string()).contains("to change it: ccontrol update CACHEHA1"), "{other}");
    let text = "regent instance status X, regent instance stop X, regent instance check, regent status";
    assert_eq!(in_its_words(text), "ccontrol stat X, ccontrol stop X, regent instance check, regent status");
}

/// A daemon that does not run.
struct Nobody;

impl Asks for Nobody {
    fn ask(&self, _: &Request) -> Result<Answer> {
        Err(crate::trouble::Trouble::unreachable("the daemon of this node does not run")
            .next("regent node start"))
    }
}

#[test]
fn without_a_daemon_ccontrol_says_so_and_starts_nothing() {
    for words in [vec!["list"], vec!["all"], vec!["start", "cacheha1", "quietly"], vec!["stop", "cacheha1"]] {
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        assert_eq!(ccontrol::run(&Nobody, &Screen::silent(), &words), 1);
    }
}
