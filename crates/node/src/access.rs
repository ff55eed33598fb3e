//! Who asks, by the kernel's word, and what he may: the role that a user of this machine has, and what is told of him.

use std::fs;
use std::os::unix::fs::MetadataExt;

use regent_agents::accounts;
use regent_api::{Role, roles};
use regent_model::config::{HIDDEN, is_secret};

use crate::lookup;
use crate::os::{self, Caller};

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
    // A directory service that hangs must not hold up who asks: who is not known to have a role has none.
    let groups = || roles::ROLES.map(|role| (role, os::group_named(role.group())));
    let groups = lookup::in_time(lookup::WITHIN, groups)?;
    let has = |(_, group): &(Role, Option<u32>)| group.is_some_and(|group| caller.is_in(group));
    groups.into_iter().rev().find(has).map(|(role, _)| role)
}

fn user_name(uid: u32) -> String {
    let name = lookup::in_time(lookup::WITHIN, move || accounts::user_name(uid).ok().flatten()).flatten();
    name.unwrap_or_else(|| format!("user {uid}"))
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
    let hidden = format!("\"{HIDDEN}\"");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Whether what comes is the value of a key that keeps a secret. Keys stand anywhere: also in a table on one line.
    let mut secret = false;
    // Within how many lists and tables of such a value.
    let mut inside = 0_usize;
    while let Some(c) = rest.chars().next() {
        let until = |ends: &[char]| rest.find(ends).unwrap_or(rest.len());
        let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote));
        let length = match (c, quote) {
            ('#', _) => until(&['\n']),
            (_, Some(quote)) => end_of(rest, quote),
            _ if secret && (c.is_alphanumeric() || "+-.".contains(c)) => {
                until(&[' ', '\t', '\r', '\n', ',', '}', ']', '#', '='])
            }
            _ => c.len_utf8(),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        let hides = secret && (quote.is_some() || length > 1 || c.is_alphanumeric());
        match c {
            '#' if inside > 0 => out.push_str(&format!("# {HIDDEN}")),
            '#' => out.push_str(&remark(piece)),
            _ if hides => out.push_str(&hidden),
            _ => out.push_str(piece),
        }
        match c {
            '[' | '{' if secret => inside += 1,
            ']' | '}' => inside = inside.saturating_sub(1),
            _ => {}
        }
        if inside > 0 {
            continue;
        }
        let goes_on = secret && matches!(c, ' ' | '\t');
        secret = goes_on || (piece == "=" && is_secret(key_before(&out[..out.len() - 1])));
    }
    out
}

/// A remark: of a line that was put out of use, a secret is a secret still.
fn remark(line: &str) -> String {
    let at = line.match_indices('=').find(|(at, _)| is_secret(key_before(&line[..*at])));
    at.map_or_else(|| line.to_owned(), |(at, _)| format!("{}= {HIDDEN}", &line[..at]))
}

/// The key with which this ends.
fn key_before(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let part = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    &text[text.trim_end_matches(part).len()..]
}

/// Where a text ends that begins with this quote: one of one line ends with the line, whatever is missing.
fn end_of(value: &str, quote: &str) -> usize {
    let mut at = quote.len();
    while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(quote) {
            return at + quote.len();
        }
        if quote.len() == 1 && rest.starts_with('\n') {
            return at;
        }
        let escaped = quote == "\"\"\"" || (quote == "\"" && !rest.starts_with("\\\n"));
        let escaped = escaped && rest.starts_with('\\');
        at += rest.chars().take(if escaped { 2 } else { 1 }).map(char::len_utf8).sum::<usize>();
    }
    value.len()
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
        assert_eq!(without_secrets("passwd = 12, a = 3 #"), "passwd = \"(not shown)\", a = 3 #");
    }

    #[test]
    fn a_list_under_a_secret_key_is_hidden_in_whole_and_what_follows_is_shown() {
        let text = "[a]\npassword = [\"x\", [\"y\"], # z\n 3]\nname = \"w\"\nstart = [\"a\", \"b\"]\n";
        assert_eq!(
            without_secrets(text),
            "[a]\npassword = [\"(not shown)\", [\"(not shown)\"], # (not shown)\n \"(not shown)\"]\nname = \"w\"\n\
             start = [\"a\", \"b\"]\n"
        );
    }

    #[test]
    fn an_odd_quote_a_remark_and_an_equals_sign_in_a_text_show_no_password() {
        let command = "start = \"x --password=\"\npassword = \"hunter2\"\n";
        assert_eq!(without_secrets(command), "start = \"x --password=\"\npassword = \"(not shown)\"\n");
        let remark = "# don't, or \"\npassword = \"hunter2\" # 5\" wide\ntoken = 'hunter2'\n";
        assert_eq!(
            without_secrets(remark),
            "# don't, or \"\npassword = \"(not shown)\" # 5\" wide\ntoken = \"(not shown)\"\n"
        );
        for text in [
            "#password = \"hunter2\"",
            "passwd = \"hunter2\npassword = \"hunter2\"",
            "a = \"\\\npassword = \"hunter2\"",
            "o = { community = \"hunter2\", api_key=\"hunter2\", x_pass = 'hunter2', Token=hunter2 }",
            "passwd = [\"hunter2\", 'hunter2', # hunter2\n  [\"hunter2\"], \"\"\"]hunter2\"\"\",\n]\n[[group]]",
            "x = { secret = [hunter2, \"]hunter2\"], token = { a = \"hunter2\", hunter2 = 1 } }",
            "password = [\"hunter2\", \"never closed hunter2\n\"hunter2\"\nhunter2",
            "options.password = \"hunter2\"\r\n[a]\nb = '''\n'''\nsecret = \"\"\"hunter2\"\"\"",
        ] {
            let shown = without_secrets(text);
            assert!(!shown.contains("hunter2"), "{text} -> {shown}");
        }
        let plain =
            "passwd_script = \"/etc/x\"\nname = \"password=1\"\n[[group]]\nstart = [\"a\", \"b = c\"]\n";
        assert_eq!(without_secrets(plain), plain);
    }
}
