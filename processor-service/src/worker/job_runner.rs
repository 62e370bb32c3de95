//! Runs jobs on a runtime of their own, and ends those that take too long or are to stop.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use pipeline::{
    config::ConfigError,
    contract::{ErrorBody, RequestId, codes},
    topology::RequestTypes,
};
use serde_json::value::RawValue;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Mutex,
    task::JoinError,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, error, warn};

use crate::{
    decisions::outcome::JobOutcome,
    processor::{Processor, conversions::of_panic, error::ProcessError, job::Job, raw},
};

/// How long a job may take to end after it was asked to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a job may take to be gone after it was dropped. Both together are shorter than the time that workers have
/// to end when the program stops.
const DROP_TIMEOUT: Duration = Duration::from_millis(500);
/// How often the runtime of the jobs gets a task to do.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);

/// Why a job is stopped early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The request was cancelled.
    Cancelled,
    /// The program is stopping.
    Interrupted,
}

/// Runs jobs on a runtime of their own: a job that blocks its thread can neither stop the clock that ends it nor delay
/// anything else. Clones share the runtime.
pub(crate) struct JobRunner<P> {
    processor: Arc<P>,
    runtime: Arc<JobRuntime>,
    job_timeout: Duration,
    stuck: CancellationToken,
    waking: Arc<Mutex<()>>,
}

type JobResult = Result<Box<RawValue>, ProcessError>;

impl<P> Clone for JobRunner<P> {
    fn clone(&self) -> Self {
        Self {
            processor: self.processor.clone(),
            runtime: self.runtime.clone(),
            job_timeout: self.job_timeout,
            stuck: self.stuck.clone(),
            waking: self.waking.clone(),
        }
    }
}

impl<P: Processor> JobRunner<P> {
    /// A runner for this many workers, with a thread for each of them and one to spare.
    ///
    /// # Errors
    /// If the operating system refuses the threads.
    pub(crate) fn new(processor: P, workers: usize, job_timeout: Duration) -> io::Result<Self> {
        Ok(Self {
            processor: Arc::new(processor),
            runtime: Arc::new(JobRuntime::with_threads(workers + 1)?),
            job_timeout,
            stuck: CancellationToken::new(),
            waking: Arc::default(),
        })
    }

    /// Cancelled when a stopped job still blocks its thread. Only the end of the process ends such a job.
    pub(crate) fn stuck(&self) -> CancellationToken {
        self.stuck.clone()
    }

    /// Why jobs can only wait at present, if they can't do more.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.processor.blocked()
    }

    /// Checks that there is a processor for each of these types.
    ///
    /// # Errors
    /// If there is none for some.
    pub(crate) fn check_types(&self, types: &RequestTypes) -> Result<(), ConfigError> {
        let Some(served) = self.processor.types() else { return Ok(()) };
        let missing = types.iter().filter(|name| !served.contains(name)).cloned();
        let Some(missing) = RequestTypes::new(missing) else { return Ok(()) };
        let has = match RequestTypes::new(served) {
            Some(served) => format!("it has processors for {served}"),
            None => "it has none at all".to_owned(),
        };
        let all = types.to_string().replace(' ', "");
        Err(ConfigError::from(format!(
            "TYPES={all}: this program has no processor for {missing}, {has}"
        )))
    }

    /// How long a job may take.
    pub(crate) fn job_timeout(&self) -> Duration {
        self.job_timeout
    }

    /// Runs a job until it ends, its time is over, or `stop` gives a reason to stop it. A panic in the job is an outcome
    /// too. Returns in time whatever the job does; dropping this drops the job.
    pub(crate) async fn run(&self, job: Job, stop: impl Future<Output = StopReason>) -> JobOutcome {
        let (id, asked_to_stop) = (job.id.clone(), job.stop.clone());
        let mut running = self.start(job);
        let reason = tokio::select! {
            // First: a job that has ended in time counts.
            biased;
            ended = &mut running => return outcome(ended),
            reason = stop => Some(reason),
            () = sleep(self.job_timeout) => None,
            never = self.keep_runtime_awake() => match never {},
        };
        asked_to_stop.cancel();
        if !has_stopped(&mut running).await {
            self.abandon(&id, reason);
        }
        match reason {
            Some(StopReason::Cancelled) => JobOutcome::Cancelled,
            Some(StopReason::Interrupted) => JobOutcome::Interrupted,
            None => timed_out(self.job_timeout),
        }
    }

    fn start(&self, job: Job) -> AbortOnDropHandle<JobResult> {
        let processor = self.processor.clone();
        let running = async move { raw::process(&*processor, job).await };
        AbortOnDropHandle::new(self.runtime.handle.spawn(running.in_current_span()))
    }

    /// Keeps other jobs going while one blocks its thread. That thread may be the one that Tokio left to wait for timers
    /// and sockets; Tokio wakes another one for that only when there is a new task.
    async fn keep_runtime_awake(&self) -> Infallible {
        let _one_job_does_it_for_all = self.waking.lock().await;
        loop {
            sleep(WAKE_INTERVAL).await;
            self.runtime.handle.spawn(async {});
        }
    }

    fn abandon(&self, id: &RequestId, reason: Option<StopReason>) {
        if reason == Some(StopReason::Interrupted) {
            warn!(requestId = %id, "the job blocks its thread; it ends with the program");
        } else {
            error!(requestId = %id, "the job blocks its thread and cannot be stopped: this process finishes its other jobs and exits");
            self.stuck.cancel();
        }
    }
}

/// Whether a job has ended: after it was asked to stop, or after it was dropped. What it returns does not count.
async fn has_stopped<T>(running: &mut AbortOnDropHandle<T>) -> bool {
    if timeout(STOP_TIMEOUT, &mut *running).await.is_ok() {
        return true;
    }
    running.abort();
    timeout(DROP_TIMEOUT, running).await.is_ok()
}

fn outcome(ended: Result<JobResult, JoinError>) -> JobOutcome {
    match ended {
        Ok(Ok(result)) => JobOutcome::Completed(result),
        Ok(Err(error)) => error.into(),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => of_panic(payload).into(),
            // The runtime is gone: the program is ending.
            Err(_) => JobOutcome::Interrupted,
        },
    }
}

fn timed_out(limit: Duration) -> JobOutcome {
    let limit = humantime::format_duration(limit);
    let message = format!("the job was not done within {limit} (JOB_TIMEOUT)");
    JobOutcome::Retry(ErrorBody::new(codes::TIMEOUT, message), None)
}

/// A runtime that may be dropped anywhere, and never waits for what runs on it.
struct JobRuntime {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl JobRuntime {
    fn with_threads(threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name("job").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for JobRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
