//! Runs jobs, and ends those that are to end early.

use std::{
    convert::Infallible,
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use pipeline::contract::{ErrorBody, RequestId, codes};
use serde_json::value::RawValue;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::Mutex,
    task::JoinError,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, error, warn};

use crate::{Config, Job, ProcessError, Processor, outcome::Outcome};

/// How long work that was asked to end may take to do so.
const GRACE: Duration = Duration::from_secs(1);
/// How long work that was dropped may take to be gone. With the grace it fits into what a stopping
/// program leaves to its workers.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// How often the runtime of jobs is nudged.
const NUDGE: Duration = Duration::from_millis(100);

/// Why a job is to end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Nobody wants it any more.
    Cancelled,
    /// The program is stopping.
    Interrupted,
}

/// Where jobs run: on a runtime of their own, so that work that blocks its thread can neither stop
/// the clock that ends it nor hold up anything else. Clones are the same place.
pub struct Jobs<P> {
    processor: Arc<P>,
    runtime: Arc<Own>,
    limit: Duration,
    stuck: CancellationToken,
    nudging: Arc<Mutex<()>>,
}

type Said = Result<Box<RawValue>, ProcessError>;

impl<P> Clone for Jobs<P> {
    fn clone(&self) -> Self {
        Self {
            processor: self.processor.clone(),
            runtime: self.runtime.clone(),
            limit: self.limit,
            stuck: self.stuck.clone(),
            nudging: self.nudging.clone(),
        }
    }
}

impl<P: Processor> Jobs<P> {
    /// A place for this kind of work, with a thread for each worker and one to spare.
    ///
    /// # Errors
    /// If the operating system gives no threads.
    pub fn new(processor: P, config: &Config) -> io::Result<Self> {
        Ok(Self {
            processor: Arc::new(processor),
            runtime: Arc::new(Own::with_threads(config.workers + 1)?),
            limit: config.job_timeout,
            stuck: CancellationToken::new(),
            nudging: Arc::default(),
        })
    }

    /// Cancelled when a job that should have ended still blocks its thread. It is given up, and only
    /// the end of the program gets rid of it.
    pub fn stuck(&self) -> CancellationToken {
        self.stuck.clone()
    }

    /// Until when work may go on that begins now.
    pub fn deadline(&self, now: SystemTime) -> SystemTime {
        now + self.limit
    }

    /// Runs a job until it ends, until its time is over, or until `stop` tells why it should not go on.
    /// A panic in it ends the job, not the worker. This ends in time, whatever the work does; dropping it
    /// drops the work.
    pub async fn run(&self, job: Job, stop: impl Future<Output = Stop>) -> Outcome {
        let (id, asked) = (job.id.clone(), job.stop.clone());
        let mut work = self.start(job);
        let why = tokio::select! {
            // First: what has ended in time counts.
            biased;
            ended = &mut work => return outcome(ended),
            stop = stop => Some(stop),
            () = sleep(self.limit) => None,
            never = self.nudge() => match never {},
        };
        asked.cancel();
        if !is_gone(&mut work).await {
            self.give_up(&id, why);
        }
        match why {
            Some(Stop::Cancelled) => Outcome::Cancelled,
            Some(Stop::Interrupted) => Outcome::Interrupted,
            None => too_late(self.limit),
        }
    }

    fn start(&self, job: Job) -> AbortOnDropHandle<Said> {
        let processor = self.processor.clone();
        let work = async move { processor.process(job).await }.in_current_span();
        AbortOnDropHandle::new(self.runtime.handle.spawn(work))
    }

    /// Keeps the other jobs going while one blocks its thread. That thread may be the one that
    /// heard of something last, and would look for news again after this; Tokio wakes another one for that
    /// only when there is something new to do.
    async fn nudge(&self) -> Infallible {
        let _one_does_it_for_all = self.nudging.lock().await;
        loop {
            sleep(NUDGE).await;
            self.runtime.handle.spawn(async {});
        }
    }

    fn give_up(&self, id: &RequestId, why: Option<Stop>) {
        if why == Some(Stop::Interrupted) {
            warn!(requestId = %id, "the work blocks its thread; it ends with the program");
        } else {
            error!(requestId = %id, "the work blocks its thread and can't be ended: stopping, so as to get rid of it");
            self.stuck.cancel();
        }
    }
}

/// Whether the work has ended: by itself, since it was asked to, or because it is dropped. What it
/// says by now doesn't count.
async fn is_gone<T>(work: &mut AbortOnDropHandle<T>) -> bool {
    if timeout(GRACE, &mut *work).await.is_ok() {
        return true;
    }
    work.abort();
    timeout(LAST_MOMENT, work).await.is_ok()
}

fn outcome(ended: Result<Said, JoinError>) -> Outcome {
    match ended {
        Ok(Ok(results)) => Outcome::Done(results),
        Ok(Err(error)) => error.into(),
        Err(error) if error.is_panic() => Outcome::Failed(ErrorBody::new(
            codes::PERMANENT,
            "the processor panicked; its log says where",
        )),
        // Its runtime is gone: the program is ending.
        Err(_) => Outcome::Interrupted,
    }
}

fn too_late(limit: Duration) -> Outcome {
    let limit = humantime::format_duration(limit);
    let message = format!("the work was not done within {limit} (JOB_TIMEOUT)");
    Outcome::Retry(ErrorBody::new(codes::TIMEOUT, message), None)
}

/// A runtime that may be dropped anywhere, and never waits for what runs on it.
struct Own {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Own {
    fn with_threads(threads: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name("job").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
