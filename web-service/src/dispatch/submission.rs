//! A submission: a request that a client wants accepted, and why one is rejected.

use std::time::Duration;

use pipeline::{broker::PublishError, contract::TraceParent, spans::Span, topology::RequestType};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::dispatch::availability::Unavailable;
use store::{CallbackTarget, IdempotencyKeyHash};

/// A request that a client wants accepted.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The id that the request gets, unless its idempotency key already stands for another one.
    pub id: Uuid,
    /// Its type: which queue it waits in.
    pub request_type: RequestType,
    /// The input of the work: JSON, passed on as it came.
    pub data: &'a RawValue,
    /// The trace that the request belongs to.
    pub trace: TraceParent,
    /// The span of its submission, if that is recorded. It ends with the submission.
    pub span: Option<Span>,
    /// How long the request may wait until work on it begins.
    pub expires_in: Option<Duration>,
    /// Where to send the webhook when the request has ended.
    pub callback: Option<CallbackTarget>,
    /// Makes several calls one request.
    pub key: Option<IdempotencyKey>,
}

/// An idempotency key, with the body that it stands for.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// The hash of the key.
    pub hash: IdempotencyKeyHash,
    /// The SHA-256 digest of the raw body.
    pub body_digest: [u8; 32],
}

/// A submission that was not accepted.
#[derive(Debug, Clone)]
pub struct RejectedSubmission {
    /// Its id. The work may be done under it all the same, see [`AcceptError`].
    pub id: Uuid,
    /// Why it was not accepted.
    pub error: AcceptError,
}

/// Why a submission was not accepted.
///
/// In all cases but [`AcceptError::NotRecorded`] and [`PublishError::Unknown`] nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcceptError {
    /// The broker did not confirm the message.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store is unavailable; nothing was sent.
    #[error("the store is unavailable: {0}")]
    StoreAway(String),
    /// The broker confirmed the message, but the store did not confirm the row. The row is written
    /// later, by [`crate::dispatch::record_later`] or when the result arrives.
    #[error("the broker has the request, but the store did not record it: {0}")]
    NotRecorded(String),
    /// Another call with the same idempotency key is being answered.
    #[error("another call with the same idempotency key is being answered")]
    KeyInUse,
    /// The idempotency key was used with another body.
    #[error("the idempotency key was used with another body")]
    KeyReused,
}

impl From<Unavailable> for AcceptError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::Store(reason) => Self::StoreAway(reason),
            Unavailable::Broker(reason) => Self::Publish(PublishError::NotSent(reason)),
        }
    }
}

impl AcceptError {
    /// The rejection, with this error, of the submission with this id.
    pub(crate) fn reject(self, id: Uuid) -> RejectedSubmission {
        RejectedSubmission { id, error: self }
    }
}
