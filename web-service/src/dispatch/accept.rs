//! Accepts a request: claims its idempotency key, publishes, waits for the confirm, commits the row.

use std::{sync::Arc, time::Duration};

use pipeline::{
    broker::{Confirmed, PublishError},
    contract::{Message, Request, RequestId, Timestamp},
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::dispatch::{
    Dispatch,
    submission::{AcceptError, IdempotencyKey, RejectedSubmission, Submission},
};
use store::{Claim, Claimed, NewRequest, ReleaseClaim, StoreError};

/// A claim of an idempotency key can be taken over when its call has had no answer for this long after
/// its timeout: then the call is taken to be dead.
const CLAIM_GRACE: Duration = Duration::from_secs(2);
/// How long a rejected call waits for the release of its idempotency key. Its own time may be over, and
/// a claim that is not released can be taken over a little later.
const RELEASE_TIMEOUT: Duration = Duration::from_millis(300);

/// What a submission has come to when it is time to record it.
#[derive(Debug, Clone)]
pub(crate) enum Published {
    /// The broker has the message, under this id. It is to be recorded.
    New(Uuid),
    /// Nothing was sent: the idempotency key stands for this request, which was accepted before.
    AlreadyAnswered(Uuid),
}

impl Published {
    /// The row to record for its submission, if there is one.
    pub(crate) fn row(
        &self,
        submission: &Submission<'_>,
        accepted_at: Timestamp,
    ) -> Option<NewRequest> {
        match self {
            Self::New(id) => Some(row(*id, submission, accepted_at)),
            Self::AlreadyAnswered(_) => None,
        }
    }
}

/// Publishes a request, and records it once the broker has confirmed it. Returns the request's id. From
/// then on every web service finds the request in the store, as accepted at `accepted_at`.
///
/// # Errors
/// See [`AcceptError`], which also says whether anything was sent.
pub async fn accept(
    dispatch: &Dispatch,
    submission: &Submission<'_>,
    accepted_at: Timestamp,
) -> Result<Uuid, RejectedSubmission> {
    let deadline = Instant::now() + dispatch.timeout;
    // Each on the heap: the future of a call, without theirs, is small enough for the fast path of the allocator.
    match claim(dispatch, submission).await {
        Ok(Claimed::Proceed(id)) if submission.callback.is_none() => {
            Box::pin(publish_and_record(dispatch, id, submission, accepted_at, deadline)).await
        }
        claimed => {
            Box::pin(accept_claimed(dispatch, claimed, submission, accepted_at, deadline)).await
        }
    }
}

/// Accepts a submission that has a callback, or whose claim says otherwise than to go on: publishes it if need be, and records
/// it in a step of its own.
async fn accept_claimed(
    dispatch: &Dispatch,
    claimed: Result<Claimed, RejectedSubmission>,
    submission: &Submission<'_>,
    accepted_at: Timestamp,
    deadline: Instant,
) -> Result<Uuid, RejectedSubmission> {
    let published = publish(dispatch, submission, claimed, deadline).await;
    let row = published.as_ref().ok().and_then(|published| published.row(submission, accepted_at));
    let recorded = match row {
        Some(row) => dispatch.store.accept_by(deadline, row).await,
        None => Ok(()),
    };
    finish(dispatch, submission, accepted_at, published, recorded).await
}

/// Publishes a submission. It is recorded by the thread that receives the confirm, so that the call is woken once, when
/// both is done.
async fn publish_and_record(
    dispatch: &Dispatch,
    id: Uuid,
    submission: &Submission<'_>,
    accepted_at: Timestamp,
    deadline: Instant,
) -> Result<Uuid, RejectedSubmission> {
    let (store, row) = (&dispatch.store, || row(id, submission, accepted_at));
    let (record, recorded) = store.prepare_accept(row());
    let message = Arc::new(message(id, submission));
    let published =
        dispatch.publisher.publish_then(message, deadline, Box::new(record), recorded).await;
    match published {
        Ok(Confirmed { at, followed }) => {
            let recorded = store.end_accept(at, followed, deadline, row).await;
            let published = Ok(Published::New(id));
            finish(dispatch, submission, accepted_at, published, recorded).await
        }
        Err(error) => Err(Box::pin(reject(dispatch, id, submission, error.into())).await),
    }
}

/// Step 1: claims the idempotency key. Tells under which id to publish the submission, if at all.
pub(crate) async fn claim(
    dispatch: &Dispatch,
    submission: &Submission<'_>,
) -> Result<Claimed, RejectedSubmission> {
    if let Err(unavailable) = dispatch.availability.check() {
        return Err(AcceptError::from(unavailable).reject(submission.id));
    }
    let Some(IdempotencyKey { hash, body_digest }) = submission.key.clone() else {
        return Ok(Claimed::Proceed(submission.id));
    };
    let timeout = dispatch.timeout + CLAIM_GRACE;
    let claim = Claim { key: hash, body_digest, id: submission.id, timeout };
    let claimed = Box::pin(dispatch.store.claim(claim)).await;
    claimed.map_err(|error| AcceptError::StoreAway(error.to_string()).reject(submission.id))
}

/// Step 2: publishes the submission if its claim says so, and waits for the confirm.
pub(crate) async fn publish(
    dispatch: &Dispatch,
    submission: &Submission<'_>,
    claimed: Result<Claimed, RejectedSubmission>,
    deadline: Instant,
) -> Result<Published, RejectedSubmission> {
    let id = match claimed? {
        Claimed::Proceed(id) => id,
        Claimed::Answered(id) => return Ok(Published::AlreadyAnswered(id)),
        // The call that sent it has died, or is about to record the same.
        Claimed::Record(id) => return Ok(Published::New(id)),
        Claimed::Busy => return Err(AcceptError::KeyInUse.reject(submission.id)),
        Claimed::OtherBody => return Err(AcceptError::KeyReused.reject(submission.id)),
    };
    match publish_as(dispatch, id, submission, deadline).await {
        Ok(()) => Ok(Published::New(id)),
        Err(error) => Err(reject(dispatch, id, submission, error).await),
    }
}

/// Step 3, after the row was recorded or not: the outcome of the submission.
pub(crate) async fn finish(
    dispatch: &Dispatch,
    submission: &Submission<'_>,
    accepted_at: Timestamp,
    published: Result<Published, RejectedSubmission>,
    recorded: Result<(), StoreError>,
) -> Result<Uuid, RejectedSubmission> {
    let id = match published? {
        Published::AlreadyAnswered(id) => return Ok(id),
        Published::New(id) => id,
    };
    match recorded {
        Ok(()) => {
            dispatch.metrics.accepted(&submission.request_type);
            Ok(id)
        }
        Err(error) => {
            let error = record_later(dispatch, error, row(id, submission, accepted_at));
            Err(Box::pin(reject(dispatch, id, submission, error)).await)
        }
    }
}

/// Publishes the message of a request and waits for the confirm.
async fn publish_as(
    dispatch: &Dispatch,
    id: Uuid,
    submission: &Submission<'_>,
    deadline: Instant,
) -> Result<(), AcceptError> {
    Ok(dispatch.publisher.publish(message(id, submission), deadline).await?)
}

fn message(id: Uuid, submission: &Submission<'_>) -> Message {
    let Submission { request_type, data, trace, .. } = submission;
    let message = Request::message(&RequestId::from(id), request_type, data, trace);
    match submission.expires_in {
        Some(after) => message.expiring(after),
        None => message,
    }
}

fn row(id: Uuid, submission: &Submission<'_>, accepted_at: Timestamp) -> NewRequest {
    NewRequest {
        id,
        kind: submission.request_type.to_string(),
        owner: None,
        request_data: submission.data.get().as_bytes().to_vec(),
        accepted_at,
        trace: Some(submission.trace.as_str().to_owned()),
        callback: submission.callback.clone(),
    }
}

/// Has a row recorded later that the store did not take in time.
fn record_later(dispatch: &Dispatch, error: StoreError, row: NewRequest) -> AcceptError {
    match error {
        StoreError::Unavailable(reason) => {
            dispatch.deferred.record(row);
            AcceptError::NotRecorded(reason)
        }
        StoreError::Refused(reason) => AcceptError::NotRecorded(reason),
    }
}

/// Rejects a submission that was claimed under `id`, and releases its idempotency key.
async fn reject(
    dispatch: &Dispatch,
    id: Uuid,
    submission: &Submission<'_>,
    error: AcceptError,
) -> RejectedSubmission {
    let is_taken_over = id != submission.id;
    if let (Some(key), Some(release)) = (&submission.key, release(&error, is_taken_over)) {
        let (store, hash) = (dispatch.store.clone(), key.hash);
        // As a task of its own: the release goes on when the caller has waited long enough.
        let releasing = tokio::spawn(async move { store.release_claim(hash, id, release).await });
        let _released_or_taken_over_later = timeout(RELEASE_TIMEOUT, releasing).await;
    }
    error.reject(id)
}

/// How to release the idempotency key of a rejected submission. What may have been sent keeps its id,
/// whether by this call or by the one from which the id was taken over.
fn release(error: &AcceptError, is_taken_over: bool) -> Option<ReleaseClaim> {
    match error {
        AcceptError::KeyInUse | AcceptError::KeyReused => None,
        AcceptError::NotRecorded(_) | AcceptError::Publish(PublishError::Unknown(_)) => {
            Some(ReleaseClaim::AllowTakeover)
        }
        AcceptError::StoreAway(_) | AcceptError::Publish(_) if is_taken_over => {
            Some(ReleaseClaim::AllowTakeover)
        }
        AcceptError::StoreAway(_) | AcceptError::Publish(_) => Some(ReleaseClaim::Delete),
    }
}
