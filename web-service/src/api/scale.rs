//! `GET /api/v1/scale`: how much work there is, for autoscalers.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::{
    http::{
        problem::Problem,
        responses::{BacklogUnknown, MethodNotAllowed},
    },
    state::State,
};

pub(crate) const PATH: &str = "/api/v1/scale";

/// How much work there is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scale {
    /// How many requests wait for a worker.
    ready: u32,
    /// How many requests are being worked on, as far as this web service knows.
    in_hand: usize,
    /// The two together: the number to scale by.
    backlog: usize,
    /// How many workers consume requests.
    workers: u32,
}

/// How many requests wait for a worker or are worked on. The numbers are at hand: a call asks neither the broker nor the
/// store, and an autoscaler may call often.
#[utoipa::path(
    get,
    path = PATH,
    tag = "health",
    summary = "How much work there is, for autoscalers",
    responses((status = 200, description = "The numbers", body = Scale), BacklogUnknown, MethodNotAllowed)
)]
pub(crate) async fn scale(state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let Some(counts) = state.queue_counts() else {
        // Zero would take away the workers.
        return Err(Problem::unavailable(
            "How many requests wait is not known: see /health/ready.",
        ));
    };
    let in_hand = state.jobs.counts().0;
    let backlog = usize::try_from(counts.waiting).unwrap_or(usize::MAX).saturating_add(in_hand);
    let scale = Scale { ready: counts.waiting, in_hand, backlog, workers: counts.consumers };
    Ok(HttpResponse::Ok().json(scale))
}
