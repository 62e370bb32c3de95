//! Loads a request as clients see it: from the store, with the job that is known of it.

use uuid::Uuid;

use crate::{
    api::{http::problem::Problem, state::State},
    views::request::RequestView,
};
use store::{Found, Summary};

/// The request as it is now.
///
/// # Errors
/// 404, 410, or 503 if the store is unavailable.
pub(crate) async fn load(state: &State, id: Uuid) -> Result<RequestView, Problem> {
    // The job first: if the request ends in between, it is final, and the job is not shown.
    let job = state.jobs.get(id);
    match state.store.get(id).await? {
        Found::Record(request) => Ok(RequestView::from(*request).with_job(job)),
        Found::Expired => Err(Problem::expired(id)),
        Found::Unknown => Err(Problem::unknown_request(id)),
    }
}

/// A stored request with the job that is known of it.
pub(crate) fn with_job(state: &State, summary: Summary) -> RequestView {
    let job = state.jobs.get(summary.id);
    RequestView::from(summary).with_job(job)
}
