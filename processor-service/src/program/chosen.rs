//! The program `processor-service`: a worker program whose processor `PROCESSOR` chooses.

use std::{io, process::ExitCode};

use anyhow::Context;
use pipeline::{
    config::{BrokerConfig, Logging, Reader, Source, Variable, variables},
    open_files,
    program::{self, Settings},
    shutdown::Shutdown,
    threads,
};
use tracing::{info, warn};

use crate::{
    app,
    config::Config,
    processor::Processor,
    processors::{
        choice::Choice,
        command::{Command, guard::Guard, pool::CommandPool},
        http::Http,
        simulate::Simulate,
    },
    program::ABOUT,
};

/// Runs the program `processor-service`, with the processor that `PROCESSOR` chooses.
#[doc(hidden)]
#[must_use]
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

    fn trace_endpoint(&self) -> Option<&url::Url> {
        self.config.trace_endpoint()
    }
}

fn run_chosen(settings: ProgramSettings, guard: io::Result<Guard>) -> anyhow::Result<()> {
    let ProgramSettings { config, choice } = settings;
    match choice {
        Choice::Simulate(delay) => run(config, |_| Simulate::new(delay)),
        Choice::Http(endpoint) => {
            info!(%endpoint, "processing each request with a POST to this endpoint");
            let http = Http::new(endpoint, config.result_limit)?;
            run(config, |shutdown| http.with_stop(shutdown.drain.clone()))
        }
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
        Choice::Pool(line, max_jobs) => {
            info!(command = %line, "processing requests with children that this command starts");
            let guard = guard.context("the program does not find its own file")?;
            let pool = CommandPool::new(guard, line, config.result_limit).with_max_jobs(max_jobs);
            run(config, |shutdown| {
                let pool = pool.with_stop(shutdown.drain.clone());
                tokio::spawn(pool.reap_orphans());
                pool
            })
        }
    }
}

fn run<P: Processor>(config: Config, processor: impl FnOnce(&Shutdown) -> P) -> anyhow::Result<()> {
    threads::run(threads::runtime(1)?, async {
        let shutdown = Shutdown::on_signals()?;
        open_files::raise();
        let processor = processor(&shutdown);
        app::run(config, processor, shutdown).await
    })
}

/// Warns about settings that are allowed but can hardly be meant.
fn warn_about_settings(settings: &ProgramSettings, source: &Source) {
    if let Choice::Simulate(delay) = settings.choice
        && delay >= settings.config.job_timeout
    {
        warn!("every job will time out: PROCESSING_DELAY is not shorter than JOB_TIMEOUT");
    }
    let chosen = settings.choice.name();
    for (variable, kind) in
        [(&variables::PROCESSOR_URL, "http"), (&variables::PROCESSOR_COMMAND, "command")]
    {
        if kind != chosen && source.get(variable).is_some() {
            warn!("{} is not used: PROCESSOR is {chosen}", variable.name);
        }
    }
}
