//! `DELETE /api/v1/requests/{id}`.

use actix_web::{HttpResponse, web};
use tracing::info;

use crate::api::state::State;
use crate::{
    api::{
        http::problem::Problem,
        openapi::schema::{NoRequest, OtherMethod, StoreAway},
        requests::{
            get::{PATH, parse_id, whole},
            long_poll,
        },
    },
    views::request::View,
};
use store::Cancel;

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
        (status = 200, description = "The request, which is cancelled now", body = View, headers(
            ("ETag" = String, description = "For a look at the request later"),
            ("Cache-Control" = String, description = "`no-cache`")
        )),
        NoRequest,
        OtherMethod,
        (status = 409, description = "`already-ended`: it was completed, has failed, or was cancelled before",
            body = Problem, content_type = "application/problem+json"),
        StoreAway
    )
)]
pub(crate) async fn cancel(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    match state.store.cancel(id).await {
        Ok(Cancel::Done(run)) => {
            info!(requestId = %id, run, "cancelled");
            state.notifier.notify_cancelled(id, run);
            Ok(whole(&long_poll::look(&state, id).await?))
        }
        Ok(Cancel::TooLate(status)) => Err(Problem::already_ended(status.as_str())),
        Ok(Cancel::Expired) => Err(Problem::expired(id)),
        Ok(Cancel::Unknown) => Err(Problem::unknown_request(id)),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}
