//! One part of a path against one pattern: `*`, `?`, `[a-z]` and `[!a-z]`, as shells have them. A dot at the beginning
//! must be written.

/// Whether the part of a pattern is a name as it stands.
pub(super) fn is_plain(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '['])
}

/// Whether `name` is meant by `pattern`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: the star takes one more.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        if let Some(length) = one(&pattern[p..], name[n]) {
            p += length;
            n += 1;
            continue;
        }
        let Some((at, taken)) = star else { return false };
        star = Some((at, taken + 1));
        (p, n) = (at + 1, taken + 1);
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern stands for the character, if it begins with what does.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match *pattern.first()? {
        '?' => Some(1),
        '[' => class(pattern, c),
        plain => (plain == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let from = if negated { 2 } else { 1 };
    // A bracket that closes at once stands for itself.
    let Some(close) = pattern.iter().skip(from + 1).position(|p| *p == ']').map(|at| at + from + 1) else {
        return (c == '[').then_some(1);
    };
    let set = &pattern[from..close];
    let (mut at, mut found) = (0, false);
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == '-' {
            found |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            found |= set[at] == c;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_mean_what_they_mean_in_a_shell() {
        for (pattern, name, meant) in [
            ("*", "a", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("rpc*.dat", "rpc_0.dat", true),
            ("rpc*.dat", "rpc.data", false),
            ("*a*b", "xaybzb", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "ä", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), meant, "{pattern:?} {name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_and_any_name_end(pattern: String, name: String) {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn a_name_means_itself_and_a_star_every_name(name in "[a-z0-9_]{1,12}") {
            prop_assert!(matches(&name, &name) && matches("*", &name));
            let (head, tail) = (&name[..1], &name[1..]);
            let (front, back) = (format!("{head}*"), format!("*{tail}"));
            prop_assert!(matches(&front, &name) && matches(&back, &name));
        }
    }
}
