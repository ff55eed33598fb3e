//! `ccontrol`: its words, its screens of its own, and how it ends.

use regent_api::{Answer, InstanceVerb, Request};

use super::registering::Daemon;
use crate::client::Asks;
use crate::instance::{ccontrol, change};
use crate::screen::Screen;
use crate::trouble::Result;

#[test]
fn ccontrol_ends_with_0_or_1_and_nothing_else() {
    let daemon = Daemon::new();
    daemon.change(change::create, &["cacheha1", "directory=/store1/c52ha"]).unwrap();
    for (words, code) in [
        (vec!["list"], 0),
        (vec!["LIST", "CacheHA1"], 0),
        (vec!["list", "other"], 1),
        (vec!["qlist", "cacheha1"], 0),
        (vec!["all"], 0),
        (vec!["help"], 0),
        (vec![], 1),
        (vec!["console", "cacheha1"], 1),
        (vec!["start", "cacheha1", "quietly"], 0),
        (vec!["start"], 1),
        (vec!["start", "cacheha1", "other.cpf"], 1),
        (vec!["stop", "cacheha1", "quietly"], 1),
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
