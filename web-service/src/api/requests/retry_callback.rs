//! `POST /api/v1/requests/{id}/callback/retry`, and a callback as clients see it.

use actix_web::{HttpResponse, http::header, web};
use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::state::State;
use crate::api::{
    http::problem::Problem,
    openapi::schema::{CallbackStatus, NoRequest, OtherMethod, StoreAway},
    requests::{
        get::parse_id,
        long_poll,
        submit::{Accepted, location},
    },
};
use store::Callback;

pub(crate) const PATH: &str = "/api/v1/requests/{id}/callback/retry";

/// How far the `callbackUrl` has been told.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Callback)]
pub(crate) struct CallbackView {
    #[schema(value_type = CallbackStatus)]
    status: &'static str,
    /// How many attempts were begun.
    attempts: u32,
    /// What went wrong with the last one that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    last_error: Option<String>,
    /// When the next one begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// When the receiver took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    delivered_at: Option<Timestamp>,
}

impl CallbackView {
    /// The address stays with us: it may hold a password.
    pub(crate) fn of(callback: Callback) -> Self {
        Self {
            status: callback.status.as_str(),
            attempts: callback.attempts,
            last_error: callback.last_error,
            next_attempt_at: callback.next_attempt_at,
            delivered_at: callback.delivered_at,
        }
    }
}

/// Delivers a callback now: once more if it was delivered or given up, at once if it waits for its next attempt.
#[utoipa::path(
    post,
    path = PATH,
    operation_id = "retryCallback",
    tag = "requests",
    summary = "Send a callback again",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 202, description = "It is sent now, with the same `webhook-id`", body = Accepted,
            headers(("Location" = String, description = "Where to see what comes of it"))),
        NoRequest,
        OtherMethod,
        (status = 409, description = "`no-callback`: the request has none. `callback-pending`: the request has not ended, or an attempt is under way",
            body = Problem, content_type = "application/problem+json"),
        StoreAway
    )
)]
pub(crate) async fn retry(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    match state.store.retry_callback(id).await {
        Ok(true) => Ok(HttpResponse::Accepted()
            .insert_header((header::LOCATION, location(id)))
            .json(Accepted { request_id: id })),
        Ok(false) => Err(match long_poll::look(&state, id).await?.has_callback() {
            true => Problem::callback_pending(),
            false => Problem::no_callback(),
        }),
        Err(error) => Err(Problem::unavailable(format!("{error}."))),
    }
}
