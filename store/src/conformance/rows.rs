//! Rows for tests: requests, results and attempts with fixed times; and what is to expire.

use std::time::Duration;

use pipeline::{
    contract::{ErrorBody, Timestamp},
    topology::RequestType,
};
use uuid::Uuid;

use crate::{Applied, Expiry, NewRequest, ResultOutcome, ScheduledRetry, WorkerResult};

pub(super) fn new(id: Uuid) -> NewRequest {
    NewRequest {
        id,
        kind: "default".to_owned(),
        owner: None,
        request_data: format!("{{\"for\":\"{id}\"}}").into_bytes(),
        accepted_at: Timestamp::from_millis(1_700_000_000_000),
        trace: None,
        callback: None,
    }
}

pub(super) fn completed(id: Uuid, result: &str) -> WorkerResult {
    let outcome = ResultOutcome::Completed(result.as_bytes().into());
    WorkerResult {
        id,
        request_type: RequestType::DEFAULT,
        outcome,
        run: Some(0),
        attempt: 1,
        deliveries: 1,
        worker: Some("host:1/1".to_owned()),
        started_at: Some(Timestamp::from_millis(1_700_000_001_000)),
        finished_at: Some(Timestamp::from_millis(1_700_000_002_000)),
    }
}

pub(super) fn failed(id: Uuid, code: &str) -> WorkerResult {
    let error = ErrorBody::new(code, "it can't be done");
    WorkerResult { outcome: ResultOutcome::Failed(error), ..completed(id, "") }
}

/// An attempt that failed with this message, and was followed by another one.
pub(super) fn retried(id: Uuid, run: u32, attempts: u32, message: &str) -> ScheduledRetry {
    ScheduledRetry {
        id,
        run,
        attempts,
        delivery: 1,
        worker: Some(format!("host:{attempts}/1")),
        started_at: Some(Timestamp::from_millis(1_700_000_001_000)),
        ended_at: Some(Timestamp::from_millis(1_700_000_002_000)),
        error: ErrorBody::new("transient", message),
        next_attempt_at: Some(Timestamp::from_millis(1_700_000_003_000)),
    }
}

pub(super) fn all_first(applied: &[Applied]) -> bool {
    applied.iter().all(Applied::is_stored)
}

/// Up to 10 rows of each kind that ended before, and no tombstones.
pub(super) fn expiry(ended_before: Timestamp) -> Expiry {
    let (tombstones_before, max_time) = (Timestamp::from_millis(0), Duration::from_secs(60));
    Expiry { ended_before, tombstones_before, limit: 10, max_time }
}
