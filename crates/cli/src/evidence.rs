//! `regent evidence`: what was seen of applications before their failures were acted on.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use regent_api::{Answer, NodeWord, NodesAnswer, NodesAsk, Request};
use regent_model::NodeName;
use regent_model::evidence::{EvidenceHead, EvidenceId};
use serde_json::{Value, json};

use crate::args::EvidenceArgs;
use crate::client::{self, Asks};
use crate::paint::{Cell, Paint, Tone, block, printable, table};
use crate::screen::{Screen, complain};
use crate::trouble::{Result, Trouble};

/// `regent evidence`.
///
/// # Errors
/// When the daemon does not answer, or there is no such evidence.
pub fn evidence(asks: &dyn Asks, screen: &Screen, args: &EvidenceArgs) -> Result<()> {
    match args.show.as_deref() {
        None => show_list(asks, screen, args.group.as_deref()),
        Some(word) => {
            let id = match word {
                "last" => newest(asks, args.group.as_deref())?,
                text => text.parse().map_err(|why| {
                    Trouble::refused(format!("{text:?} is no evidence: {why}")).next("regent evidence")
                })?,
            };
            show_one(asks, screen, args.group.as_deref(), &id)
        }
    }
}

fn ask(asks: &dyn Asks, ask: NodesAsk) -> Result<NodesAnswer> {
    match client::accepted(asks.ask(&Request::Nodes(ask))?)? {
        Answer::Nodes(answer) => Ok(*answer),
        other => Err(client::mismatch(&other)),
    }
}

/// The heads of all nodes, the newest first, and who said nothing.
fn heads(asks: &dyn Asks, group: Option<&str>) -> Result<(Vec<EvidenceHead>, Vec<NodeName>)> {
    let answer = ask(asks, NodesAsk::Evidence { group: group.map(str::to_owned) })?;
    let mut silent = answer.silent;
    let mut heads = Vec::new();
    for (node, word) in answer.told {
        match word {
            NodeWord::Evidence(of_node) => heads.extend(of_node),
            _ => silent.push(node),
        }
    }
    heads.sort_by(|a, b| (b.at_ms, &b.node, b.number).cmp(&(a.at_ms, &a.node, a.number)));
    Ok((heads, silent))
}

fn newest(asks: &dyn Asks, group: Option<&str>) -> Result<EvidenceId> {
    let (heads, silent) = heads(asks, group)?;
    let none = || {
        let whose = group.map_or_else(String::new, |group| format!(" of {group}"));
        let unasked: String = silent.iter().map(|node| format!("; {node} said nothing")).collect();
        Trouble::refused(format!("no evidence{whose} is kept{unasked}")).next("regent evidence")
    };
    heads.first().map(EvidenceHead::id).ok_or_else(none)
}

fn show_list(asks: &dyn Asks, screen: &Screen, group: Option<&str>) -> Result<()> {
    let (heads, silent) = heads(asks, group)?;
    let values: Vec<Value> = heads.iter().map(value).collect();
    screen.value(&json!({ "evidence": values, "silent": silent }))?;
    screen.say(&list(&heads, &silent, &TimeZone::system(), screen.paint))
}

fn value(head: &EvidenceHead) -> Value {
    let mut value = json!(head);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("id".to_owned(), json!(head.id().to_string()));
    }
    value
}

fn when(head: &EvidenceHead, zone: &TimeZone) -> String {
    let at = i64::try_from(head.at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "?".to_owned(),
        |at| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

fn list(heads: &[EvidenceHead], silent: &[NodeName], zone: &TimeZone, paint: Paint) -> String {
    let mut text = String::new();
    if heads.is_empty() {
        text.push_str("no evidence is kept: no application has failed that is looked into\n");
    } else {
        let mut rows = vec![["evidence", "when", "group", "application", "why"].map(Cell::plain).to_vec()];
        rows.extend(heads.iter().map(|head| {
            let short = if head.complete { "" } else { " (not all could be seen)" };
            vec![
                Cell::new(Tone::Strong, head.id().to_string()),
                Cell::plain(when(head, zone)),
                Cell::plain(head.group.as_str()),
                Cell::plain(head.application.as_str()),
                Cell::plain(format!("{}{short}", head.reason)),
            ]
        }));
        text.push_str(&table(&rows, "", paint));
        let _ = writeln!(text, "next: regent evidence --show {}", heads[0].id());
    }
    for node in silent {
        let line = format!("{node} said nothing: what it keeps is seen when it is back");
        let _ = writeln!(text, "{}", paint.tone(Tone::Warning, &line));
    }
    text
}

fn show_one(asks: &dyn Asks, screen: &Screen, group: Option<&str>, id: &EvidenceId) -> Result<()> {
    let answer = ask(asks, NodesAsk::EvidenceText { id: id.clone() })?;
    let of_group =
        |head: &EvidenceHead| group.is_none_or(|g| head.group.as_str() == g || head.group.base() == g);
    let mut found: Vec<(EvidenceHead, String)> = answer
        .told
        .into_values()
        .filter_map(|word| match word {
            NodeWord::EvidenceText(Some(found)) if of_group(&found.0) => Some(*found),
            _ => None,
        })
        .collect();
    let Some((head, text)) = found.pop() else {
        let silent: String = answer.silent.iter().map(|node| format!("; {node} said nothing")).collect();
        return Err(Trouble::refused(format!("there is no evidence {id}{silent}")).next("regent evidence"));
    };
    if !found.is_empty() {
        let all: Vec<String> =
            found.iter().map(|(h, _)| h).chain([&head]).map(|h| h.id().to_string()).collect();
        let what = format!("several nodes have evidence {id}: {}", all.join(", "));
        return Err(Trouble::refused(what).next(format!("regent evidence --show {}", all[0])));
    }
    let mut whole = value(&head);
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("text".to_owned(), json!(text));
    }
    screen.value(&whole)?;
    let title = format!(
        "evidence {} of {} in {}, epoch {}, {}, gathered in {} ms",
        head.id(),
        head.application,
        head.group,
        head.epoch,
        when(&head, &TimeZone::system()),
        head.took_ms
    );
    screen.say(&format!("{}\n{}", screen.paint.tone(Tone::Strong, &printable(&title)), block(&text, "")))?;
    if !head.complete {
        complain("not all that was to be seen could be seen within the budget\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use regent_model::{Epoch, GroupName, ResourceName};

    use super::*;

    fn head(node: &str, number: u64, at_ms: u64) -> EvidenceHead {
        EvidenceHead {
            number,
            node: NodeName::new(node).unwrap(),
            group: GroupName::new("cacheha1").unwrap(),
            application: ResourceName::new("cache").unwrap(),
            epoch: Epoch(4),
            at_ms,
            reason: "the status command exited with 1\u{1b}[2J".into(),
            took_ms: 12,
            complete: number != 2,
            bytes: 9,
        }
    }

    /// Two nodes with a first piece each, and one of them with a second.
    struct Two;
    impl Asks for Two {
        fn ask(&self, request: &Request) -> Result<Answer> {
            let all = [head("lx4", 1, 1_000), head("lx4", 2, 90_000_000), head("lx5", 1, 5_000)];
            let mut told = BTreeMap::new();
            for node in ["lx4", "lx5"] {
                let own: Vec<EvidenceHead> =
                    all.iter().filter(|h| h.node.as_str() == node).cloned().collect();
                let word = match request {
                    Request::Nodes(NodesAsk::Evidence { .. }) => NodeWord::Evidence(own),
                    Request::Nodes(NodesAsk::EvidenceText { id }) => {
                        let one = own.into_iter().find(|h| id.means(h));
                        NodeWord::EvidenceText(one.map(|h| Box::new((h, "seen".to_owned()))))
                    }
                    other => panic!("{other:?}"),
                };
                told.insert(NodeName::new(node).unwrap(), word);
            }
            Ok(Answer::Nodes(Box::new(NodesAnswer { told, ..NodesAnswer::default() })))
        }
    }

    #[test]
    fn the_list_has_the_newest_first_and_says_what_to_type() {
        let (heads, _) = heads(&Two, None).unwrap();
        let silent = [NodeName::new("lx6").unwrap()];
        let text = list(&heads, &silent, &TimeZone::UTC, Paint(false));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1],
            "lx4/2     1970-01-02 01:00:00  cacheha1  cache        the status command exited with 1\\u{1b}[2J (not all could be seen)"
        );
        assert!(lines[2].starts_with("lx5/1     1970-01-01 00:00:05"), "{text}");
        assert_eq!(
            lines[4..],
            ["next: regent evidence --show lx4/2", "lx6 said nothing: what it keeps is seen when it is back"]
        );
    }

    #[test]
    fn a_number_that_two_nodes_have_is_asked_for_with_its_node() {
        let show = |word: &str, group: Option<&str>| {
            let args = EvidenceArgs { group: group.map(str::to_owned), show: Some(word.to_owned()) };
            evidence(&Two, &Screen::silent(), &args)
        };
        for word in ["lx4/1", "lx5/1", "2", "last"] {
            show(word, Some("cacheha1")).unwrap();
        }
        let trouble = show("1", None).unwrap_err();
        assert!(trouble.what.contains("several nodes have evidence 1"), "{trouble}");
        assert!(show("7", None).unwrap_err().what.contains("there is no evidence 7"));
        assert!(show("1", Some("other")).is_err());
        assert!(show("x", None).unwrap_err().what.contains("write it as"));
    }
}
