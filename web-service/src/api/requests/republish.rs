//! `POST /api/v1/requests/{id}/republish`: publishes a request again whose message is missing.

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

pub(crate) const PATH: &str = "/api/v1/requests/{id}/republish";

/// Publishes a request again whose message is missing in the broker, from the store, as the request's next run: the attempt
/// that would have followed, at the time that it waits for. If its message is not missing after all, that one is obsolete.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "republishRequest",
    tag = "health",
    summary = "Publish a request again whose message is missing",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 202, description = "The broker has confirmed the message, and its run is recorded", body = Accepted,
            headers(("Location" = String, description = "Where the request can be looked at"))),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`not-waiting`: it has ended, a worker works on it, or another attempt has begun meanwhile. \
            `no-data`: another program published it, and its message is not stored",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`too-large`: the broker takes no message of this length any more",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`unknown-type`: there is no queue for its type any more (`TYPES`)",
            body = Problem, content_type = "application/problem+json"),
        NotConfirmed
    )
)]
pub(crate) async fn republish(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    let published = retry_now::republish(&state.dispatch, &state.notifier, id).await;
    published.map_err(|error| rejected::retry_now(id, &error))?;
    Ok(accepted::response(id))
}
