//! A new database, with before-image journals, where there is none.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use regent_model::action::Failure;

use super::{OWN_DIRECTORY, database, tool};
use crate::command::Finished;
use crate::hands::failure;
use crate::instance::Instance;

const JOURNAL: &str = "mumps.mjl";
/// It stands beside the files while they are made: with it, they hold nothing yet.
const UNFINISHED: &str = "regent.unfinished";
/// How journals are set: what a transaction wrote is on the disk when it is committed.
pub(super) const JOURNALING: &str = "-journal=enable,on,before,sync_io,epoch=30";

/// Makes the database, unless there is one; the folders for routines in any case.
///
/// # Errors
/// It could not be made, or only a part of one is there.
pub(super) fn where_there_is_none(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let directory = &instance.config.directory;
    is_nobody_elses(directory, instance.name()).map_err(Failure::because)?;
    let fail = |what: &Path, e: &io::Error| Failure::because(format!("cannot make {}: {e}", what.display()));
    for folder in [directory.clone(), directory.join("r"), directory.join("obj")] {
        if folder.is_dir() {
            continue;
        }
        std::fs::create_dir_all(&folder).map_err(|e| fail(&folder, &e))?;
        instance.give_to_user(&folder).map_err(|e| fail(&folder, &e))?;
    }
    let mark = directory.join(UNFINISHED);
    let (globals, data) = (directory.join(OWN_DIRECTORY), database(instance.config));
    if !mark.exists() {
        match (globals.exists(), data.exists()) {
            (true, _) => return Ok(()),
            (false, true) => return Err(Failure::because(half(&globals, &data))),
            (false, false) => {}
        }
    }
    File::create(&mark).and_then(|f| f.sync_all()).map_err(|e| fail(&mark, &e))?;
    sync(directory)?;
    for left in [&globals, &data, &directory.join(JOURNAL)] {
        match std::fs::remove_file(left) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail(left, &e)),
            _ => {}
        }
    }
    make(instance, until)?;
    for path in [&globals, &data, &directory.join(JOURNAL)] {
        File::open(path).and_then(|f| f.sync_all()).map_err(|e| fail(path, &e))?;
    }
    sync(directory)?;
    std::fs::remove_file(&mark).map_err(|e| fail(&mark, &e))?;
    sync(directory)
}

/// A database of another kind is left alone: nothing is made beside it.
fn is_nobody_elses(directory: &Path, name: &str) -> Result<(), String> {
    for (file, kind) in [("cache.cpf", "cache"), ("iris.cpf", "iris")] {
        let path = directory.join(file);
        if path.exists() {
            return Err(format!(
                "{} is there: {} is no GT.M instance. Nothing was made or started; type: regent instance update {name} \
                 kind={kind}, or directory=... for {name} of its own",
                path.display(),
                directory.display()
            ));
        }
    }
    Ok(())
}

fn half(globals: &Path, data: &Path) -> String {
    format!(
        "{} is there and its global directory {} is not; make that with GDE, or move the database away to begin \
         with an empty one",
        data.display(),
        globals.display()
    )
}

fn sync(folder: &Path) -> Result<(), Failure> {
    let done = File::open(folder).and_then(|f| f.sync_all());
    done.map_err(|e| Failure::because(format!("cannot make {} durable: {e}", folder.display())))
}

fn make(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let begun = Instant::now();
    let (data, journal) = (database(instance.config), instance.config.directory.join(JOURNAL));
    // Without quotes GDE takes the rest of the line for a part of the name.
    let lines = format!(
        "change -segment DEFAULT -file=\"{}\"\nchange -region DEFAULT -journal=(before,file=\"{}\")\nexit\n",
        data.display(),
        journal.display()
    );
    let done = tool(instance, "gde", "mumps", &["-run", "GDE"], Some(&lines), until)?;
    believe("the global directory could not be made", &done)?;
    let done = tool(instance, "create", "mupip", &["create"], None, until)?;
    believe("the database could not be made", &done)?;
    set_journals(instance, until)?;
    instance.step(format!("made the new database {}", data.display()), begun.elapsed(), "");
    Ok(())
}

/// Turns journals on.
pub(super) fn set_journals(instance: &Instance<'_>, until: Instant) -> Result<(), Failure> {
    let done = tool(instance, "journals", "mupip", &["set", JOURNALING, "-region", "*"], None, until)?;
    believe("its journals could not be turned on", &done)
}

/// The exit code of GT.M's tools counts, and so do their errors.
pub(super) fn believe(what: &str, done: &Finished) -> Result<(), Failure> {
    if done.ended.is_success() && !done.output.contains("-E-") && !done.output.contains("-F-") {
        return Ok(());
    }
    let said = done.output.lines().find(|l| l.contains("-E-") || l.contains("-F-")).unwrap_or_default();
    Err(failure(format!("{what}: it {}: {said}", done.ended.in_words()), done.output.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_cache_or_iris_is_no_database_is_made() {
        let folder = std::env::temp_dir().join(format!("regent-test-kind-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let empty = is_nobody_elses(&folder, "A");
        std::fs::write(folder.join("iris.cpf"), "").unwrap();
        let taken = is_nobody_elses(&folder, "A");
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(empty, Ok(()));
        let why = taken.unwrap_err();
        assert!(why.contains("iris.cpf is there") && why.contains("update A kind=iris"), "{why}");
    }
}
