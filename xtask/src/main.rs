//! The project's own commands: `cargo xtask demo` shows the system at work, `cargo xtask test` tests it, `cargo xtask
//! bench` measures it, `cargo xtask lint` checks what needs no test.
//!
//! They bring what they need, say what they do, and leave nothing running.

mod bench;
mod cargo;
mod demo;
mod environment;
mod fuzz;
mod lint;
mod say;
mod stop;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::stop::Stop;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a private RabbitMQ (unless AMQP_URL or CLOUDAMQP_URL names one), a web service and two processors, send requests, and show what becomes of them.
    Demo(demo::Options),
    /// Run all tests against a private RabbitMQ and a private PostgreSQL.
    Test(test::Options),
    /// Measure speed and memory against a private RabbitMQ, beside what RabbitMQ alone does in the same run.
    Bench(bench::Options),
    /// Check format, lints, documentation, and the licences and sources of dependencies.
    Lint,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(arguments.command).await.unwrap_or_else(|error| {
        say::failure(&error);
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    match command {
        Command::Demo(options) => demo::run(&options, &mut stop).await,
        Command::Test(options) => test::run(&options, &mut stop).await,
        Command::Bench(options) => bench::run(&options, &mut stop).await,
        Command::Lint => match stop.or(lint::run()).await {
            Some(ended) => ended,
            None => Ok(stop::exit_code()),
        },
    }
}
