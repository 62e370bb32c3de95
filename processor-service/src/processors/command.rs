//! The command processor: starts a program for each request, data on standard input, result on standard output.

pub(crate) mod command_line;
pub(crate) mod exit_status;
pub(crate) mod guard;
pub(crate) mod process_group;
pub(crate) mod stderr;
pub(crate) mod stdout;

use std::{future::pending, pin::pin, time::Duration};

use futures_util::future::{join, maybe_done};
use pipeline::contract::codes;
use serde_json::value::RawValue;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use self::{
    command_line::CommandLine,
    exit_status::CommandStatus,
    guard::Guard,
    process_group::{Pipes, ProcessGroup},
    stderr::Stderr,
    stdout::Stdout,
};
use crate::processor::{Processor, error::ProcessError, job::Job};

/// How long processes that a command leaves behind may hold its pipes open.
const PIPES_TIMEOUT: Duration = Duration::from_millis(500);

/// Starts a command for each request. `docs/processors.md` tells what the command gets and gives.
#[derive(Debug, Clone)]
pub struct Command {
    guard: Guard,
    line: CommandLine,
    result_limit: usize,
}

impl Command {
    /// A processor that starts this command. A result of more than `result_limit` bytes fails its request.
    pub fn new(guard: Guard, line: CommandLine, result_limit: usize) -> Self {
        Self { guard, line, result_limit }
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
        let (group, mut pipes) = process_group::start(&self.guard, &self.line, &job)
            .map_err(|error| exit_status::not_started(&error.to_string()))?;
        let mut stdout = Stdout::new(self.result_limit);
        let mut stderr = Stderr::new(job.id.clone());
        let status = supervise(&group, &mut pipes, &job, &mut stdout, &mut stderr).await;
        // Also the processes that the command has left behind.
        group.kill_and_wait().await;
        if stdout.is_too_long() {
            return Err(too_large(self.result_limit));
        }
        match status.failure(&stderr.tail()) {
            Some(failure) => Err(failure),
            None => stdout.into_result(),
        }
    }
}

/// Feeds a command, reads what it writes, and waits until it has ended and its pipes are read.
async fn supervise(
    group: &ProcessGroup,
    pipes: &mut Pipes,
    job: &Job,
    stdout: &mut Stdout,
    stderr: &mut Stderr,
) -> CommandStatus {
    let result = async {
        stdout.read(&mut pipes.stdout).await;
        if stdout.is_too_long() {
            group.kill();
        }
    };
    let mut reading = pin!(maybe_done(join(result, stderr.read(&mut pipes.stderr))));
    let status = tokio::select! {
        status = wait_for_status(&mut pipes.guard, job.input.get()) => status,
        never = async { reading.as_mut().await; pending().await } => never,
        never = async { job.stop.cancelled().await; group.terminate(); pending().await } => never,
    };
    if timeout(PIPES_TIMEOUT, reading.as_mut()).await.is_err() {
        group.kill();
        // A process that has left the group may hold them open for ever.
        let _read_or_late = timeout(PIPES_TIMEOUT, reading.as_mut()).await;
    }
    status
}

/// Sends the guard the data, and waits until it sends how the command ended.
async fn wait_for_status(guard: &mut UnixStream, data: &str) -> CommandStatus {
    let mut line = String::new();
    let received = async {
        guard.write_u64(data.len() as u64).await?;
        guard.write_all(data.as_bytes()).await?;
        BufReader::new(guard).read_line(&mut line).await
    };
    match received.await {
        Ok(_) => CommandStatus::parse(line.trim_end()),
        Err(_) => CommandStatus::Unknown,
    }
}

fn too_large(limit: usize) -> ProcessError {
    ProcessError::permanent(format!("the command wrote more than {limit} bytes (RESULT_LIMIT)"))
        .with_code(codes::RESULT_TOO_LARGE)
}
