//! `/health/live` and `/health/ready`.

use actix_web::{HttpResponse, get, web};

use crate::state::State;

/// The process runs and answers. Says nothing about the broker: a restart would not help there.
#[get("/health/live")]
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "live" }))
}

/// Whether requests can be taken now: 200, or 503 with the parts that are missing.
#[get("/health/ready")]
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let readiness = state.readiness();
    match readiness.is_ready() {
        true => HttpResponse::Ok().json(readiness),
        false => HttpResponse::ServiceUnavailable().json(readiness),
    }
}
