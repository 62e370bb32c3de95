//! `slowlane`, the command line: submits requests, waits for them, and shows them.
//!
//! In reading order: [`arguments`] says what can be typed, [`commands`] what comes of it, [`api`]
//! how the web service is asked. [`exit`] is how it all ends.

mod arguments;
mod commands;

mod api;
mod patience;

mod exit;
mod input;
mod output;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    arguments::{Arguments, Command},
    exit::{Exit, Failure},
};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Shells ask for completions as they start: a bad setting must not be in the way.
    if let Command::Completions { shell } = arguments.command {
        return exit::end(commands::completions::run(shell));
    }
    match arguments.settings() {
        Ok(settings) => exit::end(run(arguments.command, settings)),
        Err(error) => error.exit("slowlane"),
    }
}

#[tokio::main]
async fn run(command: Command, settings: arguments::Settings) -> Result<Exit, Failure> {
    commands::run(command, settings).await
}
