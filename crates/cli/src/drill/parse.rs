//! Reads a plan's text: every mistake at its line, with what to write instead. Pure, and total: any text is read.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use regent_model::config::{Finding, Severity, Span};
use regent_model::ids::InstanceName;
use regent_model::{GroupName, NodeName, ResourceName};

use super::plan::{Act, Step, Way, What};

/// How soon what is expected must be so where the plan does not say it.
pub(super) const WITHIN: Duration = Duration::from_secs(60);
/// For how long something must stay where the plan does not say it.
pub(super) const FOR: Duration = Duration::from_secs(10);

/// Every step with an example, as the help shows them.
pub(super) const LANGUAGE: [(&str, &str); 9] = [
    ("FAIL_NODE", "FAIL_NODE lx4 [power|network|guard]"),
    ("RETURN_NODE", "RETURN_NODE lx4"),
    ("NETWORK_DOWN", "NETWORK_DOWN lx4 1"),
    ("NETWORK_UP", "NETWORK_UP lx4 1"),
    ("SERVICE_KILL", "SERVICE_KILL cacheha1 cache"),
    ("MOVE", "MOVE cacheha1 lx5"),
    ("WAIT", "WAIT 5s"),
    ("PROBE", "PROBE 10.77.0.100:1972"),
    ("EXPECT", "EXPECT cacheha1 ONLINE ON lx5 WITHIN 10s"),
];

/// Everything that can be expected, as the help shows it.
pub(super) const EXPECTATIONS: [&str; 9] = [
    "EXPECT cacheha1 [cacheha2 ...] ONLINE [ON lx5] [WITHIN 10s]",
    "EXPECT cacheha1 [cacheha2 ...] STAYS [ON lx5] [FOR 10s]",
    "EXPECT cacheha1 [cacheha2 ...] DOWN [WITHIN 10s]",
    "EXPECT 10.77.0.100 ANSWERS [FROM lx5] [WITHIN 10s]",
    "EXPECT 10.77.0.100 SILENT [WITHIN 10s]",
    "EXPECT 10.77.0.100 AWAY AT_MOST 3s",
    "EXPECT lx4 UP [WITHIN 2m]",
    "EXPECT lx4 LOST [WITHIN 10s]",
    "EXPECT INSTANCE cacheha1 UP [ON lx5] [WITHIN 60s]",
];

/// A plan's text, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// The steps that could be read.
    pub(super) steps: Vec<Step>,
    /// What is wrong with the others.
    pub(super) findings: Vec<Finding>,
}

/// Something wrong at `span`.
pub(super) fn finding(
    severity: Severity,
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Finding {
    Finding { severity, span, message: message.into(), help: help.into(), related: Vec::new() }
}

#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    at: usize,
}

impl Word<'_> {
    fn span(self) -> Span {
        self.at..self.at + self.text.len()
    }

    fn wrong(self, message: impl Into<String>, help: impl Into<String>) -> Box<Finding> {
        Box::new(finding(Severity::Error, self.span(), message, help))
    }
}

type Parsed<T> = Result<T, Box<Finding>>;

/// The words of a line that have not been read yet.
struct Line<'a> {
    words: std::collections::VecDeque<Word<'a>>,
    last: Word<'a>,
}

impl<'a> Line<'a> {
    fn need(&mut self, what: &str, example: &str) -> Parsed<Word<'a>> {
        match self.words.pop_front() {
            Some(word) => {
                self.last = word;
                Ok(word)
            }
            None => Err(self
                .last
                .wrong(format!("{what} is missing after `{}`", self.last.text), format!("write {example}"))),
        }
    }

    /// The word after `key`, if that comes next.
    fn after(&mut self, key: &str, what: &str, example: &str) -> Parsed<Option<Word<'a>>> {
        if self.words.front().is_none_or(|w| w.text != key) {
            return Ok(None);
        }
        self.last = self.need(key, example)?;
        self.need(what, example).map(Some)
    }

    fn node(&mut self, example: &str) -> Parsed<NodeName> {
        node(self.need("the name of a node", example)?)
    }

    fn group(&mut self, example: &str) -> Parsed<GroupName> {
        group(self.need("the name of a group", example)?)
    }

    fn time(&mut self, key: &str, default: Duration, example: &str) -> Parsed<Duration> {
        self.after(key, "a duration", example)?.map_or(Ok(default), time)
    }
}

fn node(word: Word<'_>) -> Parsed<NodeName> {
    NodeName::new(word.text)
        .map_err(|e| word.wrong(format!("`{}` cannot be a node: {e}", word.text), "write a node's name"))
}

fn group(word: Word<'_>) -> Parsed<GroupName> {
    GroupName::try_from(word.text.to_owned())
        .map_err(|e| word.wrong(format!("`{}` cannot be a group: {e}", word.text), "write a group's name"))
}

fn time(word: Word<'_>) -> Parsed<Duration> {
    crate::args::duration(word.text).map_err(|e| word.wrong(format!("`{}` is no duration", word.text), e))
}

/// Reads a plan.
#[must_use]
pub(super) fn parse(text: &str) -> Read {
    let mut read = Read::default();
    let mut at = 0;
    for (number, line) in text.split('\n').enumerate() {
        let code = line.split('#').next().unwrap_or_default();
        let words = words(code, at);
        at += line.len() + 1;
        let (Some(first), Some(last)) = (words.first(), words.last()) else { continue };
        let span = first.at..last.at + last.text.len();
        match step(&words) {
            Ok(act) => read.steps.push(Step { line: number + 1, span, act }),
            Err(found) => read.findings.push(*found),
        }
    }
    if read.steps.is_empty() && read.findings.is_empty() {
        let help = "write a step a line: regent drill --print shows the guide's plan for this cluster";
        read.findings.push(finding(Severity::Error, 0..0, "the plan has no step", help));
    }
    read
}

fn words(code: &str, at: usize) -> Vec<Word<'_>> {
    let (mut words, mut begin) = (Vec::new(), None);
    for (i, c) in code.char_indices().chain([(code.len(), ' ')]) {
        match begin {
            None if !c.is_whitespace() => begin = Some(i),
            Some(from) if c.is_whitespace() => {
                words.push(Word { text: &code[from..i], at: at + from });
                begin = None;
            }
            _ => {}
        }
    }
    words
}

fn step(words: &[Word<'_>]) -> Parsed<Act> {
    let first = words[0];
    let Some((key, example)) = LANGUAGE.iter().find(|(key, _)| *key == first.text) else {
        let upper = first.text.to_uppercase();
        let help = match LANGUAGE.iter().find(|(key, _)| *key == upper) {
            Some((key, _)) => format!("write {key}: steps are written in capitals"),
            None => format!("use one of {}", LANGUAGE.map(|(key, _)| key).join(", ")),
        };
        return Err(first.wrong(format!("`{}` is no step", first.text), help));
    };
    let mut line = Line { words: words[1..].iter().copied().collect(), last: first };
    let act = match *key {
        "FAIL_NODE" => Act::Fail { node: line.node(example)?, way: way(&mut line)? },
        "RETURN_NODE" => Act::Return(line.node(example)?),
        "NETWORK_DOWN" => Act::NetworkDown { node: line.node(example)?, network: network(&mut line)? },
        "NETWORK_UP" => Act::NetworkUp { node: line.node(example)?, network: network(&mut line)? },
        "SERVICE_KILL" => {
            Act::Kill { group: line.group(example)?, application: application(&mut line, example)? }
        }
        "MOVE" => Act::Move { group: line.group(example)?, node: line.node(example)? },
        "WAIT" => Act::Wait(time(line.need("a duration", example)?)?),
        "PROBE" => Act::Probe(target(line.need("an address with its port", example)?)?),
        _ => expectation(&mut line)?,
    };
    match line.words.pop_front() {
        None => Ok(act),
        Some(word) => {
            let help = if *key == "EXPECT" {
                format!("what can be expected: {}", EXPECTATIONS.join("; "))
            } else {
                format!("write {example}")
            };
            Err(word.wrong(format!("`{}` is one word too many for {key}", word.text), help))
        }
    }
}

fn way(line: &mut Line<'_>) -> Parsed<Way> {
    let Some(word) = line.words.pop_front() else { return Ok(Way::Power) };
    let found = Way::WORDS.iter().find(|(known, _)| *known == word.text).map(|(_, way)| *way);
    let help = "write power (the default), network or guard";
    found.ok_or_else(|| word.wrong(format!("`{}` is no way for a node to fail", word.text), help))
}

fn network(line: &mut Line<'_>) -> Parsed<String> {
    Ok(line.need("the network", "its name, or its number from 1")?.text.to_owned())
}

fn application(line: &mut Line<'_>, example: &str) -> Parsed<ResourceName> {
    let word = line.need("the name of an application", example)?;
    ResourceName::new(word.text).map_err(|e| {
        word.wrong(format!("`{}` cannot be an application: {e}", word.text), "write an application's name")
    })
}

fn target(word: Word<'_>) -> Parsed<SocketAddr> {
    let help = "write the service address with the port of what listens there: 10.77.0.100:1972";
    word.text.parse().map_err(|_| word.wrong(format!("`{}` is no address with a port", word.text), help))
}

/// `EXPECT` and what follows it: names, what is expected of them, and its limit.
fn expectation(line: &mut Line<'_>) -> Parsed<Act> {
    const EXAMPLE: &str = "EXPECT cacheha1 ONLINE ON lx5 WITHIN 10s";
    const KEYS: [&str; 8] = ["ONLINE", "STAYS", "DOWN", "ANSWERS", "SILENT", "AWAY", "UP", "LOST"];
    let mut named = vec![line.need("of what it is expected", EXAMPLE)?];
    let key = loop {
        let word = line.need("what is expected (ONLINE, STAYS, ANSWERS, ...)", EXAMPLE)?;
        if KEYS.contains(&word.text) {
            break word;
        }
        named.push(word);
    };
    if let [Word { text: "INSTANCE", .. }, name, more @ ..] = named.as_slice() {
        return an_instance(line, *name, more.first().copied().or((key.text != "UP").then_some(key)));
    }
    if let [_, second, ..] = named.as_slice()
        && !["ONLINE", "STAYS", "DOWN"].contains(&key.text)
    {
        return Err(second.wrong(
            format!("{} is expected of one at a time, and `{}` is a second", key.text, second.text),
            "write a line for each",
        ));
    }
    let groups = || named.iter().copied().map(group).collect::<Parsed<Vec<_>>>();
    let address = || address(named[0]);
    let (what, limit) = match key.text {
        "ONLINE" => {
            let on = line.after("ON", "a node", EXAMPLE)?.map(node).transpose()?;
            (What::Online { groups: groups()?, on }, line.time("WITHIN", WITHIN, EXAMPLE)?)
        }
        "STAYS" => {
            let example = "EXPECT cacheha1 STAYS ON lx5 FOR 5s";
            let on = line.after("ON", "a node", example)?.map(node).transpose()?;
            (What::Stay { groups: groups()?, on }, line.time("FOR", FOR, example)?)
        }
        "DOWN" => (What::Down { groups: groups()? }, line.time("WITHIN", WITHIN, EXAMPLE)?),
        "ANSWERS" => {
            let example = "EXPECT 10.77.0.100 ANSWERS FROM lx5 WITHIN 10s";
            let from = line.after("FROM", "a node", example)?.map(node).transpose()?;
            (What::Answers { address: address()?, from }, line.time("WITHIN", WITHIN, example)?)
        }
        "SILENT" => (What::Silent(address()?), line.time("WITHIN", WITHIN, EXAMPLE)?),
        "AWAY" => {
            let example = "EXPECT 10.77.0.100 AWAY AT_MOST 3s";
            let Some(word) = line.after("AT_MOST", "a duration", example)? else {
                return Err(key.wrong("AWAY has no limit", format!("write {example}")));
            };
            (What::Away(address()?), time(word)?)
        }
        "UP" => (What::Up(node(named[0])?), line.time("WITHIN", WITHIN * 2, EXAMPLE)?),
        _ => (What::Lost(node(named[0])?), line.time("WITHIN", WITHIN, EXAMPLE)?),
    };
    Ok(Act::Expect { what, limit })
}

/// What follows `EXPECT INSTANCE NAME`; `odd` is the first word that should not stand there.
fn an_instance(line: &mut Line<'_>, name: Word<'_>, odd: Option<Word<'_>>) -> Parsed<Act> {
    const EXAMPLE: &str = "EXPECT INSTANCE cacheha1 UP ON lx5";
    if let Some(word) = odd {
        let message = format!("`{}`: one instance at a time is expected, and only to be UP", word.text);
        return Err(word.wrong(message, format!("write {EXAMPLE}, a line for each")));
    }
    let name = InstanceName::new(name.text).map_err(|e| {
        let message = format!("`{}` cannot be an instance: {e}", name.text);
        name.wrong(message, "write an instance's name, as regent instance list shows it")
    })?;
    let on = line.after("ON", "a node", EXAMPLE)?.map(node).transpose()?;
    Ok(Act::Expect { what: What::Instance { name, on }, limit: line.time("WITHIN", WITHIN, EXAMPLE)? })
}

fn address(word: Word<'_>) -> Parsed<IpAddr> {
    word.text.parse().map_err(|_| {
        let help = "a service address is expected to answer; a group is expected to be ONLINE: EXPECT cacheha1 ONLINE";
        word.wrong(format!("`{}` is no address", word.text), help)
    })
}
