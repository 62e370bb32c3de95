//! `/health/live` and `/health/ready`.

use actix_web::{HttpResponse, web};

use crate::api::openapi::schema::{Live, OtherMethod, Ready};
use crate::api::state::State;

pub(super) const LIVE: &str = "/health/live";
pub(super) const READY: &str = "/health/ready";

/// The process runs and answers. Says nothing about the broker: a restart would not help there.
#[utoipa::path(
    get,
    path = LIVE,
    tag = "health",
    summary = "Whether the process runs",
    responses((status = 200, description = "It runs and answers", body = Live), OtherMethod)
)]
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "live" }))
}

/// Whether requests can be taken now: 200, or 503 with the parts that are missing.
#[utoipa::path(
    get,
    path = READY,
    tag = "health",
    summary = "Whether requests can be taken now",
    responses(
        (status = 200, description = "Everything that is needed is there", body = Ready),
        (status = 503, description = "Something is missing: see which part, and why", body = Ready),
        OtherMethod
    )
)]
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let readiness = state.readiness();
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(readiness),
        false => HttpResponse::ServiceUnavailable().json(readiness),
    }
}
