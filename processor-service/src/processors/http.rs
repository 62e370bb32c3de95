//! The HTTP processor: a POST to an endpoint for each request, whose response is the result.

pub(crate) mod breaker;
pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod gate;
pub(crate) mod patience;
pub(crate) mod response;

use std::{sync::Arc, time::Duration};

use pipeline::contract::{ProgressReport, codes};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::{
    client::{EndpointClient, NoCertificates},
    endpoint::Endpoint,
    gate::{Gate, Probe},
    patience::{Next, after_failure},
    response::{Answer, CallFailure, FailureKind},
};
use crate::{
    processor::{Processor, error::ProcessError, job::Job},
    processors::stopping::is_stopping,
};

/// How long before its deadline a job that waits for the endpoint ends, so that its own reason is told.
const DEADLINE_RESERVE: Duration = Duration::from_millis(100);
/// A probe that has not failed for so long has reached the endpoint, however long the work may take. It may fail
/// nevertheless, as one does that a gateway gives up after 30 s.
const REACHED_AFTER: Duration = Duration::from_secs(10);

/// POSTs each request to an endpoint. `docs/processors.md` tells what the endpoint gets and gives.
#[derive(Debug, Clone)]
pub struct Http {
    client: EndpointClient,
    gate: Arc<Gate>,
    stopping: CancellationToken,
}

impl Http {
    /// A processor that calls this endpoint. A result of more than `result_limit` bytes fails its request.
    ///
    /// # Errors
    /// If the endpoint has an https URL, and this machine has no certificates to verify it with.
    pub fn new(endpoint: Endpoint, result_limit: usize) -> Result<Self, NoCertificates> {
        let gate = Arc::new(Gate::new(endpoint.clone()));
        let client = EndpointClient::new(endpoint, result_limit)?;
        Ok(Self { client, gate, stopping: CancellationToken::new() })
    }

    /// Hands back requests that wait for the endpoint when the program stops, which cancels this token.
    #[must_use]
    pub fn with_stop(self, stopping: CancellationToken) -> Self {
        Self { stopping, ..self }
    }

    async fn work(&self, job: &Job) -> Result<Box<RawValue>, ProcessError> {
        let mut failing_since = None;
        loop {
            let probe = self.wait(job).await?;
            let began = Instant::now();
            match self.call(job, probe, began).await {
                Answer::Decided(result) => {
                    self.gate.answered(began);
                    return result;
                }
                Answer::Failed(failure) => {
                    if failure.kind != FailureKind::NoConnection {
                        failing_since.get_or_insert(began);
                    }
                    self.after(job, failure, began, failing_since).await?;
                }
            }
        }
    }

    /// What follows from a failed call that began then, if the job is not to wait and try again.
    async fn after(
        &self,
        job: &Job,
        failure: CallFailure,
        began: Instant,
        failing_since: Option<Instant>,
    ) -> Result<(), ProcessError> {
        let is_no_attempt = self.gate.failed(&job.id, &failure, began);
        match self.next(job, failure.kind, failing_since) {
            Next::Wait if is_no_attempt && self.stopping.is_cancelled() => {
                Err(ProcessError::interrupted())
            }
            Next::Wait if is_no_attempt => Ok(()),
            Next::HandBack if is_no_attempt => Err(self.give_way(job, &failure)),
            _ if self.is_broken_off_by_stop(failure.kind).await => Err(ProcessError::interrupted()),
            _ => {
                self.gate.note_attempt(&job.id);
                Err(failure.error)
            }
        }
    }

    fn next(&self, job: &Job, kind: FailureKind, failing_since: Option<Instant>) -> Next {
        let failing_for = failing_since.map_or(Duration::ZERO, |since| since.elapsed());
        after_failure(kind, failing_for, self.gate.hand_backs(&job.id))
    }

    /// Whether a call has failed because the program stops, and its endpoint with it, as in a pod. An endpoint that has
    /// answered itself was there.
    async fn is_broken_off_by_stop(&self, kind: FailureKind) -> bool {
        kind != FailureKind::Answered && is_stopping(&self.stopping).await
    }

    /// Has the request go back, so that the next one tries the endpoint.
    fn give_way(&self, job: &Job, failure: &CallFailure) -> ProcessError {
        self.gate.note_hand_back(&job.id);
        let reason = &failure.error.message;
        warn!(
            reason,
            "the calls for this request fail while the endpoint is down, another one tries"
        );
        ProcessError::handed_back(reason.as_str())
    }

    /// Waits until the endpoint may be called.
    async fn wait(&self, job: &Job) -> Result<Option<Probe<'_>>, ProcessError> {
        let left = job.time_left();
        if let Some(reason) = self.gate.waiting_for() {
            let message = Some(format!("waits for the endpoint: {reason}"));
            job.reporter.report(ProgressReport { progress: None, message });
        }
        tokio::select! {
            biased;
            probe = self.gate.pass() => Ok(probe),
            () = self.stopping.cancelled() => Err(ProcessError::interrupted()),
            () = sleep(left.saturating_sub(DEADLINE_RESERVE)) => Err(self.out_of_time()),
        }
    }

    /// Calls the endpoint. If this is a probe, and it has not failed after some time, others may call, too.
    async fn call(&self, job: &Job, probe: Option<Probe<'_>>, began: Instant) -> Answer {
        let mut call = std::pin::pin!(self.client.call(job));
        if let Some(probe) = probe {
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                () = sleep(REACHED_AFTER) => self.gate.reached(began),
            }
            drop(probe);
        }
        call.await
    }

    fn out_of_time(&self) -> ProcessError {
        let reason = self.gate.reason().unwrap_or_default();
        ProcessError::transient(format!(
            "the endpoint was down until JOB_TIMEOUT was over: {reason}"
        ))
        .with_code(codes::TIMEOUT)
    }
}

impl Processor for Http {
    type Input = Box<RawValue>;
    type Output = Box<RawValue>;

    async fn process(&self, job: Job) -> Result<Box<RawValue>, ProcessError> {
        tokio::select! {
            biased;
            // What is returned then does not count; the call is aborted.
            () = job.stop.cancelled() => Err(ProcessError::interrupted()),
            result = self.work(&job) => result,
        }
    }

    fn blocked(&self) -> Option<String> {
        self.gate.reason()
    }
}
