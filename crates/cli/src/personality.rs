//! The other names under which the executable may be called: a link `cluadmin` to `regent` is `regent cluadmin`.

use std::ffi::OsString;
use std::path::Path;

/// Each name with the command that it stands for.
pub const PERSONALITIES: [(&str, &str); 3] =
    [("cluadmin", "cluadmin"), ("clustat", "clustat"), ("ccontrol", "ccontrol")];

/// The words as if `regent` had been called.
#[must_use]
pub fn as_regent(mut words: Vec<OsString>) -> Vec<OsString> {
    let called = words.first().and_then(|word| Path::new(word).file_name());
    let meant = PERSONALITIES.iter().find(|(name, _)| called.is_some_and(|called| called == *name));
    if let Some((_, command)) = meant {
        words[0] = "regent".into();
        words.insert(1, (*command).into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Vec<OsString> {
        as_regent(words.iter().map(Into::into).collect())
    }

    #[test]
    fn a_link_of_that_name_is_the_command() {
        assert_eq!(read(&["/usr/sbin/cluadmin", "-V"]), ["regent", "cluadmin", "-V"]);
        assert_eq!(read(&["clustat", "-i", "2"]), ["regent", "clustat", "-i", "2"]);
        assert_eq!(read(&["/usr/bin/ccontrol", "list", "x"]), ["regent", "ccontrol", "list", "x"]);
        assert_eq!(read(&["ccontrol"]), ["regent", "ccontrol"]);
        assert_eq!(read(&["/usr/local/bin/regent", "status"]), ["/usr/local/bin/regent", "status"]);
        assert_eq!(read(&[]), Vec::<OsString>::new());
    }
}
