//! Command line: a flag for each variable, `--help` and `--version`, the same for all programs.

use std::{collections::HashMap, process::ExitCode};

use clap::{Arg, ArgAction, ArgMatches, Command, error::ContextValue};

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
    let matches = command.try_get_matches().unwrap_or_else(|it| without_passwords(it).exit());
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

/// The error without the arguments that it quotes, where these are URLs with a user, which may have a password.
#[must_use]
pub fn without_passwords(mut error: clap::Error) -> clap::Error {
    let may_be_secret = |value: &ContextValue| match value {
        ContextValue::String(text) => text.contains("://") && text.contains('@'),
        _ => false,
    };
    let quoting = error.context().filter(|(_, value)| may_be_secret(value));
    for kind in quoting.map(|(kind, _)| kind).collect::<Vec<_>>() {
        error.insert(kind, ContextValue::String("...".to_owned()));
    }
    error
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_is_refused_is_quoted_unless_it_may_have_a_password() {
        let command = || Command::new("a").arg(Arg::new("n").long("n").value_parser(["1"]));
        let error = |words: &[&str]| {
            let refused = command().try_get_matches_from([&["a"][..], words].concat()).unwrap_err();
            without_passwords(refused).to_string()
        };
        for words in
            [&["amqp://u:hunter2@h"][..], &["--n", "http://u:hunter2@h"], &["--m=u://:hunter2@"]]
        {
            let text = error(words);
            assert!(text.starts_with("error: ") && !text.contains("hunter2"), "{text}");
        }
        assert!(error(&["amqp://h"]).contains("amqp://h"), "{}", error(&["amqp://h"]));
    }
}
