//! `POST /api/v1/requests/{id}/replay`: publishes a failed request again.

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
    dispatch::replay,
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/replay";

/// Processes a failed request again, under the same id, as its next run. Its `expiresIn` no longer counts;
/// its callback is sent again, for the end of the new run.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "replayRequest",
    tag = "failed requests",
    summary = "Replay a failed request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 202, description = "It is queued again: the broker has confirmed it, and it is recorded", body = Accepted,
            headers(("Location" = String, description = "The URL of the request"))),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`not-failed`: it has not failed, or was replayed already. \
            `no-data`: another program published it, and its message is not stored",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the broker takes no message of this length any more",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`unknown-type`: there is no queue for its type any more (`TYPES`)",
            body = Problem, content_type = "application/problem+json"),
        NotConfirmed
    )
)]
pub(crate) async fn replay(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    let replayed = replay::replay(&state.dispatch, &state.notifier, id).await;
    replayed.map_err(|error| rejected::replay(id, &error))?;
    Ok(accepted::response(id))
}
