//! The `main` of a worker program: reads the settings, starts the workers, and gives the exit code.

use std::{io, path::Path, process::ExitCode};

use anyhow::Context;
use pipeline::{
    config::{BrokerConfig, Logging, Reader, Source, Variable, variables},
    program::{self, Settings},
    shutdown::Shutdown,
};
use tokio::runtime::Runtime;
use tracing::{info, warn};

use crate::{
    app,
    config::Config,
    processor::Processor,
    processors::{
        choice::Choice,
        command::{Command, guard::Guard},
        simulate::Simulate,
    },
};

/// What `--help` says of a worker program.
const ABOUT: &str =
    "Takes requests from the queue one at a time, processes them, and sends the results.";

/// Runs a worker program: the whole `main` of a worker of your own.
///
/// Settings come from flags, the environment and `.env`, as those of `processor-service` do, and mean the same; only
/// `PROCESSOR` and what belongs to it is missing, since `processor` takes its place. `--help` lists them. SIGINT and
/// SIGTERM drain the workers.
///
/// The exit code is 0 after a stop that was asked for, 1 if the program ended itself (see [`run`](crate::run)), and 2 for
/// bad settings, after every bad one was named on standard error.
///
/// ```no_run
/// # use processor_service::{Job, ProcessError, Processor};
/// # struct Work;
/// # impl Processor for Work {
/// #     type Input = String;
/// #     type Output = String;
/// #     async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
/// #         Ok(job.input)
/// #     }
/// # }
/// fn main() -> std::process::ExitCode {
///     processor_service::main(Work)
/// }
/// ```
///
/// The program's own start, such as reading settings of its own, comes before this call. A connection that needs a Tokio
/// runtime can be made by the first job, with [`tokio::sync::OnceCell`]; or make your own runtime and call
/// [`run`](crate::run).
pub fn main<P: Processor>(processor: P) -> ExitCode {
    let command = clap::Command::new(own_name()).about(ABOUT).long_version(concat!(
        "(Slowlane ",
        env!("CARGO_PKG_VERSION"),
        ")"
    ));
    program::run(command, |config, _| program::exit_code(run(config, |_| processor)))
}

/// Runs the program `processor-service`, with the processor that `PROCESSOR` chooses.
#[doc(hidden)]
pub fn main_of_chosen_processor() -> ExitCode {
    let guard = Guard::first_in_main();
    let command = clap::Command::new("processor-service").about(ABOUT);
    program::run(command, |settings, arguments| {
        warn_about_settings(&settings, &arguments.source);
        program::exit_code(run_chosen(settings, guard))
    })
}

/// The settings of the program `processor-service`.
struct ProgramSettings {
    config: Config,
    choice: Choice,
}

impl Settings for ProgramSettings {
    fn variables() -> Vec<&'static Variable> {
        let read = [&Config::variables(), Choice::VARIABLES].concat();
        // In the order of the documentation.
        let is_read = |variable: &&Variable| read.iter().any(|read| read.name == variable.name);
        variables::ALL.iter().copied().filter(is_read).collect()
    }

    fn read(reader: &mut Reader<'_>) -> Self {
        Self { config: Settings::read(reader), choice: Choice::read(reader) }
    }

    fn broker(&self) -> &BrokerConfig {
        self.config.broker()
    }

    fn logging(&self) -> &Logging {
        self.config.logging()
    }
}

fn run_chosen(settings: ProgramSettings, guard: io::Result<Guard>) -> anyhow::Result<()> {
    let ProgramSettings { config, choice } = settings;
    match choice {
        Choice::Simulate(delay) => run(config, |_| Simulate::new(delay)),
        Choice::Command(line) => {
            info!(command = %line, "processing each request with this command");
            let guard = guard.context("the program does not find its own file")?;
            let command = Command::new(guard, line, config.result_limit);
            run(config, |shutdown| {
                let command = command.with_stop(shutdown.drain.clone());
                tokio::spawn(command.reap_orphans());
                command
            })
        }
    }
}

fn run<P: Processor>(config: Config, processor: impl FnOnce(&Shutdown) -> P) -> anyhow::Result<()> {
    Runtime::new()?.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        let processor = processor(&shutdown);
        app::run(config, processor, shutdown).await
    })
}

/// Warns about settings that are allowed but can hardly be meant.
fn warn_about_settings(settings: &ProgramSettings, source: &Source) {
    let Choice::Simulate(delay) = settings.choice else { return };
    if delay >= settings.config.job_timeout {
        warn!("every job will time out: PROCESSING_DELAY is not shorter than JOB_TIMEOUT");
    }
    if source.get(&variables::PROCESSOR_COMMAND).is_some() {
        warn!("PROCESSOR_COMMAND is not used: PROCESSOR is simulate");
    }
}

/// The name that the program was started by.
fn own_name() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    if name.is_empty() { "worker".to_owned() } else { name.into_owned() }
}
