//! `POST /api/v1/requests/{id}/retry-now`: begins the attempt at once that a request waits for.

use actix_web::{HttpResponse, web};

use crate::{
    api::{
        http::{
            accepted::{self, Accepted},
            problem::Problem,
            request_id,
            responses::{MethodNotAllowed, NotConfirmed, RequestNotFound},
        },
        requests::rejected,
        state::State,
    },
    dispatch::retry_now,
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/retry-now";

/// Begins the next attempt at once, for which the request would have waited until `nextAttemptAt`. It is the attempt that
/// would have followed, with the same limit, in the request's next run.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "retryRequestNow",
    tag = "requests",
    summary = "Begin the next attempt at once",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 202, description = "The attempt waits for a worker: the broker has confirmed it, and it is recorded", body = Accepted,
            headers(("Location" = String, description = "Where the request can be looked at"))),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`not-waiting`: it has ended, is being worked on, or waits for a worker. \
            `no-data`: another program published it, and its message is not stored",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the broker takes no message of this length any more",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`unknown-type`: there is no queue for its type any more (`TYPES`)",
            body = Problem, content_type = "application/problem+json"),
        NotConfirmed
    )
)]
pub(crate) async fn retry_now(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    let begun = retry_now::retry_now(&state.dispatch, &state.notifier, id).await;
    begun.map_err(|error| rejected::retry_now(id, &error))?;
    Ok(accepted::response(id))
}
