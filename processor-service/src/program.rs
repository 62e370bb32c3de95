//! The `main` of a worker program: reads the settings, builds the processor, starts the workers, and gives the exit code.

pub(crate) mod chosen;
pub(crate) mod start;

use std::{convert::Infallible, error::Error, path::Path, process::ExitCode};

use anyhow::Context;
use pipeline::{
    config::{ConfigError, Source, variables::Variable},
    open_files, program,
    shutdown::Shutdown,
    threads,
};
use tracing::warn;

use crate::{
    app,
    config::Config,
    processor::{
        Processor,
        conversions::{find_cause, into_anyhow},
    },
    processors::{choice::Choice, command::guard},
    program::start::Start,
};

/// What `--help` says of a worker program.
const ABOUT: &str =
    "Takes requests from the queue one at a time, processes them, and sends the results.";
/// The release of this library, as `--version` has it.
const SLOWLANE: &str = concat!("(Slowlane ", env!("CARGO_PKG_VERSION"), ")");

/// Runs a worker program: the whole `main` of a worker of your own.
///
/// Settings come from flags, the environment and `.env`, as those of `processor-service` do, and mean the same; only
/// `PROCESSOR` and what belongs to it is missing, since `processor` takes its place (where these are set nevertheless, the
/// log warns). `--help` lists them. SIGINT and SIGTERM drain the workers.
///
/// The exit code is 0 after a stop that was asked for, 1 if the program ended itself (see [`run`](crate::run)), and 2 for
/// bad flags or settings, after every bad one was named on standard error.
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
/// [`main_with`] is for a processor that needs settings or connections of its own. [`Program`] gives the program a name, a
/// version and a description in `--help`; without it the name is that of its file.
#[must_use]
pub fn main<P: Processor>(processor: P) -> ExitCode {
    Program::named_by_its_file().run(processor)
}

/// Runs a worker program whose processor is built at the start, by code that may read settings, wait, and fail.
///
/// It is called after the settings were read. An error ends the program with exit code 1 and the error with its causes in
/// the log; a [`ConfigError`] ends it with 2 and is written like other bad settings. A stop while it waits ends the program
/// with 0.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use processor_service::{Job, ProcessError, Processor, Start};
///
/// struct Convert {
///     rate: f64,
/// }
///
/// impl Convert {
///     async fn build(start: Start) -> anyhow::Result<Self> {
///         Ok(Self { rate: start.required_setting("RATE")? })
///     }
/// }
///
/// impl Processor for Convert {
///     type Input = f64;
///     type Output = f64;
///
///     async fn process(&self, job: Job<f64>) -> Result<f64, ProcessError> {
///         Ok(job.input * self.rate)
///     }
/// }
///
/// fn main() -> ExitCode {
///     processor_service::main_with(Convert::build)
/// }
/// ```
#[must_use]
pub fn main_with<P, E>(build: impl AsyncFnOnce(Start) -> Result<P, E>) -> ExitCode
where
    P: Processor,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    Program::named_by_its_file().run_with(build)
}

/// A worker program with its own name, version and description.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use processor_service::Program;
/// # use processor_service::{Job, ProcessError, Processor};
/// # struct AddUp;
/// # impl Processor for AddUp {
/// #     type Input = String;
/// #     type Output = String;
/// #     async fn process(&self, job: Job<String>) -> Result<String, ProcessError> {
/// #         Ok(job.input)
/// #     }
/// # }
///
/// fn main() -> ExitCode {
///     Program::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
///         .about("Adds up the lines of invoices.")
///         .run(AddUp)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    command: clap::Command,
}

impl Program {
    /// A program with this name and version, which `--help`, `--version` and errors of settings show.
    #[must_use]
    pub fn new(name: impl Into<String>, version: &str) -> Self {
        let version = format!("{version} {SLOWLANE}");
        Self { command: clap::Command::new(name.into()).version(version).about(ABOUT) }
    }

    fn named_by_its_file() -> Self {
        Self { command: clap::Command::new(own_name()).version(SLOWLANE).about(ABOUT) }
    }

    /// The program with this description, a sentence at the top of `--help`.
    #[must_use]
    pub fn about(self, about: impl Into<String>) -> Self {
        Self { command: self.command.about(about.into()) }
    }

    /// Runs the program; see [`main`].
    #[must_use]
    pub fn run<P: Processor>(self, processor: P) -> ExitCode {
        self.run_with(async |_: Start| Ok::<_, Infallible>(processor))
    }

    /// Runs the program with a processor that is built at its start; see [`main_with`].
    #[must_use]
    pub fn run_with<P, E>(self, build: impl AsyncFnOnce(Start) -> Result<P, E>) -> ExitCode
    where
        P: Processor,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        guard::serve_if_started_as_guard();
        let name = self.command.get_name().to_owned();
        program::run(self.command, |config: Config, arguments| {
            warn_about_settings_without_effect(&arguments.source);
            exit_code(run(config, arguments.source, build), &name)
        })
    }
}

/// Builds the processor, and runs its workers until they are told to stop.
fn run<P, E>(
    config: Config,
    source: Source,
    build: impl AsyncFnOnce(Start) -> Result<P, E>,
) -> anyhow::Result<()>
where
    P: Processor,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    threads::run(threads::runtime(1)?, async {
        let shutdown = Shutdown::on_signals()?;
        open_files::raise();
        let start = Start { config: config.clone(), shutdown: shutdown.clone(), source };
        let built = tokio::select! {
            biased;
            () = shutdown.drain.cancelled() => return Ok(()),
            built = build(start) => built,
        };
        let processor = built.map_err(into_anyhow).context("the processor can't be built")?;
        app::run(config, processor, shutdown).await
    })
}

/// Tells how the program ended. Bad settings of the processor are told as those of the program are.
fn exit_code(ended: anyhow::Result<()>, name: &str) -> ExitCode {
    match ended.as_ref().err().and_then(find_cause::<ConfigError>) {
        Some(bad_settings) => bad_settings.exit(name),
        None => program::exit_code(ended),
    }
}

/// Settings of the processors that come with `processor-service` are not flags of this program, but may be in the
/// environment or `.env`.
fn warn_about_settings_without_effect(source: &Source) {
    let is_set = |variable: &&&Variable| source.get(variable).is_some();
    let names: Vec<_> = Choice::VARIABLES.iter().filter(is_set).map(|set| set.name).collect();
    if !names.is_empty() {
        let names = names.join(",");
        warn!(names, "settings without effect: this program brings its own processor");
    }
}

/// The name that the program was started by.
fn own_name() -> String {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    if name.is_empty() { "worker".to_owned() } else { name.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_settings_are_found_in_any_error() {
        let bad = || ConfigError::from("PORT=...: no number".to_owned());
        let boxed: Box<dyn Error + Send + Sync> = Box::new(bad());
        for error in [
            into_anyhow(bad()),
            into_anyhow(boxed),
            into_anyhow(anyhow::Error::from(bad()).context("no connection")),
        ] {
            let error = error.context("the processor can't be built");
            assert!(find_cause::<ConfigError>(&error).is_some(), "{error:#}");
        }
    }
}
