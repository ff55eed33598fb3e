//! A process that somebody watches: a child, or one that an earlier supervisor left.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody can tell: it was not a child.
    Unknown,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => write!(f, "an unknown end"),
        }
    }
}

/// The process. Dropping this leaves it alone.
#[derive(Debug)]
pub(crate) struct Watched {
    fd: OwnedFd,
    child: Option<Child>,
}

impl Watched {
    /// Starts a child.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let fd = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .map(|p| pidfd_open(p, PidfdFlags::empty()));
        match fd {
            Some(Ok(fd)) => Ok(Self { fd, child: Some(child) }),
            Some(Err(error)) => Err(error.into()),
            None => Err(io::Error::other("a child without a number")),
        }
    }

    /// Watches a process that is there already; `None` when it is not there any more.
    pub(crate) fn adopt(pid: i32) -> Option<Self> {
        let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        Some(Self { fd, child: None })
    }

    /// Readable when the process has ended.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<Ended> {
        if let Some(child) = &mut self.child {
            return match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(match (status.code(), status.signal()) {
                    (Some(code), _) => Ended::Code(code),
                    (None, Some(signal)) => Ended::Signal(signal),
                    (None, None) => Ended::Unknown,
                }),
                Err(_) => Some(Ended::Unknown),
            };
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&now)) {
            Ok(0) => None,
            Ok(_) => Some(Ended::Unknown),
            Err(_) => None,
        }
    }

    /// Sends it a signal; one that has ended takes none.
    pub(crate) fn signal(&self, signal: Signal) {
        let _has_ended_already = pidfd_send_signal(&self.fd, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn wait(watched: &mut Watched) -> Ended {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(ended) = watched.ended() {
                return ended;
            }
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_childs_end_is_known_and_a_strangers_is_noticed() {
        let mut child = Watched::start(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(wait(&mut child), Ended::Code(7));
        let mut child = Watched::start(Command::new("sleep").arg("60")).unwrap();
        let pid = i32::try_from(child.child.as_ref().unwrap().id()).unwrap();
        let mut adopted = Watched::adopt(pid).unwrap();
        assert_eq!((child.ended(), adopted.ended()), (None, None));
        adopted.signal(Signal::KILL);
        assert_eq!(wait(&mut child), Ended::Signal(9));
        assert_eq!(wait(&mut adopted), Ended::Unknown);
        assert!(Watched::adopt(pid).is_none());
    }
}
