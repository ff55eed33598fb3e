//! Wildcard binds of everything in a control group go to service addresses: a program that can only listen on every
//! address of a machine then listens on the one that moves with it, and leaves the others to others.
//!
//! Two small programs of ours (`program.rs`) are attached to the control group; the kernel asks them at every `bind(2)`
//! of a process in it or below. They stay for as long as the folder does, whatever becomes of the daemon.

mod program;
mod sys;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use regent_model::config::BindTo;

use sys::Family;

/// Makes wildcard binds in the control group `folder` of version 2, and below it, go to `to`: those of IPv4 to its IPv4
/// address; those of IPv6 to its IPv6 address, or where there is none to the IPv4 one, as a socket for both families
/// takes it. A wildcard of a family for which there is no address is refused (`EPERM`; `EINVAL` for a socket that is
/// for IPv6 alone). What was bound before is left as it is. Doing it again replaces what was said before.
///
/// # Errors
/// What this machine lacks. Then nothing is attached that was not.
pub fn attach(folder: &Path, to: BindTo) -> Result<(), String> {
    let target =
        File::open(folder).map_err(|e| format!("cannot open the control group {}: {e}", folder.display()))?;
    let programs = load(to)?;
    for (family, program) in &programs {
        let fail = |e: io::Error| cannot_attach(folder, &e);
        sys::detach_all(target.as_fd(), *family).map_err(fail)?;
        sys::attach(target.as_fd(), program.as_fd(), *family).map_err(fail)?;
    }
    Ok(())
}

/// Whether this machine can do that at all.
///
/// # Errors
/// What it lacks, and what to do.
pub fn is_possible() -> Result<(), String> {
    crate::cgroup::find_hierarchy()?;
    load(BindTo { v4: Some(std::net::Ipv4Addr::LOCALHOST), v6: None }).map(|_| ())
}

fn load(to: BindTo) -> Result<[(Family, std::os::fd::OwnedFd); 2], String> {
    let load = |family, program: &[u64]| match sys::load(family, program) {
        Ok(loaded) => Ok((family, loaded)),
        Err(e) => Err(cannot_load(&e)),
    };
    Ok([load(Family::V4, &program::of_ipv4(to))?, load(Family::V6, &program::of_ipv6(to))?])
}

fn cannot_load(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::ENOSYS) => "it has no bpf(2) (CONFIG_BPF_SYSCALL)".to_owned(),
        Some(libc::EPERM | libc::EACCES) => {
            "it lets this daemon load no such program (the capabilities CAP_BPF and CAP_NET_ADMIN, or lockdown)".into()
        }
        Some(libc::EINVAL) => "it knows no programs for bind in control groups (CONFIG_CGROUP_BPF)".into(),
        _ => error.to_string(),
    };
    format!("this kernel cannot send wildcard binds to the service address: {why}")
}

fn cannot_attach(folder: &Path, error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM) => "; another program is attached to a control group above, and allows no other",
        Some(libc::EINVAL | libc::EBADF) => "; is it a control group of version 2, and CONFIG_CGROUP_BPF=y?",
        _ => "",
    };
    format!("cannot send wildcard binds in {} to the service address: {error}{hint}", folder.display())
}
