//! The data of a stored request, for its owner and for publishing it again.

use pipeline::contract::{Message, Request, RequestId, TraceParent, headers};
use serde_json::value::RawValue;
use store::{Origin, ParkedFilter, ParkedQuery, Store, StoreError};
use uuid::Uuid;

/// How many parked messages of a request are searched for its data.
const MAX_PARKED_SEARCHED: u32 = 10;

/// What is known of a request as it was submitted.
#[derive(Debug)]
pub struct Submitted {
    /// Its data; none if there is no such request, or no web service has seen its data.
    pub data: Option<Box<RawValue>>,
    /// The trace it belongs to, as a `traceparent`.
    pub trace: Option<String>,
}

/// Looks up the data of a request.
///
/// # Errors
/// If the store is unavailable.
pub async fn find(store: &Store, id: Uuid) -> Result<Submitted, StoreError> {
    let Origin { data, trace } = store.origin(id).await?;
    let data = match data.and_then(json) {
        Some(data) => Some(data),
        None => parked_data(store, id).await?,
    };
    Ok(Submitted { data, trace })
}

/// The message of a request as it was submitted, without `expiresIn`, for this attempt in this run. None if its data are
/// not known.
///
/// # Errors
/// If the store is unavailable.
pub async fn message(
    store: &Store,
    id: Uuid,
    run: u32,
    attempt: i64,
) -> Result<Option<Message>, StoreError> {
    let Submitted { data, trace } = find(store, id).await?;
    let Some(data) = data else { return Ok(None) };
    let trace = trace.as_deref().and_then(TraceParent::parse);
    let trace = trace.unwrap_or_else(|| TraceParent::for_request(id));
    let mut message = Request::message(&RequestId::from(id), &data, &trace);
    message.properties.headers.set(headers::RUN, i64::from(run));
    message.properties.headers.set(headers::ATTEMPT, attempt);
    Ok(Some(message))
}

/// The data in the latest of a request's parked messages that is a request. When another program
/// published the request, no web service has seen its data before it failed.
async fn parked_data(store: &Store, id: Uuid) -> Result<Option<Box<RawValue>>, StoreError> {
    let query = ParkedQuery {
        filter: ParkedFilter::OfRequest(id),
        below: None,
        limit: MAX_PARKED_SEARCHED,
    };
    for parked in store.list_parked(query).await? {
        let message = store.parked_message(parked.number).await?;
        if let Some(request) = message.and_then(|message| Request::parse(&message.body).ok()) {
            return Ok(Some(request.data));
        }
    }
    Ok(None)
}

fn json(data: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(data).ok()?).ok()
}
