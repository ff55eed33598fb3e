//! The README's picture: what the demo really printed, as SVG.

use std::fmt::Write as _;
use std::process::Command;

use crate::run;

const COLUMN_PX: f32 = 8.4;
const LINE_PX: f32 = 18.0;
const MARGIN_PX: f32 = 16.0;

/// Runs the demo and draws its output into `docs/takeover.svg`.
///
/// # Errors
/// When the demo fails or the file cannot be written.
pub(crate) fn draw() -> Result<(), String> {
    let regent = run::target().join("debug/regent");
    let output = Command::new(&regent)
        .args(["--color", "always", "lab", "demo", "--name", "picture"])
        .output()
        .map_err(|e| format!("{} could not be started: {e}", regent.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("the demo failed:\n{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let path = run::root().join("docs/takeover.svg");
    std::fs::write(&path, svg(&text)).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("drew {}", path.display());
    Ok(())
}

/// A run of characters of one look.
struct Span {
    text: String,
    class: &'static str,
}

fn svg(text: &str) -> String {
    let lines: Vec<Vec<Span>> = text.lines().map(spans).collect();
    let columns =
        lines.iter().map(|l| l.iter().map(|s| s.text.chars().count()).sum::<usize>()).max().unwrap_or(0);
    let width = columns as f32 * COLUMN_PX + 2.0 * MARGIN_PX;
    let height = lines.len() as f32 * LINE_PX + 2.0 * MARGIN_PX;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
         <title>A takeover, as the demo prints it</title>\n<style>\n\
         text {{ font: 14px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre }}\n\
         .b {{ font-weight: bold; fill: #ffffff }} .d {{ fill: #7b8698 }} .r {{ fill: #ff7b72 }}\n\
         .g {{ fill: #7ee787 }} .y {{ fill: #f2cc60 }} .c {{ fill: #79c0ff }}\n</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#161b22\"/>\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let y = MARGIN_PX + (number as f32 + 0.75) * LINE_PX;
        let mut column = 0;
        for span in line {
            let x = MARGIN_PX + column as f32 * COLUMN_PX;
            column += span.text.chars().count();
            let length = span.text.chars().count() as f32 * COLUMN_PX;
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" class=\"{}\">{}</text>",
                span.class,
                escape(&span.text)
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Splits a line at its escape sequences.
fn spans(line: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut class = "";
    for (number, part) in line.split("\u{1b}[").enumerate() {
        let text = if number == 0 {
            part
        } else {
            let (codes, text) = part.split_once('m').unwrap_or(("", part));
            class = codes.split(';').fold(class, look);
            text
        };
        if !text.is_empty() {
            spans.push(Span { text: text.to_owned(), class });
        }
    }
    spans
}

fn look(before: &'static str, code: &str) -> &'static str {
    match code {
        "" | "0" | "22" | "39" => "",
        "1" if before.is_empty() => "b",
        "2" | "90" => "d",
        "31" | "91" => "r",
        "32" | "92" => "g",
        "33" | "93" => "y",
        "34" | "36" | "94" | "96" => "c",
        _ => before,
    }
}

fn escape(text: &str) -> String {
    // Not every renderer keeps runs of plain spaces.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_markup_is_escaped() {
        let drawn = svg("plain \u{1b}[31mred & <bold>\u{1b}[0m plain");
        assert!(drawn.contains("class=\"r\">red\u{a0}&amp;\u{a0}&lt;bold&gt;</text>"), "{drawn}");
        assert!(drawn.contains("class=\"\">\u{a0}plain</text>"), "{drawn}");
    }
}
