//! `GET /metrics`: metrics for Prometheus.

use actix_web::{HttpResponse, web};

use crate::api::{http::responses::MethodNotAllowed, state::State};

pub(crate) const PATH: &str = "/metrics";

/// What the service counts and measures, in the text format of Prometheus. docs/metrics.md lists the metrics.
#[utoipa::path(
    get,
    path = PATH,
    tag = "health",
    summary = "Metrics for Prometheus",
    responses(
        (status = 200, description = "The metrics as text", body = String, content_type = "text/plain"),
        MethodNotAllowed
    )
)]
pub(crate) async fn metrics(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().content_type(pipeline::metrics::CONTENT_TYPE).body(state.metrics_text())
}
