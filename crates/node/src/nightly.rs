//! Every night the nodes are held side by side: the leader's daemon asks, tells the result as the cluster event
//! `cluster_notify`, and shows in `status` that something does not fit for as long as it is so.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use regent_api::{Answer, NodeWord, NodesAnswer, NodesAsk, Request};
use regent_guard::clock;
use regent_model::action::Notice;
use regent_model::config::Severity;
use regent_model::event::{Event, EventName};

use crate::reception::Reception;
use crate::sys;

/// How often the clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(20);
const MINUTES_OF_A_DAY: u16 = 24 * 60;
const TOPIC: &str = "nodes_differ";
/// So many findings are told in full; the rest is a matter of the command.
const TOLD_IN_FULL: usize = 3;

/// Runs from now on, on a thread of its own.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(reception: Arc<Reception>) -> io::Result<()> {
    let run = move || {
        let mut last = minute_of_day();
        loop {
            std::thread::sleep(LOOK_EVERY);
            let now = minute_of_day();
            if passed(last, now, || verify_at(&reception)) {
                verify(&reception);
            }
            last = now;
        }
    };
    std::thread::Builder::new().name("nightly".into()).spawn(run).map(drop)
}

/// The minute of the day by the clock and the time zone of this machine.
fn minute_of_day() -> u16 {
    let wall_ms = clock::wall_ms();
    let local = i64::try_from(wall_ms / 1000).unwrap_or(0) + i64::from(sys::utc_offset_s(wall_ms));
    u16::try_from((local / 60).rem_euclid(i64::from(MINUTES_OF_A_DAY))).unwrap_or(0)
}

/// Whether the time came between two looks at the clock. One that was set far is taken for set, not for passed.
fn passed(last: u16, now: u16, at: impl FnOnce() -> Option<u16>) -> bool {
    let since = (now + MINUTES_OF_A_DAY - last) % MINUTES_OF_A_DAY;
    if since == 0 || since > MINUTES_OF_A_DAY / 2 {
        return false;
    }
    at().is_some_and(|at| {
        let ahead = (at + MINUTES_OF_A_DAY - last) % MINUTES_OF_A_DAY;
        (1..=since).contains(&ahead)
    })
}

fn verify_at(reception: &Reception) -> Option<u16> {
    reception.in_force().ok()?.1.verify_at
}

fn verify(reception: &Reception) {
    let leads = match reception.desk().ask(Request::Status) {
        Answer::Status(status) => status.leader.as_ref() == Some(reception.me()),
        _ => false,
    };
    if !leads {
        // Another node looks tonight, and says what it finds.
        reception.desk().tell(well());
        return;
    }
    let Answer::Nodes(found) = reception.nodes(&NodesAsk::Survey) else { return };
    let findings = findings(&found);
    let result = match findings.as_slice() {
        [] => "the nodes fit together".to_owned(),
        [one] => format!("1 finding: {one}"),
        many => format!("{} findings: {}", many.len(), told(many)),
    };
    reception.desk().tell(Notice::Event(Event::new(EventName::ClusterNotify, [result])));
    reception.desk().tell(if findings.is_empty() { well() } else { trouble(&findings) });
}

fn told(findings: &[String]) -> String {
    let more = findings.len().saturating_sub(TOLD_IN_FULL);
    let mut text = findings[..findings.len().min(TOLD_IN_FULL)].join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn trouble(findings: &[String]) -> Notice {
    Notice::Trouble {
        topic: TOPIC.to_owned(),
        text: format!("the nodes do not fit together: {}; all of it: regent verify --nodes", told(findings)),
        advice: "regent verify --nodes says what to type for each".to_owned(),
    }
}

/// That nothing is to be found any more.
pub(crate) fn well() -> Notice {
    Notice::Well { topic: TOPIC.to_owned(), text: "nothing is left of what did not fit at night".to_owned() }
}

/// What is worth telling without being asked, each in a line.
pub(crate) fn findings(answer: &NodesAnswer) -> Vec<String> {
    let serious = answer.differences.iter().filter(|d| d.severity != Severity::Note);
    let silent = answer.silent.iter().map(|node| format!("{node} said nothing"));
    let unable = answer.told.iter().filter_map(|(node, word)| match word {
        NodeWord::Unable(why) => Some(format!("{node} could not say how it is equipped: {why}")),
        _ => None,
    });
    serious.map(|d| d.text.clone()).chain(silent).chain(unable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_comes_once_a_day_also_over_midnight() {
        assert!(passed(1439, 0, || Some(0)));
        assert!(!passed(0, 0, || Some(0)) && !passed(0, 1, || Some(0)));
        assert!(passed(119, 121, || Some(120)) && passed(119, 120, || Some(120)));
        assert!(!passed(120, 121, || Some(120)));
        assert!(!passed(10, 11, || None));
        assert!(!passed(700, 100, || Some(50)), "a clock that was set back");
    }

    #[test]
    fn a_day_of_looks_finds_the_time_exactly_once_wherever_it_lies() {
        for at in [0, 1, 719, 1439] {
            let mut last = 600;
            let mut count = 0;
            for step in 1..=720_u16 {
                let now = (600 + step * 2) % MINUTES_OF_A_DAY;
                count += u32::from(passed(last, now, || Some(at)));
                last = now;
            }
            assert_eq!(count, 1, "{at}");
        }
    }

    #[test]
    fn many_findings_are_told_in_part_with_where_the_rest_is() {
        let many: Vec<String> = (1..=5).map(|n| format!("finding {n}")).collect();
        assert_eq!(told(&many), "finding 1; finding 2; finding 3; and 2 more");
        let Notice::Trouble { text, .. } = trouble(&many) else { panic!() };
        assert!(text.contains("regent verify --nodes"), "{text}");
    }
}
