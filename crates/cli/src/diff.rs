//! The difference between two configurations, line by line.

use std::fmt::Write as _;

use crate::paint::{Paint, Tone, printable};

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 3;
/// The most cells of the table that finds common lines; beyond it the whole middle counts as replaced.
const CELLS_MAX: usize = 16 << 20;

/// One line of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// In both.
    Same(&'a str),
    /// Only in the old text.
    Gone(&'a str),
    /// Only in the new text.
    New(&'a str),
}

/// All lines of both texts in order.
#[must_use]
pub fn lines<'a>(old: &'a str, new: &'a str) -> Vec<Line<'a>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let front = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - front;
    let back = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut out: Vec<Line<'a>> = old[..front].iter().map(|l| Line::Same(l)).collect();
    middle(&old[front..old.len() - back], &new[front..new.len() - back], &mut out);
    out.extend(old[old.len() - back..].iter().map(|l| Line::Same(l)));
    out
}

/// The longest common subsequence, by the table that everybody knows.
fn middle<'a>(old: &[&'a str], new: &[&'a str], out: &mut Vec<Line<'a>>) {
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > CELLS_MAX {
        out.extend(old.iter().map(|l| Line::Gone(l)));
        out.extend(new.iter().map(|l| Line::New(l)));
        return;
    }
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a * width + b] = if old[a] == new[b] {
                common[(a + 1) * width + b + 1] + 1
            } else {
                common[(a + 1) * width + b].max(common[a * width + b + 1])
            };
        }
    }
    let (mut a, mut b) = (0, 0);
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            out.push(Line::Same(old[a]));
            (a, b) = (a + 1, b + 1);
        } else if b == new.len()
            || (a < old.len() && common[(a + 1) * width + b] >= common[a * width + b + 1])
        {
            out.push(Line::Gone(old[a]));
            a += 1;
        } else {
            out.push(Line::New(new[b]));
            b += 1;
        }
    }
}

/// The changes with a little around them; empty when no line differs. Lines are counted in the new text.
#[must_use]
pub fn render(old: &str, new: &str, paint: Paint) -> String {
    let lines = lines(old, new);
    let changed: Vec<usize> =
        lines.iter().enumerate().filter(|(_, l)| !matches!(l, Line::Same(_))).map(|(at, _)| at).collect();
    let near = |at: usize| {
        let next = changed.partition_point(|c| *c + CONTEXT < at);
        changed.get(next).is_some_and(|c| *c <= at + CONTEXT)
    };
    let mut out = String::new();
    let (mut number, mut gap) = (0, true);
    for (at, line) in lines.iter().enumerate() {
        number += usize::from(!matches!(line, Line::Gone(_)));
        if !near(at) {
            gap = true;
            continue;
        }
        if std::mem::take(&mut gap) {
            let _ = writeln!(out, "{}", paint.tone(Tone::Dim, &format!("line {}", number.max(1))));
        }
        let (tone, sign, text) = match line {
            Line::Same(text) => (Tone::Dim, ' ', text),
            Line::Gone(text) => (Tone::Bad, '-', text),
            Line::New(text) => (Tone::Good, '+', text),
        };
        let text = format!("  {sign} {}", printable(&text.replace('\t', "    ")));
        let _ = writeln!(out, "{}", paint.tone(tone, text.trim_end()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\n";
        let new = "a\nb\nc\nd\nE\nf\ng\nh\ni\nj\n";
        assert_eq!(
            render(old, new, Paint(false)),
            "line 2\n    b\n    c\n    d\n  - e\n  + E\n    f\n    g\n    h\n    i\n  + j\n"
        );
        assert_eq!(render(old, old, Paint(false)), "");
        assert_eq!(render("", "x\n", Paint(false)), "line 1\n  + x\n");
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_back(old in prop::collection::vec("[abc]", 0..12), new in prop::collection::vec("[abc]", 0..12)) {
            let (old_text, new_text) = (old.join("\n"), new.join("\n"));
            let lines = lines(&old_text, &new_text);
            let of = |wanted: fn(&Line<'_>) -> Option<String>| lines.iter().filter_map(wanted).collect::<Vec<_>>();
            let olds = of(|l| match l { Line::Same(t) | Line::Gone(t) => Some((*t).to_owned()), Line::New(_) => None });
            let news = of(|l| match l { Line::Same(t) | Line::New(t) => Some((*t).to_owned()), Line::Gone(_) => None });
            prop_assert_eq!(olds, old_text.lines().map(str::to_owned).collect::<Vec<_>>());
            prop_assert_eq!(news, new_text.lines().map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
