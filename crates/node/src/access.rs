//! Who asks, by the kernel's word, and what he may: the role that a user of this machine has, and what is told of him.

use std::fs;
use std::os::unix::fs::MetadataExt;

use regent_api::{Role, roles};

use crate::os::{self, Caller};
use crate::sys;

/// What a process that was not begun by a login has for its login's user.
const NO_LOGIN: u32 = u32::MAX;

/// What is known at once of somebody at the local socket: numbers. To look up the names of users may take a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    uid: u32,
    behind: Option<Behind>,
    role: Option<Role>,
}

/// Whom somebody was before.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Behind {
    /// The user who logged in, by the kernel's count.
    Login(u32),
    /// The user whom `sudo` names.
    Sudo(String),
}

impl Trace {
    /// Who is at the other end, by its user and groups.
    pub(crate) fn of(caller: &Caller) -> Self {
        Self { uid: caller.uid, behind: behind(caller), role: role(caller) }
    }
}

/// Somebody at the local socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// His user and number.
    user: String,
    uid: u32,
    /// Whom he was before he became that, if that is known.
    behind: Option<String>,
    /// What he may.
    pub(crate) role: Option<Role>,
}

impl Person {
    /// Who is at the other end, by its user and groups.
    pub(crate) fn of(caller: &Caller) -> Self {
        Self::named(Trace::of(caller))
    }

    /// The same with the names of users, which are looked up.
    pub(crate) fn named(trace: Trace) -> Self {
        let behind = trace.behind.map(|behind| match behind {
            Behind::Login(login) => format!("logged in as {}", user_name(login)),
            Behind::Sudo(said) => format!("{said} by the word of sudo"),
        });
        Self { user: user_name(trace.uid), uid: trace.uid, behind, role: trace.role }
    }

    /// What he is told who may not: who he is, what is needed, and where that is given.
    pub(crate) fn refusal(&self, needed: Role) -> (String, String) {
        let has = match self.role {
            Some(role) => format!("{}, who is {} here", self.words(), article(role)),
            None => format!("{}, who has no role here", self.words()),
        };
        let reason = format!("this needs the role {needed}, and was asked by {has}");
        let (group, user) = (needed.group(), &self.user);
        let advice = format!(
            "as root, or as a member of the group {group} of this machine: groupadd -f {group} && usermod -aG {group} {user}, \
             and log in again; who may what: regent access"
        );
        (reason, advice)
    }

    /// Who he is, for the record.
    pub(crate) fn words(&self) -> String {
        let behind = self.behind.as_ref().map_or_else(String::new, |who| format!(", {who}"));
        format!("{} (uid {}{behind})", self.user, self.uid)
    }

    /// The same for tools: a line for each thing that is known.
    pub(crate) fn record(&self) -> String {
        let role = self.role.map_or("none", Role::word);
        let behind = self.behind.as_ref().map_or_else(String::new, |who| format!("behind={who}\n"));
        format!("user={}\nuid={}\n{behind}role={role}\n", self.user, self.uid)
    }
}

fn article(role: Role) -> &'static str {
    match role {
        Role::Viewer => "a viewer",
        Role::Operator => "an operator",
        Role::Admin => "an admin",
    }
}

/// Whether who has this role may what needs that one.
pub(crate) fn may(role: Option<Role>, needed: Option<Role>) -> bool {
    needed.is_none_or(|needed| role.is_some_and(|role| role >= needed))
}

/// The role of whoever has these groups. They are looked up each time: a group may be made while the daemon runs.
pub(crate) fn role(caller: &Caller) -> Option<Role> {
    if caller.is_root() {
        return Some(Role::Admin);
    }
    let has = |role: &Role| os::group_named(role.group()).is_some_and(|group| caller.is_in(group));
    roles::ROLES.into_iter().rev().find(has)
}

fn user_name(uid: u32) -> String {
    sys::user_name(uid).ok().flatten().unwrap_or_else(|| format!("user {uid}"))
}

/// Who became the user that asks. The kernel knows who logged in, where it keeps count of that; `sudo` says it too, but
/// that is only what a process says.
fn behind(caller: &Caller) -> Option<Behind> {
    if caller.pid <= 0 {
        return None;
    }
    let process = std::path::PathBuf::from(format!("/proc/{}", caller.pid));
    // Its number may be another process's by now.
    if fs::metadata(&process).ok()?.uid() != caller.uid {
        return None;
    }
    let login = fs::read_to_string(process.join("loginuid")).ok().and_then(|text| text.trim().parse().ok());
    if let Some(login) = login.filter(|login| *login != NO_LOGIN && *login != caller.uid) {
        return Some(Behind::Login(login));
    }
    let environment = fs::read(process.join("environ")).ok()?;
    said_by_sudo(&environment).map(Behind::Sudo)
}

fn said_by_sudo(environment: &[u8]) -> Option<String> {
    let value = environment.split(|b| *b == 0).find_map(|line| line.strip_prefix(b"SUDO_USER="))?;
    let name = String::from_utf8_lossy(value).into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    (!name.is_empty() && name.len() <= 64 && name.chars().all(plain)).then_some(name)
}

/// The text of a configuration with the values of passwords and the like left out: for those who may not have them.
pub(crate) fn without_secrets(text: &str) -> String {
    const WORDS: [&str; 4] = ["passw", "secret", "passphrase", "privkey"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // A key, an equals sign, and a text in quotes, wherever they stand: also in a table on one line.
    while let Some(at) = rest.find('=') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let key = before[..at].trim_end().trim_matches(['"', '\'']);
        let begins = |(i, c): (usize, char)| {
            (!(c.is_ascii_alphanumeric() || "_-".contains(c))).then(|| i + c.len_utf8())
        };
        let start = key.char_indices().rev().find_map(begins).unwrap_or(0);
        let key = key[start..].to_ascii_lowercase();
        let blank = after.len() - after.trim_start_matches([' ', '\t']).len();
        let value = &after[blank..];
        let is_secret = WORDS.iter().any(|word| key.contains(word)) || key == "passwd";
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| value.starts_with(quote));
        match quote.filter(|_| is_secret) {
            Some(quote) => {
                let (end, next) = end_of(value, quote);
                out.push_str(&after[..blank]);
                out.push_str("\"(not shown)\"");
                rest = &value[end.min(value.len())..];
                debug_assert!(next || rest.is_empty());
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
}

/// Where a text ends that begins with this quote, and whether it does.
fn end_of(value: &str, quote: &str) -> (usize, bool) {
    let mut at = quote.len();
    while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(quote) {
            return (at + quote.len(), true);
        }
        let escaped = quote.starts_with('"') && rest.starts_with('\\');
        let step = rest.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
        at += step;
    }
    (value.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(role: Option<Role>) -> Person {
        Person { user: "maria".into(), uid: 1000, behind: None, role }
    }

    #[test]
    fn a_role_may_what_it_needs_and_what_those_below_it_may() {
        assert!(may(None, None) && !may(None, Some(Role::Viewer)));
        let operator = Some(Role::Operator);
        assert!(may(operator, Some(Role::Viewer)) && may(operator, operator));
        assert!(!may(operator, Some(Role::Admin)));
    }

    #[test]
    fn a_refusal_says_who_asked_what_is_needed_and_what_to_type() {
        let (reason, advice) = person(Some(Role::Viewer)).refusal(Role::Operator);
        assert_eq!(
            reason,
            "this needs the role operator, and was asked by maria (uid 1000), who is a viewer here"
        );
        assert!(advice.contains("usermod -aG regent-operator maria") && advice.contains("regent access"));
        assert!(person(None).refusal(Role::Viewer).0.contains("no role"));
    }

    #[test]
    fn who_is_behind_sudo_is_told_as_its_word_and_nonsense_is_not_told() {
        assert_eq!(said_by_sudo(b"A=1\0SUDO_USER=maria\0B=2\0").as_deref(), Some("maria"));
        assert_eq!(said_by_sudo(b"SUDO_USER=mar\nia\0"), None);
        assert_eq!(said_by_sudo(b"XSUDO_USER=maria\0"), None);
        let who = Person { behind: Some("maria by the word of sudo".into()), ..person(None) };
        assert!(who.words().ends_with("(uid 1000, maria by the word of sudo)"));
    }

    #[test]
    fn passwords_are_left_out_of_a_configuration_wherever_they_stand_and_nothing_else_is() {
        let text = "[[fence]]\nname = \"ipmi\"\noptions = { login = \"admin\", password = \"hun\\\"ter2\", passwd='x' }\n\
                    \"snmp_priv_passwd\" = \"\"\"a\nb\"\"\"\n# a = b, passwd\n[cluster]\nname = \"w\"\n";
        let shown = without_secrets(text);
        assert_eq!(
            shown,
            "[[fence]]\nname = \"ipmi\"\noptions = { login = \"admin\", password = \"(not shown)\", \
             passwd=\"(not shown)\" }\n\"snmp_priv_passwd\" = \"(not shown)\"\n# a = b, passwd\n[cluster]\nname = \"w\"\n"
        );
        assert_eq!(without_secrets("passwd = \"without an end"), "passwd = \"(not shown)\"");
        assert_eq!(without_secrets("passwd = 12 ="), "passwd = 12 =");
    }
}
