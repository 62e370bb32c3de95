//! The span of a job, if the trace of its request is recorded.

use pipeline::{
    contract::{RequestId, TraceParent},
    spans::{Kind, Span},
};

use crate::decisions::{incoming::IncomingRequest, outcome::JobOutcome};

/// Begins the span of a job, below what the message of its request names.
pub(super) fn begin(
    trace: &TraceParent,
    id: &RequestId,
    request: IncomingRequest<'_>,
    worker: &str,
) -> Option<Span> {
    let span = Span::child(trace, "job", Kind::Consumer)?;
    let span = span.with("messaging.system", "rabbitmq");
    let span = span.with("slowlane.request_id", id.text().to_owned());
    let span = span.with("slowlane.attempt", request.attempt()).with("slowlane.run", request.run());
    Some(span.with("slowlane.worker", worker.to_owned()))
}

/// Ends it with the outcome of the job.
pub(super) fn end(span: Option<Span>, outcome: &JobOutcome) {
    let Some(mut span) = span else { return };
    let name = match outcome {
        JobOutcome::Completed(_) => "completed",
        JobOutcome::Failed(_) => "failed",
        JobOutcome::Retry(..) => "retry",
        JobOutcome::NotStarted(_) | JobOutcome::Interrupted => "handed back",
        JobOutcome::Cancelled => "cancelled",
    };
    span.set("slowlane.outcome", name);
    match outcome {
        JobOutcome::Failed(error) | JobOutcome::Retry(error, _) => {
            span.fail(format!("{}: {}", error.code, error.message));
        }
        JobOutcome::NotStarted(reason) => span.fail(reason.clone()),
        JobOutcome::Completed(_) | JobOutcome::Interrupted | JobOutcome::Cancelled => {}
    }
}
