//! `DELETE /api/v1/requests/{id}`: cancels a request.

use actix_web::{HttpResponse, web};
use tracing::info;

use crate::{
    api::{
        http::{
            problem::Problem,
            problem_type::ProblemType,
            request_id,
            responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
        },
        requests::{
            get::{self, PATH},
            load::load,
        },
        state::State,
    },
    views::request::RequestView,
};
use store::{Cancel, Status, StoreError};

/// Cancels a request: from this answer on it is `cancelled`, whatever its worker does. The worker is told
/// to stop.
#[utoipa::path(
    delete,
    path = PATH,
    operation_id = "cancelRequest",
    tag = "requests",
    summary = "Cancel a request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 200, description = "The request, which is cancelled now", body = RequestView, headers(
            ("ETag" = String, description = "For `If-None-Match`"),
            ("Cache-Control" = String, description = "`no-cache`")
        )),
        RequestNotFound,
        MethodNotAllowed,
        (status = 409, description = "`already-ended`: it was completed, has failed, or was cancelled before",
            body = Problem, content_type = "application/problem+json"),
        StoreUnavailable
    )
)]
pub(crate) async fn cancel(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    match state.store.cancel(id).await.map_err(|error| not_answered(&error))? {
        Cancel::Done(run) => {
            info!(requestId = %id, run, "cancelled");
            state.notifier.notify_cancelled(id, run);
            let cancelled = load(&state, id).await;
            let kind = cancelled.as_ref().ok().map(|request| request.kind.as_str());
            state.dispatch.metrics.cancelled(kind);
            Ok(get::response(&cancelled?))
        }
        Cancel::TooLate(status) => {
            if status == Status::Cancelled {
                // Maybe by this call, or an earlier one, whose commit was not answered: then nobody was told.
                let run = load(&state, id).await.map_or(0, |request| request.run);
                state.notifier.notify_cancelled(id, run);
            }
            let detail = format!("The request has ended: it is {}.", status.as_str());
            Err(Problem::new(ProblemType::AlreadyEnded, detail))
        }
        Cancel::Expired => Err(Problem::expired(id)),
        Cancel::Unknown => Err(Problem::unknown_request(id)),
    }
}

/// The problem of a cancel that the store has not answered: it may have committed it all the same.
fn not_answered(error: &StoreError) -> Problem {
    Problem::unavailable(format!(
        "{error}. The request may have been cancelled all the same: repeat the call, it does no harm."
    ))
}
