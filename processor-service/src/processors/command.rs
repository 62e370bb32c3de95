//! Work that a program of any language does: it is started for each request, gets the data on its standard input, and
//! writes the result to its standard output.

mod ended;
mod group;
mod guard;
mod line;
mod stderr;
mod stdout;

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
    ended::Ended,
    group::{Group, Pipes},
    stderr::Stderr,
    stdout::Stdout,
};
use crate::{Again, Job, ProcessError, Processor};

pub use self::{guard::Guard, line::CommandLine};

/// How long what a command has left behind may hold its pipes open.
const LEFT_BEHIND: Duration = Duration::from_millis(500);

/// Work that starts a command for each request. `docs/processors.md` tells what the command sees.
#[derive(Debug, Clone)]
pub struct Command {
    guard: Guard,
    line: CommandLine,
    result_limit: usize,
}

impl Command {
    /// Work that this command does; a result of more than `result_limit` bytes fails its request.
    pub fn new(guard: Guard, line: CommandLine, result_limit: usize) -> Self {
        Self { guard, line, result_limit }
    }
}

impl Processor for Command {
    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        if job.id.text().contains('\0') {
            let message = "the request's id holds a NUL, which no environment variable can hold";
            return Err(ProcessError::permanent(message));
        }
        let (group, mut pipes) = group::start(&self.guard, &self.line, &job)
            .map_err(|error| ended::not_started(&error.to_string()))?;
        let mut stdout = Stdout::new(self.result_limit);
        let mut stderr = Stderr::new(job.id.clone());
        let ended = attend(&group, &mut pipes, &job, &mut stdout, &mut stderr).await;
        // Whatever it has left behind goes with it.
        group.end().await;
        if stdout.is_too_long() {
            return Err(too_large(self.result_limit));
        }
        match ended.failure(&stderr.tail()) {
            Some(failure) => Err(failure),
            None => stdout.into_result(),
        }
    }
}

/// Sees a command through to its end.
async fn attend(
    group: &Group,
    pipes: &mut Pipes,
    job: &Job,
    stdout: &mut Stdout,
    stderr: &mut Stderr,
) -> Ended {
    let result = async {
        stdout.read(&mut pipes.stdout).await;
        if stdout.is_too_long() {
            group.kill();
        }
    };
    let mut reading = pin!(maybe_done(join(result, stderr.read(&mut pipes.stderr))));
    let ended = tokio::select! {
        ended = talk(&mut pipes.guard, job.data.get()) => ended,
        never = async { reading.as_mut().await; pending().await } => never,
        never = async { job.stop.cancelled().await; group.ask(); pending().await } => never,
    };
    if timeout(LEFT_BEHIND, reading.as_mut()).await.is_err() {
        group.kill();
        // Who has left the group may hold them open for ever.
        let _read_or_not = timeout(LEFT_BEHIND, reading.as_mut()).await;
    }
    ended
}

/// Gives the guard the data, and waits until it says how the command ended.
async fn talk(guard: &mut UnixStream, data: &str) -> Ended {
    let mut said = String::new();
    let asked = async {
        guard.write_u64(data.len() as u64).await?;
        guard.write_all(data.as_bytes()).await?;
        BufReader::new(guard).read_line(&mut said).await
    };
    match asked.await {
        Ok(_) => Ended::read(said.trim_end()),
        Err(_) => Ended::Lost,
    }
}

fn too_large(limit: usize) -> ProcessError {
    ProcessError {
        code: codes::RESULT_TOO_LARGE.to_owned(),
        message: format!("the command wrote more than {limit} bytes (RESULT_LIMIT)"),
        again: Again::Never,
    }
}
