//! How the programs of a system are started: broker, environment, folder, log files.

use std::{ffi::OsString, path::PathBuf};

use pipeline::config::{Source, variables};
use testbed::Program;

use super::broker::Broker;

/// How many lines of a program are kept in memory. Its events are shown as they come.
const KEPT_LINES: usize = 1000;

/// What all programs of a system are started with.
pub(crate) struct Launch {
    /// The variable that names the broker, and its value.
    broker: (&'static str, String),
    /// What they get beside it.
    environment: Vec<(String, OsString)>,
    /// What `setup` alone gets beside it.
    queues: Vec<(&'static str, String)>,
    /// The folder they run in; an empty one of its own for each if there is none.
    folder: Option<PathBuf>,
    /// The folder that keeps their logs.
    pub(super) logs: Option<PathBuf>,
}

impl Launch {
    /// Programs on this broker, with nothing else of the user's.
    pub(crate) fn on(broker: &Broker) -> Self {
        let broker = broker.variable();
        Self { broker, environment: Vec::new(), queues: Vec::new(), folder: None, logs: None }
    }

    /// Programs on a broker of the user's own, whose queues have these settings: `setup` would refuse them otherwise.
    pub(crate) fn with_queues_of(self, settings: &Source) -> Self {
        let known = [&variables::QUEUE_TYPE, &variables::ACK_TIMEOUT];
        let set = known.iter().filter_map(|it| Some((it.name, settings.get(it)?.0.to_owned())));
        Self { queues: set.collect(), ..self }
    }

    /// Programs that get this environment too, run in `folder`, and whose logs are kept.
    pub(crate) fn in_folder(
        self,
        folder: PathBuf,
        environment: Vec<(String, OsString)>,
        logs: PathBuf,
    ) -> Self {
        Self { environment, folder: Some(folder), logs: Some(logs), ..self }
    }

    /// One of the project's own programs, whose log can be read by [`super::log_events`].
    pub(crate) fn program(&self, name: &str) -> Program {
        self.prepare(Program::new(name)).env("RUST_LOG", "info")
    }

    /// The program that declares the exchanges and queues.
    pub(super) fn setup(&self) -> Program {
        let queues = self.queues.iter();
        queues.fold(self.program("setup"), |setup, (name, value)| setup.env(name, value))
    }

    /// Gives a program its environment and its folder.
    pub(crate) fn prepare(&self, program: Program) -> Program {
        let program = self
            .environment
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value))
            .env(self.broker.0, &self.broker.1)
            .env("LOG_FORMAT", "json")
            .keep_lines(KEPT_LINES);
        match &self.folder {
            Some(folder) => program.current_dir(folder),
            None => program,
        }
    }
}
