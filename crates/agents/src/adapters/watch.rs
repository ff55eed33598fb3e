//! The state of interfaces, told by the kernel whenever it changes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netlink_sys::Socket;
use regent_model::action::Notice;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::clock::Reporter;
use crate::netlink::{self, Link};
use crate::report::Report;
use crate::sync::lock;

/// What cannot be read now is read again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// The interfaces that are watched, each with what was told of it last.
pub(super) struct Watched(Arc<Shared>);

struct Shared {
    report: Reporter,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    faults: BTreeMap<String, Option<Option<String>>>,
    /// Rings when the thread is to end; there is none without it.
    bell: Option<Arc<OwnedFd>>,
    /// Nothing is watched any more.
    over: bool,
}

impl Watched {
    pub(super) fn new(report: Reporter) -> Self {
        Self(Arc::new(Shared { report, told: Mutex::default() }))
    }

    /// Watches exactly these from now on; each is told of once, and again when it changes.
    pub(super) fn watch(&self, interfaces: &[String]) {
        let mut told = lock(&self.0.told);
        if told.over {
            return;
        }
        told.faults.retain(|name, _| interfaces.contains(name));
        for name in interfaces {
            told.faults.entry(name.clone()).or_default();
        }
        let begin = !interfaces.is_empty() && told.bell.is_none();
        if begin {
            match self.begin() {
                Ok(bell) => told.bell = Some(bell),
                Err(error) => tracing::error!(%error, "the interfaces are not watched"),
            }
        }
        drop(told);
        self.0.look();
    }

    fn begin(&self) -> std::io::Result<Arc<OwnedFd>> {
        let socket = netlink::link_changes().map_err(|e| std::io::Error::other(e.to_string()))?;
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (shared, own) = (self.0.clone(), bell.clone());
        std::thread::Builder::new()
            .name("regent-links".into())
            .spawn(move || shared.follow(&socket, own.as_fd()))?;
        Ok(bell)
    }

    pub(super) fn stop(&self) {
        let mut told = lock(&self.0.told);
        told.over = true;
        if let Some(bell) = told.bell.take() {
            let _full_means_rung = rustix::io::write(&*bell, &1_u64.to_ne_bytes());
        }
    }
}

impl Shared {
    /// Sleeps until the kernel says that something changed, and looks.
    fn follow(&self, socket: &Socket, bell: BorrowedFd<'_>) {
        loop {
            let mut fds = [PollFd::new(socket, PollFlags::IN), PollFd::from_borrowed_fd(bell, PollFlags::IN)];
            if poll(&mut fds, None).is_err() {
                continue;
            }
            if !fds[1].revents().is_empty() {
                return;
            }
            // One message tells of one change, and an error that some were lost: either way the truth is looked up.
            let mut buffer = Vec::with_capacity(8192);
            if let Err(error) = socket.recv(&mut buffer, libc::MSG_DONTWAIT)
                && error.kind() != std::io::ErrorKind::WouldBlock
                && error.raw_os_error() != Some(libc::ENOBUFS)
            {
                tracing::warn!(%error, "cannot follow the interfaces");
                std::thread::sleep(AGAIN);
            }
            self.look();
        }
    }

    /// Tells what has changed since the last look.
    fn look(&self) {
        let mut told = lock(&self.told);
        if told.faults.is_empty() {
            return;
        }
        let links = match netlink::links() {
            Ok(links) => links,
            Err(error) => return tracing::warn!(%error, "cannot look at the interfaces"),
        };
        for (interface, before) in &mut told.faults {
            let now = fault_of(links.iter().find(|l| &l.name == interface), interface);
            if before.as_ref() != Some(&now) {
                *before = Some(now.clone());
                // Under the lock, so that the order of telling is that of looking.
                (self.report)(Report::Notice(Notice::Link { interface: interface.clone(), fault: now }));
            }
        }
    }
}

fn fault_of(link: Option<&Link>, name: &str) -> Option<String> {
    match link {
        None => Some(format!("there is no interface {name}")),
        Some(link) if !link.is_up() => Some(format!("it is switched off; type: ip link set {name} up")),
        Some(link) if !link.has_carrier() => Some("it has no carrier; check the cable, or the switch".into()),
        Some(_) => None,
    }
}
