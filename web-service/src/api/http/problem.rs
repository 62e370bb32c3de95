//! Errors as `application/problem+json`, see RFC 9457.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An error answer (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: Kind,
    /// The kind for people.
    title: &'static str,
    /// The status of the answer.
    #[serde(serialize_with = "code")]
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: StatusCode,
    /// What is wrong this time, and what to do.
    detail: String,
    /// The request that may have been accepted all the same.
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid")]
    request_id: Option<Uuid>,
    /// Seconds after which trying again makes sense.
    #[serde(skip)]
    retry_after: Option<u32>,
    /// The methods that would do here.
    #[serde(skip)]
    allowed: Option<&'static str>,
}

/// What kind of problem it is, for programs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ProblemType)]
enum Kind {
    NotFound,
    Expired,
    WrongQuery,
    WrongKey,
    CallbackRefused,
    NoCallback,
    CallbackPending,
    AlreadyEnded,
    NotFailed,
    NoData,
    BelongsToRequest,
    IdempotencyKeyReused,
    IdempotencyKeyInUse,
    MethodNotAllowed,
    NotJson,
    WrongShape,
    TooLarge,
    UnsupportedMediaType,
    Unreadable,
    TooSlow,
    Unavailable,
    TopologyMissing,
    OutcomeUnknown,
}

fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, kind: Kind, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, title, status, detail, request_id: None, retry_after: None, allowed: None }
    }

    /// 404: there is nothing at this address.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Kind::NotFound,
            "Not found",
            "There is nothing at this address.",
        )
    }

    /// 404: no request can have this id.
    pub fn not_an_id() -> Self {
        let detail = "The id of a request is a UUID, as processData answers it.";
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, "Not found", detail)
    }

    /// 404: there is no such request.
    pub fn unknown_request(id: Uuid) -> Self {
        let detail = format!("There is no request {id}, or it is forgotten.");
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, "Not found", detail)
    }

    /// 410: the request was here, but its time is over.
    pub fn expired(id: Uuid) -> Self {
        let detail = format!(
            "The request {id} is gone: RESULT_RETENTION is over since its end, or it was discarded."
        );
        Self::new(StatusCode::GONE, Kind::Expired, "The request has expired", detail)
    }

    /// 400: the query can't be understood.
    pub fn wrong_query(detail: impl Into<String>) -> Self {
        let title = "The query can't be understood";
        Self::new(StatusCode::BAD_REQUEST, Kind::WrongQuery, title, detail)
    }

    /// 405: something is here, but not for this method.
    pub fn method_not_allowed(allowed: &'static str) -> Self {
        let (kind, title) = (Kind::MethodNotAllowed, "Method not allowed");
        let detail = format!("Allowed here: {allowed}.");
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, kind, title, detail);
        Self { allowed: Some(allowed), ..problem }
    }

    /// 400: the body is not JSON.
    pub fn not_json(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::NotJson, "The body is not JSON", detail)
    }

    /// 422: the body is JSON of another shape.
    pub fn wrong_shape(detail: impl Into<String>) -> Self {
        let title = "The body has the wrong shape";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::WrongShape, title, detail)
    }

    /// 413: the body is too long.
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("The body is longer than {limit} bytes (BODY_LIMIT).");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::TooLarge, "The body is too long", detail)
    }

    /// 413: the batch has too many lines.
    pub fn too_many_lines(lines: usize, most: usize) -> Self {
        let detail = format!("The batch has {lines} lines, {most} are taken at once.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::TooLarge, "The body is too long", detail)
    }

    /// 415: the body says it is something else.
    pub fn unsupported_media_type(wanted: &str) -> Self {
        let (kind, title) = (Kind::UnsupportedMediaType, "Unsupported media type");
        let detail = format!("Send the body with Content-Type: {wanted}.");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind, title, detail)
    }

    /// 400: no idempotency key can be like this.
    pub fn wrong_key(detail: impl Into<String>) -> Self {
        let title = "The idempotency key can't be used";
        Self::new(StatusCode::BAD_REQUEST, Kind::WrongKey, title, detail)
    }

    /// 422: the callback can't go there.
    pub fn callback_refused(detail: impl Into<String>) -> Self {
        let title = "The callbackUrl can't be used";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, Kind::CallbackRefused, title, detail)
    }

    /// 409: nobody is to be told of the request's end.
    pub fn no_callback() -> Self {
        let detail = "The request was posted without a callbackUrl.";
        Self::new(StatusCode::CONFLICT, Kind::NoCallback, "The request has no callback", detail)
    }

    /// 409: the callback is not over.
    pub fn callback_pending() -> Self {
        let title = "The callback is under way already";
        let detail =
            "The callback is sent when the request has ended, or is being sent this very moment.";
        Self::new(StatusCode::CONFLICT, Kind::CallbackPending, title, detail)
    }

    /// 409: there is nothing to cancel any more.
    pub fn already_ended(status: &str) -> Self {
        let detail = format!("It is {status}, and stays so.");
        let title = "The request has ended already";
        Self::new(StatusCode::CONFLICT, Kind::AlreadyEnded, title, detail)
    }

    /// 409: only what has failed can be replayed or discarded.
    pub fn not_failed(status: &str) -> Self {
        let detail =
            format!("It is {status}: only a request that has failed can be replayed or discarded.");
        let title = "The request has not failed";
        Self::new(StatusCode::CONFLICT, Kind::NotFailed, title, detail)
    }

    /// 409: there is nothing to send.
    pub fn no_data() -> Self {
        let detail = "It was published by another program, and neither it nor a parked message of it is here: \
            have that program publish it again.";
        Self::new(
            StatusCode::CONFLICT,
            Kind::NoData,
            "The data of the request are not known",
            detail,
        )
    }

    /// 409: somebody is still to be told that it has failed.
    pub fn callback_untold() -> Self {
        let title = "The end of the request is still to be told";
        let detail = "Its callback is pending: discard it when that was delivered or given up.";
        Self::new(StatusCode::CONFLICT, Kind::CallbackPending, title, detail)
    }

    /// 404: there is no such parked message.
    pub fn unknown_message() -> Self {
        let detail = "There is no parked message with this number, or it is gone.";
        Self::new(StatusCode::NOT_FOUND, Kind::NotFound, "Not found", detail)
    }

    /// 409: the message is kept for its request.
    pub fn belongs_to_request(id: Uuid) -> Self {
        let title = "The message belongs to a request";
        let detail = format!("It is kept as long as {id}, and goes when that is discarded.");
        Self::new(StatusCode::CONFLICT, Kind::BelongsToRequest, title, detail)
    }

    /// 422: the key was used with another body.
    pub fn key_reused() -> Self {
        let title = "The idempotency key stands for another body";
        let detail = "The idempotency key stands for another body: use a new key for a new request, and the \
            same body for the same one.";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, Kind::IdempotencyKeyReused, title, detail)
    }

    /// 409: another call with the key has no answer yet.
    pub fn key_in_use() -> Self {
        let title = "Another call with this idempotency key is being answered";
        let detail = "Another call with this idempotency key is being answered: try again in a moment, the \
            answer will be the same.";
        let problem = Self::new(StatusCode::CONFLICT, Kind::IdempotencyKeyInUse, title, detail);
        Self { retry_after: Some(1), ..problem }
    }

    /// 400: the body broke off or can't be read.
    pub fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::Unreadable, "The body can't be read", detail)
    }

    /// 408: the body did not come in time.
    pub fn too_slow(limit: Duration) -> Self {
        let detail = format!("The body did not arrive within {} s.", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, Kind::TooSlow, "The body came too slowly", detail)
    }

    /// 503: nothing was sent; trying again is safe.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::unavailable_as(Kind::Unavailable, "The service can't take requests now", detail)
    }

    /// 503: the broker lacks a queue or the exchange, and we may not declare it.
    pub fn topology_missing(detail: impl Into<String>) -> Self {
        Self::unavailable_as(Kind::TopologyMissing, "The broker has no queue for requests", detail)
    }

    /// 503: the request was sent, but nobody knows whether the broker has it.
    pub fn outcome_unknown(id: Uuid, detail: impl Into<String>) -> Self {
        let title = "Whether the request was accepted is not known";
        Self { request_id: Some(id), ..Self::unavailable_as(Kind::OutcomeUnknown, title, detail) }
    }

    fn unavailable_as(kind: Kind, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            retry_after: Some(2),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, title, detail)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after {
            answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = self.allowed {
            answer.insert_header((header::ALLOW, methods));
        }
        if let Some(id) = self.request_id {
            answer.insert_header((header::LOCATION, crate::api::requests::submit::location(id)));
        }
        answer
            .content_type("application/problem+json")
            .body(serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec()))
    }
}
