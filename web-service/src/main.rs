//! The program `web-service`.

use std::process::ExitCode;

use clap::Command;
use pipeline::{
    config::{ConfigError, command_line},
    shutdown::Shutdown,
    telemetry,
};
use tokio::runtime::Runtime;
use tracing::{error, info};
use web_service::{
    app::{self, Application},
    config::Config,
    open_files,
};

fn main() -> ExitCode {
    let command = Command::new("web-service").about(
        "Accepts requests over HTTP, hands them to the workers, and receives their results.",
    );
    let arguments = match command_line(command, &Config::variables()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let config = match Config::read(&arguments.source) {
        Ok(config) => config,
        Err(error) => return error.exit("web-service"),
    };
    telemetry::start(&config.logging.filter, config.logging.format);
    open_files::raise();
    config.broker.log();
    run(config)
}

fn run(config: Config) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!("can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(config));
    // Nobody waits for names any more that a callback has asked for: a name server may hang for long.
    runtime.shutdown_background();
    code
}

async fn serve(config: Config) -> ExitCode {
    let store = match app::open_store(&config) {
        Ok(store) => store,
        Err(problem) => return ConfigError::from(problem).exit("web-service"),
    };
    let ended = async {
        let shutdown = Shutdown::on_signals()?;
        Application::build(config, store, shutdown)?.run_until_stopped().await
    };
    match ended.await {
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
