//! `regent env`: what a group's commands are told, in any shell on the node.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use regent_api::{Answer, Request};
use regent_model::NodeName;
use serde_json::{Map, Value, json};

use crate::args::EnvArgs;
use crate::client::{self, Asks};
use crate::screen::{Screen, complain};
use crate::trouble::{Result, Trouble};

/// What changes with every ownership has no place in a file.
const PASSING: [&str; 5] = ["REGENT_EPOCH", "REGENT_PROOF", "REGENT_EVENT", "REGENT_REASON", STATE];

/// Whether an instance runs on the node.
const STATE: &str = "REGENT_INSTANCE_STATE";

/// A group's environment on one node.
struct Environment {
    node: NodeName,
    owner: Option<NodeName>,
    variables: Vec<(String, String)>,
    remarks: Vec<String>,
}

/// `regent env`.
///
/// # Errors
/// When it is refused, the file cannot be written, or the command cannot be run.
pub fn env(asks: &dyn Asks, screen: &Screen, args: &EnvArgs) -> Result<()> {
    of(asks, screen, args, false)
}

/// `regent env`, and with `instance` `regent instance env`.
///
/// # Errors
/// See [`env`].
pub fn of(asks: &dyn Asks, screen: &Screen, args: &EnvArgs, instance: bool) -> Result<()> {
    // What is taken out needs neither the daemon nor the group, which may be gone.
    if let Some(path) = args.write.as_ref().filter(|_| args.remove) {
        return write(screen, &args.group, None, path);
    }
    let request = Request::Environment { group: args.group.clone(), instance };
    let found = match client::accepted(asks.ask(&request)?)? {
        Answer::Environment { node, owner, variables, remarks } => {
            Environment { node, owner, variables, remarks }
        }
        other => return Err(client::mismatch(&other)),
    };
    if let Some(path) = &args.write {
        return write(screen, &args.group, Some(&found), path);
    }
    if let Some((program, rest)) = args.command.split_first() {
        is_up(&args.group, &found)?;
        let error = Command::new(program).args(rest).envs(found.variables).exec();
        return Err(Trouble::refused(format!("cannot run {}: {error}", program.display())));
    }
    let here = found.owner.as_ref() == Some(&found.node);
    let variables: Map<String, Value> =
        found.variables.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    screen.value(&json!({
        "group": args.group,
        "node": found.node,
        "owner": found.owner,
        "here": here,
        "variables": variables,
        "remarks": found.remarks,
    }))?;
    // What is printed is for `eval`: remarks go elsewhere.
    if !here {
        let now = found.owner.map_or("it runs nowhere".to_owned(), |owner| format!("it runs on {owner}"));
        complain(&format!("# {} does not run on {}: {now}\n", args.group, found.node));
    }
    for remark in &found.remarks {
        complain(&format!("# {remark}\n"));
    }
    let lines = found.variables.iter().map(|(key, value)| format!("export {key}={}\n", quoted(value)));
    screen.say(&lines.collect::<String>())
}

/// A database that is not up is opened by nobody: before it was recovered it shows what it had long before.
fn is_up(name: &str, found: &Environment) -> Result<()> {
    let state = found.variables.iter().find(|(key, _)| key == STATE).map(|(_, value)| value.as_str());
    let Some(state) = state.filter(|state| *state != "running") else { return Ok(()) };
    let node = &found.node;
    if found.owner.as_ref() != Some(node) {
        let owner = found.owner.as_ref().map_or("no node".to_owned(), ToString::to_string);
        return Err(
            Trouble::refused(format!("{name} is not on {node}: {owner} has its group")).next("regent status")
        );
    }
    Err(Trouble::refused(format!("{name} is {state} on {node}"))
        .next(format!("regent instance start {name}")))
}

/// The value as a shell reads it back.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

fn begin(group: &str) -> String {
    format!("# BEGIN regent group {group}")
}

fn end(group: &str) -> String {
    format!("# END regent group {group}")
}

/// Puts what was found into the file, or takes the group's block out where nothing is given.
fn write(screen: &Screen, group: &str, found: Option<&Environment>, path: &Path) -> Result<()> {
    // A link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let at = path.display();
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Trouble::refused(format!("cannot read {at}: {error}"))),
    };
    let block = found.map(|found| {
        let lasting = found.variables.iter().filter(|(key, _)| !PASSING.contains(&key.as_str()));
        let lines: String = lasting.map(|(key, value)| format!("{key}=\"{value}\"\n")).collect();
        format!("{}\n{lines}{}\n", begin(group), end(group))
    });
    let new = with_block(&old, group, block.as_deref())
        .map_err(|(why, next)| Trouble::refused(format!("{at}: {why}")).next(next))?;
    let changed = new != old;
    if changed {
        replace(&path, &new).map_err(|e| Trouble::refused(format!("cannot write {at}: {e}")))?;
    }
    let words = match (changed, found) {
        (false, None) => format!("{at} holds no environment of {group}"),
        (false, Some(_)) => format!("{at} holds the environment of {group} as it is now"),
        (true, None) => format!("the environment of {group} is taken out of {at}"),
        (true, Some(_)) => {
            format!("the environment of {group} is in {at}; sessions that begin from now on have it")
        }
    };
    let remarks: &[String] = found.map_or(&[], |found| &found.remarks);
    screen.value(&json!({ "done": words, "changed": changed, "remarks": remarks }))?;
    for remark in remarks {
        complain(&format!("{remark}\n"));
    }
    screen.say(&format!("{words}\n"))
}

/// The text with the group's block replaced, added at the end, or taken out; or why not, and what to do.
fn with_block(old: &str, group: &str, block: Option<&str>) -> std::result::Result<String, (String, String)> {
    let lines: Vec<&str> = old.split_inclusive('\n').collect();
    let at = |marker: &str| lines.iter().position(|line| line.trim_end() == marker);
    let other = lines.iter().find_map(|line| {
        line.trim_end().strip_prefix("# BEGIN regent group ").filter(|other| *other != group)
    });
    if let (Some(other), Some(_)) = (other, block) {
        return Err((
            format!("it holds the environment of {other} already, and both set the same variables"),
            format!(
                "regent env {group} -- COMMAND, where it is needed; or take the other out: regent env {other} --write \
                 FILE --remove"
            ),
        ));
    }
    match (at(&begin(group)), at(&end(group))) {
        (Some(first), Some(last)) if first < last => {
            let (head, tail) = (lines[..first].concat(), lines[last + 1..].concat());
            Ok(format!("{head}{}{tail}", block.unwrap_or_default()))
        }
        (None, None) => {
            let gap = if old.is_empty() || old.ends_with('\n') || block.is_none() { "" } else { "\n" };
            Ok(format!("{old}{gap}{}", block.unwrap_or_default()))
        }
        _ => Err((
            format!("of the two lines {:?} and {:?} one is missing or misplaced", begin(group), end(group)),
            "remove what is left of the block by hand".to_owned(),
        )),
    }
}

/// Puts a new text in the place of a file at once, with its owner and mode.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("that is no file"))?;
    let mut new = PathBuf::from(path);
    new.set_file_name(format!(".{}.regent", name.display()));
    let old = fs::metadata(path).ok();
    let mode = old.as_ref().map_or(0o644, |m| m.permissions().mode() & 0o7777);
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if let Some(old) = &old {
            use std::os::unix::fs::MetadataExt;
            chown(&new, Some(old.uid()), Some(old.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _nothing_is_left = fs::remove_file(&new);
    }
    written?;
    fs::File::open(folder_of(path))?.sync_all()
}

/// The folder that a file stands in; of a bare name it is the one where the command was typed.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "# BEGIN regent group dce\nA=\"1\"\n# END regent group dce\n";

    #[test]
    fn the_block_is_added_replaced_and_taken_out_and_all_else_stays() {
        let added = with_block("PATH=\"/bin\"", "dce", Some(BLOCK)).unwrap();
        assert_eq!(added, format!("PATH=\"/bin\"\n{BLOCK}"));
        let newer = BLOCK.replace("\"1\"", "\"2\"");
        let replaced = with_block(&format!("{added}LANG=C\n"), "dce", Some(&newer)).unwrap();
        assert_eq!(replaced, format!("PATH=\"/bin\"\n{newer}LANG=C\n"));
        assert_eq!(with_block(&replaced, "dce", None).unwrap(), "PATH=\"/bin\"\nLANG=C\n");
        assert_eq!(with_block("", "dce", None).unwrap(), "");
    }

    #[test]
    fn two_groups_in_one_file_and_half_a_block_are_refused() {
        let (why, next) = with_block(BLOCK, "dfs", Some("x")).unwrap_err();
        assert!(why.contains("environment of dce already") && next.contains("regent env dfs -- "), "{why}");
        assert!(with_block("# BEGIN regent group dce\n", "dce", Some(BLOCK)).is_err());
        assert!(with_block("# END regent group dce\n# BEGIN regent group dce\n", "dce", None).is_err());
    }

    #[test]
    fn what_was_written_is_taken_out_also_when_the_group_or_the_daemon_is_gone() {
        struct Nobody;
        impl Asks for Nobody {
            fn ask(&self, _: &Request) -> Result<Answer> {
                Err(Trouble::unreachable("nobody listens"))
            }
        }
        let path = std::env::temp_dir().join(format!("regent-env-gone-{}", std::process::id()));
        fs::write(&path, format!("LANG=C\n{BLOCK}")).unwrap();
        let args =
            |remove| EnvArgs { group: "dce".into(), write: Some(path.clone()), remove, command: Vec::new() };
        assert!(env(&Nobody, &Screen::silent(), &args(false)).is_err());
        env(&Nobody, &Screen::silent(), &args(true)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "LANG=C\n");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_bare_file_name_is_in_the_folder_at_hand() {
        assert_eq!(folder_of(Path::new("environment")), Path::new("."));
        assert_eq!(folder_of(Path::new("/etc/environment")), Path::new("/etc"));
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_a_shell_reads_back_what_is_quoted() {
        let folder = std::env::temp_dir().join(format!("regent-env-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("environment");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
        let odd = "it's $HOME; `x`";
        let line = format!("printf %s {}", quoted(odd));
        let printed = Command::new("sh").args(["-c", &line]).output().unwrap().stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), odd);
    }
}
