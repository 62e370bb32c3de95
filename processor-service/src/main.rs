//! The program `processor-service`.

use std::process::ExitCode;

use clap::Command;
use pipeline::{config::command_line, shutdown::Shutdown, telemetry};
use processor_service::{Config, processors::Simulate};
use tracing::{error, info};

fn main() -> ExitCode {
    let command = Command::new("processor-service").about(
        "Takes requests from the queue one at a time, does the slow work, and sends the results.",
    );
    let arguments = match command_line(command, &Config::variables()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let config = match Config::read(&arguments.source) {
        Ok(config) => config,
        Err(error) => return error.exit("processor-service"),
    };
    telemetry::start(&config.logging.filter, config.logging.format);
    config.broker.log();
    match run(config) {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            error!("ended: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(config: Config) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let work = Simulate::new(config.processing_delay);
    processor_service::run(config, work, shutdown).await
}
