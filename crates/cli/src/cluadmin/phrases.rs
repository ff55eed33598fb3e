//! What Regent says, in the words of this shell: the same commands by the names that they have here.

/// Each command of `regent` with the one of this shell that does the same.
const COMMANDS: [(&str, &str); 9] = [
    ("regent group enable ", "service enable "),
    ("regent group disable ", "service disable "),
    ("regent group move ", "service relocate "),
    ("regent apply FILE", "cluster restorefrom FILE"),
    ("regent status", "cluster status"),
    ("regent config show", "cluster saveas FILE"),
    (
        "Add a [[fence]] with",
        "Power switches stand in the text (cluster saveas FILE, cluster restorefrom FILE): a [[fence]] with",
    ),
    ("is next enabled, moved or restarted", "is next enabled or relocated"),
    ("the group failed there", "the service failed there"),
];

/// The text, with the commands of this shell.
#[must_use]
pub fn in_its_words(text: &str) -> String {
    COMMANDS.iter().fold(text.to_owned(), |text, (regents, own)| text.replace(regents, own))
}
