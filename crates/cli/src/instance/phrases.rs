//! What Regent says, in the words of `ccontrol`: the same functions by the names that they have there.

/// Each command about instances with the function that does the same.
const FUNCTIONS: [(&str, &str); 8] = [
    ("regent instance create", "ccontrol create"),
    ("regent instance update", "ccontrol update"),
    ("regent instance delete", "ccontrol delete"),
    ("regent instance start", "ccontrol start"),
    ("regent instance stop", "ccontrol stop"),
    ("regent instance force", "ccontrol force"),
    ("regent instance status", "ccontrol stat"),
    ("regent instance list", "ccontrol list"),
];

/// The text, with the functions of `ccontrol`. What it has none for stays as it is: `regent` is there too.
#[must_use]
pub fn in_its_words(text: &str) -> String {
    FUNCTIONS.iter().fold(text.to_owned(), |text, (regents, own)| text.replace(regents, own))
}
