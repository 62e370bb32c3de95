//! `GET /health/live` and `GET /health/ready`: liveness and readiness.

use actix_web::{HttpResponse, http::header, web};

use crate::api::{
    http::responses::MethodNotAllowed,
    openapi::schema::{Live, Ready},
    state::State,
};

pub(crate) const LIVE: &str = "/health/live";
pub(crate) const READY: &str = "/health/ready";

/// When to look again. What is missing may be there in a moment, and probes look as often.
const RETRY_AFTER_SECONDS: &str = "5";

/// The process runs and answers. This tells nothing about the broker, as a restart would not help there.
#[utoipa::path(
    get,
    path = LIVE,
    tag = "health",
    summary = "Liveness: whether the process runs",
    responses((status = 200, description = "It runs and answers", body = Live), MethodNotAllowed)
)]
pub(crate) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "live" }))
}

/// Whether requests can be accepted now: 200, or 503 with the parts that are missing.
#[utoipa::path(
    get,
    path = READY,
    tag = "health",
    summary = "Readiness: whether requests can be accepted now",
    responses(
        (status = 200, description = "Every part is available", body = Ready),
        (status = 503, description = "A part is missing: `parts` tells which, and why", body = Ready,
            headers(("Retry-After" = u32, description = "Seconds to wait before the call is repeated"))),
        MethodNotAllowed
    )
)]
pub(crate) async fn ready(state: web::Data<State>) -> HttpResponse {
    let readiness = state.readiness();
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(readiness),
        false => HttpResponse::ServiceUnavailable()
            .insert_header((header::RETRY_AFTER, RETRY_AFTER_SECONDS))
            .json(readiness),
    }
}
