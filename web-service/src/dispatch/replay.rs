//! Replaying failed requests: publish the next run, confirm, commit it, and only then say so.
//!
//! A message that was published and not committed does no harm: its run ends like any other. So of two
//! who replay the same run at once both may publish, and what was not confirmed can be tried again.

use pipeline::{
    broker::PublishError,
    contract::{Message, Request, RequestId, TraceParent, headers},
};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use tracing::info;
use uuid::Uuid;

use crate::api::state::State;
use store::{Found, Origin, ParkedFilter, ParkedQuery, Replay, Status, StoreError};

/// How many parked messages of a request are looked at for its data.
const LETTERS: u32 = 10;

/// What is said of a store that has not answered when the caller has to have an answer.
const LATE: &str = "no answer in time";

/// Why a request was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such request.
    #[error("there is no such request")]
    Unknown,
    /// It was here, and its time is over.
    #[error("the request has expired")]
    Expired,
    /// It ended in another way, or has not ended.
    #[error("the request is {}", .0.as_str())]
    NotFailed(Status),
    /// Nobody knows what to work on.
    #[error("the data of the request are not known")]
    NoData,
    /// The store is away; nothing was sent.
    #[error("the store is unavailable: {0}")]
    StoreAway(String),
    /// The broker did not confirm it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The broker has it, but the store did not say that it has noted it.
    #[error("the broker has the replay, but the store did not note it: {0}")]
    NotRecorded(String),
}

/// Sends a failed request again, as its next run.
///
/// # Errors
/// See [`ReplayError`]. In all cases it may be tried again.
pub async fn replay(state: &State, id: Uuid) -> Result<(), ReplayError> {
    let deadline = Instant::now() + state.publish_timeout;
    let part = state.store_part();
    if !part.ok {
        return Err(ReplayError::StoreAway(part.detail));
    }
    let prepared = timeout_at(deadline, prepare(state, id)).await;
    let (run, message) = prepared.map_err(|_| ReplayError::StoreAway(LATE.to_owned()))??;
    let next = run + 1;
    state.publisher.publish(&message, deadline).await?;
    let noted = timeout_at(deadline, state.store.replay(id, run)).await;
    let noted = noted.map_err(|_| ReplayError::NotRecorded(LATE.to_owned()))?;
    match noted.map_err(|error| ReplayError::NotRecorded(error.to_string()))? {
        Replay::Done => {
            info!(requestId = %id, run = next, "replayed");
            // Whatever is said of the runs before is not about this one.
            state.jobs.ended([id]);
            state.waiters.wake([id]);
            Ok(())
        }
        Replay::Overtaken => Ok(()),
        Replay::NotFailed(status) => Err(ReplayError::NotFailed(status)),
        Replay::Expired => Err(ReplayError::Expired),
        Replay::Unknown => Err(ReplayError::Unknown),
    }
}

/// The run in which a request has failed, and the message of the next one.
async fn prepare(state: &State, id: Uuid) -> Result<(u32, Message), ReplayError> {
    let run = failed_run(state, id).await?;
    let next = run.checked_add(1).ok_or(ReplayError::NoData)?;
    Ok((run, message(state, id, next).await?))
}

/// The run in which a request has failed.
async fn failed_run(state: &State, id: Uuid) -> Result<u32, ReplayError> {
    match state.store.get(id).await.map_err(away)? {
        Found::Record(request) => match request.summary.status {
            Status::Failed => Ok(request.summary.run),
            status => Err(ReplayError::NotFailed(status)),
        },
        Found::Expired => Err(ReplayError::Expired),
        Found::Unknown => Err(ReplayError::Unknown),
    }
}

/// The request as it was posted, but for its run, and without the time in which it had to begin.
async fn message(state: &State, id: Uuid, run: u32) -> Result<Message, ReplayError> {
    let Origin { data, trace } = state.store.origin(id).await.map_err(away)?;
    let data = match data.and_then(json) {
        Some(data) => data,
        None => parked_data(state, id).await?.ok_or(ReplayError::NoData)?,
    };
    let trace = trace.as_deref().and_then(TraceParent::parse);
    let trace = trace.unwrap_or_else(|| TraceParent::for_request(id));
    let mut message = Request::message(&RequestId::from(id), &data, &trace);
    message.properties.headers.set(headers::RUN, i64::from(run));
    Ok(message)
}

/// What stands in the latest of a request's parked messages that is a request: where another program
/// has published it, no web service has seen its data before it failed.
async fn parked_data(state: &State, id: Uuid) -> Result<Option<Box<RawValue>>, ReplayError> {
    let letters = ParkedQuery { whose: ParkedFilter::Request(id), below: None, limit: LETTERS };
    for letter in state.store.parked(letters).await.map_err(away)? {
        let whole = state.store.parked_message(letter.number).await.map_err(away)?;
        if let Some(request) = whole.and_then(|whole| Request::parse(&whole.body).ok()) {
            return Ok(Some(request.data));
        }
    }
    Ok(None)
}

fn json(data: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(data).ok()?).ok()
}

fn away(error: StoreError) -> ReplayError {
    ReplayError::StoreAway(error.to_string())
}
