//! Reads one table key by key: wrong types, missing and unknown keys are found here, once for all tables.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::finding::{Finding, Findings, Span};
use super::scalar::{self, Refused};
use super::tree::{At, Table, Value};

/// Whether a duration may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

/// One table while it is read. Every key that is asked for becomes one of the allowed keys.
pub(super) struct Reader<'a> {
    /// The table as the user knows it: `[[group.filesystem]]`.
    pub(super) place: &'static str,
    /// Where the table begins.
    pub(super) header: Span,
    entries: Vec<(At<String>, At<Value>)>,
    known: Vec<&'static str>,
    /// Keys that must be there and are not, with an example each.
    missing: Vec<(String, String)>,
    pub(super) findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    pub(super) fn new(place: &'static str, table: Table, findings: &'a mut Findings) -> Self {
        let Table { header, entries, .. } = table;
        Self { place, header, entries, known: Vec::new(), missing: Vec::new(), findings }
    }

    /// Takes the value of `key` out, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<At<Value>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let at = self.entries.iter().position(|(name, _)| name.value == key)?;
        Some(self.entries.remove(at).1)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.value == key)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|(name, _)| name.value == key).map(|(_, at)| &at.value)
    }

    /// Whether the value of `key` is a bare number.
    pub(super) fn is_number(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Value::Number(_)))
    }

    /// Whether the value of `key` is true or false.
    pub(super) fn is_flag(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Value::Flag(_)))
    }

    /// Whether the value of `key` is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        matches!(self.value(key), Some(Value::Table(_)))
    }

    /// Notes that `key` must be there; if it is not, [`Reader::finish`] says so.
    pub(super) fn require(&mut self, key: &'static str, example: &str) {
        if !self.has(key) {
            self.missing.push((key.to_string(), example.to_string()));
        }
    }

    fn wrong_type(&mut self, key: &str, wanted: &str, found: &At<Value>, example: &str) {
        if !matches!(found.value, Value::Broken) {
            let message = format!("`{key}` must be {wanted}, not {}", found.value.kind());
            self.findings.add(
                Finding::error(&found.span, message).help(format!("write for example {key} = {example}")),
            );
        }
    }

    fn refuse(&mut self, key: &str, span: &Span, why: Refused) {
        self.findings.add(Finding::error(span, format!("`{key}`: {}", why.message)).help(why.help));
    }

    /// A text that lacks its quotes becomes a text, after that was said.
    pub(super) fn quoted(&mut self, found: At<Value>) -> At<Value> {
        let Value::Bare(raw) = found.value else { return found };
        self.findings.add(
            Finding::error(&found.span, format!("`{}` must stand in quotes", raw.escape_debug()))
                .help(format!("quote it: {raw:?}")),
        );
        At::new(Value::Text(raw), found.span)
    }

    /// A text. An empty one is refused.
    pub(super) fn text(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        let found = self.take(key)?;
        let found = self.quoted(found);
        match found.value {
            Value::Text(text) if text.trim().is_empty() => {
                self.findings.add(
                    Finding::error(&found.span, format!("`{key}` is empty"))
                        .help(format!("write for example {key} = {example}, or delete the line")),
                );
                None
            }
            Value::Text(text) => Some(At::new(text, found.span)),
            _ => {
                self.wrong_type(key, "a text in quotes", &found, example);
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn need_text(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        self.require(key, example);
        self.text(key, example)
    }

    /// Runs `check` over a text; what it refuses is reported at the text.
    pub(super) fn checked<T>(
        &mut self,
        key: &str,
        text: Option<At<String>>,
        check: impl FnOnce(&str) -> Result<T, Refused>,
    ) -> Option<At<T>> {
        let text = text?;
        match check(&text.value) {
            Ok(value) => Some(At::new(value, text.span)),
            Err(why) => {
                self.refuse(key, &text.span, why);
                None
            }
        }
    }

    /// A name. A bad one is reported and handed on as it is, so that it still counts as given.
    pub(super) fn name(&mut self, key: &'static str, example: &str) -> Option<At<String>> {
        let text = self.text(key, example)?;
        self.checked(key, Some(text.clone()), scalar::name);
        Some(text)
    }

    /// A name that must be there.
    pub(super) fn need_name(&mut self, example: &str) -> Option<At<String>> {
        self.require("name", example);
        self.name("name", example)
    }

    /// An absolute path.
    pub(super) fn path(&mut self, key: &'static str, what: &str, example: &str) -> Option<At<PathBuf>> {
        let text = self.text(key, example);
        self.checked(key, text, |text| scalar::absolute_path(text, what, example))
    }

    /// An absolute path that must be there.
    pub(super) fn need_path(&mut self, key: &'static str, what: &str, example: &str) -> Option<At<PathBuf>> {
        self.require(key, example);
        self.path(key, what, example)
    }

    /// A duration.
    pub(super) fn duration(&mut self, key: &'static str, zero: Zero, example: &str) -> Option<At<Duration>> {
        let found = self.take(key)?;
        let found = self.quoted(found);
        match &found.value {
            Value::Text(text) => {
                let at = At::new(text.clone(), found.span.clone());
                let duration = self.checked(key, Some(at), scalar::duration)?;
                if zero == Zero::Refused && duration.value.is_zero() {
                    let finding = Finding::error(&found.span, format!("`{key}` cannot be zero"))
                        .help(format!("write for example {key} = {example}"));
                    self.findings.add(finding);
                    return None;
                }
                Some(duration)
            }
            Value::Number(number) => {
                let whole = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
                let help = match number.as_str() {
                    "0" if zero == Zero::Allowed => format!("write {key} = \"0\""),
                    _ if whole => {
                        format!("write \"{number}s\" for seconds or \"{number}ms\" for milliseconds")
                    }
                    _ => format!("write for example {key} = {example}"),
                };
                let message = format!("`{key}` is a duration: the bare number {number} has no unit");
                self.findings.add(Finding::error(&found.span, message).help(help));
                None
            }
            _ => {
                self.wrong_type(key, "a duration in quotes", &found, example);
                None
            }
        }
    }

    /// A duration that is not zero, or its default.
    pub(super) fn duration_or(&mut self, key: &'static str, default: Duration, example: &str) -> Duration {
        self.duration(key, Zero::Refused, example).map_or(default, |d| d.value)
    }

    /// A whole number in `range`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        example: &str,
    ) -> Option<At<u32>> {
        let found = self.take(key)?;
        let Value::Number(number) = &found.value else {
            self.wrong_type(key, "a whole number without quotes", &found, example);
            return None;
        };
        match number.replace('_', "").parse::<u32>() {
            Ok(n) if range.contains(&n) => Some(At::new(n, found.span)),
            _ => {
                let (low, high) = (range.start(), range.end());
                let finding = Finding::error(&found.span, format!("`{key}` cannot be {number}")).help(
                    format!("write a whole number from {low} to {high}, for example {key} = {example}"),
                );
                self.findings.add(finding);
                None
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<At<bool>> {
        let found = self.take(key)?;
        match &found.value {
            Value::Flag(flag) => Some(At::new(*flag, found.span)),
            _ => {
                self.wrong_type(key, "true or false, without quotes", &found, "true");
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<At<T>> {
        let example = format!("{:?}", words.first().map_or("", |w| w.0));
        let text = self.text(key, &example)?;
        self.choose(key, &text, words)
    }

    /// The word in `text` as one of `words`.
    pub(super) fn choose<T: Copy>(
        &mut self,
        key: &str,
        text: &At<String>,
        words: &[(&str, T)],
    ) -> Option<At<T>> {
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At::new(*value, text.span.clone()));
        }
        let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let quoted: Vec<_> = all.iter().map(|word| format!("{word:?}")).collect();
        let help = match super::spelling::nearest(&text.value, &all) {
            Some(word) => format!("did you mean \"{word}\"? It is one of {}", quoted.join(", ")),
            None => format!("write one of {}", quoted.join(", ")),
        };
        let message = format!("`{key}` cannot be \"{}\"", text.value.escape_debug());
        self.findings.add(Finding::error(&text.span, message).help(help));
        None
    }

    /// A list of texts, with the list's own place; what is no text in it is reported and left out.
    pub(super) fn texts(&mut self, key: &'static str, example: &str) -> Option<At<Vec<At<String>>>> {
        let found = self.take(key)?;
        let Value::List(items) = found.value else {
            let help = match &found.value {
                Value::Text(text) | Value::Bare(text) => format!("[{text:?}]"),
                _ => example.to_string(),
            };
            self.wrong_type(key, "a list of texts", &found, &help);
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let item = self.quoted(item);
            match item.value {
                Value::Text(text) => texts.push(At::new(text, item.span)),
                _ => self.wrong_type(key, "a list of texts in quotes", &item, example),
            }
        }
        Some(At::new(texts, found.span))
    }

    /// The same, or a single text.
    pub(super) fn text_or_texts(&mut self, key: &'static str, example: &str) -> Option<At<Vec<At<String>>>> {
        if matches!(self.value(key), Some(Value::List(_))) {
            return self.texts(key, example);
        }
        self.text(key, example).map(|text| At::new(vec![text.clone()], text.span))
    }

    /// A list of texts of which each is checked; what is refused is reported at its text and left out.
    pub(super) fn checked_texts<T>(
        &mut self,
        key: &'static str,
        example: &str,
        check: impl Fn(&str) -> Result<T, Refused>,
    ) -> Vec<At<T>> {
        let texts = self.texts(key, example).map(|list| list.value).unwrap_or_default();
        texts.into_iter().filter_map(|text| self.checked(key, Some(text), &check)).collect()
    }

    /// A table inside this one.
    pub(super) fn table(&mut self, key: &'static str, example: &str) -> Option<Table> {
        let found = self.take(key)?;
        match found.value {
            Value::Table(table) => Some(table),
            _ => {
                self.wrong_type(key, "a table", &found, example);
                None
            }
        }
    }

    /// What stands in the list `key`, or there alone.
    pub(super) fn items(&mut self, key: &'static str) -> Vec<At<Value>> {
        match self.take(key) {
            None => Vec::new(),
            Some(At { value: Value::List(items), .. }) => items,
            Some(one) => vec![one],
        }
    }

    /// Tables in braces: a list of them, or one. What is none is reported as not `wanted`, and left out.
    pub(super) fn braces(&mut self, key: &'static str, wanted: &str, example: &str) -> Vec<Table> {
        let mut tables = Vec::new();
        for item in self.items(key) {
            match item.value {
                Value::Table(table) => tables.push(table),
                _ => self.wrong_type(key, wanted, &item, example),
            }
        }
        tables
    }

    /// A list of tables, written `[[header]]` each. A single `[header]` is reported and still read.
    pub(super) fn tables(&mut self, key: &'static str, header: &str) -> Vec<Table> {
        let Some(found) = self.take(key) else { return Vec::new() };
        match found.value {
            Value::Table(table) if table.implied => {
                let message = format!("what stands in a {header} comes after its [[{header}]]");
                self.findings.add(
                    Finding::error(&table.header, message)
                        .help(format!("write [[{header}]] and its name above this line")),
                );
                vec![table]
            }
            Value::Table(table) => {
                let message = format!("there can be several of these: [{header}] needs double brackets");
                self.findings.add(Finding::error(&table.header, message).help(format!("write [[{header}]]")));
                vec![table]
            }
            Value::List(items) => {
                let mut tables = Vec::new();
                for item in items {
                    match item.value {
                        Value::Table(table) => tables.push(table),
                        _ => self.wrong_type(key, "a table", &item, "{ ... }"),
                    }
                }
                tables
            }
            Value::Broken => Vec::new(),
            other => {
                let message = format!("`{key}` must be a table, not {}", other.kind());
                self.findings.add(
                    Finding::error(&found.span, message)
                        .help(format!("write a line [[{header}]] and its keys on the lines below it")),
                );
                Vec::new()
            }
        }
    }

    /// The entries that nobody asked for, as a free table (fence options, plugs).
    pub(super) fn rest(&mut self) -> Vec<(At<String>, At<Value>)> {
        std::mem::take(&mut self.entries)
    }

    /// Reports every key that nobody asked for, and every missing one that is not merely misspelt.
    pub(super) fn finish(self) {
        let mut meant = Vec::new();
        for (key, _) in &self.entries {
            let allowed = self.known.join(", ");
            let near = super::spelling::nearest(&key.value, &self.known);
            let help = match near {
                Some(near) => format!("did you mean `{near}`? Allowed here: {allowed}"),
                None => format!("delete it; allowed here: {allowed}"),
            };
            meant.extend(near);
            let message = format!("unknown key `{}` in {}", key.value.escape_debug(), self.place);
            self.findings.add(Finding::error(&key.span, message).help(help));
        }
        for (key, example) in self.missing.iter().filter(|(key, _)| !meant.contains(&key.as_str())) {
            self.findings.add_missing(
                Finding::error(&self.header, format!("`{key}` is missing in {}", self.place))
                    .help(format!("add a line: {key} = {example}")),
            );
        }
    }
}
