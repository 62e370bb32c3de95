//! `POST /api/v1/processData`.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use pipeline::{broker::PublishError, contract::TraceParent};
use serde::Serialize;
use tracing::{debug, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::state::State,
    dispatch::{
        accept,
        submission::{AcceptError, RejectedSubmission},
    },
};
use crate::{
    api::{
        http::{body, idempotency_key, prefer, problem::Problem},
        openapi::schema::OtherMethod,
        requests::{get, long_poll, submission::Posted},
    },
    views::request::View,
};

pub(crate) const PATH: &str = "/api/v1/processData";

/// The media type of a single request.
const MEDIA: &[&str] = &["application/json"];

/// A request that was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) request_id: Uuid,
}

/// Takes a request: 202 once the broker has confirmed it and it is recorded.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "processData",
    tag = "requests",
    summary = "Hand in work",
    params(
        ("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255,
            pattern = "^[!-~]+$",
            description = "Calls with the same key and body are one request, and get the same answer. Kept as long as the \
                request, for a day at least"),
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
        (status = 400, description = "`not-json`; `unreadable`: the body broke off; `wrong-key`: no such `Idempotency-Key` can be",
            body = Problem, content_type = "application/problem+json"),
        OtherMethod,
        (status = 408, description = "`too-slow`: the body did not arrive in time",
            body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`idempotency-key-in-use`: another call with the same key is being answered",
            body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds after which trying again makes sense"))),
        (status = 413, description = "`too-large`: the body is longer than `BODY_LIMIT`",
            body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported-media-type`: it is not `application/json`",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`wrong-shape`: it is JSON, but not `{\"data\": ...}`. \
            `callback-refused`: nothing is told to such a `callbackUrl`. \
            `idempotency-key-reused`: the key stands for another body",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable` or `topology-missing`: nothing was sent, try again. \
            `outcome-unknown`: it may be done all the same, look at `requestId` later",
            body = Problem, content_type = "application/problem+json", headers(
                ("Retry-After" = u32, description = "Seconds after which trying again makes sense"),
                ("Location" = String, description = "With `outcome-unknown`: where to look later")
            ))
    )
)]
pub(crate) async fn process_data(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let key = idempotency_key::of(&request)?;
    let body = body::read(&request, payload, MEDIA, state.body_limit).await?;
    let wish = Posted::wish(&body, key, trace(&request), &state.callbacks)?;
    let accepted = accept::accept(&state.dispatch, &wish).await;
    let id = accepted.map_err(|refused| refusal(&refused))?;
    debug!(requestId = %id, "accepted");
    if let Some(patience) = prefer::wait(&request) {
        // Accepted it is, also if nobody can tell now how far it has come.
        if let Ok(view) = long_poll::wait(&state, id, patience).await
            && view.is_final()
        {
            return Ok(get::whole(&view));
        }
    }
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, location(id)))
        .json(Accepted { request_id: id }))
}

/// Where a request can be looked at.
pub(crate) fn location(id: Uuid) -> String {
    format!("/api/v1/requests/{id}")
}

/// The trace that the caller names, if it does.
pub(crate) fn trace(request: &HttpRequest) -> Option<TraceParent> {
    let header = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    header.and_then(TraceParent::parse)
}

/// What to say of a request that was not accepted.
pub(crate) fn refusal(RejectedSubmission { id, error }: &RejectedSubmission) -> Problem {
    warn!(requestId = %id, "not accepted: {error}");
    let error = match error {
        AcceptError::StoreAway(_) => {
            return Problem::unavailable(format!("Nothing was sent, try again: {error}."));
        }
        AcceptError::NotRecorded(_) => {
            let detail = "The request was handed to the workers, but could not be recorded; it will be done.";
            return Problem::outcome_unknown(*id, detail);
        }
        AcceptError::KeyInUse => return Problem::key_in_use(),
        AcceptError::KeyReused => return Problem::key_reused(),
        AcceptError::Publish(error) => error,
    };
    not_published(*id, error)
}

/// What to say of a request that the broker has not confirmed.
pub(crate) fn not_published(id: Uuid, error: &PublishError) -> Problem {
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
             Trying again may do the work twice, unless with the same Idempotency-Key.",
        ),
        PublishError::Invalid(reason) => Problem::wrong_shape(reason.clone()),
    }
}
