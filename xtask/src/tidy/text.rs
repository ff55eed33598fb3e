//! What every source file must look like.

use super::{Breach, Source};

/// The longest file, in lines.
const LINES_MAX: usize = 500;

/// The longest line, in characters: what the formatter cannot break (texts) may stand out a little.
const COLUMNS_MAX: usize = 160;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["utils", "util", "common", "misc", "manager", "helpers", "helper"];

/// The only files that may hold `unsafe`.
const UNSAFE_FILES: [&str; 2] = ["/sys.rs", "/sys/mod.rs"];

/// Where code holds `unsafe`. Put together of halves, as is all that is looked for here: this file is looked at too.
const UNSAFE: [&str; 4] = [
    concat!("unsafe", " {"),
    concat!("unsafe", " fn"),
    concat!("unsafe", " impl"),
    concat!("unsafe", " extern"),
];

/// What marks unfinished work.
const UNFINISHED: [&str; 5] = [
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("#[ign", "ore"),
];

pub(crate) fn check(source: &Source, breaches: &mut Vec<Breach>) {
    let path = source.path.as_str();
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        breaches
            .push(Breach::new(path, format!("{lines} lines; a file has at most {LINES_MAX} and one idea")));
    }
    if !source.text.starts_with("//!") {
        breaches.push(Breach::new(path, "begins without a //! line that says what it is"));
    }
    for part in path.trim_end_matches(".rs").split('/') {
        if EMPTY_NAMES.contains(&part) {
            breaches.push(Breach::new(path, format!("{part} says nothing about what is inside")));
        }
    }
    for (number, line) in source.text.lines().enumerate() {
        let place = format!("{path}:{}", number + 1);
        if line.ends_with([' ', '\t']) {
            breaches.push(Breach::new(&place, "space at the end of the line"));
        }
        if line.chars().count() > COLUMNS_MAX {
            breaches.push(Breach::new(&place, format!("longer than {COLUMNS_MAX} characters")));
        }
        for mark in UNFINISHED {
            if line.contains(mark) {
                breaches.push(Breach::new(&place, format!("{mark} is unfinished work")));
            }
        }
        let code = line.split("//").next().unwrap_or_default();
        let is_unsafe = UNSAFE.iter().any(|word| code.contains(word));
        if is_unsafe && !UNSAFE_FILES.iter().any(|f| path.ends_with(f)) {
            breaches.push(Breach::new(&place, "unsafe outside sys.rs"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches_of(path: &str, text: &str) -> usize {
        let mut breaches = Vec::new();
        check(&Source { path: path.into(), floor: String::new(), text: text.into() }, &mut breaches);
        breaches.len()
    }

    #[test]
    fn each_rule_is_broken_once() {
        assert_eq!(breaches_of("crates/a/src/x.rs", "//! Fine.\n"), 0);
        assert_eq!(breaches_of("crates/a/src/x.rs", "fn x() {}\n"), 1);
        assert_eq!(breaches_of("crates/a/src/utils.rs", "//! Fine.\n"), 1);
        assert_eq!(breaches_of("crates/a/src/x.rs", "//! Fine.\nlet x = 1; \n"), 1);
        for word in UNSAFE {
            let text = format!("//! Fine.\n{word} f() }}\n");
            assert_eq!(breaches_of("crates/a/src/x.rs", &text), 1, "{word}");
            assert_eq!(breaches_of("crates/a/src/sys.rs", &text), 0, "{word}");
        }
        for mark in UNFINISHED {
            assert_eq!(breaches_of("crates/a/src/x.rs", &format!("//! Fine.\n{mark}\n")), 1, "{mark}");
        }
        assert_eq!(breaches_of("crates/a/src/x.rs", &format!("//! Fine.\n{}", "x\n".repeat(500))), 1);
    }
}
