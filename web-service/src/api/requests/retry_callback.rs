//! `POST /api/v1/requests/{id}/callback/retry`: delivers a callback again.

use actix_web::{HttpResponse, web};

use crate::api::{
    http::{
        accepted::{self, Accepted},
        problem::Problem,
        problem_type::ProblemType,
        request_id,
        responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
    },
    requests::load::load,
    state::State,
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/callback/retry";

/// Delivers a callback now: again if it was delivered or given up, at once if it waits for its next attempt.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "retryCallback",
    tag = "requests",
    summary = "Send a callback again",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 202, description = "It is sent now, with the same `webhook-id`", body = Accepted,
            headers(("Location" = String, description = "The URL of the request"))),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`no-callback`: the request has none. `callback-pending`: the request has not ended, or an attempt is under way",
            body = Problem, content_type = "application/problem+json"),
        StoreUnavailable
    )
)]
pub(crate) async fn retry(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    if state.store.retry_callback(id).await? {
        return Ok(accepted::response(id));
    }
    let (problem, detail) = match load(&state, id).await?.has_callback() {
        true => (
            ProblemType::CallbackPending,
            "The callback is sent when the request has ended, or is being sent now.",
        ),
        false => (ProblemType::NoCallback, "The request was submitted without a callbackUrl."),
    };
    Err(Problem::new(problem, detail))
}
