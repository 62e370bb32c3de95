//! `GET /api/v1/status`: what waits, is worked on, and has failed, with the state of broker, store and queues.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use pipeline::{
    contract::Timestamp,
    health::{self, QueueCounts},
};
use serde::Serialize;
use store::{COUNT_LIMIT, OldestRequest, Overview};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::{http::responses::MethodNotAllowed, openapi::schema, state::State};

pub(crate) const PATH: &str = "/api/v1/status";

/// What happens at present. What is not known, because the broker or the store is away, is left out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// Whether requests can be accepted now, as `/health/ready` tells.
    #[schema(value_type = schema::ReadyStatus)]
    pub(crate) status: &'static str,
    /// The parts that the service needs, by name.
    #[schema(value_type = BTreeMap<String, schema::Part>)]
    pub(crate) parts: BTreeMap<&'static str, health::Part>,
    pub(crate) requests: Requests,
    /// The counts `open`, `retrying` and `failed` go no further: this number stands for that many or more.
    pub(crate) count_limit: u32,
    /// The open request that was submitted first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Oldest)]
    pub(crate) oldest: Option<Oldest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Rates)]
    pub(crate) rates: Option<Rates>,
    pub(crate) workers: Workers,
    /// The queues, as the broker answered some seconds ago.
    pub(crate) queues: Vec<QueueView>,
}

/// How many requests there are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Requests {
    /// They have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32)]
    pub(crate) open: Option<u32>,
    /// They wait in the queues of all types for a worker, those of other programs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32)]
    pub(crate) waiting: Option<u32>,
    /// A worker is known to work on them: for 100 ms at least.
    pub(crate) processing: usize,
    /// They wait for their next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32)]
    pub(crate) retrying: Option<u32>,
    /// They have failed, and were neither replayed nor discarded, nor have expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32)]
    pub(crate) failed: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Oldest {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) request_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) accepted_at: Option<Timestamp>,
}

/// How many requests a second, on average over the last minute, or over the last thousand requests if those took less.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rates {
    pub(crate) accepted_per_second: f64,
    pub(crate) ended_per_second: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workers {
    /// How many workers consume requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32)]
    pub(crate) subscribed: Option<u32>,
    /// How many are known to work on a request.
    pub(crate) busy: usize,
}

/// A queue.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Queue)]
pub(crate) struct QueueView {
    pub(crate) name: String,
    /// The messages that wait in it; those that are being processed are not among them.
    pub(crate) messages: u32,
    /// The programs' subscriptions to it.
    pub(crate) consumers: u32,
}

/// The state of the whole system on one page: how many requests wait, are worked on and have failed, the workers, the
/// queues, broker and store. It may be some seconds old.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "getStatus",
    tag = "health",
    summary = "What happens at present",
    responses(
        (status = 200, description = "What is known, also while the broker or the store is away", body = Status),
        MethodNotAllowed
    )
)]
pub(crate) async fn status(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(Status::of(&state).await)
}

impl Status {
    /// What is known now.
    pub(crate) async fn of(state: &State) -> Self {
        let overview = state.overview.read(&state.store).await;
        let queues = state.counted_queues();
        let requests = state.queue_counts();
        let (processing, busy) = state.jobs.counts();
        let health::Readiness { status, parts } = state.readiness();
        let count = |count: fn(&Overview) -> u32| overview.as_ref().map(count);
        Self {
            at: Timestamp::now(),
            status,
            parts,
            requests: Requests {
                open: count(|overview| overview.open),
                waiting: requests.map(|counts| counts.waiting),
                processing,
                retrying: count(|overview| overview.retrying),
                failed: count(|overview| overview.failed),
            },
            count_limit: COUNT_LIMIT,
            oldest: overview.as_ref().and_then(|overview| overview.oldest).map(Oldest::from),
            rates: overview.as_ref().map(Rates::from),
            workers: Workers { subscribed: requests.map(|counts| counts.consumers), busy },
            queues: queues.known().map(QueueView::from).collect(),
        }
    }
}

impl From<OldestRequest> for Oldest {
    fn from(OldestRequest { id, accepted_at }: OldestRequest) -> Self {
        Self { request_id: id, accepted_at }
    }
}

impl From<&Overview> for Rates {
    fn from(overview: &Overview) -> Self {
        let Overview { accepted_per_second, ended_per_second, .. } = *overview;
        Self { accepted_per_second, ended_per_second }
    }
}

impl From<(&str, QueueCounts)> for QueueView {
    fn from((name, QueueCounts { waiting, consumers }): (&str, QueueCounts)) -> Self {
        Self { name: name.to_owned(), messages: waiting, consumers }
    }
}
