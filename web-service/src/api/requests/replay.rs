//! `POST /api/v1/requests/{id}/replay` and `/discard`: what people decide of failed requests.

use actix_web::{HttpResponse, http::header, web};
use pipeline::broker::PublishError;
use tracing::{info, warn};
use uuid::Uuid;

use crate::api::{
    http::problem::Problem,
    openapi::schema::{NoRequest, OtherMethod, StoreAway},
    requests::{
        get::parse_id,
        submit::{Accepted, location, not_published},
    },
};
use crate::{
    api::state::State,
    dispatch::replay::{self, ReplayError},
};
use store::Discard;

pub(crate) const REPLAY: &str = "/api/v1/requests/{id}/replay";
pub(crate) const DISCARD: &str = "/api/v1/requests/{id}/discard";

/// Has a failed request done again, under the same id, as its next run. Its `expiresIn` does not count any
/// more; its callback is sent again, for the end of the new run.
#[utoipa::path(
    post,
    path = REPLAY,
    operation_id = "replayRequest",
    tag = "failed requests",
    summary = "Do a failed request again",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 202, description = "It is queued again: the broker has confirmed it, and it is recorded", body = Accepted,
            headers(("Location" = String, description = "Where to see what comes of it"))),
        NoRequest,
        OtherMethod,
        (status = 409, description = "`not-failed`: it has not failed, or was replayed already. \
            `no-data`: nobody knows what to work on, since another program published it",
            body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable` or `topology-missing`: nothing was sent, try again. \
            `outcome-unknown`: it may be done, and may be repeated without harm",
            body = Problem, content_type = "application/problem+json", headers(
                ("Retry-After" = u32, description = "Seconds after which trying again makes sense"),
                ("Location" = String, description = "With `outcome-unknown`: where to look")
            ))
    )
)]
pub(crate) async fn replay(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    replay::replay(&state.dispatch, &state.notifier, id)
        .await
        .map_err(|error| refusal(id, &error))?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, location(id)))
        .json(Accepted { request_id: id }))
}

/// What to say of a request that was not replayed.
fn refusal(id: Uuid, error: &ReplayError) -> Problem {
    warn!(requestId = %id, "not replayed: {error}");
    match error {
        ReplayError::Unknown => Problem::unknown_request(id),
        ReplayError::Expired => Problem::expired(id),
        ReplayError::NotFailed(status) => Problem::not_failed(status.as_str()),
        ReplayError::NoData => Problem::no_data(),
        ReplayError::StoreAway(_) => {
            Problem::unavailable(format!("Nothing was sent, try again: {error}."))
        }
        ReplayError::NotRecorded(_) => Problem::outcome_unknown(
            id,
            "The request was handed to the workers, but that could not be recorded. Make the same call again: \
             it does no harm.",
        ),
        ReplayError::Publish(PublishError::Unknown(_)) => Problem::outcome_unknown(
            id,
            "The request was sent, but the broker has not confirmed it. Make the same call again: it does no harm.",
        ),
        ReplayError::Publish(error) => not_published(id, error),
    }
}

/// Lets a failed request expire at once, and clears away its parked messages.
#[utoipa::path(
    post,
    path = DISCARD,
    operation_id = "discardRequest",
    tag = "failed requests",
    summary = "Let go of a failed request",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 204, description = "It is gone; its id answers `410` from now on"),
        NoRequest,
        OtherMethod,
        (status = 409, description = "`not-failed`: it has not failed, or was replayed. \
            `callback-pending`: its end is still to be told",
            body = Problem, content_type = "application/problem+json"),
        StoreAway
    )
)]
pub(crate) async fn discard(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    match state.store.discard(id).await {
        Ok(Discard::Done) => {
            info!(requestId = %id, "discarded");
            Ok(HttpResponse::NoContent().finish())
        }
        Ok(Discard::CallbackPending) => Err(Problem::callback_untold()),
        Ok(Discard::NotFailed(status)) => Err(Problem::not_failed(status.as_str())),
        Ok(Discard::Expired) => Err(Problem::expired(id)),
        Ok(Discard::Unknown) => Err(Problem::unknown_request(id)),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}
