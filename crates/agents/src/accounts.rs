//! The machine's users and groups, by name and by number. A lookup may wait for a directory service.

use std::io;

/// The number of the group of this name; `None` when there is no such group.
///
/// # Errors
/// When the machine's database cannot be asked.
pub fn group_number(name: &str) -> io::Result<Option<u32>> {
    crate::sys::group_number(name)
}

/// The name of the user of this number; `None` when there is no such user.
///
/// # Errors
/// As [`group_number`].
pub fn user_name(uid: u32) -> io::Result<Option<String>> {
    crate::sys::user_name(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_its_group_are_known_and_others_are_nobody() {
        assert_eq!(user_name(0).unwrap().as_deref(), Some("root"));
        assert_eq!(group_number("root").unwrap(), Some(0));
        assert_eq!(user_name(4_000_000_123).unwrap(), None);
        assert_eq!(group_number("no-such-group").unwrap(), None);
    }
}
