//! `slowlane`, the command line: submits requests, waits for them, and shows them.
//!
//! In reading order: [`arguments`] and [`settings`] are what a user gives, [`commands`] carries it out
//! through [`api`], [`text`] and [`output`] print it, and [`exit`] says how it ended.

mod arguments;
mod settings;

mod commands;

mod api;

mod exit;
mod output;
mod text;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use pipeline::{config, threads};
use tokio::runtime::Runtime;

use crate::{
    arguments::{Arguments, Command},
    exit::{Exit, Failure},
    settings::Settings,
};

fn main() -> ExitCode {
    let arguments =
        Arguments::try_parse().unwrap_or_else(|error| config::without_passwords(error).exit());
    // Shells ask for completions as they start, and a bad setting must not break that.
    if let Command::Completions { shell } = arguments.command {
        return exit::end(commands::completions::run(shell));
    }
    match Settings::read(&arguments) {
        Ok(settings) => exit::end(run(arguments.command, settings)),
        Err(error) => error.exit("slowlane"),
    }
}

fn run(command: Command, settings: Settings) -> Result<Exit, Failure> {
    let runtime = Runtime::new().context("can't start the runtime")?;
    threads::run(runtime, commands::run(command, settings))
}
