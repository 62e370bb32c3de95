//! Accepting a request: publish, confirm, commit the row, and only then say so.

use pipeline::{
    broker::PublishError,
    contract::{Request, RequestId, TraceParent},
};
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::{
    state::{NAME, State},
    store::{NewRequest, StoreError, now},
};

/// The type of work that requests have.
const KIND: &str = "default";

/// Why a request was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The broker did not confirm it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store is away; nothing was sent.
    #[error("the store is unavailable: {0}")]
    StoreAway(String),
    /// The broker has it, but the store did not say that it has it too. Its row will be made by its
    /// result.
    #[error("the broker has the request, but the store did not record it: {0}")]
    NotRecorded(String),
}

/// Hands a request to the broker, and records it once that was confirmed. After that a look at the
/// store finds it, through every web service.
///
/// # Errors
/// See [`AcceptError`]. In all cases but [`AcceptError::NotRecorded`] and
/// [`PublishError::Unknown`] nothing was done.
pub async fn accept(
    state: &State,
    id: Uuid,
    data: &RawValue,
    trace: &TraceParent,
) -> Result<(), AcceptError> {
    let deadline = Instant::now() + state.publish_timeout;
    let store = state.store_part();
    if !store.ok {
        return Err(AcceptError::StoreAway(store.detail));
    }
    let accepted_at = now();
    let message = Request::message(NAME, &RequestId::from(id), data, trace);
    state.publisher.publish(&message, deadline).await?;
    let row = NewRequest {
        id,
        kind: KIND.to_owned(),
        owner: None,
        request_data: data.get().as_bytes().to_vec(),
        accepted_at,
        trace: Some(trace.as_str().to_owned()),
    };
    match timeout_at(deadline, state.store.accept(row)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(StoreError::Unavailable(reason) | StoreError::Refused(reason))) => {
            Err(AcceptError::NotRecorded(reason))
        }
        Err(_) => Err(AcceptError::NotRecorded("no answer in time".to_owned())),
    }
}
