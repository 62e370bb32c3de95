//! The program `web-service`: reads the configuration and runs the application.

use std::process::ExitCode;

use clap::Command;
use pipeline::{open_files, program, shutdown::Shutdown, threads};
use tracing::error;
use web_service::{
    app::{self, Application},
    config::Config,
};

/// How many threads there are at least beside those of HTTP: while one reads a result or a dead letter of many megabytes,
/// others go on with what the store and the broker say.
const MIN_THREADS: usize = 2;

fn main() -> ExitCode {
    let command = Command::new("web-service").about(
        "Accepts requests over HTTP, hands them to the workers, and receives their results.",
    );
    program::run(command, |config, _| run(config))
}

fn run(config: Config) -> ExitCode {
    let runtime = match threads::runtime(MIN_THREADS) {
        Ok(runtime) => runtime,
        Err(error) => {
            error!("can't start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(config));
    // In the background: a DNS lookup of a webhook may hang for long, and can't be cancelled.
    runtime.shutdown_background();
    code
}

async fn serve(config: Config) -> ExitCode {
    let result = async {
        let shutdown = Shutdown::on_signals()?;
        // First, so that the log begins with where the service is found.
        let listener = app::listen(config.address)?;
        open_files::raise();
        config.broker.log();
        let store = app::open_store(&config)?;
        Application::build(config, listener, store, shutdown)?.run_until_stopped().await
    };
    program::exit_code(result.await)
}
