//! Evidence before recovery: what can be seen of an application that failed, gathered within a budget of time and kept
//! on the node.
//!
//! Looking at a process may hang in the kernel as the process itself does, and so may the disk that evidence is kept
//! on: both are done on threads of their own, which are waited for no longer than the budget. What was seen by then is
//! kept. What is least likely to hang is looked at first.

mod gather;
mod look;
mod processes;
mod shelf;
mod sockets;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regent_model::evidence::EvidenceHead;

use crate::cgroup::Folder;
use crate::sync::{lock, wait_until};

pub(crate) use gather::{Gathering, is_worth_while};
pub use shelf::{FOLDER, list, show};

/// One piece of evidence is not longer than this, in bytes.
const TEXT_MAX: usize = 1 << 20;
/// One section is not longer than this, in bytes.
const SECTION_MAX: usize = 128 << 10;
/// Threads that hang in the kernel while they look at something: with so many, no more are begun.
const LOOKERS_MAX: usize = 4;

static LOOKERS: AtomicUsize = AtomicUsize::new(0);

/// What is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The control groups of what failed.
    pub(crate) cgroups: Vec<PathBuf>,
    /// The folder with the output of its commands.
    pub(crate) output: PathBuf,
    /// What its commands ended with last.
    pub(crate) answers: Vec<String>,
}

/// What was seen so far.
#[derive(Default)]
struct Draft {
    text: String,
    /// The section at work.
    section: String,
    done: bool,
}

/// A look that goes on beside whoever began it.
pub(crate) struct Look(Arc<(Mutex<Draft>, Condvar)>);

impl Look {
    /// Begins to look.
    pub(crate) fn begin(subject: Subject) -> Self {
        let draft = Arc::new((Mutex::new(Draft::default()), Condvar::new()));
        let own = Self(draft.clone());
        let busy = LOOKERS.fetch_add(1, Ordering::Relaxed) >= LOOKERS_MAX;
        let work = move || {
            look::all(&subject, &mut Sections(&draft));
            finish(&draft, "");
            LOOKERS.fetch_sub(1, Ordering::Relaxed);
        };
        let begun = if busy {
            Err(format!("{LOOKERS_MAX} looks before this one still hang in the kernel"))
        } else {
            let thread = std::thread::Builder::new().name("regent-look".into()).spawn(work);
            thread.map(drop).map_err(|e| format!("cannot make a thread: {e}"))
        };
        if let Err(why) = begun {
            LOOKERS.fetch_sub(1, Ordering::Relaxed);
            finish(&own.0, &format!("nothing could be looked at: {why}\n"));
        }
        own
    }

    /// What was seen by `until` at the latest, and whether that is everything.
    pub(crate) fn seen(&self, until: Instant) -> (String, bool) {
        let (draft, changed) = &*self.0;
        let mut draft = lock(draft);
        while !draft.done && Instant::now() < until {
            draft = wait_until(changed, draft, Some(until));
        }
        let mut text = draft.text.clone();
        if !draft.done {
            let _ = writeln!(text, "\n(looking at \"{}\" did not end in its time)", draft.section);
        }
        (text, draft.done)
    }
}

fn finish(draft: &(Mutex<Draft>, Condvar), words: &str) {
    let mut text = lock(&draft.0);
    text.text.push_str(words);
    text.done = true;
    draft.1.notify_all();
}

/// Where sections are written to.
struct Sections<'a>(&'a (Mutex<Draft>, Condvar));

impl Sections<'_> {
    /// Names a section, makes it, and adds it.
    fn add(&mut self, name: &str, make: impl FnOnce() -> String) {
        lock(&self.0.0).section = name.to_owned();
        let text = make();
        if !text.trim().is_empty() {
            let text = shortened(text.trim_end(), SECTION_MAX);
            let _ = writeln!(lock(&self.0.0).text, "{}{text}", headline(name));
        }
    }
}

/// The processes of these control groups.
fn processes_of(cgroups: &[PathBuf]) -> Vec<i32> {
    let folders = cgroups.iter().filter_map(|path| Folder::open(path).ok().flatten());
    folders.flat_map(|folder| folder.all_processes()).collect()
}

/// The line above a section.
pub(crate) fn headline(name: &str) -> String {
    format!("\n=== {name}\n")
}

/// At most so many bytes of the text's beginning.
fn shortened(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}\n(cut: {} bytes more)", &text[..end], text.len() - end)
}

/// Keeps a piece of evidence in `folder`, and gives it with its number. Waits until `until` at the latest.
///
/// # Errors
/// It is not kept, or not yet; why.
pub(crate) fn keep(
    folder: PathBuf,
    head: EvidenceHead,
    text: &str,
    until: Instant,
) -> Result<EvidenceHead, String> {
    let text = shortened(text, TEXT_MAX);
    let (tell, told) = sync_channel(1);
    let work = move || {
        let _nobody_waits_any_more = tell.send(shelf::keep(&folder, head, &text));
    };
    let thread = std::thread::Builder::new().name("regent-keep".into()).spawn(work);
    thread.map_err(|e| format!("cannot make a thread: {e}"))?;
    told.recv_timeout(until.saturating_duration_since(Instant::now()))
        .unwrap_or_else(|_| Err("its disk takes too long".to_owned()))
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_letters_and_says_so() {
        assert_eq!(shortened("short", 10), "short");
        let cut = shortened("äöü", 3);
        assert!(cut.starts_with("ä\n(cut: 4 bytes"), "{cut}");
    }

    #[test]
    fn what_was_seen_by_then_is_given_though_the_look_hangs() {
        let look = Look(Arc::new((Mutex::new(Draft::default()), Condvar::new())));
        let mut sections = Sections(&look.0);
        sections.add("first", || "seen".into());
        lock(&look.0.0).section = "second".into();
        let begun = Instant::now();
        let (text, complete) = look.seen(begun + Duration::from_millis(30));
        assert!(!complete && begun.elapsed() >= Duration::from_millis(30));
        assert!(text.contains("=== first\nseen") && text.contains("\"second\" did not end"), "{text}");
    }
}
