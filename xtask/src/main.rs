//! The project's own commands: `cargo xtask demo` shows the system at work, `dev` runs it with work of the user's own,
//! `example` shows the examples, `test` tests it, `soak` disturbs it at random, `bench` measures it, and `lint` checks what needs no test.
//!
//! They fetch what they need, print what they do, and leave no process behind.

mod api_fuzz;
mod bench;
mod cargo;
mod console;
mod demo;
mod dev;
mod environment;
mod example;
mod interrupt;
mod lint;
mod soak;
mod system;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::interrupt::Interrupt;

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
    /// Run a private RabbitMQ (unless AMQP_URL or CLOUDAMQP_URL names one), a web service and your own worker until Ctrl-C, and show what becomes of each request.
    Dev(dev::Options),
    /// Run the tests against a private RabbitMQ and a private PostgreSQL.
    Test(test::Options),
    /// Start an example of another system on the broker layer, on a private RabbitMQ, and show it at work.
    Example(example::Options),
    /// Measure speed and memory against a private RabbitMQ, beside what RabbitMQ alone does in the same run.
    Bench(bench::Options),
    /// Kill, freeze and cut off programs at random under a steady load, and check that every promise was kept.
    #[command(visible_alias = "chaos")]
    Soak(soak::Options),
    /// Check format, lints, documentation, and the licences and sources of dependencies.
    Lint,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(arguments.command).await.unwrap_or_else(|error| {
        console::error(&error);
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    let mut interrupt = Interrupt::new()?;
    match command {
        Command::Demo(options) => demo::run(&options, &mut interrupt).await,
        Command::Dev(options) => dev::run(&options, &mut interrupt).await,
        Command::Test(options) => test::run(&options, &mut interrupt).await,
        Command::Example(options) => example::run(&options, &mut interrupt).await,
        Command::Bench(options) => bench::run(&options, &mut interrupt).await,
        Command::Soak(options) => soak::run(&options, &mut interrupt).await,
        Command::Lint => match interrupt.or(lint::run()).await {
            Some(ended) => ended,
            None => Ok(interrupt::exit_code()),
        },
    }
}
