//! The contract: what requests, results, failed requests, events and control messages are on the wire.
//!
//! Bodies are UTF-8 JSON; a byte order mark before them is skipped. Payloads (`requestData`, `processingResults`) are carried as raw text
//! and never re-written, so that numbers, key order and unicode survive. Any AMQP 0-9-1 program
//! that keeps to these shapes can be a producer or a worker; unknown fields and headers are
//! ignored, and no property or header has to be there.

pub mod codes;
pub(crate) mod control;
pub mod encoding;
pub(crate) mod events;
pub(crate) mod execution;
pub mod headers;
pub(crate) mod id;
mod json;
mod lenient_id;
pub(crate) mod malformed;
pub(crate) mod message;
pub(crate) mod progress;
pub(crate) mod request;
pub(crate) mod result;
pub(crate) mod shortened;
pub(crate) mod timestamp;
pub(crate) mod trace;

pub use crate::contract::control::Control;
pub use crate::contract::events::{
    Event, FinalStatus, Finished, FinishedRequest, JobEvent, JobEventName,
};
pub use crate::contract::execution::Execution;
pub use crate::contract::headers::{HeaderValue, Headers};
pub use crate::contract::id::{InvalidRequestId, MAX_ID_BYTES, RequestId};
pub use crate::contract::malformed::Malformed;
pub use crate::contract::message::{Message, Properties};
pub use crate::contract::progress::{Progress, ProgressCount, ProgressReport};
pub use crate::contract::request::Request;
pub use crate::contract::result::{ErrorBody, Outcome, ResultMessage};
pub use crate::contract::shortened::shortened;
pub use crate::contract::timestamp::{InvalidTimestamp, Timestamp};
pub use crate::contract::trace::TraceParent;
