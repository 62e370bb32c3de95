//! Problem types: the `type` of each error response, with its status and title.

use actix_web::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// The type of a problem, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProblemType {
    NotFound,
    Expired,
    WrongQuery,
    HostNotAllowed,
    CrossOrigin,
    WrongKey,
    CallbackRefused,
    UnknownType,
    NoCallback,
    CallbackPending,
    AlreadyEnded,
    NotFailed,
    NotWaiting,
    NoData,
    BelongsToRequest,
    RunIdReused,
    IdempotencyKeyReused,
    IdempotencyKeyInUse,
    MethodNotAllowed,
    NotJson,
    WrongShape,
    TooLarge,
    UnsupportedMediaType,
    Unreadable,
    TooSlow,
    /// Nothing was sent. What was to be changed in the store alone may have been changed: trying again is safe.
    Unavailable,
    /// The broker lacks an exchange or a queue that this program may not declare.
    TopologyMissing,
    /// The message was sent, but it is not known whether the broker has it, or it is not recorded.
    OutcomeUnknown,
}

impl ProblemType {
    /// The status of the response, and what the type means, for people.
    pub(crate) fn status_and_title(self) -> (StatusCode, &'static str) {
        use StatusCode as Code;
        match self {
            Self::NotFound => (Code::NOT_FOUND, "Not found"),
            Self::Expired => (Code::GONE, "The request has expired"),
            Self::WrongQuery => (Code::BAD_REQUEST, "The query is not valid"),
            Self::HostNotAllowed => (Code::MISDIRECTED_REQUEST, "The host is not served here"),
            Self::CrossOrigin => (Code::FORBIDDEN, "Calls from other origins are not served"),
            Self::WrongKey => (Code::BAD_REQUEST, "The idempotency key can't be used"),
            Self::CallbackRefused => (Code::UNPROCESSABLE_ENTITY, "The callbackUrl can't be used"),
            Self::UnknownType => (Code::UNPROCESSABLE_ENTITY, "There is no such type"),
            Self::NoCallback => (Code::CONFLICT, "The request has no callback"),
            Self::CallbackPending => (Code::CONFLICT, "The callback is pending"),
            Self::AlreadyEnded => (Code::CONFLICT, "The request has ended already"),
            Self::NotFailed => (Code::CONFLICT, "The request has not failed"),
            Self::NotWaiting => (Code::CONFLICT, "The request does not wait for an attempt"),
            Self::NoData => (Code::CONFLICT, "The data of the request is not stored"),
            Self::BelongsToRequest => (Code::CONFLICT, "The message belongs to a request"),
            Self::RunIdReused => {
                (Code::UNPROCESSABLE_ENTITY, "There is another action with this runId")
            }
            Self::IdempotencyKeyReused => {
                (Code::UNPROCESSABLE_ENTITY, "The idempotency key was used with another body")
            }
            Self::IdempotencyKeyInUse => {
                (Code::CONFLICT, "Another call with this idempotency key is being answered")
            }
            Self::MethodNotAllowed => (Code::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::NotJson => (Code::BAD_REQUEST, "The body is not JSON"),
            Self::WrongShape => (Code::UNPROCESSABLE_ENTITY, "The body has the wrong shape"),
            Self::TooLarge => (Code::PAYLOAD_TOO_LARGE, "The body is too long"),
            Self::UnsupportedMediaType => (Code::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
            Self::Unreadable => (Code::BAD_REQUEST, "The body can't be read"),
            Self::TooSlow => (Code::REQUEST_TIMEOUT, "The body arrived too slowly"),
            Self::Unavailable => {
                (Code::SERVICE_UNAVAILABLE, "The service can't accept requests now")
            }
            Self::TopologyMissing => {
                (Code::SERVICE_UNAVAILABLE, "The broker has no queue for requests")
            }
            Self::OutcomeUnknown => {
                (Code::SERVICE_UNAVAILABLE, "Whether the request was accepted is not known")
            }
        }
    }

    /// Seconds to wait before the call is repeated.
    pub(crate) fn retry_after(self) -> Option<u32> {
        match self {
            Self::IdempotencyKeyInUse => Some(1),
            Self::Unavailable | Self::TopologyMissing | Self::OutcomeUnknown => Some(2),
            _ => None,
        }
    }
}
