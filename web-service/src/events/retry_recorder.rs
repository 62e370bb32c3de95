//! Retry recorder: records failed attempts that will be repeated in the store, on a best-effort basis.

use std::collections::HashSet;

use pipeline::contract::{ErrorBody, JobEvent, codes, headers, shortened};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use crate::events::{
    early_retries::{EarlyRetries, EarlyRetry},
    jobs::{
        RunningJobs,
        job::{ExecutionId, truncated, worker},
    },
    lossy_queue::{BatchReceiver, LossySender, lossy_queue},
};
use store::{ScheduledRetry, Store, StoreError};

/// The longest error code that is stored.
const MAX_CODE_BYTES: usize = 200;

/// Passes on retries.
#[derive(Debug)]
pub struct RetrySender(LossySender<ScheduledRetry>);

/// Records retries in the store.
#[derive(Debug)]
pub struct RetryRecorder(BatchReceiver<ScheduledRetry>);

/// The two ends of a queue of retries.
pub fn retry_recorder() -> (RetrySender, RetryRecorder) {
    let (sender, receiver) = lossy_queue();
    (RetrySender(sender), RetryRecorder(receiver))
}

impl RetrySender {
    /// Has a `request.retrying` event recorded, or drops it if too many wait. Returns at once.
    pub fn try_send(&self, event: &JobEvent) {
        let Some(retrying) = retrying(event) else { return };
        if let Err(error) = self.0.try_send(retrying) {
            debug!(requestId = %event.request_id, "retry not recorded: {error}");
        }
    }
}

impl RetryRecorder {
    /// Records what comes, until told to stop. An attempt can fail before its request is recorded, and while the store is
    /// away: such retries are recorded later.
    pub async fn run(mut self, store: Store, jobs: RunningJobs, stop: CancellationToken) {
        let mut early = EarlyRetries::default();
        loop {
            let retries = tokio::select! {
                came = self.0.next_batch(&stop) => match came {
                    Some(retries) => retries.into_iter().map(EarlyRetry::new).collect::<Vec<_>>(),
                    None => break,
                },
                () = early.due() => early.take_due(Instant::now()),
            };
            match record(&store, &retries).await {
                Ok(recorded) => {
                    let missing = |retry: &EarlyRetry| !recorded.contains(&retry.id());
                    early.keep(retries.into_iter().filter(missing), Instant::now());
                    jobs.followers().wake(recorded);
                }
                Err(error) => {
                    debug!(count = retries.len(), "retries not recorded: {error}");
                    early.keep(retries, Instant::now());
                }
            }
        }
    }
}

/// Records the retries of stored requests, and returns their ids. The requests are looked up first: one that is recorded
/// meanwhile counts as not stored.
async fn record(store: &Store, retries: &[EarlyRetry]) -> Result<HashSet<Uuid>, StoreError> {
    let ids: HashSet<Uuid> = retries.iter().map(EarlyRetry::id).collect();
    let stored = store.get_many(ids.into_iter().collect()).await?;
    let stored: HashSet<Uuid> = stored.into_iter().map(|request| request.id).collect();
    let of_stored = retries.iter().filter(|retry| stored.contains(&retry.id()));
    let of_stored: Vec<_> = of_stored.map(|early| early.retry.clone()).collect();
    if !of_stored.is_empty() {
        store.record_retries(of_stored).await?;
    }
    Ok(stored)
}

/// A `request.retrying` event in the store's terms; none if its id is not a UUID, so that no row can be its
/// own.
fn retrying(event: &JobEvent) -> Option<ScheduledRetry> {
    let execution = ExecutionId::of(event);
    Some(ScheduledRetry {
        id: event.request_id.uuid()?,
        run: execution.run,
        attempts: execution.attempt,
        delivery: execution.delivery,
        worker: worker(event),
        started_at: event.started_at,
        ended_at: Some(event.at),
        error: event.error.as_ref().map_or_else(unknown_error, short_error),
        next_attempt_at: event.next_attempt_at,
    })
}

fn short_error(error: &ErrorBody) -> ErrorBody {
    let code = truncated(&error.code, MAX_CODE_BYTES);
    ErrorBody::new(code, shortened(&error.message, headers::MAX_ERROR_BYTES))
}

/// The error of an attempt whose worker does not tell it.
fn unknown_error() -> ErrorBody {
    ErrorBody::new(codes::TRANSIENT, "")
}

#[cfg(test)]
mod tests {
    use pipeline::contract::{Event, Timestamp};

    use super::*;

    fn read(body: &str) -> Option<ScheduledRetry> {
        match Event::parse("request.retrying", body.as_bytes()) {
            Ok(Some(Event::Job(event))) => retrying(&event),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_fields_of_a_retry_are_read() {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let full = format!(
            r#"{{"requestId":"{id}","run":1,"attempt":2,"delivery":3,"worker":"a:1/1","at":"1970-01-01T00:00:01.000Z",
                "startedAt":"1970-01-01T00:00:00.500Z","error":{{"code":"busy","message":"later"}},
                "nextAttemptAt":"1970-01-01T00:00:01.500Z"}}"#
        );
        let at = |millis| Some(Timestamp::from_millis(millis));
        let expected = ScheduledRetry {
            id: Uuid::try_parse(id).unwrap(),
            run: 1,
            attempts: 2,
            delivery: 3,
            worker: Some("a:1/1".to_owned()),
            started_at: at(500),
            ended_at: at(1000),
            error: ErrorBody::new("busy", "later"),
            next_attempt_at: at(1500),
        };
        assert_eq!(read(&full), Some(expected));
        let sparse = format!(r#"{{"requestId":"{id}","attempt":-7,"error":{{"code":"busy"}}}}"#);
        let retrying = read(&sparse).unwrap();
        assert_eq!((retrying.run, retrying.attempts, &*retrying.error.code), (0, 1, "busy"));
        assert_eq!((retrying.worker, retrying.started_at), (None, None));
        let silent = read(&format!(r#"{{"requestId":"{id}"}}"#)).unwrap();
        assert_eq!(silent.error.code, "transient");
        assert_eq!(read(r#"{"requestId":7}"#), None);
    }
}
