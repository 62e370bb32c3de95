//! Shapes for the OpenAPI document only: what is answered but has no type of its own in the API, and
//! the errors that several calls share. Nobody makes any of these.
#![expect(dead_code, reason = "the document is made of their shapes, not of their values")]

use std::collections::BTreeMap;

use utoipa::{IntoResponses, ToSchema};

use crate::api::http::problem::Problem;

/// How far a request has come.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum RequestStatus {
    Queued,
    Processing,
    Completed,
    Failed,
    Cancelled,
}

/// How far a callback has come: `pending` until it is delivered or given up.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum CallbackStatus {
    Pending,
    Delivered,
    Failed,
}

/// Why a request failed.
#[derive(ToSchema)]
pub(crate) struct Failure {
    /// For programs: `permanent`, `attempts_exhausted`, `timeout`, `poison`, `malformed`,
    /// `result_too_large`, `delivery_limit`, `expired`, or a worker's own word.
    code: String,
    /// For people.
    message: String,
}

/// A server-sent event, by its fields.
#[derive(ToSchema)]
pub(crate) struct StreamEvent {
    /// `status` or `progress`. Ignore what you don't know: there may be more in a later release.
    event: String,
    /// For `status`: the request as JSON, as a look at it would show it. For `progress`: an object with
    /// `requestId`, `progress`, `message` and `at`.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The process runs.
#[derive(ToSchema)]
pub(crate) struct Live {
    #[schema(inline)]
    status: LiveStatus,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum LiveStatus {
    Live,
}

/// What the service needs, and whether it has it.
#[derive(ToSchema)]
pub(crate) struct Ready {
    #[schema(inline)]
    status: ReadyStatus,
    /// Each thing the service needs, by name.
    parts: BTreeMap<String, Part>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum ReadyStatus {
    Ready,
    NotReady,
}

/// One thing the service needs.
#[derive(ToSchema)]
pub(crate) struct Part {
    /// Whether it is there.
    ok: bool,
    /// How it is, or what is wrong with it, for people.
    detail: String,
}

/// What calls for one request answer when they have none.
#[derive(IntoResponses)]
pub(crate) enum NoRequest {
    /// `not-found`: there was never such a request, or it is forgotten, or this is no id
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// `expired`: it was here, and `RESULT_RETENTION` is over; or it was discarded
    #[response(status = 410, content_type = "application/problem+json")]
    Expired(Problem),
}

/// What calls for one message answer when there is none.
#[derive(IntoResponses)]
pub(crate) enum NoMessage {
    /// `not-found`: there is no such message, or it is gone
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
}

/// What calls that need the store answer without it.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "`unavailable`: the store is away, try again",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds after which trying again makes sense"))
)]
pub(crate) struct StoreAway(Problem);

/// What every path answers to methods that it has no answer for.
#[derive(IntoResponses)]
#[response(
    status = 405,
    description = "`method-not-allowed`: only to other methods than this",
    content_type = "application/problem+json",
    headers(("Allow" = String, description = "The methods that would do"))
)]
pub(crate) struct OtherMethod(Problem);
