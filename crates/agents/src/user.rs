//! The user that an application's commands run as.

use rustix::process::{Gid, Uid};

/// A user with everything a process needs to become it.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) groups: Vec<Gid>,
    pub(crate) home: String,
    pub(crate) shell: String,
}

impl User {
    pub(crate) fn new(name: &str, uid: u32, gid: u32, groups: &[u32], home: String, shell: String) -> Self {
        let groups = groups.iter().map(|g| Gid::from_raw(*g)).collect();
        Self { name: name.to_owned(), uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups, home, shell }
    }

    /// Looks the user up on this machine.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        match crate::sys::find_user(name) {
            Ok(Some(user)) => Ok(user),
            Ok(None) => Err(format!(
                "there is no user {name:?} on this node; create it (with the same number on every node), or \
                 correct `user` in the configuration"
            )),
            Err(error) => Err(format!("cannot look up the user {name:?}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_with_its_home_and_an_unknown_user_is_named() {
        let root = User::find("root").unwrap();
        assert!(root.uid.is_root());
        assert_eq!(root.home, "/root");
        assert!(root.groups.contains(&Gid::ROOT));
        assert!(User::find("no-such-user").unwrap_err().contains("no-such-user"));
    }
}
