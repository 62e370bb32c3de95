//! The program `web-service`.

use std::process::ExitCode;

use clap::Command;
use pipeline::{config::ConfigError, program, shutdown::Shutdown};
use tokio::runtime::Runtime;
use tracing::error;
use web_service::{
    app::{self, Application},
    config::Config,
    open_files,
};

fn main() -> ExitCode {
    let command = Command::new("web-service").about(
        "Accepts requests over HTTP, hands them to the workers, and receives their results.",
    );
    match program::start(command) {
        Ok((config, _)) => run(config),
        Err(code) => code,
    }
}

fn run(config: Config) -> ExitCode {
    open_files::raise();
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
    program::exit_code(ended.await)
}
