//! Error responses: `application/problem+json` (RFC 9457).

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::http::{accepted::location, problem_type::ProblemType};
use store::StoreError;

/// An error response (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: ProblemType,
    /// What `type` means, for people.
    title: &'static str,
    /// The status of the response.
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    status: StatusCode,
    /// What is wrong this time, and what to do.
    detail: String,
    /// The request that may have been accepted all the same.
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = "uuid")]
    request_id: Option<Uuid>,
    /// The methods that the path has, for `Allow`.
    #[serde(skip)]
    allowed: Option<&'static str>,
    /// The codings that a body may have, for `Accept-Encoding`.
    #[serde(skip)]
    accepted_coding: Option<&'static str>,
}

impl Problem {
    /// A problem of this type. `detail` is one or more sentences: what is wrong, and what to do.
    pub(crate) fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let (status, title) = kind.status_and_title();
        let (request_id, allowed, accepted_coding) = (None, None, None);
        Self { kind, title, status, detail: detail.into(), request_id, allowed, accepted_coding }
    }

    /// Its type.
    pub(crate) fn kind(&self) -> ProblemType {
        self.kind
    }

    /// What its type means, for people.
    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    /// What is wrong this time, and what to do.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same problem with another sentence.
    pub(crate) fn with_detail(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// Whether the broker or the store is away, so that the same may succeed later.
    pub(crate) fn may_be_repeated(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// The request that may have been accepted all the same.
    pub(crate) fn request_id(&self) -> Option<Uuid> {
        self.request_id
    }

    /// 404: there is no such path.
    pub(crate) fn not_found() -> Self {
        Self::new(ProblemType::NotFound, "There is nothing at this address.")
    }

    /// 404: there is no such request.
    pub(crate) fn unknown_request(id: Uuid) -> Self {
        let detail =
            format!("There is no request {id}, or its id was deleted some time after its end.");
        Self::new(ProblemType::NotFound, detail)
    }

    /// 410: the request was deleted.
    pub(crate) fn expired(id: Uuid) -> Self {
        let detail = format!(
            "The request {id} was deleted: it ended more than RESULT_RETENTION ago, or was discarded."
        );
        Self::new(ProblemType::Expired, detail)
    }

    /// 400: a query parameter is unknown or has no valid value.
    pub(crate) fn wrong_query(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::WrongQuery, detail)
    }

    /// 405: the path has only other methods, listed as in `Allow`.
    pub(crate) fn method_not_allowed(allowed: &'static str) -> Self {
        let detail = format!("Allowed here: {allowed}.");
        Self { allowed: Some(allowed), ..Self::new(ProblemType::MethodNotAllowed, detail) }
    }

    /// 415: the body is compressed (RFC 9110, 15.5.16).
    pub(crate) fn content_coding() -> Self {
        let detail = "Send the body as it is, without Content-Encoding.";
        let problem = Self::new(ProblemType::UnsupportedMediaType, detail);
        Self { accepted_coding: Some("identity"), ..problem }
    }

    /// 422: the body is JSON, but not of the shape that the call expects.
    pub(crate) fn wrong_shape(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::WrongShape, detail)
    }

    /// 413: the body is longer than `BODY_LIMIT`.
    pub(crate) fn body_too_large(max_bytes: usize) -> Self {
        let detail = format!("The body is longer than {max_bytes} bytes (BODY_LIMIT).");
        Self::new(ProblemType::TooLarge, detail)
    }

    /// 413: the message is longer than the broker takes.
    pub(crate) fn message_too_large(max_bytes: usize) -> Self {
        let detail = format!(
            "The data and its id are longer than {max_bytes} bytes, the longest message that the broker accepts (max_message_size)."
        );
        Self::new(ProblemType::TooLarge, detail)
    }

    /// 409: only failed requests can be replayed or discarded.
    pub(crate) fn not_failed(status: &str) -> Self {
        let detail =
            format!("The request is {status}: only a failed request can be replayed or discarded.");
        Self::new(ProblemType::NotFailed, detail)
    }

    /// 503: nothing was sent or changed.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(ProblemType::Unavailable, detail)
    }

    /// 503: it is not known whether the request with this id was accepted.
    pub(crate) fn outcome_unknown(id: Uuid, detail: impl Into<String>) -> Self {
        Self { request_id: Some(id), ..Self::new(ProblemType::OutcomeUnknown, detail) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::unavailable(format!("{error}."))
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
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.kind.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(methods) = self.allowed {
            response.insert_header((header::ALLOW, methods));
        }
        if let Some(coding) = self.accepted_coding {
            response.insert_header((header::ACCEPT_ENCODING, coding));
        }
        if let Some(id) = self.request_id {
            response.insert_header((header::LOCATION, location(id)));
        }
        response
            .content_type("application/problem+json")
            .body(serde_json::to_vec(self).unwrap_or_else(|_| b"{}".to_vec()))
    }
}

fn as_number<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
