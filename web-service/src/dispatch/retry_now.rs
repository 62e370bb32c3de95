//! Publishes the next attempt at a request that has not ended, because it is to begin at once, or its message is missing:
//! notes a run, publishes the attempt as that run, waits for the confirm, commits the run.
//!
//! A copy that waits in the broker can't be taken out of its queue. It is of an earlier run, so once the run is committed
//! nobody need work on it: processors are told at once, and again when one of them begins it all the same. Until the
//! commit it counts, so whatever happens in between, one copy at least is worked on. Each call has a run of its own: of
//! several at once, the latest that is committed makes the others obsolete.

use pipeline::{
    broker::PublishError,
    contract::{Message, Timestamp, headers},
    log_messages::PUBLISHED_AGAIN,
};
use store::{AwaitedAttempt, BeginRetry, Found, NoteRetry, Reissue, Status, StoreError, Summary};
use tokio::time::{Instant, timeout_at};
use tracing::info;
use uuid::Uuid;

use crate::{
    dispatch::{
        Dispatch,
        availability::Unavailable,
        known_type::UnknownType,
        request_data::{self, NoMessage},
    },
    events::{jobs::job::Job, notifier::Notifier},
};

/// The reason of a store that has not answered when the caller has to have an answer.
const STORE_TIMED_OUT: &str = "no answer in time";

/// Why an attempt was not published.
#[derive(Debug, thiserror::Error)]
pub enum RetryNowError {
    /// There is no such request.
    #[error("there is no such request")]
    Unknown,
    /// The request has expired.
    #[error("the request has expired")]
    Expired,
    /// The request does not wait for an attempt.
    #[error(transparent)]
    NotWaiting(#[from] NotWaiting),
    /// No web service has seen the input of the request.
    #[error("the data of the request are not known")]
    NoData,
    /// There is no queue for the type of the request any more.
    #[error(transparent)]
    UnknownType(#[from] UnknownType),
    /// The store is unavailable; nothing was sent.
    #[error("the store is unavailable: {0}")]
    StoreAway(String),
    /// The broker did not confirm the message.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broker confirmed the message, but the store did not confirm the new run.
    #[error("the broker has the attempt, but the store did not record it: {0}")]
    NotRecorded(String),
}

impl From<NoMessage> for RetryNowError {
    fn from(error: NoMessage) -> Self {
        match error {
            NoMessage::NoData => Self::NoData,
            NoMessage::UnknownType(unknown) => Self::UnknownType(unknown),
            NoMessage::Store(error) => away(error),
        }
    }
}

impl From<Unavailable> for RetryNowError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Store(reason) => Self::StoreAway(reason),
            Unavailable::Broker(reason) => Self::Publish(PublishError::NotSent(reason)),
        }
    }
}

/// Why a request does not wait for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotWaiting {
    /// It has ended, with this status.
    #[error("it is {}", .0.as_str())]
    Ended(Status),
    /// A worker works on it.
    #[error("it is being worked on")]
    Processing,
    /// Its next attempt is due, and begins as soon as a worker takes it; or none has failed yet.
    #[error("it waits for a worker, not for a time")]
    Due,
    /// It was looked at, and meanwhile its next attempt or run has begun.
    #[error("another attempt or run has begun meanwhile")]
    Moved,
}

/// Begins the attempt at once that a request waits for. The attempts that were made go on counting.
///
/// # Errors
/// See [`RetryNowError`]. In all cases the call may be repeated.
pub async fn retry_now(
    dispatch: &Dispatch,
    notifier: &Notifier,
    id: Uuid,
) -> Result<(), RetryNowError> {
    reissue(dispatch, notifier, id, Reissue::AtOnce).await
}

/// Publishes a request again whose message is missing, unless a worker claims it. If it waits for its next attempt, it goes
/// on waiting.
///
/// # Errors
/// See [`RetryNowError`]. In all cases the call may be repeated.
pub async fn republish(
    dispatch: &Dispatch,
    notifier: &Notifier,
    id: Uuid,
) -> Result<(), RetryNowError> {
    reissue(dispatch, notifier, id, Reissue::Missing).await
}

async fn reissue(
    dispatch: &Dispatch,
    notifier: &Notifier,
    id: Uuid,
    reissue: Reissue,
) -> Result<(), RetryNowError> {
    let deadline = Instant::now() + dispatch.timeout;
    dispatch.availability.check()?;
    let preparing = prepare(dispatch, notifier.jobs.get(id), id, reissue);
    let prepared = timeout_at(deadline, preparing).await;
    let (run, message) =
        prepared.map_err(|_| RetryNowError::StoreAway(STORE_TIMED_OUT.into()))??;
    dispatch.publisher.publish(message, deadline).await?;
    let recorded = timeout_at(deadline, dispatch.store.begin_retry(id, run, reissue)).await;
    let recorded = recorded.map_err(|_| RetryNowError::NotRecorded(STORE_TIMED_OUT.into()))?;
    match recorded.map_err(|error| RetryNowError::NotRecorded(error.to_string()))? {
        BeginRetry::Done | BeginRetry::Overtaken => {
            match reissue {
                Reissue::AtOnce => info!(requestId = %id, run, "retried now"),
                Reissue::Missing => info!(requestId = %id, run, "{PUBLISHED_AGAIN}"),
            }
            notifier.notify_retried_now(id, run);
            Ok(())
        }
        BeginRetry::Ended(status) => Err(NotWaiting::Ended(status).into()),
        BeginRetry::Expired => Err(RetryNowError::Expired),
        BeginRetry::Unknown => Err(RetryNowError::Unknown),
    }
}

/// The run of the attempt, which is noted, and its message.
async fn prepare(
    dispatch: &Dispatch,
    job: Option<Job>,
    id: Uuid,
    reissue: Reissue,
) -> Result<(u32, Message), RetryNowError> {
    let Dispatch { store, types, .. } = dispatch;
    let summary = match store.get(id).await.map_err(away)? {
        Found::Record(request) => request.summary,
        Found::Expired => return Err(RetryNowError::Expired),
        Found::Unknown => return Err(RetryNowError::Unknown),
    };
    let now = Timestamp::now();
    let awaited = awaited(&summary, job.as_ref(), now, reissue)?;
    let run = match store.note_retry(id, awaited, reissue).await.map_err(away)? {
        NoteRetry::Noted(run) => run,
        NoteRetry::NotWaiting(Status::Queued) => return Err(moved(reissue).into()),
        NoteRetry::NotWaiting(status) => return Err(NotWaiting::Ended(status).into()),
        NoteRetry::Expired => return Err(RetryNowError::Expired),
        NoteRetry::Unknown => return Err(RetryNowError::Unknown),
    };
    let attempt = i64::from(awaited.attempts) + 1;
    let mut message = request_data::message(store, types, id, run, attempt).await?;
    if reissue == Reissue::Missing
        && let Some(at) = summary.next_attempt_at.filter(|at| *at > now)
    {
        wait_until(&mut message, at, now);
    }
    Ok((run, message))
}

/// Lets the worker that receives a message send it to wait.
fn wait_until(message: &mut Message, at: Timestamp, now: Timestamp) {
    let left = at.saturating_duration_since(now);
    let headers = &mut message.properties.headers;
    headers.set(headers::NOT_BEFORE, at.to_string());
    headers.set(headers::WAIT, i64::try_from(left.as_millis()).unwrap_or(i64::MAX));
}

fn moved(reissue: Reissue) -> NotWaiting {
    match reissue {
        Reissue::AtOnce => NotWaiting::Due,
        Reissue::Missing => NotWaiting::Moved,
    }
}

/// The attempt that a request waits for: for its time, unless its message is missing.
fn awaited(
    summary: &Summary,
    job: Option<&Job>,
    now: Timestamp,
    reissue: Reissue,
) -> Result<AwaitedAttempt, NotWaiting> {
    let Summary { status, run, attempts, next_attempt_at, .. } = *summary;
    let is_later = |job: &&Job| (job.execution.run, job.execution.attempt) > (run, attempts);
    match status {
        Status::Queued if job.filter(is_later).is_some() => Err(NotWaiting::Processing),
        Status::Queued
            if reissue == Reissue::Missing || next_attempt_at.is_some_and(|at| at > now) =>
        {
            Ok(AwaitedAttempt { run, attempts })
        }
        Status::Queued => Err(NotWaiting::Due),
        status => Err(NotWaiting::Ended(status)),
    }
}

fn away(error: StoreError) -> RetryNowError {
    RetryNowError::StoreAway(error.to_string())
}

#[cfg(test)]
mod tests {
    use pipeline::topology::RequestType;

    use super::*;
    use crate::{events::jobs::job::ExecutionId, samples};

    const NOW: Timestamp = Timestamp::from_millis(1000);

    fn decided(
        status: Status,
        next: Option<i64>,
        job: Option<(u32, u32)>,
        reissue: Reissue,
    ) -> Result<AwaitedAttempt, NotWaiting> {
        let summary = Summary {
            run: 1,
            attempts: 2,
            deliveries: 1,
            next_attempt_at: next.map(Timestamp::from_millis),
            ..samples::summary(status)
        };
        let job = job.map(|(run, attempt)| Job {
            request_type: RequestType::DEFAULT,
            execution: ExecutionId { run, attempt, delivery: 1 },
            worker: None,
            started_at: None,
            progress: None,
        });
        awaited(&summary, job.as_ref(), NOW, reissue)
    }

    #[test]
    fn whatever_no_worker_claims_can_be_published_again_until_it_has_ended() {
        let decided = |status, next, job| decided(status, next, job, Reissue::Missing);
        let waits = Ok(AwaitedAttempt { run: 1, attempts: 2 });
        for next in [Some(1001), Some(1000), None] {
            assert_eq!(decided(Status::Queued, next, None), waits);
        }
        assert_eq!(decided(Status::Queued, None, Some((0, 9))), waits, "of an earlier run");
        let claimed = decided(Status::Queued, None, Some((1, 3)));
        assert_eq!(claimed, Err(NotWaiting::Processing));
        let ended = decided(Status::Completed, None, None);
        assert_eq!(ended, Err(NotWaiting::Ended(Status::Completed)));
    }

    #[test]
    fn only_a_request_that_waits_for_a_time_can_be_retried_now() {
        let decided = |status, next, job| decided(status, next, job, Reissue::AtOnce);
        let waits = Ok(AwaitedAttempt { run: 1, attempts: 2 });
        assert_eq!(decided(Status::Queued, Some(1001), None), waits);
        assert_eq!(decided(Status::Queued, Some(1001), Some((1, 2))), waits, "that one has failed");
        let later = decided(Status::Queued, Some(1001), Some((1, 3)));
        assert_eq!(later, Err(NotWaiting::Processing));
        assert_eq!(decided(Status::Queued, Some(1000), None), Err(NotWaiting::Due));
        assert_eq!(decided(Status::Queued, None, None), Err(NotWaiting::Due));
        for status in [Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(decided(status, None, None), Err(NotWaiting::Ended(status)));
        }
    }
}
