//! Completions and manual pages, made from the command line's own description.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::screen::Screen;
use crate::trouble::{Result, Trouble};

/// The completions for a shell.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(screen: &Screen, shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "regent", &mut text);
    screen.write(&String::from_utf8_lossy(&text))
}

/// One manual page for every command, in `folder`.
///
/// # Errors
/// When a page cannot be written.
pub fn pages(screen: &Screen, folder: &Path) -> Result<()> {
    let failed =
        |error: io::Error| Trouble::refused(format!("cannot write to {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut written = Vec::new();
    write(&command, folder, &mut written).map_err(failed)?;
    screen.value(&serde_json::json!({ "written": written }))?;
    let at = folder.display();
    screen.say(&format!("{} pages in {at}; try: man -l {at}/regent.1\n", written.len()))
}

fn write(command: &Command, folder: &Path, written: &mut Vec<String>) -> io::Result<()> {
    let page = Man::new(command.clone()).manual("Regent");
    page.generate_to(folder)?;
    written.push(page.get_filename());
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write(below, folder, written)?;
    }
    Ok(())
}
