//! The command pool: children that stay up, for work with an expensive start. Each takes a line of JSON for a job, and
//! answers with a line of JSON.

pub(crate) mod child;
pub(crate) mod lines;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::child::{Child, Reply, no_answer};
use crate::{
    processor::{Processor, error::ProcessError, job::Job},
    processors::{
        command::{
            command_line::CommandLine,
            exit_status::{self, CommandStatus},
            guard::Guard,
            reaper::OwnChildren,
            unless_file_is_missing,
        },
        output::too_large,
    },
};

/// Gives requests to children that stay up, each of which does one at a time. `docs/processors.md` tells what a child gets
/// and answers.
#[derive(Clone)]
pub struct CommandPool {
    guard: Guard,
    line: CommandLine,
    result_limit: usize,
    max_jobs: Option<u64>,
    stopping: CancellationToken,
    children: OwnChildren,
    idle: Arc<Mutex<Vec<Child>>>,
}

impl CommandPool {
    /// A pool of children that this command starts, as many as there are jobs at a time. A result of more than
    /// `result_limit` bytes fails its request.
    pub fn new(guard: Guard, line: CommandLine, result_limit: usize) -> Self {
        Self {
            guard,
            line,
            result_limit,
            max_jobs: None,
            stopping: CancellationToken::new(),
            children: OwnChildren::default(),
            idle: Arc::default(),
        }
    }

    /// Replaces each child after so many jobs.
    #[must_use]
    pub fn with_max_jobs(self, max_jobs: Option<u64>) -> Self {
        Self { max_jobs, ..self }
    }

    /// Hands back requests whose children are ended by the stop of the program, which cancels this token.
    #[must_use]
    pub fn with_stop(self, stopping: CancellationToken) -> Self {
        Self { stopping, ..self }
    }

    /// Waits for processes that children have left behind, like [`Command::reap_orphans`](super::Command::reap_orphans).
    ///
    /// # Errors
    /// If the operating system refuses a signal handler.
    pub fn reap_orphans(&self) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.children.clone().reap_others()
    }

    /// How many children wait for a job. Those that have ended are no longer kept.
    pub fn idle_children(&self) -> usize {
        let mut idle = self.idle();
        idle.retain_mut(Child::is_idle);
        idle.len()
    }

    /// A child that waits for a job, or a new one.
    fn child(&self, job: &Job) -> Result<Child, ProcessError> {
        loop {
            let idle = self.idle().pop();
            let Some(mut child) = idle else { break };
            if child.is_idle() {
                return Ok(child);
            }
            let jobs = child.jobs();
            warn!(
                jobs,
                "a child of the pool ended or wrote something while it had no job; it is replaced"
            );
        }
        self.fresh_child(job)
    }

    fn fresh_child(&self, job: &Job) -> Result<Child, ProcessError> {
        let started = Child::start(&self.guard, &self.line, &self.children, job);
        started.map_err(|error| exit_status::not_started(&error.to_string()))
    }

    /// Has a child do the job. If it had jobs before, and ends without a failure in place of an answer, it was about to end
    /// anyway, and a fresh one does the job.
    async fn work(&self, job: &Job) -> Result<(Child, Reply, bool), ProcessError> {
        let mut child = self.child(job)?;
        let (reply, signalled) = child.work(job, self.result_limit).await;
        let was_ending = child.jobs() > 1 && reply.is_end_without_failure();
        if !was_ending || signalled || job.stop.is_cancelled() || self.stopping.is_cancelled() {
            return Ok((child, reply, signalled));
        }
        let jobs = child.jobs() - 1;
        info!(requestId = %job.id, jobs, "a child of the pool ended by itself, another one does the job");
        child.kill().await;
        let mut child = self.fresh_child(job)?;
        let (reply, signalled) = child.work(job, self.result_limit).await;
        Ok((child, reply, signalled))
    }

    /// Keeps a child for further jobs, unless it has had enough of them.
    fn keep(&self, child: Child) {
        let jobs = child.jobs();
        if self.max_jobs.is_none_or(|max| jobs < max) {
            self.idle().push(child);
        } else {
            info!(jobs, "a child of the pool is replaced after COMMAND_POOL_MAX_JOBS");
            tokio::spawn(child.retire());
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Child>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for CommandPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandPool").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Processor for CommandPool {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        let (mut child, reply, signalled) = self.work(&job).await?;
        let ended_well = CommandStatus::Code(0);
        let status = if let Reply::Ended(Some(status)) = &reply { status } else { &ended_well };
        if child.is_interrupted(status, signalled, &self.stopping).await {
            child.kill().await;
            return Err(ProcessError::interrupted());
        }
        match reply {
            Reply::Answered { line, is_usable } => {
                let answer = lines::answer(&line, job.id.text());
                match is_usable && answer.is_ok() {
                    true => self.keep(child),
                    false => child.kill().await,
                }
                answer.unwrap_or_else(|no_answer| Err(ProcessError::transient(no_answer)))
            }
            Reply::TooLong => {
                child.kill().await;
                Err(too_large("the command wrote", self.result_limit))
            }
            Reply::Ended(status) => {
                let failure = no_answer(status.as_ref(), &child.errors());
                child.kill().await;
                match status {
                    Some(status) => Err(unless_file_is_missing(&self.line, &status, failure)),
                    None => Err(failure),
                }
            }
        }
    }
}
