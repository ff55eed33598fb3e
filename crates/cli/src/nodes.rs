//! What is asked of all nodes at once: `regent prepare`, `regent verify --nodes`, and what is left of a group that was
//! disabled.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use regent_api::{Answer, NodeWord, NodesAnswer, NodesAsk, Presence, Request};
use regent_model::config::Severity;
use regent_model::survey::Difference;
use regent_model::{GroupName, NodeName};
use serde_json::{Value, json};

use crate::client::{self, Asks};
use crate::paint::{Cell, Paint, Tone, printable, table};
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

/// How often it is looked again whether something has gone.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Asks all nodes.
///
/// # Errors
/// When this node's daemon does not answer.
pub fn ask(asks: &dyn Asks, ask: NodesAsk) -> Result<NodesAnswer> {
    match client::accepted(asks.ask(&Request::Nodes(ask))?)? {
        Answer::Nodes(answer) => Ok(*answer),
        other => Err(client::mismatch(&other)),
    }
}

/// Who said nothing, in sentences.
#[must_use]
pub fn silence(answer: &NodesAnswer) -> Vec<String> {
    answer.silent.iter().map(|node| format!("{node} said nothing: is it up? regent status")).collect()
}

/// `regent prepare`.
///
/// # Errors
/// When a node could not be prepared wholly, or said nothing; the rest was done and shown.
pub fn prepare(asks: &dyn Asks, screen: &Screen, group: Option<&str>, dry_run: bool) -> Result<u8> {
    let answer = ask(asks, NodesAsk::Prepare { group: group.map(str::to_owned), dry_run })?;
    let mut text = String::new();
    let mut left = answer.silent.len();
    for (node, word) in &answer.told {
        let lines: Vec<(Tone, String)> = match word {
            NodeWord::Prepared(lines) if lines.is_empty() => {
                vec![(Tone::Good, "nothing to do: it is prepared".to_owned())]
            }
            NodeWord::Prepared(lines) => lines
                .iter()
                .map(|line| match line {
                    Ok(done) => (Tone::Good, format!("done: {done}")),
                    Err(why) if dry_run => (Tone::Plain, why.clone()),
                    Err(why) => (Tone::Bad, format!("not done: {why}")),
                })
                .collect(),
            NodeWord::Unable(why) => vec![(Tone::Bad, why.clone())],
            _ => vec![(Tone::Bad, "it answered something else; is it of another version?".to_owned())],
        };
        left += lines.iter().filter(|(tone, _)| *tone == Tone::Bad).count();
        for (tone, line) in lines {
            let _ = writeln!(text, "{node}: {}", screen.paint.tone(tone, &printable(&line)));
        }
    }
    for line in silence(&answer) {
        let _ = writeln!(text, "{}", screen.paint.tone(Tone::Bad, &line));
    }
    screen.value(&json!({ "nodes": answer.told, "silent": answer.silent, "dry_run": dry_run }))?;
    screen.say(&text)?;
    Ok(if left == 0 { Exit::Done as u8 } else { Exit::Refused as u8 })
}

/// `regent verify --nodes`.
///
/// # Errors
/// When the daemon does not answer.
pub fn verify(asks: &dyn Asks, screen: &Screen) -> Result<u8> {
    let answer = ask(asks, NodesAsk::Survey)?;
    screen.value(&json!({
        "differences": answer.differences,
        "silent": answer.silent,
        "asked": answer.told.keys().collect::<Vec<_>>(),
        "nodes": answer.told,
    }))?;
    screen.say(&report(&answer, screen.paint))?;
    let bad = |d: &Difference| d.severity != Severity::Note;
    let whole = answer.silent.is_empty() && unable(&answer).is_empty();
    let fits = whole && !answer.differences.iter().any(bad);
    Ok(if fits { Exit::Done as u8 } else { Exit::Refused as u8 })
}

fn unable(answer: &NodesAnswer) -> Vec<String> {
    let why = |(node, word): (&NodeName, &NodeWord)| match word {
        NodeWord::Surveyed(_) => None,
        NodeWord::Unable(why) => Some(format!("{node} could not say how it is equipped: {why}")),
        _ => Some(format!("{node} answered something else; is it of another version?")),
    };
    answer.told.iter().filter_map(why).collect()
}

/// What does not fit together, as a table: how bad, what about, which group, where; then what and what to type.
fn report(answer: &NodesAnswer, paint: Paint) -> String {
    let mut text = String::new();
    let asked: Vec<&str> = answer.told.keys().map(NodeName::as_str).collect();
    let _ = writeln!(text, "asked: {}", asked.join(", "));
    for line in silence(answer).into_iter().chain(unable(answer)) {
        let _ = writeln!(text, "{}", paint.tone(Tone::Bad, &printable(&line)));
    }
    if !answer.differences.is_empty() {
        let title = ["how bad", "about", "group", "nodes", "what does not fit"];
        let mut rows = vec![title.iter().map(Cell::plain).collect::<Vec<_>>()];
        rows.extend(answer.differences.iter().map(row));
        let table = table(&rows, "", paint);
        let helps = answer.differences.iter().map(|difference| Some(&difference.help));
        for (line, help) in table.lines().zip(std::iter::once(None).chain(helps)) {
            let _ = writeln!(text, "{line}");
            if let Some(help) = help {
                let next = printable(&format!("next: {help}"));
                let _ = writeln!(text, "{:9}{}", "", paint.tone(Tone::Dim, &next));
            }
        }
    }
    let _ = match answer.differences.len() {
        0 => writeln!(text, "nothing that does not fit together"),
        1 => writeln!(text, "1 thing does not fit together"),
        n => writeln!(text, "{n} things do not fit together"),
    };
    text
}

fn row(difference: &Difference) -> Vec<Cell> {
    let tone = match difference.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warning,
        Severity::Note => Tone::Dim,
    };
    let nodes: Vec<&str> = difference.nodes.iter().map(NodeName::as_str).collect();
    vec![
        Cell::new(tone, difference.severity.to_string()),
        Cell::plain(&difference.topic),
        Cell::plain(difference.group.as_ref().map_or("-", GroupName::as_str)),
        Cell::plain(nodes.join(",")),
        Cell::plain(&difference.text),
    ]
}

/// Waits until nothing of a group is on any node, and says what was seen on each.
///
/// # Errors
/// When something is still there at the end, or a node could not be asked: then nothing is confirmed.
pub fn released(asks: &dyn Asks, group: &str, limit: Duration) -> Result<(String, Value)> {
    let until = Instant::now() + limit;
    loop {
        let mut answer = ask(asks, NodesAsk::Presence { group: group.to_string() })?;
        let away = take_those_away(asks, &mut answer)?;
        let (mut text, open) = seen(&answer);
        for node in &away {
            let _ = writeln!(text, "{node}: not asked, because it is not there");
        }
        if open.is_empty() {
            let nodes = json!({ "nodes": answer.told, "away": away });
            return Ok((text, nodes));
        }
        if Instant::now() >= until {
            let trouble = Trouble::unsettled(format!(
                "{group} is disabled, but that it is unmounted and released on every node could not be confirmed: \
                 {}",
                open.join("; ")
            ));
            return Err(trouble.next("regent status; on the node: findmnt, ip address"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Those among the silent that the cluster knows to be down: nobody can ask them, and the log has the proof that what
/// they had has ended.
fn take_those_away(asks: &dyn Asks, answer: &mut NodesAnswer) -> Result<Vec<NodeName>> {
    if answer.silent.is_empty() {
        return Ok(Vec::new());
    }
    let status = client::status(asks)?;
    let is_there = |node: &NodeName| {
        let found = status.nodes.iter().find(|n| n.name == *node);
        found.is_some_and(|n| ["up", "standby"].contains(&n.state.as_str()))
    };
    let (there, away) = std::mem::take(&mut answer.silent).into_iter().partition(is_there);
    answer.silent = there;
    Ok(away)
}

/// What each node saw, and what is not confirmed.
fn seen(answer: &NodesAnswer) -> (String, Vec<String>) {
    let (mut text, mut open) = (String::new(), silence(answer));
    for (node, word) in &answer.told {
        let NodeWord::Presence(things) = word else {
            open.push(format!("{node} could not say"));
            continue;
        };
        for Presence { what, there } in things {
            match there {
                Ok(false) => {}
                Ok(true) => open.push(format!("{what} is still on {node}")),
                Err(why) => open.push(format!("whether {what} is on {node}: {why}")),
            }
        }
        let list: Vec<&str> = things.iter().map(|thing| thing.what.as_str()).collect();
        let _ = match list.as_slice() {
            [] => writeln!(text, "{node}: it has no mounts, addresses or volumes that could be left"),
            list => writeln!(text, "{node}: unmounted and released: {}", list.join(", ")),
        };
    }
    (text, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn the_table_says_how_bad_what_where_and_what_to_type() {
        let difference = |severity, topic: &str, text: &str| Difference {
            severity,
            topic: topic.into(),
            group: GroupName::new("db").ok(),
            nodes: vec![node("lx5")],
            text: text.into(),
            help: "mend it".into(),
        };
        let answer = NodesAnswer {
            told: [(node("lx4"), NodeWord::Surveyed(Box::default()))].into(),
            silent: vec![node("lx9")],
            differences: vec![
                difference(Severity::Error, "device", "/dev/sdc is missing"),
                difference(Severity::Note, "mount point", "there is no folder /x\u{1b}[2J"),
            ],
        };
        let text = report(&answer, Paint(false));
        assert!(text.contains("error    device       db     lx5    /dev/sdc is missing\n"), "{text}");
        assert!(
            text.starts_with("asked: lx4\nlx9 said nothing: is it up? regent status\nhow bad  about "),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "what a node says reaches no terminal as it is: {text:?}");
        assert!(text.contains("next: mend it") && text.ends_with("2 things do not fit together\n"), "{text}");
    }

    #[test]
    fn a_release_is_confirmed_only_when_every_node_saw_that_nothing_is_there() {
        let thing = |there| Presence { what: "address 10.0.0.9".into(), there };
        let answer = |word| NodesAnswer { told: [(node("lx4"), word)].into(), ..NodesAnswer::default() };
        let (text, open) = seen(&answer(NodeWord::Presence(vec![thing(Ok(false))])));
        assert_eq!((text.as_str(), open.len()), ("lx4: unmounted and released: address 10.0.0.9\n", 0));
        assert!(seen(&answer(NodeWord::Presence(vec![thing(Ok(true))]))).1[0].contains("still on lx4"));
        assert!(
            seen(&answer(NodeWord::Presence(vec![thing(Err("no /proc".into()))]))).1[0].contains("no /proc")
        );
        let silent = NodesAnswer { silent: vec![node("lx5")], ..NodesAnswer::default() };
        assert!(seen(&silent).1[0].contains("lx5 said nothing"));
    }
}
