//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Config;

/// Bytes of the configuration's text.
pub type Span = Range<usize>;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is taken, but something in it costs safety, or will surprise.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One thing found in the text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The culprit: bytes of the text, on character boundaries, never beyond its end.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// Other places that belong to it, each with what it is there.
    pub related: Vec<(Span, String)>,
}

impl Finding {
    fn new(severity: Severity, span: &Span, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity, span: span.clone(), message, help: String::new(), related: Vec::new() }
    }

    pub(super) fn error(span: &Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span, message)
    }

    pub(super) fn warning(span: &Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span, message)
    }

    pub(super) fn note(span: &Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, span, message)
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(super) fn related(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.related.push((span.clone(), label.into()));
        self
    }

    /// The line and the column of the culprit in `text`; see [`line_and_column`].
    #[must_use]
    pub fn line_and_column(&self, text: &str) -> (usize, usize) {
        line_and_column(text, self.span.start)
    }
}

/// The line (from 1) and the column (from 1, in characters) of the byte at `offset`.
#[must_use]
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// What [`super::parse`] made of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The configuration; `None` exactly when there is an error among the findings.
    pub config: Option<Config>,
    /// Everything found: errors first, then warnings, then notes, each in the order of the text.
    pub findings: Vec<Finding>,
}

impl Parsed {
    /// What is wrong; nothing exactly when there is a configuration.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.severity == Severity::Error)
    }

    /// How many findings have that severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }
}

/// Collects findings while a text is read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    /// The text is broken somewhere: what seems to be missing may just not have been understood.
    pub(super) broken_syntax: bool,
    /// Something in the tree is a fault that its reader must report.
    pub(super) unreadable: bool,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.list.push(finding);
    }

    /// Adds a finding that says that something is not there: not believed when the syntax is broken.
    pub(super) fn add_missing(&mut self, finding: Finding) {
        if !self.broken_syntax {
            self.list.push(finding);
        }
    }

    pub(super) fn has_error(&self) -> bool {
        self.list.iter().any(|f| f.severity == Severity::Error)
    }

    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|f| (f.severity, f.span.start, f.span.end));
        // A profile is read again by every application that uses it.
        let mut told: Vec<Finding> = Vec::with_capacity(self.list.len());
        for finding in self.list.drain(..) {
            if !told.iter().rev().take_while(|t| t.span == finding.span).any(|t| *t == finding) {
                told.push(finding);
            }
        }
        self.list = told;
        self.list
    }
}
