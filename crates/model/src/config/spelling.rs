//! The nearest known word to a misspelt one.

/// Words that people bring from other tools, and what they are called here.
const ALIASES: &[(&str, &str)] = &[
    ("ip", "address"),
    ("ips", "addresses"),
    ("ipaddr", "address"),
    ("vip", "address"),
    ("addr", "address"),
    ("ip", "addresses"),
    ("nic", "interface"),
    ("dev", "device"),
    ("dev", "interface"),
    ("directory", "mount"),
    ("mountpoint", "mount"),
    ("fstype", "type"),
    ("quorum", "witness"),
    ("service", "group"),
    ("resource_group", "group"),
    ("stonith", "fence"),
    ("command", "start"),
    ("command", "status"),
    ("cmd", "command"),
    ("path", "agent"),
    ("hostname", "name"),
    ("id", "name"),
    ("members", "nodes"),
    ("attempts", "failures"),
    ("threshold", "failures"),
    ("fsck", "check"),
    ("pidfile", "pid_file"),
    ("ports", "plugs"),
    ("params", "options"),
];

/// Longer words are not compared: that would take long, and nobody misspells them.
const WORD_BYTES_MAX: usize = 64;

/// The word of `known` that `word` was most likely meant to be.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let plain = |k: &str| k.to_ascii_lowercase().replace('-', "_");
    let alias = ALIASES
        .iter()
        .filter(|(from, _)| *from == word)
        .find_map(|(_, to)| known.iter().find(|k| *k == to).copied());
    if alias.is_some() || word.len() > WORD_BYTES_MAX {
        return alias;
    }
    let close = |k: &str| {
        if k.len() > WORD_BYTES_MAX {
            return None;
        }
        let allowed = if k.len().min(word.len()) <= 3 { 1 } else { 2 };
        let distance = distance(&word, &plain(k));
        (distance <= allowed).then_some(distance)
    };
    let by_distance = known.iter().filter_map(|k| close(k).map(|d| (d, *k))).min();
    let contained = || {
        let parts = |k: &&&str| k.len() >= 4 && (word.contains(&plain(k)) || plain(k).contains(&word));
        known.iter().filter(|_| word.len() >= 4).find(parts).copied()
    };
    by_distance.map(|(_, k)| k).or_else(contained)
}

/// How many letters must be changed, added, dropped or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_recognised() {
        let known = ["device", "mount", "type", "options", "check", "force_unmount", "acquire_timeout"];
        assert_eq!(nearest("mout", &known), Some("mount"));
        assert_eq!(nearest("mountpoint", &known), Some("mount"));
        assert_eq!(nearest("force-unmount", &known), Some("force_unmount"));
        assert_eq!(nearest("fstype", &known), Some("type"));
        assert_eq!(nearest("dveice", &known), Some("device"));
        assert_eq!(nearest("colour", &known), None);
    }
}
