//! `POST /api/v1/requests/{id}/discard`: deletes a failed request before its retention is over.

use actix_web::{HttpResponse, web};
use tracing::info;

use crate::api::{
    http::{
        problem::Problem,
        problem_type::ProblemType,
        request_id,
        responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
    },
    state::State,
};
use store::Discard;

/// Why a request is not discarded yet.
pub(crate) const CALLBACK_PENDING: &str =
    "Its callback is pending: discard the request when the callback is delivered or has failed.";

pub(crate) const PATH: &str = "/api/v1/requests/{id}/discard";

/// Lets a failed request expire at once, and deletes its parked messages.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "discardRequest",
    tag = "failed requests",
    summary = "Discard a failed request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 204, description = "It is deleted; from now on the response to its id is `410`"),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`not-failed`: it has not failed, or was replayed. \
            `callback-pending`: its callback is neither delivered nor failed",
            body = Problem, content_type = "application/problem+json"),
        StoreUnavailable
    )
)]
pub(crate) async fn discard(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    match state.store.discard(id).await? {
        Discard::Done => {
            info!(requestId = %id, "discarded");
            Ok(HttpResponse::NoContent().finish())
        }
        Discard::CallbackPending => {
            Err(Problem::new(ProblemType::CallbackPending, CALLBACK_PENDING))
        }
        Discard::NotFailed(status) => Err(Problem::not_failed(status.as_str())),
        Discard::Expired => Err(Problem::expired(id)),
        Discard::Unknown => Err(Problem::unknown_request(id)),
    }
}
