//! `GET /api/v1/requests/{id}/attempts`: the attempts at a request.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{
        http::{
            problem::Problem,
            request_id,
            responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
        },
        state::State,
    },
    views::{attempt::AttemptView, request::RequestView},
};
use store::FoundAttempts;

pub(crate) const PATH: &str = "/api/v1/requests/{id}/attempts";

/// The attempts at a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempts {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) request_id: Uuid,
    /// The earliest first, the one that is running last. At most 1,000, the latest.
    pub(crate) items: Vec<AttemptView>,
    /// Whether there were more.
    pub(crate) is_cut: bool,
}

/// The attempts at a request, of all its runs: who made each, when, how it ended, and why it failed. Of attempts that
/// failed and were followed by another one, the workers' events tell, which may be lost.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listAttempts",
    tag = "requests",
    summary = "List the attempts at a request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 200, description = "The attempts", body = Attempts),
        RequestNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn attempts(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(load(&state, request_id::parse(&id)?).await?))
}

/// The attempts at a request as they are now.
///
/// # Errors
/// 404, 410, or 503 if the store is unavailable.
pub(crate) async fn load(state: &State, id: Uuid) -> Result<Attempts, Problem> {
    // The job first: if the request ends in between, it is final, and the job is not shown.
    let job = state.jobs.get(id);
    match state.store.attempts(id).await? {
        FoundAttempts::Of { summary, attempts, is_cut } => {
            let mut items: Vec<_> = attempts.into_iter().map(AttemptView::from).collect();
            let view = RequestView::from(*summary).with_job(job);
            let running = view.job().map(AttemptView::running);
            // Its failure may be known before the job is forgotten.
            items.extend(running.filter(|job| !items.iter().any(|one| one.is_same_attempt(job))));
            Ok(Attempts { request_id: id, items, is_cut })
        }
        FoundAttempts::Expired => Err(Problem::expired(id)),
        FoundAttempts::Unknown => Err(Problem::unknown_request(id)),
    }
}
