//! `GET /api/v1/scale`: how much work there is, for autoscalers.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    api::{
        http::{
            page,
            problem::Problem,
            responses::{BacklogUnknown, MethodNotAllowed, WrongQuery},
        },
        state::State,
    },
    dispatch::known_type::known_type,
};

pub(crate) const PATH: &str = "/api/v1/scale";

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Only requests of this type, which has workers of its own.
    #[serde(rename = "type")]
    #[param(value_type = String, required = false)]
    kind: Option<String>,
}

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
    params(Query),
    responses(
        (status = 200, description = "The numbers", body = Scale),
        WrongQuery,
        BacklogUnknown,
        MethodNotAllowed
    )
)]
pub(crate) async fn scale(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let Query { kind } = page::query(&request)?;
    let of_type = kind.map(|name| known_type(state.types(), &name)).transpose();
    let of_type = of_type.map_err(|unknown| Problem::wrong_query(unknown.to_string()))?;
    let (counts, in_hand) = match &of_type {
        None => (state.queue_counts(), state.jobs.counts().0),
        Some(of_type) => {
            let in_hand = state.jobs.counts_by_type().remove(of_type).unwrap_or(0);
            (state.queue_counts_of(of_type), in_hand)
        }
    };
    let Some(counts) = counts else {
        // Zero would take away the workers.
        return Err(Problem::unavailable(
            "How many requests wait is not known: see /health/ready.",
        ));
    };
    let backlog = usize::try_from(counts.waiting).unwrap_or(usize::MAX).saturating_add(in_hand);
    let scale = Scale { ready: counts.waiting, in_hand, backlog, workers: counts.consumers };
    Ok(HttpResponse::Ok().json(scale))
}
