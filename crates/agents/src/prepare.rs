//! What a node is prepared with: looked for, and made where it is missing. What is there and is something else is never
//! overwritten.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use regent_model::config::{PrepareConfig, PreparedFolder, ServiceEntry};

use crate::user::User;

/// Where the system keeps the names of ports.
const SERVICES: &str = "/etc/services";

/// How one thing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// As it was asked for.
    Right,
    /// Not yet, and this is what will be done.
    ToDo(String),
    /// Something else is in its place.
    InTheWay(String),
}

/// Everything of `config` that is not as it was asked for, each in one line. Changes nothing.
#[must_use]
pub fn missing(config: &PrepareConfig) -> Vec<String> {
    missing_with(config, Path::new(SERVICES))
}

/// Makes what is missing, and says what it did, or in `Err` what is left and why. What is right already is not touched.
///
/// # Errors
/// None as a whole: every line says itself whether it was done.
#[must_use]
pub fn make(config: &PrepareConfig) -> Vec<Result<String, String>> {
    make_with(config, Path::new(SERVICES))
}

fn missing_with(config: &PrepareConfig, services: &Path) -> Vec<String> {
    let folders = config.directories.iter().map(folder);
    let links = config.links.iter().map(|(at, to)| link(at, to));
    let entries = config.services.iter().map(|entry| match read(services) {
        Ok(text) => service(entry, &text).0,
        Err(why) => Standing::InTheWay(why),
    });
    let line = |standing| match standing {
        Standing::Right => None,
        Standing::ToDo(what) => Some(format!("to do: {what}")),
        Standing::InTheWay(why) => Some(why),
    };
    folders.chain(links).chain(entries).filter_map(line).collect()
}

fn make_with(config: &PrepareConfig, services: &Path) -> Vec<Result<String, String>> {
    let mut done = Vec::new();
    for wanted in &config.directories {
        done.extend(carry_out(folder(wanted), || make_folder(wanted)));
    }
    for (at, to) in &config.links {
        done.extend(carry_out(link(at, to), || make_link(at, to)));
    }
    for entry in &config.services {
        let text = match read(services) {
            Ok(text) => text,
            Err(why) => {
                done.push(Err(why));
                continue;
            }
        };
        let (standing, new) = service(entry, &text);
        done.extend(carry_out(standing, || rewrite(services, &new)));
    }
    done
}

fn carry_out(standing: Standing, act: impl FnOnce() -> io::Result<()>) -> Option<Result<String, String>> {
    match standing {
        Standing::Right => None,
        Standing::InTheWay(why) => Some(Err(why)),
        Standing::ToDo(what) => Some(match act() {
            Ok(()) => Ok(what),
            Err(error) => Err(format!("{what}: {error}")),
        }),
    }
}

fn folder(wanted: &PreparedFolder) -> Standing {
    let path = wanted.path.display();
    let owner = match User::find(&wanted.owner) {
        Ok(user) => user,
        Err(_) => {
            return Standing::InTheWay(format!(
                "{path} is to belong to {0}, and there is no user {0} on this node",
                wanted.owner
            ));
        }
    };
    match fs::symlink_metadata(&wanted.path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Standing::ToDo(format!(
            "make the folder {path}, mode {:04o}, owner {}",
            wanted.mode, wanted.owner
        )),
        Err(e) => Standing::InTheWay(format!("{path}: {e}")),
        Ok(_) => match fs::metadata(&wanted.path) {
            Ok(found) if !found.is_dir() => Standing::InTheWay(format!("{path} is there, and is no folder")),
            Err(e) => Standing::InTheWay(format!("{path}: {e}")),
            Ok(found) => {
                let mode = found.permissions().mode() & 0o7777;
                if mode != wanted.mode {
                    Standing::ToDo(format!("set the mode of {path} from {mode:04o} to {:04o}", wanted.mode))
                } else if found.uid() != owner.uid.as_raw() {
                    Standing::ToDo(format!(
                        "give {path} from the user with number {} to {}",
                        found.uid(),
                        wanted.owner
                    ))
                } else {
                    Standing::Right
                }
            }
        },
    }
}

fn make_folder(wanted: &PreparedFolder) -> io::Result<()> {
    let owner = User::find(&wanted.owner).map_err(io::Error::other)?;
    if let Some(parent) = wanted.path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(wanted.mode).create(&wanted.path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    chown(&wanted.path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
    fs::set_permissions(&wanted.path, fs::Permissions::from_mode(wanted.mode))
}

fn link(at: &Path, to: &Path) -> Standing {
    let (here, there) = (at.display(), to.display());
    match fs::symlink_metadata(at) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Standing::ToDo(format!("make the link {here}, which points to {there}"))
        }
        Err(e) => Standing::InTheWay(format!("{here}: {e}")),
        Ok(found) if !found.is_symlink() => {
            Standing::InTheWay(format!("{here} is there, and is no link; it was to point to {there}"))
        }
        Ok(_) => match fs::read_link(at) {
            Ok(now) if now == to => Standing::Right,
            Ok(now) => Standing::ToDo(format!("let {here} point to {there} instead of {}", now.display())),
            Err(e) => Standing::InTheWay(format!("{here}: {e}")),
        },
    }
}

fn make_link(at: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent)?;
    }
    let new = beside(at);
    let _left_by_one_that_was_killed = fs::remove_file(&new);
    symlink(to, &new)?;
    fs::rename(&new, at)
}

fn read(services: &Path) -> Result<String, String> {
    match fs::read(services) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| format!("{} is not text that can be read; mend it by hand", services.display())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(format!("cannot read {}: {e}", services.display())),
    }
}

/// How the entry stands in the file, and the file as it would be with it.
fn service(entry: &ServiceEntry, text: &str) -> (Standing, String) {
    let protocol = format!("/{}", entry.port.protocol);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let with = |lines: &[String]| format!("{}\n", lines.join("\n"));
    for line in &mut lines {
        let told = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = told.split_ascii_whitespace().collect();
        let [name, port, aliases @ ..] = words.as_slice() else { continue };
        if !port.ends_with(&protocol) || *name != entry.name {
            continue;
        }
        if *port != entry.port.to_string() {
            let why = format!(
                "{name} is {port} in {SERVICES}, and was to be {}; correct one of them by hand",
                entry.port
            );
            return (Standing::InTheWay(why), String::new());
        }
        let lacks: Vec<&str> =
            entry.aliases.iter().map(String::as_str).filter(|a| !aliases.contains(a)).collect();
        if lacks.is_empty() {
            return (Standing::Right, String::new());
        }
        let what = format!("add {} to the line of {name} {port} in {SERVICES}", lacks.join(", "));
        let (told, comment) = line.split_at(told.trim_end().len());
        *line = format!("{told} {}{comment}", lacks.join(" "));
        return (Standing::ToDo(what), with(&lines));
    }
    lines.push(entry.to_string());
    (Standing::ToDo(format!("add to {SERVICES}: {}", entry.to_string().replace('\t', " "))), with(&lines))
}

/// Puts a new text in the place of the file at once: whoever reads it sees the old or the new one.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    // What is a link stays one.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(&path).ok();
    let new = beside(&path);
    fs::write(&new, text)?;
    let mode = before.as_ref().map_or(0o644, |m| m.permissions().mode() & 0o7777);
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    if let Some(before) = before {
        chown(&new, Some(before.uid()), Some(before.gid()))?;
    }
    fs::File::open(&new)?.sync_all()?;
    fs::rename(&new, &path)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.regent-new"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use regent_model::config::{Port, Protocol};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("regent-prepare-{name}-{}", std::process::id()));
            let _not_there = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn kerberos() -> ServiceEntry {
        let port = Port { number: 88, protocol: Protocol::Udp };
        ServiceEntry { name: "kerberos5".into(), port, aliases: vec!["kdc".into()] }
    }

    fn me() -> String {
        std::process::Command::new("id")
            .arg("-un")
            .output()
            .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
            .unwrap()
    }

    #[test]
    fn what_is_missing_is_made_once_and_said() {
        let folder = Folder::new("made");
        let at = |name: &str| folder.0.join(name);
        fs::write(at("services"), "ssh\t22/tcp\n").unwrap();
        let config = PrepareConfig {
            directories: vec![PreparedFolder { path: at("cell/deep"), mode: 0o711, owner: me() }],
            links: [(at("link"), PathBuf::from("cell/fs"))].into(),
            services: vec![kerberos()],
        };
        assert_eq!(missing_with(&config, &at("services")).len(), 3);
        let done = make_with(&config, &at("services"));
        assert!(done.iter().all(Result::is_ok) && done.len() == 3, "{done:?}");
        assert_eq!(fs::metadata(at("cell/deep")).unwrap().permissions().mode() & 0o7777, 0o711);
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("cell/fs"));
        assert_eq!(fs::read_to_string(at("services")).unwrap(), "ssh\t22/tcp\nkerberos5\t88/udp\tkdc\n");
        assert_eq!(missing_with(&config, &at("services")), [] as [&str; 0]);
        assert_eq!(make_with(&config, &at("services")), []);
        fs::set_permissions(at("cell/deep"), fs::Permissions::from_mode(0o700)).unwrap();
        let done = make_with(&config, &at("services"));
        assert!(done[0].as_ref().unwrap().contains("from 0700 to 0711"), "{done:?}");
    }

    #[test]
    fn what_is_something_else_is_left_and_said() {
        let folder = Folder::new("left");
        let at = |name: &str| folder.0.join(name);
        fs::write(at("file"), "mine").unwrap();
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("services"), "kerberos5 750/udp # old\n").unwrap();
        let config = PrepareConfig {
            directories: vec![
                PreparedFolder { path: at("file"), mode: 0o755, owner: me() },
                PreparedFolder { path: at("x"), mode: 0o755, owner: "no-such-user".into() },
            ],
            links: [(at("dir"), PathBuf::from("/y"))].into(),
            services: vec![kerberos()],
        };
        let done = make_with(&config, &at("services"));
        let said: Vec<_> = done.iter().map(|d| d.clone().unwrap_err()).collect();
        for (line, word) in said.iter().zip(["no folder", "no-such-user", "is no link", "750/udp"]) {
            assert!(line.contains(word), "{line}");
        }
        assert_eq!(fs::read_to_string(at("file")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(at("services")).unwrap(), "kerberos5 750/udp # old\n");
    }

    #[test]
    fn a_line_that_is_there_keeps_its_comment_and_gets_the_missing_name() {
        let (standing, text) = service(&kerberos(), "kerberos5\t88/udp\tkerberos-sec # Kerberos\n");
        assert!(matches!(standing, Standing::ToDo(what) if what.contains("add kdc")));
        assert_eq!(text, "kerberos5\t88/udp\tkerberos-sec kdc # Kerberos\n");
        assert_eq!(service(&kerberos(), &text).0, Standing::Right);
        assert_eq!(
            service(&kerberos(), "kerberos5 88/tcp kdc\n").1,
            "kerberos5 88/tcp kdc\nkerberos5\t88/udp\tkdc\n"
        );
    }

    #[test]
    fn a_link_elsewhere_is_turned_and_said_from_where() {
        let folder = Folder::new("turned");
        symlink("/old", folder.0.join("l")).unwrap();
        let config =
            PrepareConfig { links: [(folder.0.join("l"), "/new".into())].into(), ..Default::default() };
        let done = make_with(&config, Path::new("/nowhere"));
        assert!(done[0].as_ref().unwrap().contains("instead of /old"), "{done:?}");
        assert_eq!(fs::read_link(folder.0.join("l")).unwrap(), Path::new("/new"));
    }
}
