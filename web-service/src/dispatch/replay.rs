//! Replays failed requests: notes the next run, publishes it, waits for the confirm, commits the run.
//!
//! A message that was published and not committed does no harm: its run ends like any other, also if its worker
//! does not name the run, since it is noted. So of two concurrent replays of the same run both may publish, and an
//! unconfirmed replay may be tried again.

use pipeline::{broker::PublishError, contract::Message};
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
    events::notifier::Notifier,
};
use store::{Found, Replay, Status, Store, StoreError};

/// The reason of a store that has not answered when the caller has to have an answer.
const STORE_TIMED_OUT: &str = "no answer in time";

/// Why a request was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such request.
    #[error("there is no such request")]
    Unknown,
    /// The request has expired.
    #[error("the request has expired")]
    Expired,
    /// The request has this status instead of `failed`.
    #[error("the request is {}", .0.as_str())]
    NotFailed(Status),
    /// No web service has seen the input of the request.
    #[error("the data of the request is not stored")]
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
    #[error("the broker has the replay, but the store did not record it: {0}")]
    NotRecorded(String),
}

impl From<NoMessage> for ReplayError {
    fn from(error: NoMessage) -> Self {
        match error {
            NoMessage::NoData => Self::NoData,
            NoMessage::UnknownType(unknown) => Self::UnknownType(unknown),
            NoMessage::Store(error) => away(error),
        }
    }
}

impl From<Unavailable> for ReplayError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Store(reason) => Self::StoreAway(reason),
            Unavailable::Broker(reason) => Self::Publish(PublishError::NotSent(reason)),
        }
    }
}

/// Publishes a failed request again, as its next run.
///
/// # Errors
/// See [`ReplayError`]. In all cases the call may be repeated.
pub async fn replay(dispatch: &Dispatch, notifier: &Notifier, id: Uuid) -> Result<(), ReplayError> {
    let deadline = Instant::now() + dispatch.timeout;
    dispatch.availability.check()?;
    let prepared = timeout_at(deadline, prepare(dispatch, id)).await;
    let prepared = prepared.map_err(|_| ReplayError::StoreAway(STORE_TIMED_OUT.into()))??;
    let Some((run, message)) = prepared else { return Ok(()) };
    dispatch.publisher.publish(message, deadline).await?;
    let recorded = timeout_at(deadline, dispatch.store.replay(id, run)).await;
    let recorded = recorded.map_err(|_| ReplayError::NotRecorded(STORE_TIMED_OUT.into()))?;
    if is_done(recorded.map_err(|error| ReplayError::NotRecorded(error.to_string()))?)? {
        info!(requestId = %id, run = run + 1, "replayed");
        notifier.notify_replayed(id, run);
    }
    Ok(())
}

/// The run in which a request has failed, and the message of the next run, which is noted. None if another
/// replay was first.
async fn prepare(dispatch: &Dispatch, id: Uuid) -> Result<Option<(u32, Message)>, ReplayError> {
    let Dispatch { store, types, .. } = dispatch;
    let run = failed_run(store, id).await?;
    let next = run.checked_add(1).ok_or(ReplayError::NoData)?;
    let message = request_data::message(store, types, id, next, 1).await?;
    let is_noted = is_done(store.note_replay(id, run).await.map_err(away)?)?;
    Ok(is_noted.then_some((run, message)))
}

/// Whether the store did as it was asked; not if another replay was first.
fn is_done(replay: Replay) -> Result<bool, ReplayError> {
    match replay {
        Replay::Done => Ok(true),
        Replay::Overtaken => Ok(false),
        Replay::NotFailed(status) => Err(ReplayError::NotFailed(status)),
        Replay::Expired => Err(ReplayError::Expired),
        Replay::Unknown => Err(ReplayError::Unknown),
    }
}

async fn failed_run(store: &Store, id: Uuid) -> Result<u32, ReplayError> {
    match store.get(id).await.map_err(away)? {
        Found::Record(request) => match request.summary.status {
            Status::Failed => Ok(request.summary.run),
            status => Err(ReplayError::NotFailed(status)),
        },
        Found::Expired => Err(ReplayError::Expired),
        Found::Unknown => Err(ReplayError::Unknown),
    }
}

fn away(error: StoreError) -> ReplayError {
    ReplayError::StoreAway(error.to_string())
}
