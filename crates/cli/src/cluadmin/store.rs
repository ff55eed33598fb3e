//! A definition into the text of the configuration: what the shell did not ask for, and comments, stay as they are.

use regent_model::config::{Config, Failback, Startup};
use toml_edit::{Array, InlineTable, Item, Table, Value};

use super::service::{Address, Device, Service, script_of, script_place};
use crate::edit::{Editor, add_inner, inners, inners_mut, keep_inners, set, text_of, unset};
use crate::trouble::{Result, Trouble};

/// Writes `new` into the text, where `old` was, or as a new group.
///
/// # Errors
/// When the text writes groups in another manner than as tables of their own.
pub(super) fn store(
    editor: &mut Editor,
    config: &Config,
    old: Option<&Service>,
    new: &Service,
) -> Result<()> {
    let group = match old {
        Some(old) => editor.find_mut("group", &old.name),
        None => Some(editor.add("group", &new.name)?),
    };
    let group =
        group.ok_or_else(|| Trouble::refused(format!("there is no service {} any more", new.name)))?;
    placement(group, config, old, new);
    shares(group, old, new)?;
    devices(group, new)?;
    addresses(group, old, new)?;
    script(group, old, new)
}

/// An inner table that could not be added.
fn inline(kind: &str) -> Trouble {
    Trouble::refused(format!("the configuration writes {kind} of this service in a line of its own manner"))
        .next(format!(
            "write each as [[group.{kind}]]: cluster saveas FILE, edit it, cluster restorefrom FILE"
        ))
}

/// The list of members and the policy, where they change.
fn placement(group: &mut Table, config: &Config, old: Option<&Service>, new: &Service) {
    let asked = |s: &Service| (s.preferred.clone(), s.relocate);
    if old.is_some_and(|old| asked(old) == asked(new)) {
        return;
    }
    let known = config.groups_named(&new.name).next();
    let listed = group.get("nodes").and_then(Item::as_array);
    let mut nodes: Vec<String> = match listed {
        Some(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => config.nodes.iter().map(|n| n.name.to_string()).collect(),
    };
    if let Some(preferred) = &new.preferred {
        nodes.retain(|n| n != preferred);
        nodes.insert(0, preferred.clone());
    }
    set(group, "nodes", Array::from_iter(nodes));
    let startup = if new.preferred.is_some() { Startup::Home } else { Startup::FirstAvailable };
    let failback =
        if new.relocate && new.preferred.is_some() { Failback::Join.word() } else { Failback::Never.word() };
    let failover = group.get("policy").and_then(|p| p.as_inline_table()?.get("failover").cloned());
    let failover = failover.unwrap_or_else(|| known.map_or("next", |g| g.policy.failover.word()).into());
    let mut policy = InlineTable::new();
    policy.insert("startup", startup.word().into());
    policy.insert("failover", failover);
    policy.insert("failback", failback.into());
    policy.fmt();
    set(group, "policy", policy);
}

fn addresses(group: &mut Table, old: Option<&Service>, new: &Service) -> Result<()> {
    let known = |at: usize| old.is_some_and(|old| old.addresses.iter().any(|a| a.at == Some(at)));
    let kept: Vec<usize> = new.addresses.iter().filter_map(|a| a.at).collect();
    for address in &new.addresses {
        match address.at {
            Some(at) => write_address(inners_mut(group, "address").remove(at), address),
            None => write_address(add_inner(group, "address").ok_or_else(|| inline("address"))?, address),
        }
    }
    keep_inners(group, "address", |at| !known(at) || kept.contains(&at));
    Ok(())
}

fn write_address(table: &mut Table, address: &Address) {
    set(table, "address", format!("{}/{}", address.address, address.prefix));
    match &address.broadcast {
        Some(broadcast) => set(table, "broadcast", broadcast.to_string()),
        None => unset(table, "broadcast"),
    }
    if let Some(interface) = &address.interface {
        set(table, "interface", interface.as_str());
    }
}

fn devices(group: &mut Table, new: &Service) -> Result<()> {
    let shared = |t: &Table| {
        !t.get("local").and_then(Item::as_bool).unwrap_or_default() && text_of(t, "type") != Some("bind")
    };
    let known: Vec<bool> = inners(group, "filesystem").into_iter().map(shared).collect();
    let kept: Vec<usize> = new.devices.iter().filter_map(|d| d.at).collect();
    for device in &new.devices {
        match device.at {
            Some(at) => write_device(inners_mut(group, "filesystem").remove(at), device),
            None => write_device(add_inner(group, "filesystem").ok_or_else(|| inline("filesystem"))?, device),
        }
    }
    keep_inners(group, "filesystem", |at| !known.get(at).copied().unwrap_or_default() || kept.contains(&at));
    Ok(())
}

fn write_device(table: &mut Table, device: &Device) {
    set(table, "device", device.device.as_str());
    set(table, "mount", device.mount.as_str());
    set(table, "type", device.fstype.as_str());
    match &device.options {
        // Where it is a list that says the same, it stays one.
        Some(options) => match table.get("options").and_then(Item::as_array) {
            Some(list) if list.iter().filter_map(Value::as_str).eq(options.split(',')) => {}
            _ => set(table, "options", options.as_str()),
        },
        None => unset(table, "options"),
    }
    if !device.force || table.contains_key("force_unmount") {
        set(table, "force_unmount", device.force);
    }
}

/// A share belongs to what is mounted at its path.
fn shares(group: &mut Table, old: Option<&Service>, new: &Service) -> Result<()> {
    let before: Vec<&Device> = old.into_iter().flat_map(|o| &o.devices).collect();
    for device in before.iter().filter(|d| d.share.is_some()) {
        let now = new.devices.iter().find(|n| n.at == device.at);
        let place =
            inners(group, "share").into_iter().position(|t| text_of(t, "path") == Some(&device.mount));
        match (now.and_then(|now| Some((now, now.share.as_ref()?))), place) {
            (Some((now, share)), Some(at)) => {
                let table = inners_mut(group, "share").remove(at);
                set(table, "name", share.as_str());
                set(table, "path", now.mount.as_str());
            }
            (None, Some(gone)) => keep_inners(group, "share", |at| at != gone),
            (_, None) => {}
        }
    }
    let had =
        |device: &Device| before.iter().any(|b| b.at.is_some() && b.at == device.at && b.share.is_some());
    for device in new.devices.iter().filter(|d| !had(d)) {
        if let Some(share) = &device.share {
            let table = add_inner(group, "share").ok_or_else(|| inline("share"))?;
            set(table, "name", share.as_str());
            set(table, "path", device.mount.as_str());
        }
    }
    Ok(())
}

fn script(group: &mut Table, old: Option<&Service>, new: &Service) -> Result<()> {
    let asked = |s: &Service| (s.script.clone(), s.interval.clone());
    if old.is_some_and(|old| asked(old) == asked(new)) {
        return Ok(());
    }
    let place = script_place(group);
    match (&new.script, place) {
        (None, None) => {}
        (None, Some(gone)) => keep_inners(group, "application", |at| at != gone),
        (Some(script), Some(at)) => {
            let table = inners_mut(group, "application").remove(at);
            write_script(table, script);
            write_interval(table, old, new);
        }
        (Some(script), None) => {
            let name = script_name(group, script, &new.name);
            let table = add_inner(group, "application").ok_or_else(|| inline("application"))?;
            set(table, "name", name);
            write_script(table, script);
            write_interval(table, old, new);
        }
    }
    Ok(())
}

fn write_script(table: &mut Table, script: &str) {
    if script_of(table).as_deref() == Some(script) {
        return;
    }
    let fresh = text_of(table, "start").is_none();
    if text_of(table, "script").is_some() || fresh {
        set(table, "script", script);
        return;
    }
    for verb in ["start", "stop"] {
        set(table, verb, format!("{script} {verb}"));
    }
    match table.get_mut("monitor").and_then(Item::as_table_like_mut).and_then(|m| m.get_mut("command")) {
        Some(command) => *command = Item::Value(format!("{script} status").into()),
        None => set(table, "status", format!("{script} status")),
    }
}

fn write_interval(table: &mut Table, old: Option<&Service>, new: &Service) {
    if old.is_some_and(|old| old.script.is_some() && old.interval == new.interval) {
        return;
    }
    let is_number = new.interval.bytes().all(|b| b.is_ascii_digit());
    let interval =
        if is_number && new.interval != "0" { format!("{}s", new.interval) } else { new.interval.clone() };
    match table.get_mut("monitor").and_then(Item::as_table_like_mut) {
        Some(monitor) => {
            monitor.insert("interval", Item::Value(interval.into()));
        }
        None => {
            let mut monitor = InlineTable::new();
            monitor.insert("interval", interval.into());
            set(table, "monitor", monitor);
        }
    }
}

/// A name for the application of a script: its file's, or the service's.
fn script_name(group: &Table, script: &str, service: &str) -> String {
    let file = script.rsplit('/').next().unwrap_or_default();
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let taken = |name: &str| inners(group, "application").iter().any(|t| text_of(t, "name") == Some(name));
    let fits = !file.is_empty() && file.len() <= 63 && file.starts_with(|c: char| c.is_ascii_alphanumeric());
    let name = if fits && file.chars().all(good) { file } else { service };
    if taken(name) { format!("{name}-script") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use regent_model::config::parse;

    use super::*;

    /// Every example: its path and its text.
    fn examples() -> Vec<(PathBuf, String)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let files = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
        let tomls = files(folder.clone()).chain(files(folder.join("hacmp")));
        let tomls = tomls.filter(|f| f.extension().is_some_and(|e| e == "toml"));
        tomls.map(|f| (f.clone(), std::fs::read_to_string(f).unwrap())).collect()
    }

    /// The text with the service changed.
    fn changed(text: &str, name: &str, change: impl Fn(&mut Service)) -> String {
        let config = parse(text).config.unwrap();
        let mut editor = Editor::read(text).unwrap();
        let old = Service::read(&editor, &config, name).unwrap();
        let mut new = old.clone();
        change(&mut new);
        store(&mut editor, &config, Some(&old), &new).unwrap();
        editor.text()
    }

    #[test]
    fn what_is_not_changed_is_written_as_it_was_read_in_every_example() {
        for (path, text) in examples() {
            for name in Editor::read(&text).unwrap().names("group") {
                assert_eq!(changed(&text, &name, |_| ()), text, "{} of {}", name, path.display());
            }
        }
    }

    #[test]
    fn a_change_and_its_contrary_leave_every_example_as_it_was() {
        let mut compared = 0;
        for (path, text) in examples() {
            for name in Editor::read(&text).unwrap().names("group") {
                let there = changed(&text, &name, |service| {
                    service.script = service.script.take().or(Some("/etc/init.d/x".into()));
                    service.addresses.iter_mut().for_each(|a| a.prefix += 1);
                    service.devices.iter_mut().for_each(|d| d.force = !d.force);
                });
                let back = |service: &mut Service| {
                    service.script = service.script.take().filter(|s| s != "/etc/init.d/x");
                    service.addresses.iter_mut().for_each(|a| a.prefix -= 1);
                    service.devices.iter_mut().for_each(|d| d.force = !d.force);
                };
                if parse(&there).config.is_none() {
                    // A concurrent group, say, takes no such script.
                    continue;
                }
                let told = text.lines().filter(|l| !l.trim_start().starts_with("force_unmount"));
                let again = changed(&there, &name, back);
                let now = again.lines().filter(|l| !l.trim_start().starts_with("force_unmount"));
                assert!(told.eq(now), "{} of {}:\n{again}", name, path.display());
                compared += 1;
            }
        }
        assert!(compared > 5, "{compared}");
    }

    #[test]
    fn a_share_is_added_renamed_and_taken_back() {
        let text = "[cluster]\nname = \"w\"\n\n[[node]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\n\n[[group]]\nname = \"g\"\n\
                    nodes = [\"a\"]\n\n  [[group.filesystem]]\n  device = \"/dev/sdb\"\n  mount = \"/s\"\n  type = \"ext4\"\n";
        let share = |text: &str, share: Option<&str>| {
            let mut editor = Editor::read(text).unwrap();
            let group = editor.find("group", "g").unwrap().clone();
            let device = super::super::service::device(0, inners(&group, "filesystem")[0], &group).unwrap();
            let of = |share: Option<&str>| Service {
                name: "g".into(),
                devices: vec![Device { share: share.map(str::to_owned), ..device.clone() }],
                ..Service::default()
            };
            let old = of(device.share.as_deref());
            shares(editor.find_mut("group", "g").unwrap(), Some(&old), &of(share)).unwrap();
            editor.text()
        };
        let added = share(text, Some("data"));
        assert_eq!(added, format!("{text}\n  [[group.share]]\n  name = \"data\"\n  path = \"/s\"\n"));
        assert_eq!(share(&added, Some("files")), added.replace("data", "files"));
        assert_eq!(share(&added, None), text);
    }
}
