//! Start and end of a program: command line, settings, logging, exit code.

use std::{fmt, process::ExitCode};

use clap::Command;
use tracing::{error, info, warn};
use url::Url;

use crate::{
    config::{
        BrokerConfig, Logging,
        command_line::{Arguments, command_line},
        reader::{ConfigError, Reader},
        source::Source,
        unknown_names::{UnknownNames, unknown_names},
        variables::Variable,
    },
    log_messages::{MISSPELT_SETTING, OTHER_SETTINGS},
    spans, stderr, telemetry,
};

/// The settings of a program that talks to the broker.
pub trait Settings: Sized {
    /// The variables that the program reads. Each gets a flag and stands in `--help`.
    fn variables() -> Vec<&'static Variable>;

    /// Reads the settings. The reader collects the bad values.
    fn read(reader: &mut Reader<'_>) -> Self;

    /// Which broker to use.
    fn broker(&self) -> &BrokerConfig;

    /// How to log.
    fn logging(&self) -> &Logging;

    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where spans go, if anywhere.
    fn trace_endpoint(&self) -> Option<&Url> {
        None
    }

    /// Writes the first log lines: which broker is used.
    fn log_start(&self) {
        self.broker().log();
    }

    /// Reads the settings from this source.
    ///
    /// # Errors
    /// If any value is bad; the error names every bad value.
    fn from_source(source: &Source) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(source);
        let settings = Self::read(&mut reader);
        reader.finish().map(|()| settings)
    }
}

/// Runs a program: reads its command line and its settings, starts logging, and calls `main` with both. The first log
/// lines name the broker. `--help` and `--version` end the process here.
///
/// Gives the exit code of `main`, after the last log lines were written; or that for bad settings, after they were written
/// to standard error.
pub fn run<S: Settings>(command: Command, main: impl FnOnce(S, Arguments) -> ExitCode) -> ExitCode {
    let _flush = FlushOnDrop;
    match start(command) {
        Ok((settings, arguments)) => main(settings, arguments),
        Err(code) => code,
    }
}

fn start<S: Settings>(command: Command) -> Result<(S, Arguments), ExitCode> {
    let name = command.get_name().to_owned();
    let arguments = command_line(command, &S::variables())?;
    let settings = S::from_source(&arguments.source).map_err(|error| error.exit(&name))?;
    telemetry::start(&settings.logging().filter, settings.logging().format);
    settings.log_start();
    if let Some(endpoint) = settings.trace_endpoint()
        && let Err(error) = spans::start(endpoint, &name)
    {
        error!("OTEL_EXPORTER_OTLP_ENDPOINT can't be used: {error}");
        return Err(ExitCode::from(2));
    }
    log_unknown_names(&unknown_names(&arguments.source, &S::variables()));
    Ok((settings, arguments))
}

/// Warns of names in `.env` that are most likely misspelt, and mentions the others.
fn log_unknown_names(names: &UnknownNames<'_>) {
    for (name, nearest) in &names.misspelt {
        warn!(name, did_you_mean = nearest, "{MISSPELT_SETTING}");
    }
    if !names.others.is_empty() {
        info!(names = names.others.join(","), "{OTHER_SETTINGS}");
    }
}

/// Writes the last log lines, also at the end by a panic.
struct FlushOnDrop;

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        spans::flush();
        stderr::flush();
    }
}

/// Logs how a service ended, and gives its exit code: 0 if it was told to stop, 1 if it failed.
pub fn exit_code<E: fmt::Display>(ended: Result<(), E>) -> ExitCode {
    match ended {
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
