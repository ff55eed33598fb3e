//! The text as a tree of values with their places, as far as it can be understood.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::finding::{Finding, Findings, Span};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

impl<T> At<T> {
    pub(super) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A value of the text.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    /// A text that lacks its quotes: a fault, to be reported by who reads it.
    Bare(String),
    /// Anything scalar that is not a text: kept as it is written.
    Number(String),
    Flag(bool),
    Date,
    List(Vec<At<Value>>),
    Table(Table),
    /// Not understood, and already reported.
    Broken,
}

impl Value {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Bare(_) => "a text (which would need quotes)",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Date => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Broken => "something broken",
        }
    }
}

/// A table: its header (or its braces), and its entries in the order of the text.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) header: Span,
    pub(super) entries: Vec<(At<String>, At<Value>)>,
    /// It has neither header nor braces: it exists because something was put into it (`[[group.address]]`).
    pub(super) implied: bool,
}

impl Table {
    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&At<Value>> {
        self.entries.iter().find(|(name, _)| name.value == key).map(|(_, value)| value)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut At<Value>> {
        self.entries.iter_mut().find(|(name, _)| name.value == key).map(|(_, value)| value)
    }

    /// Adds an entry, as if it stood at `span`.
    pub(super) fn put(&mut self, key: &str, value: Value, span: &Span) {
        self.entries.push((At::new(key.to_owned(), span.clone()), At::new(value, span.clone())));
    }

    /// The tables in the list `key`, or the one that stands there alone.
    pub(super) fn tables_mut(&mut self, key: &str) -> Vec<&mut Self> {
        fn table(value: &mut At<Value>) -> Option<&mut Table> {
            match &mut value.value {
                Value::Table(table) => Some(table),
                _ => None,
            }
        }
        match self.get_mut(key) {
            Some(At { value: Value::List(items), .. }) => items.iter_mut().filter_map(table).collect(),
            Some(one) => table(one).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// Lets everything in it stand at `span`.
    pub(super) fn place_at(&mut self, span: &Span) {
        self.header = span.clone();
        for (key, value) in &mut self.entries {
            key.span = span.clone();
            value.place_at(span);
        }
    }
}

impl At<Value> {
    fn place_at(&mut self, span: &Span) {
        self.span = span.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.place_at(span)),
            Value::Table(table) => table.place_at(span),
            _ => {}
        }
    }
}

/// Reads `text`. Broken syntax is reported, and the rest is still read.
pub(super) fn read(text: &str, findings: &mut Findings) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .into_iter()
        .map(|e| At::new(e.message().to_string(), within(text, e.span().unwrap_or(0..0))))
        .collect::<Vec<_>>();
    let mut builder = Builder { text, errors, findings };
    let tree = builder.table(table.get_ref(), 0..0);
    let rest = std::mem::take(&mut builder.errors);
    findings.broken_syntax = !rest.is_empty();
    for error in &rest {
        findings.add(syntax_finding(text, error));
    }
    tree
}

/// `span` made safe to slice `text` with.
fn within(text: &str, span: Span) -> Span {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    start..text.ceil_char_boundary(span.end.clamp(start, text.len()))
}

struct Builder<'a> {
    text: &'a str,
    errors: Vec<At<String>>,
    findings: &'a mut Findings,
}

impl Builder<'_> {
    fn table(&mut self, table: &DeTable<'_>, header: Span) -> Table {
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name = At::new(key.get_ref().to_string(), within(self.text, key.span()));
                (name, self.value(value))
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        let implied = !self.text[header.clone()].starts_with(['[', '{']);
        Table { header, entries, implied }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> At<Value> {
        let span = within(self.text, value.span());
        let value = match value.get_ref() {
            DeValue::Array(array) => Value::List(array.iter().map(|v| self.value(v)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, span.clone())),
            scalar => self.broken_scalar(&span).unwrap_or_else(|| match scalar {
                DeValue::String(text) => Value::Text(text.to_string()),
                DeValue::Boolean(flag) => Value::Flag(*flag),
                DeValue::Datetime(_) => Value::Date,
                _ => Value::Number(self.text[span.clone()].to_string()),
            }),
        };
        At::new(value, span)
    }

    /// Takes the syntax errors that concern the scalar at `span`, and makes one fault of them.
    fn broken_scalar(&mut self, span: &Span) -> Option<Value> {
        let concerns = |e: &At<String>| {
            let inside = e.span.start >= span.start && e.span.end <= span.end;
            let value_error = e.value.starts_with("string values must be quoted")
                || e.value.starts_with("invalid float")
                || e.value.starts_with("invalid integer")
                || e.value.starts_with("invalid boolean")
                || e.value.starts_with("invalid datetime");
            inside && value_error
        };
        let count = self.errors.len();
        self.errors.retain(|e| !concerns(e));
        if self.errors.len() == count {
            return None;
        }
        let raw = self.text[span.clone()].trim();
        if raw.is_empty() {
            self.findings.add(
                Finding::error(span, "the key has no value")
                    .help("write the value after the `=`, or delete the line"),
            );
            return Some(Value::Broken);
        }
        self.findings.unreadable = true;
        Some(Value::Bare(raw.trim_matches(['"', '\'']).to_string()))
    }
}

fn syntax_finding(text: &str, error: &At<String>) -> Finding {
    let message = error.value.split(", expected").next().unwrap_or(&error.value);
    let help = if message == "duplicate key" {
        let key = &text[error.span.clone()];
        let line = text[..error.span.start].rsplit('\n').next().unwrap_or_default();
        let help = if line.trim_start().starts_with('[') {
            format!("keep one of them; where there are several, each begins with double brackets: [[{key}]]")
        } else {
            "keep one of them".to_string()
        };
        return Finding::error(&error.span, format!("the key `{key}` is given a second time")).help(help);
    } else if let Some((_, expected)) = error.value.split_once(", expected ") {
        format!("expected {expected} here")
    } else {
        "see toml.io for the form of the file; compare with the examples".to_string()
    };
    Finding::error(&error.span, format!("this is not TOML: {message}")).help(help)
}
