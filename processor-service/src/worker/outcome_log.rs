//! Outcome log: one line for each job that has ended.

use pipeline::{
    contract::RequestId,
    log_messages::{CANCELLED, FAILED, FINISHED, HANDED_BACK},
};
use tracing::{info, warn};

use crate::decisions::outcome::{JobOutcome, WorkRecord, code_of_attempt};

/// Logs how a job ended. `is_last` says whether no other attempt may follow.
pub(super) fn log_outcome(
    id: &RequestId,
    attempt: i64,
    is_last: bool,
    outcome: &JobOutcome,
    record: &WorkRecord,
) {
    let worker = record.worker.as_str();
    let took = record.finished.duration_since(record.started).unwrap_or_default();
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        JobOutcome::Completed(_) => info!(requestId = %id, worker, ms, "{FINISHED}"),
        JobOutcome::Failed(error) | JobOutcome::Retry(error, _) => {
            let code = match outcome {
                JobOutcome::Retry(..) => code_of_attempt(&error.code, is_last),
                _ => &error.code,
            };
            warn!(requestId = %id, worker, attempt, ms, code, error = error.message, "{FAILED}");
        }
        JobOutcome::Cancelled => info!(requestId = %id, worker, ms, "{CANCELLED}"),
        JobOutcome::Interrupted | JobOutcome::NotStarted(_) => {
            info!(requestId = %id, worker, ms, "{HANDED_BACK}")
        }
    }
}
