//! The messages: what a request, a result and a failed request look like on the wire.
//!
//! Bodies are UTF-8 JSON. Payloads (`requestData`, `processingResults`) are carried as raw text
//! and never re-written, so that numbers, key order and unicode survive. Any AMQP 0-9-1 program
//! that keeps to these shapes can be a producer or a worker; unknown fields and headers are
//! ignored, and no property or header has to be there.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

mod control;
mod events;
pub mod headers;
mod id;
mod message;
mod request;
mod result;
mod timestamp;
mod trace;

pub use control::Control;
pub use events::{Event, FinalStatus, Finished, FinishedRequest, JobEvent, JobEventName};
pub use id::{MAX_ID_BYTES, RequestId};
pub use message::{HeaderValue, Headers, Message, Properties};
pub use request::Request;
pub use result::{ErrorBody, Outcome, ResultMessage};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use trace::TraceParent;

/// Reads a field that is there as raw text, also when it is `null`: a plain `Option` would take
/// that for absence.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(field).map(Some)
}

/// Reads a JSON object. Serde alone would take an array for one, by position.
fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    match body.trim_ascii_start().first() {
        None => Err("it is empty".to_owned()),
        Some(b'{') => serde_json::from_slice(body).map_err(|error| error.to_string()),
        Some(_) => Err("it is not a JSON object".to_owned()),
    }
}

/// A message body that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What is wrong, as a sentence for the operator.
    pub reason: String,
    /// The id, where it could be read all the same, so that its owner can be told.
    pub id: Option<RequestId>,
}

impl Malformed {
    /// A body of which not even the id could be read, or that has none.
    fn new(reason: String) -> Self {
        Self { reason, id: None }
    }
}

/// Why a request ended `failed`, as it stands in `error.code` and in `slowlane-reason`.
///
/// A worker may use codes of its own; they pass through unchanged.
pub mod codes {
    /// The work itself said that trying again is of no use.
    pub const PERMANENT: &str = "permanent";
    /// The work failed in each of its attempts, the last time with this message.
    pub const ATTEMPTS_EXHAUSTED: &str = "attempts_exhausted";
    /// The work took longer than `JOB_TIMEOUT`, in the last attempt too.
    pub const TIMEOUT: &str = "timeout";
    /// Whoever works on the message dies or hangs.
    pub const POISON: &str = "poison";
    /// Its owner wanted it no more.
    pub const CANCELLED: &str = "cancelled";
    /// The message is not a request.
    pub const MALFORMED: &str = "malformed";
    /// The result is larger than `RESULT_LIMIT`.
    pub const RESULT_TOO_LARGE: &str = "result_too_large";
    /// The broker gave the message up after delivering it too often.
    pub const DELIVERY_LIMIT: &str = "delivery_limit";
    /// Nobody took the message in time.
    pub const EXPIRED: &str = "expired";
}
