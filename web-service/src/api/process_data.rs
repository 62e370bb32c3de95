//! `POST /api/v1/processData`.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse,
    error::PayloadError,
    http::header,
    web::{self, Bytes},
};
use pipeline::{broker::PublishError, contract::TraceParent};
use serde::{Deserialize, Serialize};
use serde_json::{error::Category, value::RawValue};
use tokio::time::timeout;
use tracing::{debug, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Problem, prefer, requests, schema::OtherMethod, view::View, watch};
use crate::{
    accept::{self, AcceptError},
    state::State,
};

pub(super) const PATH: &str = "/api/v1/processData";

/// The longest body, in bytes, for the error that names it.
#[derive(Clone, Copy)]
pub(super) struct BodyLimit(pub(super) usize);

/// How long a client may take to send its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Work to be done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRequest)]
struct Posted<'a> {
    /// Any JSON. It reaches the worker untouched.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    data: &'a RawValue,
}

/// A request that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    #[schema(value_type = String, format = "uuid")]
    request_id: Uuid,
}

/// Takes a request: 202 once the broker has confirmed it and it is recorded.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "processData",
    tag = "requests",
    summary = "Hand in work",
    params(
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10",
            description = "`wait=N`: answer with the request itself if it ends within N seconds (60 at most)"),
        ("traceparent" = Option<String>, Header, nullable = false,
            description = "The trace that the request belongs to (W3C Trace Context); what is malformed is ignored")
    ),
    request_body(content = Posted, example = json!({"data": "hello"})),
    responses(
        (status = 200, description = "With `Prefer: wait=N`: it has ended", body = View, headers(
            ("ETag" = String, description = "For a look at the request later"),
            ("Cache-Control" = String, description = "`no-cache`")
        )),
        (status = 202, description = "The broker has confirmed the request, and it is recorded", body = Accepted,
            headers(("Location" = String, description = "Where the request can be looked at")),
            links(
                ("look" = (operation_id = "getRequest", parameters(("id" = "$response.body#/requestId")))),
                ("follow" = (operation_id = "followRequest", parameters(("id" = "$response.body#/requestId"))))
            )),
        (status = 400, description = "`not-json`, or `unreadable`: the body broke off",
            body = Problem, content_type = "application/problem+json"),
        OtherMethod,
        (status = 408, description = "`too-slow`: the body did not arrive in time",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the body is longer than `BODY_LIMIT`",
            body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`: it is not `application/json`",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`wrong-shape`: it is JSON, but not `{\"data\": ...}`",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable` or `topology-missing`: nothing was sent, try again. \
            `outcome-unknown`: it may be done all the same, look at `requestId` later",
            body = Problem, content_type = "application/problem+json", headers(
                ("Retry-After" = u32, description = "Seconds after which trying again makes sense"),
                ("Location" = String, description = "With `outcome-unknown`: where to look later")
            ))
    )
)]
pub(super) async fn process_data(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let body = match timeout(READ_TIMEOUT, read(&request, payload)).await {
        Ok(body) => body?,
        Err(_) => return Err(Problem::too_slow(READ_TIMEOUT)),
    };
    let posted = parse(&body)?;
    let id = Uuid::now_v7();
    accept::accept(&state, id, posted.data, &trace(&request, id))
        .await
        .map_err(|error| refusal(id, &error))?;
    debug!(requestId = %id, "accepted");
    if let Some(patience) = prefer::wait(&request) {
        let view = watch::wait(&state, id, patience).await?;
        if view.is_final() {
            return Ok(requests::whole(&view));
        }
    }
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, location(id)))
        .json(Accepted { request_id: id }))
}

/// Where a request can be looked at.
pub(super) fn location(id: Uuid) -> String {
    format!("/api/v1/requests/{id}")
}

async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Bytes, Problem> {
    let json = request.content_type().eq_ignore_ascii_case("application/json");
    if !json {
        return Err(Problem::unsupported_media_type());
    }
    let limit = request.app_data::<BodyLimit>().map_or(0, |limit| limit.0);
    let mut payload = payload.into_inner();
    Bytes::from_request(request, &mut payload).await.map_err(|error| match error.as_error() {
        Some(PayloadError::Overflow) => Problem::too_large(limit),
        _ if error.as_response_error().status_code() == 413 => Problem::too_large(limit),
        _ => Problem::unreadable(error.to_string()),
    })
}

fn parse(body: &[u8]) -> Result<Posted<'_>, Problem> {
    let shape = "send {\"data\": ...}";
    if !matches!(body.trim_ascii_start().first(), None | Some(b'{'))
        && serde_json::from_slice::<&RawValue>(body).is_ok()
    {
        return Err(Problem::wrong_shape(format!("The body is not an object; {shape}.")));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Problem::wrong_shape(format!("{error}; {shape}.")),
        Category::Syntax | Category::Eof | Category::Io => Problem::not_json(format!("{error}.")),
    })
}

fn trace(request: &HttpRequest, id: Uuid) -> TraceParent {
    let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    header.and_then(TraceParent::parse).unwrap_or_else(|| TraceParent::for_request(id))
}

fn refusal(id: Uuid, error: &AcceptError) -> Problem {
    warn!(requestId = %id, "not accepted: {error}");
    let error = match error {
        AcceptError::StoreAway(_) => {
            return Problem::unavailable(format!("Nothing was sent, try again: {error}."));
        }
        AcceptError::NotRecorded(_) => {
            let detail = "The request was handed to the workers, but could not be recorded; it will be done.";
            return Problem::outcome_unknown(id, detail);
        }
        AcceptError::Publish(error) => error,
    };
    match error {
        PublishError::NotSent(_) => Problem::unavailable(
            "Nothing was sent: the broker is away or takes nothing now. Try again.",
        ),
        PublishError::Overloaded => {
            Problem::unavailable("Nothing was sent: too much is under way. Try again.")
        }
        PublishError::Nacked => {
            Problem::unavailable("The broker did not take the request. Try again.")
        }
        PublishError::Unroutable(missing) => Problem::topology_missing(format!(
            "The broker has no place for the request: {missing}."
        )),
        PublishError::Unknown(_) => Problem::outcome_unknown(
            id,
            "The request was sent, but the broker has not confirmed it; it may still be done. \
             Trying again may do the work twice.",
        ),
        PublishError::Invalid(reason) => Problem::wrong_shape(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;

    use super::*;

    fn status(body: &str) -> u16 {
        match parse(body.as_bytes()) {
            Ok(_) => 202,
            Err(problem) => problem.status_code().as_u16(),
        }
    }

    #[test]
    fn any_json_is_data() {
        for data in ["null", "1e400", "\"\\u0000\"", "{}", "[1, 2]", "12345678901234567890.10"] {
            let body = format!("{{ \"data\" : {data} }}");
            assert_eq!(parse(body.as_bytes()).unwrap().data.get(), data);
        }
    }

    #[test]
    fn what_is_not_json_is_told_from_what_has_another_shape() {
        for body in ["", "{", "nonsense", "{\"data\":1}x", "{\"data\":\u{1}}"] {
            assert_eq!(status(body), 400, "{body}");
        }
        for body in ["[]", "1", "{}", "{\"data\":1,\"color\":2}", "{\"data\":1,\"data\":2}", "[1]"]
        {
            assert_eq!(status(body), 422, "{body}");
        }
    }
}
