//! The Samba server of a group: its configuration, its folders, and whether it listens.
//!
//! What must follow the group (passwords, the server's identity) lies on its file system; what is of this life alone lies
//! in the node's run folder, so that nothing stale is found after a takeover. It listens on the group's addresses only,
//! so that two groups have one each on a node.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regent_model::action::Failure;
use regent_model::config::{SambaConfig, ShareConfig, ShareSync};
use regent_model::journal::Level;

use crate::hands::Context;
use crate::user::User;

/// Where the server finds its configuration.
pub(crate) const CONFIG_VARIABLE: &str = "REGENT_SAMBA_CONFIG";
const PORT: u16 = 445;
/// Longer names are nothing to NetBIOS.
const NETBIOS_BYTES_MAX: usize = 15;
/// Whom guests are taken for.
const GUEST: &str = "nobody";

/// The folder of a group's server that is of this life alone.
fn run_folder(context: &Context<'_>) -> PathBuf {
    context.inner.run_dir.join("samba").join(context.run.group.as_str())
}

/// Its configuration.
pub(crate) fn config_path(context: &Context<'_>) -> PathBuf {
    run_folder(context).join("smb.conf")
}

/// Makes the folders that it needs, and writes its configuration.
pub(crate) fn prepare(context: &Context<'_>, samba: &SambaConfig) -> Result<(), Failure> {
    let run = run_folder(context);
    make(&samba.state, 0o755)?;
    make(&samba.state.join("private"), 0o700)?;
    make(&samba.state.join("state"), 0o755)?;
    for name in ["lock", "cache", "pid", "ncalrpc"] {
        make(&run.join(name), 0o755)?;
    }
    for share in &samba.shares {
        make_shared(context, share)?;
    }
    let text = text(context.run.group.as_str(), samba, &run);
    crate::application::record::write_text(&config_path(context), text.as_bytes()).map_err(Failure::because)
}

fn make(path: &Path, mode: u32) -> Result<(), Failure> {
    let fail = |e: std::io::Error| {
        Failure::because(format!("cannot make {} for the Samba server: {e}", path.display()))
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(mode);
    builder
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(fail)
}

/// A shared folder that is not there yet is made; guests own theirs.
fn make_shared(context: &Context<'_>, share: &ShareConfig) -> Result<(), Failure> {
    if share.path.is_dir() {
        return Ok(());
    }
    make(&share.path, 0o755)?;
    if share.guests && !share.read_only {
        let guest = User::find(GUEST).map_err(Failure::because)?;
        std::os::unix::fs::chown(&share.path, Some(guest.uid.as_raw()), Some(guest.gid.as_raw()))
            .map_err(|e| Failure::because(format!("cannot give {} to {GUEST}: {e}", share.path.display())))?;
    }
    let what = format!("the folder {} of the share {} was made", share.path.display(), share.name);
    context.job.record(Level::Notice, what, Duration::ZERO, String::new());
    Ok(())
}

/// The configuration.
fn text(group: &str, samba: &SambaConfig, run: &Path) -> String {
    let mut name: String = group.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.truncate(NETBIOS_BYTES_MAX);
    let interfaces: Vec<String> = samba.addresses.iter().map(|(a, p)| format!("{a}/{p}")).collect();
    let (state, run) = (samba.state.display(), run.display());
    let guests = if samba.shares.iter().any(|s| s.guests) { "bad user" } else { "never" };
    let mut text = format!(
        "# Written by regent at every start of this group; changes are lost. See [[group.share]].\n\
         [global]\n\
         netbios name = {name}\n\
         server string = {group}\n\
         server role = standalone server\n\
         interfaces = {}\n\
         bind interfaces only = yes\n\
         smb ports = {PORT}\n\
         disable netbios = yes\n\
         private dir = {state}/private\n\
         state directory = {state}/state\n\
         passdb backend = tdbsam\n\
         cache directory = {run}/cache\n\
         lock directory = {run}/lock\n\
         pid directory = {run}/pid\n\
         ncalrpc dir = {run}/ncalrpc\n\
         map to guest = {guests}\n\
         guest account = {GUEST}\n\
         load printers = no\n\
         printing = bsd\n\
         printcap name = /dev/null\n\
         disable spoolss = yes\n\
         usershare max shares = 0\n\
         strict sync = yes\n",
        interfaces.join(" ")
    );
    for share in &samba.shares {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let hidden = samba.state.file_name().unwrap_or_default().to_string_lossy();
        let _ = write!(
            text,
            "[{}]\npath = {}\nread only = {}\nguest ok = {}\nsync always = {}\nveto files = /{hidden}/\n",
            share.name,
            share.path.display(),
            yes(share.read_only),
            yes(share.guests),
            yes(share.sync == ShareSync::Always),
        );
        if !share.users.is_empty() {
            let _ = writeln!(text, "valid users = {}", share.users.join(" "));
        }
        if let Some(comment) = &share.comment {
            let _ = writeln!(text, "comment = {comment}");
        }
    }
    text
}

/// Where it does not listen though it should.
///
/// # Errors
/// The first such address, in words.
pub(crate) fn listens(samba: &SambaConfig) -> Result<(), String> {
    let there = listeners();
    match samba.addresses.iter().find(|(address, _)| !there.contains(&(*address, PORT))) {
        None => Ok(()),
        Some((address, _)) => Err(format!("smbd does not listen on {address}, port {PORT}")),
    }
}

/// Every address and port that somebody listens on for TCP, in this thread's network namespace.
fn listeners() -> Vec<(IpAddr, u16)> {
    let tables = ["tcp", "tcp6"].map(|t| fs::read_to_string(format!("/proc/thread-self/net/{t}")));
    let text: Vec<String> = tables.into_iter().flatten().collect();
    text.iter().flat_map(|t| t.lines().skip(1)).filter_map(listener).collect()
}

/// One line of the kernel's table, where it is one that listens.
fn listener(line: &str) -> Option<(IpAddr, u16)> {
    let mut words = line.split_ascii_whitespace();
    let local = words.nth(1)?;
    if words.nth(1)? != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok();
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
        _ => {
            let mut octets = [0; 16];
            for (at, part) in octets.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_listeners_is_understood() {
        let line =
            |local: &str, state: &str| format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00");
        let four = if cfg!(target_endian = "little") { "3200000A:01BD" } else { "0A000032:01BD" };
        assert_eq!(listener(&line(four, "0A")), Some(("10.0.0.50".parse().unwrap(), 445)));
        assert_eq!(listener(&line(four, "01")), None, "a connection");
        let six = "00000000000000000000000001000000:01BD";
        if cfg!(target_endian = "little") {
            assert_eq!(listener(&line(six, "0A")), Some(("::1".parse().unwrap(), 445)));
        }
        assert_eq!(listener("rubbish"), None);
    }

    #[test]
    fn what_must_follow_lies_on_the_groups_file_system_and_the_rest_does_not() {
        let share = |name: &str, guests, users: &[&str]| ShareConfig {
            name: name.into(),
            path: format!("/storage2/{name}").into(),
            read_only: false,
            guests,
            users: users.iter().map(|u| (*u).to_owned()).collect(),
            comment: Some("Files".into()),
            sync: ShareSync::Always,
        };
        let samba = SambaConfig {
            addresses: vec![("10.0.0.50".parse().unwrap(), 24), ("fd00::50".parse().unwrap(), 64)],
            state: "/storage2/.regent-samba".into(),
            shares: vec![share("data", true, &[]), share("own", false, &["anna", "otto"])],
        };
        let text = text("cacheha1@lx4-of-ward7", &samba, Path::new("/run/regent/work/samba/g1"));
        for line in [
            "netbios name = cacheha1-lx4-of",
            "interfaces = 10.0.0.50/24 fd00::50/64",
            "private dir = /storage2/.regent-samba/private",
            "lock directory = /run/regent/work/samba/g1/lock",
            "map to guest = bad user",
            "[own]",
            "valid users = anna otto",
            "sync always = yes",
            "veto files = /.regent-samba/",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is not in\n{text}");
        }
        let settings = text.lines().filter(|l| l.starts_with("guest ok"));
        assert_eq!(settings.collect::<Vec<_>>(), ["guest ok = yes", "guest ok = no"]);
    }
}
