//! `regent apply`: committed, settled or undone.

use std::path::PathBuf;
use std::time::Duration;

use regent_api::{Request, Status};

use super::samples::{Scripted, failed, healthy};
use crate::apply::apply;
use crate::args::ApplyArgs;
use crate::screen::Screen;
use crate::trouble::Exit;

const OLD: &str = "[cluster]\nname = \"ward7\"\n[[node]]\nname = \"lx4\"\naddresses = [\"10.77.0.4\"]\n";

fn new() -> String {
    format!("# a comment\n{OLD}")
}

/// The new configuration in a file that goes away with this value.
struct File(PathBuf);

impl File {
    fn with(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("regent-apply-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn args(&self) -> ApplyArgs {
        ApplyArgs {
            file: self.0.clone(),
            dry_run: false,
            later: false,
            no_undo: false,
            wait: Duration::from_millis(900),
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

/// A daemon with the old configuration, which then shows these.
fn daemon(statuses: Vec<Status>) -> Scripted {
    let daemon = Scripted::new(statuses);
    *daemon.config.borrow_mut() = (OLD.to_owned(), 4);
    daemon
}

fn at_once(mut status: Status, serial: u64) -> Status {
    status.lease = Duration::ZERO;
    status.config_serial = serial;
    status
}

fn texts_applied(daemon: &Scripted) -> Vec<String> {
    let orders = daemon.orders.borrow();
    let text = |r: &Request| match r {
        Request::Apply { text, dry_run: false } => Some(text.clone()),
        _ => None,
    };
    orders.iter().filter_map(text).collect()
}

#[test]
fn what_settles_stays_in_force() {
    let file = File::with("good", &new());
    let daemon = daemon(vec![at_once(healthy(), 4), at_once(healthy(), 5)]);
    apply(&daemon, &Screen::silent(), &file.args()).unwrap();
    assert_eq!(texts_applied(&daemon), [new()]);
}

#[test]
fn what_does_not_settle_is_undone_and_ends_with_4() {
    let file = File::with("undone", &new());
    // More looks at a failed group than fit into the time, then everything is well again.
    let mut statuses = vec![at_once(healthy(), 4)];
    statuses.extend(std::iter::repeat_n(at_once(failed(), 5), 11));
    statuses.push(at_once(healthy(), 6));
    let daemon = daemon(statuses);
    let trouble = apply(&daemon, &Screen::silent(), &file.args()).unwrap_err();
    assert_eq!(trouble.exit, Exit::Unsettled);
    assert!(trouble.what.starts_with("undone"), "{trouble}");
    assert_eq!(texts_applied(&daemon), [new(), OLD.to_owned()]);
    assert_eq!(daemon.config.borrow().0, OLD);
}

#[test]
fn what_somebody_else_applied_meanwhile_is_not_undone() {
    let file = File::with("third", &new());
    let mut daemon = daemon(vec![at_once(healthy(), 4), at_once(failed(), 5)]);
    daemon.third = Some("# somebody else's\n".into());
    let trouble = apply(&daemon, &Screen::silent(), &file.args()).unwrap_err();
    assert_eq!(trouble.exit, Exit::Unsettled);
    assert!(trouble.what.contains("by somebody meanwhile"), "{trouble}");
    assert_eq!(texts_applied(&daemon), [new()]);
}

#[test]
fn with_no_undo_it_stays() {
    let file = File::with("kept", &new());
    let daemon = daemon(vec![at_once(healthy(), 4), at_once(failed(), 5)]);
    let args = ApplyArgs { no_undo: true, ..file.args() };
    let trouble = apply(&daemon, &Screen::silent(), &args).unwrap_err();
    assert_eq!(trouble.exit, Exit::Unsettled);
    assert_eq!(texts_applied(&daemon), [new()]);
}

#[test]
fn a_group_that_was_not_well_before_does_not_undo_anything() {
    let file = File::with("ill", &new());
    let daemon = daemon(vec![at_once(failed(), 4), at_once(failed(), 5)]);
    apply(&daemon, &Screen::silent(), &file.args()).unwrap();
    assert_eq!(texts_applied(&daemon), [new()]);
}

#[test]
fn an_invalid_file_ends_with_2_and_nobody_is_asked() {
    let file = File::with("invalid", "[cluster]\nname = 7\n");
    let daemon = daemon(vec![healthy()]);
    assert_eq!(apply(&daemon, &Screen::silent(), &file.args()).unwrap_err().exit, Exit::Usage);
    assert!(daemon.orders.borrow().is_empty());
}

#[test]
fn a_dry_run_changes_nothing_and_a_refusal_is_told() {
    let file = File::with("dry", &new());
    let dry = ApplyArgs { dry_run: true, ..file.args() };
    let willing = daemon(vec![healthy()]);
    apply(&willing, &Screen::silent(), &dry).unwrap();
    assert!(texts_applied(&willing).is_empty());
    let unwilling = daemon(vec![healthy()]).that_refuses("lx9 has not joined", "on lx9: regent join TOKEN");
    assert_eq!(apply(&unwilling, &Screen::silent(), &file.args()).unwrap_err().exit, Exit::Refused);
    assert!(texts_applied(&unwilling).is_empty());
}

#[test]
fn the_configuration_in_force_is_not_applied_again() {
    let file = File::with("same", OLD);
    let daemon = daemon(vec![healthy()]);
    apply(&daemon, &Screen::silent(), &file.args()).unwrap();
    assert!(daemon.orders.borrow().is_empty());
}
