//! The program `processor-service`.

use std::{io, process::ExitCode};

use anyhow::Context;
use pipeline::{
    config::{Source, variables},
    program,
    shutdown::Shutdown,
};
use processor_service::{
    Config,
    processors::{Command, Guard, Kind, Simulate},
};
use tracing::{info, warn};

fn main() -> ExitCode {
    let guard = Guard::first_in_main();
    let command = clap::Command::new("processor-service").about(
        "Takes requests from the queue one at a time, does the slow work, and sends the results.",
    );
    let (config, arguments) = match program::start::<Config>(command) {
        Ok(started) => started,
        Err(code) => return code,
    };
    doubt(&config, &arguments.source);
    program::exit_code(run(config, guard))
}

#[tokio::main]
async fn run(config: Config, guard: io::Result<Guard>) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    match config.processor.clone() {
        Kind::Simulate => {
            let work = Simulate::new(config.processing_delay);
            processor_service::run(config, work, shutdown).await
        }
        Kind::Command(line) => {
            info!(command = %line, "each request is worked on by this command");
            let guard = guard.context("the program does not find itself")?;
            let work = Command::new(guard, line, config.result_limit);
            processor_service::run(config, work, shutdown).await
        }
    }
}

/// Says what can hardly be meant, though it can be done.
fn doubt(config: &Config, source: &Source) {
    if !matches!(config.processor, Kind::Simulate) {
        return;
    }
    if config.processing_delay >= config.job_timeout {
        warn!("no work will be done in time: PROCESSING_DELAY is not shorter than JOB_TIMEOUT");
    }
    if source.get(&variables::PROCESSOR_COMMAND).is_some() {
        warn!("PROCESSOR_COMMAND is not used: PROCESSOR is simulate");
    }
}
