//! A copy of the configuration in force, for people and tools that look for a file: what counts is in the log.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Writes every text that is sent to it to `path`, on a thread of its own.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn start(path: PathBuf) -> io::Result<Sender<String>> {
    let (sender, texts) = channel();
    std::thread::Builder::new().name("copy".into()).spawn(move || keep(&texts, &path))?;
    Ok(sender)
}

fn keep(texts: &Receiver<String>, path: &Path) {
    while let Ok(mut text) = texts.recv() {
        while let Ok(newer) = texts.try_recv() {
            text = newer;
        }
        if let Err(error) = write(path, &text) {
            tracing::warn!("cannot write a copy of the configuration to {}: {error}", path.display());
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let is_own = |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 == 0);
    if is_own(path) && std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let new = path.with_extension("new");
    let _left_by_a_daemon_that_ended = std::fs::remove_file(&new);
    // For root alone: passwords of fence devices stand in it.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn the_newest_text_is_in_the_file() {
        let folder = Folder::new("copy");
        let path = folder.path().join("configuration.toml");
        let (sender, texts) = channel();
        for text in ["one", "two", "three"] {
            sender.send(text.to_owned()).unwrap();
        }
        drop(sender);
        keep(&texts, &path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
