//! The command processor: starts a program for each request, data on standard input, result on standard output.

pub(crate) mod command_line;
pub(crate) mod exit_status;
pub(crate) mod guard;
pub(crate) mod interruption;
pub(crate) mod pool;
pub(crate) mod process_group;
pub(crate) mod reaper;
pub(crate) mod stderr;

use std::{future::pending, io, pin::pin, time::Duration};

use futures_util::future::{join, maybe_done};
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    command_line::CommandLine,
    exit_status::CommandStatus,
    guard::{Guard, PROGRESS_PREFIX, SIGNAL_MARK},
    interruption::is_interrupted,
    process_group::{Pipes, ProcessGroup, end_input, send_input, variables_of},
    reaper::OwnChildren,
    stderr::Stderr,
};
use crate::{
    processor::{Processor, error::ProcessError, job::Job},
    processors::output::{self, Output},
};

/// How long the end of standard output may come after the exit of a command that succeeded: what it started may still be
/// writing. Without the end, nobody knows whether the output is whole.
const STDOUT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long processes that a command leaves behind may hold its other pipes open.
const PIPES_TIMEOUT: Duration = Duration::from_millis(500);

/// Starts a command for each request. `docs/processors.md` tells what the command gets and gives.
#[derive(Debug, Clone)]
pub struct Command {
    guard: Guard,
    line: CommandLine,
    result_limit: usize,
    stopping: CancellationToken,
    children: OwnChildren,
}

impl Command {
    /// A processor that starts this command. A result of more than `result_limit` bytes fails its request.
    pub fn new(guard: Guard, line: CommandLine, result_limit: usize) -> Self {
        let (stopping, children) = (CancellationToken::new(), OwnChildren::default());
        Self { guard, line, result_limit, stopping, children }
    }

    /// Hands back requests whose commands are ended by the stop of the program, which cancels this token.
    #[must_use]
    pub fn with_stop(self, stopping: CancellationToken) -> Self {
        Self { stopping, ..self }
    }

    /// Waits for processes that commands have left behind, for as long as it is polled, if this program is the first
    /// process of a container or a subreaper. Only for programs without other children than these commands. Needs a Tokio
    /// runtime.
    ///
    /// # Errors
    /// If the operating system refuses a signal handler.
    pub fn reap_orphans(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.children.clone().reap_others()
    }
}

/// The failure of a command, unless the file that it should run is gone: an interpreter ends with some exit code then.
fn unless_file_is_missing(
    line: &CommandLine,
    status: &CommandStatus,
    failure: ProcessError,
) -> ProcessError {
    match line.missing_file() {
        Some(file) if !status.is_deliberate() && !status.is_not_started() => {
            exit_status::not_started(&format!("{} is missing", file.display()))
        }
        _ => failure,
    }
}

impl Processor for Command {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        if job.id.text().contains('\0') {
            let message = "the request's id has a NUL, which no environment variable can hold";
            return Err(ProcessError::permanent(message));
        }
        let (group, mut pipes) =
            process_group::start(&self.guard, &self.line, variables_of(&job), &self.children)
                .map_err(|error| exit_status::not_started(&error.to_string()))?;
        let mut stdout = Output::new(self.result_limit);
        let mut stderr = Stderr::new(job.id.clone());
        let ended = supervise(&group, &mut pipes, &job, &mut stdout, &mut stderr).await;
        let Ended { status, signalled, output_is_whole } = ended;
        let interrupted =
            is_interrupted(&status, signalled, &mut pipes.guard, &mut Vec::new(), &self.stopping)
                .await;
        // Also the processes that the command has left behind.
        group.kill_and_wait().await;
        if stdout.is_too_long() {
            return Err(output::too_large("the command wrote", self.result_limit));
        }
        if interrupted {
            return Err(ProcessError::interrupted());
        }
        match status.failure(&stderr.tail()) {
            Some(failure) => Err(unless_file_is_missing(&self.line, &status, failure)),
            None if !output_is_whole => Err(not_whole()),
            None => stdout.into_result(),
        }
    }
}

/// How a command ended.
struct Ended {
    status: CommandStatus,
    /// Whether its process group got a signal.
    signalled: bool,
    /// Whether its standard output was read to its end.
    output_is_whole: bool,
}

/// Feeds a command, reads what it writes, and waits until it has ended and its pipes are read.
async fn supervise(
    group: &ProcessGroup,
    pipes: &mut Pipes,
    job: &Job,
    stdout: &mut Output,
    stderr: &mut Stderr,
) -> Ended {
    let result = async {
        stdout.read(&mut pipes.stdout).await;
        if stdout.is_too_long() {
            group.kill();
        }
    };
    let mut result = pin!(maybe_done(result));
    let mut errors = pin!(maybe_done(stderr.read(&mut pipes.stderr)));
    let (status, signalled) = tokio::select! {
        ended = wait_for_status(&mut pipes.guard, job) => ended,
        never = async { join(result.as_mut(), errors.as_mut()).await; pending().await } => never,
        never = async { job.stop.cancelled().await; group.terminate(); pending().await } => never,
    };
    let limit = if status == CommandStatus::Code(0) { STDOUT_TIMEOUT } else { PIPES_TIMEOUT };
    let output_is_whole = tokio::select! {
        whole = timeout(limit, result.as_mut()) => whole.is_ok(),
        never = async { errors.as_mut().await; pending().await } => never,
    };
    if !output_is_whole || timeout(PIPES_TIMEOUT, errors.as_mut()).await.is_err() {
        group.kill();
        // A process that has left the group may hold them open for ever.
        let _read_or_late = timeout(PIPES_TIMEOUT, join(result, errors)).await;
    }
    Ended { status, signalled, output_is_whole }
}

/// Sends the guard the data, and waits until it sends how the command ended, and whether a signal has come before.
async fn wait_for_status(guard: &mut BufReader<UnixStream>, job: &Job) -> (CommandStatus, bool) {
    let data = job.input.get();
    let sent = async {
        send_input(guard, data.as_bytes()).await?;
        end_input(guard).await
    };
    // A guard that could not begin tells so, and reads nothing.
    let _sent_or_refused = sent.await;
    let mut signalled = false;
    let mut line = Vec::new();
    while let Ok(1..) = guard.read_until(b'\n', &mut line).await {
        // A command may write any bytes about its progress.
        let told = String::from_utf8_lossy(&line);
        let text = told.trim_start_matches(SIGNAL_MARK);
        signalled |= text.len() < told.len();
        match text.strip_prefix(PROGRESS_PREFIX) {
            Some(report) => _ = job.reporter.report_json(report.as_bytes()),
            None => return (CommandStatus::parse(text.trim_end()), signalled),
        }
        line.clear();
    }
    (CommandStatus::Unknown, signalled)
}

fn not_whole() -> ProcessError {
    ProcessError::transient(format!(
        "the command ended, but {} s later something that it has started still had its standard output open: whether the \
         output is whole is not known",
        STDOUT_TIMEOUT.as_secs()
    ))
}
