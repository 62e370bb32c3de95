//! `POST /api/v1/processData`: submits a request.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use pipeline::{contract::Timestamp, log_messages::ACCEPTED};
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use crate::{
    api::{
        http::{
            accepted::{self, Accepted},
            body::{self, BodyRules},
            idempotency_key, prefer,
            problem::Problem,
            responses::{BodyRejected, MethodNotAllowed, NotConfirmed},
            trace,
        },
        requests::{
            accepted_request::AcceptedRequest, get, long_poll, rejected, submission::SubmissionBody,
        },
        state::State,
    },
    dispatch::accept,
    events::waiters::Waiter,
    views::request::RequestView,
};

pub(crate) const PATH: &str = "/api/v1/processData";

/// Submits a request: 202 once the broker has confirmed it and it is recorded.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "processData",
    tag = "requests",
    summary = "Submit a request",
    params(
        ("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255,
            pattern = "^[!-~]+$",
            description = "Calls with the same key and body are one request, and get the same answer. Kept as long as the \
                request, for a day at least"),
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10",
            description = "`wait=N`: answer with the request itself if it ends within N seconds (60 at most)"),
        ("traceparent" = Option<String>, Header, nullable = false,
            description = "The trace that the request belongs to (W3C Trace Context). A malformed one is ignored")
    ),
    request_body(content = SubmissionBody, example = json!({"data": "hello"})),
    responses(
        BodyRejected,
        (status = 200, description = "With `Prefer: wait=N`: it has ended", body = RequestView, headers(
            ("ETag" = String, description = "For `If-None-Match`"),
            ("Cache-Control" = String, description = "`no-cache`")
        )),
        (status = 202, description = "The broker has confirmed the request, and it is recorded", body = Accepted,
            headers(("Location" = String, description = "The URL of the request")),
            links(
                ("look" = (operation_id = "getRequest", parameters(("id" = "$response.body#/requestId")))),
                ("follow" = (operation_id = "followRequest", parameters(("id" = "$response.body#/requestId"))))
            )),
        (status = 400, description = "`not-json`; `unreadable`: the body broke off; `wrong-key`: the `Idempotency-Key` is not valid",
            body = Problem, content_type = "application/problem+json"),
        MethodNotAllowed,
        (status = 409, description = "`idempotency-key-in-use`: another call with the same key is being answered",
            body = Problem, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds to wait before the call is repeated"))),
        (status = 422, description = "`wrong-shape`: it is JSON, but not `{\"data\": ...}`. \
            `callback-refused`: this `callbackUrl` can't be used. \
            `unknown-type`: there is no queue for this `type`; the detail names the types that there are. \
            `idempotency-key-reused`: the key was used with another body",
            body = Problem, content_type = "application/problem+json"),
        NotConfirmed
    )
)]
pub(crate) async fn process_data(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let max_wait = prefer::wait(&request);
    let (id, waiting) = accept_body(&request, payload, &state, max_wait.is_some()).await?;
    if let Some(max_wait) = max_wait
        && let Some(ended) = Box::pin(ended_within(&state, id, waiting, max_wait)).await
    {
        return Ok(get::response(&ended));
    }
    Ok(accepted::response(id))
}

/// Reads a body and accepts the request in it. Returns its id, and who waits for it if the caller `is_waiting` and the request
/// is new. The memory of the body is not for those who wait.
async fn accept_body(
    request: &HttpRequest,
    payload: web::Payload,
    state: &State,
    is_waiting: bool,
) -> Result<(Uuid, Option<Waiting>), Problem> {
    let key = idempotency_key::of(request)?;
    let rules = BodyRules {
        media_types: &["application/json"],
        max_bytes: state.body_limit,
        too_large: Problem::body_too_large,
    };
    let body = body::read(request, payload, &rules, &state.body_memory, &state.drain).await?;
    let mut submission =
        SubmissionBody::submission(&body, key, trace::parent(request), &state.submissions)?;
    let accepted_at = Timestamp::now();
    // Registered before anything is sent, so that no end is missed.
    let waiting = is_waiting.then(|| Waiting {
        waiter: state.waiters.register(submission.id),
        request: AcceptedRequest::of(&submission, accepted_at),
    });
    let accepted = accept::accept(&state.dispatch, &submission, accepted_at).await;
    if let (Some(span), Err(rejection)) = (&mut submission.span, &accepted) {
        span.fail(rejection.error.to_string());
    }
    drop(submission.span.take());
    let id = accepted.map_err(|rejection| rejected::submission(&rejection))?;
    info!(requestId = %id, "{ACCEPTED}");
    Ok((id, waiting.filter(|_| id == submission.id)))
}

/// A caller that waits for a new request, since before it was accepted.
struct Waiting {
    waiter: Waiter,
    request: AcceptedRequest,
}

/// An accepted request once it has ended, if it does so in time. `waiting` is for a request that is new.
async fn ended_within(
    state: &State,
    id: Uuid,
    waiting: Option<Waiting>,
    max_wait: Duration,
) -> Option<RequestView> {
    let request = match waiting {
        Some(Waiting { waiter, request }) => {
            let (deadline, ended_by) = (Instant::now() + max_wait, |it: &_| request.ended_by(it));
            long_poll::wait_for_change(state, id, waiter, deadline, ended_by).await
        }
        None => long_poll::wait(state, id, max_wait).await,
    };
    // It was accepted, even if its status can't be read now.
    request.ok().filter(RequestView::is_final)
}
