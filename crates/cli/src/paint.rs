//! Colour where it is wanted, columns that line up, and text that cannot command a terminal.

use anstyle::{AnsiColor, Style};

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As everything else.
    #[default]
    Plain,
    /// A heading, a name that matters.
    Strong,
    /// Details.
    Dim,
    /// All is well.
    Good,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |c: AnsiColor| c.on_default();
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Dim => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green),
            Self::Warning => colour(AnsiColor::Yellow).bold(),
            Self::Bad => colour(AnsiColor::Red).bold(),
        }
    }
}

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Paint(pub bool);

impl Paint {
    /// `text` in that tone.
    #[must_use]
    pub fn tone(self, tone: Tone, text: &str) -> String {
        if !self.0 || tone == Tone::Plain || text.is_empty() {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    /// A cell in a tone.
    pub fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self { text: printable(text.as_ref()), tone, right: false }
    }

    /// A cell as everything else.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::new(Tone::Plain, text)
    }

    /// The same, against the right edge of its column.
    #[must_use]
    pub fn right(mut self) -> Self {
        self.right = true;
        self
    }
}

/// The rows, with columns that line up, two blanks apart, each line behind `indent`.
#[must_use]
pub fn table(rows: &[Vec<Cell>], indent: &str, paint: Paint) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|r| r.get(column)).map(|c| c.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from(indent);
        let mut owed = 0;
        for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let blank = width - cell.text.chars().count();
            if cell.right {
                owed += blank;
            }
            if !cell.text.is_empty() {
                line.extend(std::iter::repeat_n(' ', std::mem::take(&mut owed)));
                line.push_str(&paint.tone(cell.tone, &cell.text));
            }
            owed += 2 + if cell.right { 0 } else { blank };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The text without what a terminal would take for a command; it stays on one line.
#[must_use]
pub fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Many lines of foreign text, each behind `indent`, harmless for a terminal.
#[must_use]
pub fn block(text: &str, indent: &str) -> String {
    let line = |line: &str| format!("{indent}{}\n", printable(&line.replace('\t', "    ")).trim_end());
    text.trim_end().lines().map(line).collect()
}

/// `text` in lines of at most `width` characters, broken at blanks; the lines after the first begin with `indent`.
#[must_use]
pub fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in printable(text).split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            out.push_str(indent);
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colour() {
        let rows = vec![
            vec![Cell::new(Tone::Good, "up"), Cell::plain("12 ms").right(), Cell::plain("x")],
            vec![Cell::plain("standby"), Cell::plain("7 ms").right(), Cell::plain("")],
        ];
        assert_eq!(table(&rows, " ", Paint(false)), " up       12 ms  x\n standby   7 ms\n");
        let coloured = table(&rows, " ", Paint(true));
        assert!(coloured.contains("\u{1b}[32mup\u{1b}[0m       12 ms  x\n"), "{coloured:?}");
    }

    #[test]
    fn a_column_that_is_empty_everywhere_takes_no_room() {
        let rows = vec![vec![Cell::plain("a"), Cell::plain(""), Cell::plain("b")]];
        assert_eq!(table(&rows, "", Paint(false)), "a  b\n");
    }

    #[test]
    fn what_a_program_printed_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(block("one\ttwo\r\n\u{7}three\n\n", "  "), "  one    two\n  \\u{7}three\n");
    }

    #[test]
    fn long_text_is_broken_at_blanks() {
        assert_eq!(wrapped("one two three four", 9, "  "), "one two\n  three\n  four");
    }
}
