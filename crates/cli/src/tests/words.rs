//! The command line itself: complete, documented, and understood.

use std::time::Duration;

use clap::{Command as Clap, CommandFactory, Parser};

use crate::args::{Cli, Command, duration};
use crate::trouble::EXIT_CODES;

fn every(command: &Clap, visit: &mut dyn FnMut(&Clap)) {
    visit(command);
    command.get_subcommands().for_each(|c| every(c, visit));
}

#[test]
fn the_description_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_every_option_says_what_it_is() {
    let mut silent = Vec::new();
    every(&Cli::command(), &mut |command| {
        if command.get_about().is_none() {
            silent.push(command.get_name().to_owned());
        }
        let mute = command.get_arguments().filter(|a| a.get_help().is_none() && a.get_id() != "help");
        silent.extend(mute.map(|a| format!("{} {}", command.get_name(), a.get_id())));
    });
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn the_examples_of_the_help_are_understood() {
    let mut seen = 0;
    every(&Cli::command(), &mut |command| {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().map(str::trim).filter(|l| l.starts_with("regent ")) {
            let line = line.split("   ").next().unwrap_or_default();
            let line = line.split(['|', '>']).next().unwrap_or_default().replace("...", "");
            let words = words(&line);
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("the help of {} has {line:?}, which is not understood: {error}", command.get_name());
            }
            seen += 1;
        }
    });
    assert!(seen > 20, "only {seen} examples were found");
}

/// Words as a shell splits them, as far as the examples go.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(at, part)| {
            if at % 2 == 1 {
                vec![part.to_owned()]
            } else {
                part.split_whitespace().map(str::to_owned).collect()
            }
        })
        .collect()
}

#[test]
fn a_lab_is_named_with_an_equals_sign_so_that_no_word_is_swallowed() {
    let cli = Cli::try_parse_from(["regent", "group", "move", "--lab", "web", "lx5"]).unwrap();
    assert_eq!(cli.global.lab.as_deref(), Some(""));
    let cli = Cli::try_parse_from(["regent", "status", "--lab=two", "--on", "lx5"]).unwrap();
    assert_eq!((cli.global.lab.as_deref(), cli.global.on.as_deref()), (Some("two"), Some("lx5")));
    assert!(matches!(cli.command, Command::Status { watch: false }));
}

#[test]
fn a_stop_needs_exactly_one_mode() {
    let parse = |words: &[&str]| Cli::try_parse_from([&["regent", "node", "stop"], words].concat());
    assert!(parse(&[]).is_err());
    assert!(parse(&["--graceful", "--forced"]).is_err());
    assert!(parse(&["lx4", "--takeover"]).is_ok());
}

#[test]
fn times_are_written_as_in_the_configuration() {
    assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
    assert_eq!(duration("800ms"), Ok(Duration::from_millis(800)));
    assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
    assert!(duration("60").is_err() && duration("-5s").is_err() && duration("soon").is_err());
}

#[test]
fn the_exit_codes_are_in_the_long_help() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains(EXIT_CODES));
}
