//! `GET /api/v1/workers`: who works on what.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{http::responses::MethodNotAllowed, state::State},
    events::jobs::job::Job,
};

pub(crate) const PATH: &str = "/api/v1/workers";

/// The most requests in an answer.
const MAX_REQUESTS: usize = 10_000;

/// Who works on what.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = BusyWorkers)]
pub(crate) struct Workers {
    /// How many workers consume requests, busy or not; null while it is not known.
    #[schema(required = true)]
    pub(crate) consumers: Option<u32>,
    /// The workers that work on requests, by name.
    pub(crate) busy: Vec<BusyWorker>,
    /// Whether more requests are worked on than are shown.
    pub(crate) is_cut: bool,
}

/// A worker and what it works on.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BusyWorker {
    /// `host:pid/slot`; empty for workers of your own that do not tell.
    pub(crate) worker: String,
    /// One request, but for workers that share a name.
    pub(crate) requests: Vec<Work>,
}

/// The work on a request.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Work {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) request_id: Uuid,
    pub(crate) run: u32,
    pub(crate) attempt: u32,
    /// By the worker's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// What the worker has said of its progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(crate) message: Option<String>,
}

/// The workers that work on requests, as their events tell. It is at hand: a call asks neither the broker nor the store.
/// Short jobs are not announced, so they are not shown.
#[utoipa::path(
    get,
    path = PATH,
    tag = "health",
    summary = "Who works on what",
    responses((status = 200, description = "The workers", body = Workers), MethodNotAllowed)
)]
pub(crate) async fn workers(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(known(&state))
}

/// The workers that are known to work on requests.
pub(crate) fn known(state: &State) -> Workers {
    let mut jobs = state.jobs.all(MAX_REQUESTS + 1);
    let is_cut = jobs.len() > MAX_REQUESTS;
    jobs.truncate(MAX_REQUESTS);
    let consumers = state.queue_counts().map(|counts| counts.consumers);
    Workers { consumers, busy: by_worker(jobs), is_cut }
}

fn by_worker(jobs: Vec<(Uuid, Job)>) -> Vec<BusyWorker> {
    let mut workers: BTreeMap<String, Vec<Work>> = BTreeMap::new();
    for (request_id, job) in jobs {
        let work = Work {
            request_id,
            run: job.execution.run,
            attempt: job.execution.attempt,
            started_at: job.started_at,
            message: job.progress.and_then(|progress| progress.message),
        };
        workers.entry(job.worker.unwrap_or_default()).or_default().push(work);
    }
    workers.into_iter().map(|(worker, requests)| BusyWorker { worker, requests }).collect()
}
