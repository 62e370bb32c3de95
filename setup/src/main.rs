//! `setup`: declares the exchanges, queues and bindings of Slowlane in a virtual host, or checks them.

mod advice;
mod config;
mod declare;
mod failure;
mod report;

use std::process::ExitCode;

use clap::{Arg, ArgAction, Command};
use pipeline::program;

use crate::{config::Config, declare::Mode, failure::Failure, report::Report};

fn main() -> ExitCode {
    program::run(command(), |config, arguments| {
        let check = arguments.matches.get_flag("check");
        run(&config, check).unwrap_or_else(|failure| failure.exit())
    })
}

const EXIT_CODES: &str = "Exit codes: 0 everything is declared; 1 --check found something missing or different; \
2 bad settings; 3 no broker answers; 4 the broker refuses the user, the password or the virtual host; 5 the user lacks the permission; \
6 something exists with other arguments, or the broker refuses this kind of queue.";

fn command() -> Command {
    Command::new("setup")
        .about("Declares the exchanges and the queues of Slowlane in the broker's virtual host. Running it again changes nothing.")
        .after_long_help(EXIT_CODES)
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Change nothing; compare, and end with 1 if anything is missing or different"),
        )
}

#[tokio::main]
async fn run(config: &Config, check: bool) -> Result<ExitCode, Failure> {
    let (mut declarer, address) = declare::connect(&config.broker.addresses).await?;
    let mut report = Report::default();
    let mode = if check { Mode::Check } else { Mode::Declare };
    let ended = declare::run(mode, &mut declarer, &address, &config.topology, &mut report).await;
    report.print();
    ended?;
    if let Some(advice) = advice::ack_timeout(declarer.version(), config.kind, config.ack_timeout) {
        println!("\n{advice}");
    }
    declarer.close().await;
    Ok(report.exit())
}
