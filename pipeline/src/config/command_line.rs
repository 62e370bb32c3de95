//! Command line: a flag for each variable, `--help` and `--version`, the same for all programs.

use std::{collections::HashMap, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    broker::address::Address,
    config::{reader::ConfigError, source::Source, variables::Variable},
    stderr,
};

/// The exit code of every program that was configured wrongly.
pub const EXIT_CONFIGURATION: u8 = 2;

/// The parsed command line, joined with the environment and `.env`.
pub struct Arguments {
    /// The values of variables, from wherever they came.
    pub source: Source,
    /// The program's own flags.
    pub matches: ArgMatches,
}

/// Reads the command line of a program: its own arguments, and a flag for each of its variables.
/// `--help` and `--version` are answered here.
///
/// # Errors
/// The code to end with, after the reason was written to standard error.
pub fn command_line(
    command: Command,
    variables: &[&'static Variable],
) -> Result<Arguments, ExitCode> {
    let name = command.get_name().to_owned();
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
    let command = command
        .version(version)
        .after_help("Flags take precedence over the environment, and the environment over the file .env in the current folder.")
        .args(variables.iter().map(|variable| argument(variable)));
    let matches = command.get_matches();
    let flags = variables
        .iter()
        .filter_map(|v| Some((v.name.to_owned(), matches.get_one::<String>(v.name)?.clone())))
        .collect::<HashMap<_, _>>();
    match Source::of_process(flags) {
        Ok(source) => Ok(Arguments { source, matches }),
        Err(problem) => Err(ConfigError::from(problem).exit(&name)),
    }
}

impl ConfigError {
    /// Says what is wrong on standard error, and gives the code to end with.
    pub fn exit(&self, program: &str) -> ExitCode {
        stderr::print(&format!("{program}: {self}"));
        ExitCode::from(EXIT_CONFIGURATION)
    }
}

fn argument(variable: &'static Variable) -> Arg {
    let shown = match variable.default {
        None => String::new(),
        // The rendering of an address leaves out its password.
        Some(url) if variable.secret && url.contains('@') => match Address::parse(url) {
            Ok(address) => format!(", default: {address}"),
            Err(_) => String::new(),
        },
        Some(default) => format!(", default: {default}"),
    };
    Arg::new(variable.name)
        .long(variable.flag())
        .value_name("VALUE")
        .action(ArgAction::Set)
        .help(format!("{} [env: {}{shown}]", variable.about, variable.name))
}
