//! Mount options as people write them, sorted for the kernel.

use rustix::mount::MountAttrFlags;

/// One option of the file system itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parameter {
    /// A bare word.
    Flag(String),
    /// A word with a value.
    Value(String, String),
}

/// Options of the mount, and of the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) attributes: MountAttrFlags,
    pub(super) parameters: Vec<Parameter>,
}

/// Words that mean something to mount(8), fstab or systemd, and nothing to the kernel.
const FOR_OTHERS: [&str; 14] = [
    "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "dev",
    "suid", "exec", "loud",
];

/// Sorts comma-separated options. A value in double quotes may hold commas.
pub(super) fn parse(text: &str) -> Options {
    let mut options = Options { attributes: MountAttrFlags::empty(), parameters: Vec::new() };
    for word in split(text) {
        let attribute = match word.as_str() {
            "ro" => MountAttrFlags::MOUNT_ATTR_RDONLY,
            "nosuid" => MountAttrFlags::MOUNT_ATTR_NOSUID,
            "nodev" => MountAttrFlags::MOUNT_ATTR_NODEV,
            "noexec" => MountAttrFlags::MOUNT_ATTR_NOEXEC,
            "noatime" => MountAttrFlags::MOUNT_ATTR_NOATIME,
            "strictatime" => MountAttrFlags::MOUNT_ATTR_STRICTATIME,
            "nodiratime" => MountAttrFlags::MOUNT_ATTR_NODIRATIME,
            "nosymfollow" => MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW,
            // The kernel's default, said aloud.
            "relatime" | "rw" | "atime" | "diratime" | "symfollow" => continue,
            other if is_for_others(other) => continue,
            other => {
                options.parameters.push(parameter(other));
                continue;
            }
        };
        options.attributes |= attribute;
        if word == "ro" {
            options.parameters.push(Parameter::Flag("ro".into()));
        }
    }
    options
}

fn is_for_others(word: &str) -> bool {
    FOR_OTHERS.contains(&word) || ["x-", "X-", "comment="].iter().any(|prefix| word.starts_with(prefix))
}

fn parameter(word: &str) -> Parameter {
    match word.split_once('=') {
        Some((key, value)) => Parameter::Value(key.to_owned(), value.trim_matches('"').to_owned()),
        None => Parameter::Flag(word.to_owned()),
    }
}

fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        quoted ^= c == '"';
        match (c, words.last_mut()) {
            (',', _) if !quoted => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    words.into_iter().map(|w| w.trim().to_owned()).filter(|w| !w.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_are_sorted_into_the_mounts_and_the_file_systems() {
        let found = parse("defaults,noatime, ro,x-systemd.automount,errors=remount-ro,acl,_netdev");
        assert_eq!(found.attributes, MountAttrFlags::MOUNT_ATTR_NOATIME | MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(
            found.parameters,
            [
                Parameter::Flag("ro".into()),
                Parameter::Value("errors".into(), "remount-ro".into()),
                Parameter::Flag("acl".into())
            ]
        );
    }

    #[test]
    fn a_quoted_value_keeps_its_commas() {
        let found = parse("context=\"system_u:object_r:tmp_t:s0:c127,c456\",discard");
        assert_eq!(
            found.parameters,
            [
                Parameter::Value("context".into(), "system_u:object_r:tmp_t:s0:c127,c456".into()),
                Parameter::Flag("discard".into())
            ]
        );
    }

    proptest! {
        #[test]
        fn no_plain_option_is_lost_and_none_is_made_up(
            words in proptest::collection::vec("[b-m][a-z]{2,8}z(=[a-z0-9]{1,5})?", 0..8)
        ) {
            let found = parse(&words.join(","));
            let back: Vec<String> = found.parameters.into_iter().map(|p| match p {
                Parameter::Flag(word) => word,
                Parameter::Value(key, value) => format!("{key}={value}"),
            }).collect();
            prop_assert_eq!(back, words);
        }
    }
}
