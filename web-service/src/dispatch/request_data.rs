//! The data of a stored request, for its owner and for publishing it again.

use pipeline::{
    contract::{Message, Request, RequestId, TraceParent, headers},
    topology::{RequestType, RequestTypes},
};
use serde_json::value::RawValue;
use store::{Origin, ParkedFilter, ParkedQuery, Store, StoreError};
use uuid::Uuid;

use crate::dispatch::known_type::{UnknownType, known_type};

/// How many parked messages of a request are searched for its data.
const MAX_PARKED_SEARCHED: u32 = 10;

/// What is known of a request as it was submitted.
#[derive(Debug)]
pub struct Submitted {
    /// Its data; none if there is no such request, or no web service has seen its data.
    pub data: Option<Box<RawValue>>,
    /// The trace it belongs to, as a `traceparent`.
    pub trace: Option<String>,
    /// Its type.
    pub kind: String,
}

/// Why the message of a request can't be made.
#[derive(Debug, thiserror::Error)]
pub enum NoMessage {
    /// No web service has seen the data of the request.
    #[error("the data of the request is not stored")]
    NoData,
    /// The request is of a type for which there is no queue any more.
    #[error(transparent)]
    UnknownType(#[from] UnknownType),
    /// The store is unavailable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Looks up the data of a request.
///
/// # Errors
/// If the store is unavailable.
pub async fn find(store: &Store, id: Uuid) -> Result<Submitted, StoreError> {
    let Origin { data, trace, kind } = store.origin(id).await?;
    let (data, parked_type) = match data.and_then(json) {
        Some(data) => (Some(data), None),
        None => parked_data(store, id).await?.unzip(),
    };
    let parked_type = || parked_type.map(|it| it.to_string());
    let kind = kind.or_else(parked_type).unwrap_or_else(|| RequestType::DEFAULT.to_string());
    Ok(Submitted { data, trace, kind })
}

/// The message of a request as it was submitted, without `expiresIn`, for this attempt in this run. There are queues for
/// these types.
///
/// # Errors
/// See [`NoMessage`].
pub async fn message(
    store: &Store,
    types: &RequestTypes,
    id: Uuid,
    run: u32,
    attempt: i64,
) -> Result<Message, NoMessage> {
    let Submitted { data, trace, kind } = find(store, id).await?;
    let data = data.ok_or(NoMessage::NoData)?;
    let request_type = known_type(types, &kind)?;
    let trace = trace.as_deref().and_then(TraceParent::parse);
    let trace = trace.unwrap_or_else(|| TraceParent::for_request(id));
    let mut message = Request::message(&RequestId::from(id), &request_type, &data, &trace);
    message.properties.headers.set(headers::RUN, i64::from(run));
    message.properties.headers.set(headers::ATTEMPT, attempt);
    Ok(message)
}

/// The data and the type in the latest of a request's parked messages that is a request. When another program
/// published the request, no web service has seen its data before it failed.
async fn parked_data(
    store: &Store,
    id: Uuid,
) -> Result<Option<(Box<RawValue>, RequestType)>, StoreError> {
    let query = ParkedQuery {
        filter: ParkedFilter::OfRequest(id),
        below: None,
        limit: MAX_PARKED_SEARCHED,
    };
    for parked in store.list_parked(query).await? {
        let Some(message) = store.parked_message(parked.number).await? else { continue };
        if let Ok(request) = Request::parse(&message.body) {
            return Ok(Some((request.data, type_in(&message.headers))));
        }
    }
    Ok(None)
}

/// The type that the headers of a parked message name, which are a JSON object.
fn type_in(of_message: &str) -> RequestType {
    let of_message = serde_json::from_str::<serde_json::Value>(of_message).unwrap_or_default();
    let name = of_message.get(headers::TYPE).and_then(serde_json::Value::as_str);
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
}

fn json(data: Vec<u8>) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(data).ok()?).ok()
}
