//! Error responses that several calls share, for the OpenAPI document only.
#![expect(dead_code, reason = "the document is made of their types, they are never constructed")]

use utoipa::IntoResponses;

use crate::api::http::problem::Problem;

/// The responses of calls for one request if there is none.
#[derive(IntoResponses)]
pub(crate) enum RequestNotFound {
    /// `not-found`: there was never such a request, or its id was deleted, or this is no id
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// `expired`: `RESULT_RETENTION` is over since its end, or it was discarded
    #[response(status = 410, content_type = "application/problem+json")]
    Expired(Problem),
}

/// The response of calls for one parked message if there is none.
#[derive(IntoResponses)]
#[response(
    status = 404,
    description = "`not-found`: there is no such message, or it is gone",
    content_type = "application/problem+json"
)]
pub(crate) struct MessageNotFound(Problem);

/// The response of calls for one error group if there is none.
#[derive(IntoResponses)]
#[response(
    status = 404,
    description = "`not-found`: there is no such group, or it is gone",
    content_type = "application/problem+json"
)]
pub(crate) struct GroupNotFound(Problem);

/// The response of calls for one action on many requests if there is none.
#[derive(IntoResponses)]
#[response(
    status = 404,
    description = "`not-found`: there is no such run, or it is gone",
    content_type = "application/problem+json"
)]
pub(crate) struct BulkRunNotFound(Problem);

/// The response of lists to a query that they can't use.
#[derive(IntoResponses)]
#[response(
    status = 400,
    description = "`wrong-query`: a parameter is unknown or out of its limits",
    content_type = "application/problem+json"
)]
pub(crate) struct WrongQuery(Problem);

/// The responses to a body that can't be read.
#[derive(IntoResponses)]
pub(crate) enum BodyRejected {
    /// `unreadable`: the body broke off
    #[response(status = 400, content_type = "application/problem+json")]
    Unreadable(Problem),
    /// `too-slow`: the body did not arrive within 30 s
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(Problem),
    /// `too-large`: the body is longer than its limit, or than the broker takes; `detail` names the limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// `unsupported-media-type`: send the body with the `Content-Type` that `detail` names, and without `Content-Encoding`
    #[response(status = 415, content_type = "application/problem+json", headers(
        ("Accept-Encoding" = String, description = "`identity`, if the body was compressed")
    ))]
    UnsupportedMediaType(Problem),
}

/// The response to a body for which there is no memory or no time.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "`unavailable`: nothing was sent, try again. The bodies of other calls take all the memory, or the \
        service stops",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds to wait before the call is repeated"))
)]
pub(crate) struct BodyNotTaken(Problem);

/// The response if a message was not published, not confirmed or not recorded.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "`unavailable` or `topology-missing`: nothing was sent, try again. \
        `outcome-unknown`: it may still be processed, get `requestId` later",
    content_type = "application/problem+json",
    headers(
        ("Retry-After" = u32, description = "Seconds to wait before the call is repeated"),
        ("Location" = String, description = "With `outcome-unknown`: the URL of the request")
    )
)]
pub(crate) struct NotConfirmed(Problem);

/// The response of calls that need the store if it is unavailable.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "`unavailable`: the store is unavailable, try again",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds to wait before the call is repeated"))
)]
pub(crate) struct StoreUnavailable(Problem);

/// The response of a call that looks at the queues and at the store, if one of them is away.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "`unavailable`: the broker or the store is away, try again",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds to wait before the call is repeated"))
)]
pub(crate) struct VerifyUnavailable(Problem);

/// The response while the numbers of the queue are not known.
#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "`unavailable`: the broker is away or does not tell, so how many requests wait is not known",
    content_type = "application/problem+json",
    headers(("Retry-After" = u32, description = "Seconds to wait before the call is repeated"))
)]
pub(crate) struct BacklogUnknown(Problem);

/// The response of every path to methods that it does not have.
#[derive(IntoResponses)]
#[response(
    status = 405,
    description = "`method-not-allowed`: only to other methods than this",
    content_type = "application/problem+json",
    headers(("Allow" = String, description = "The methods that are allowed"))
)]
pub(crate) struct MethodNotAllowed(Problem);
