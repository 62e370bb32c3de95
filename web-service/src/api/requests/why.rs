//! `GET /api/v1/requests/{id}/why`: why a request has not ended, or how it has.

use std::collections::HashSet;

use actix_web::{HttpResponse, web};
use pipeline::{contract::Timestamp, health::Part};
use serde::Serialize;
use store::{COUNT_LIMIT, Found, Summary};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    api::{
        http::{
            problem::Problem,
            request_id,
            responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
        },
        state::State,
    },
    dispatch::known_type::known_type,
    events::jobs::job::Job,
    why::{
        facts::{Begins, Facts, Reason, Why, WorkInHand},
        why,
    },
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}/why";

/// The most jobs that are looked at.
const MAX_JOBS: usize = 10_000;

/// Why a request is where it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Why)]
struct WhyView {
    #[schema(value_type = String, format = "uuid")]
    request_id: Uuid,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The most important first. There is always one.
    reasons: Vec<ReasonView>,
    /// When the work may begin, if that can be told and it has not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = BeginsView)]
    begins: Option<BeginsView>,
}

/// A reason.
#[derive(Serialize, ToSchema)]
#[schema(as = WhyReason)]
struct ReasonView {
    /// For programs: `waits-for-worker`, `waits-for-time`, `no-worker`, `workers-paused`, `may-be-missing`, `broker-away`,
    /// `unknown-type`, `not-known`, `in-work`, `suspect`, `failed-before`, `completed`, `failed`, `cancelled`, `callback-pending`,
    /// `callback-delivered`, `callback-failed`.
    code: &'static str,
    /// A sentence for people.
    text: String,
}

/// When the work may begin.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WhyBegins)]
struct BeginsView {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Whether it is estimated from the place in the queue and the rate of the last minute. Else it is the time that the
    /// request waits for.
    is_estimate: bool,
}

/// Why a request has not ended, as reasons with codes and sentences, and when its work may begin; or how it has ended. The
/// numbers may be some seconds old.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "whyRequest",
    tag = "requests",
    summary = "Why a request has not ended",
    params(("id" = String, Path, format = "uuid", description = "The `requestId`")),
    responses(
        (status = 200, description = "The reasons", body = WhyView),
        RequestNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn why_request(
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    let facts = facts(&state, id).await?;
    let Why { reasons, begins } = why(&facts);
    Ok(HttpResponse::Ok().json(WhyView {
        request_id: id,
        at: facts.now,
        reasons: reasons.into_iter().map(ReasonView::from).collect(),
        begins: begins.map(BeginsView::from),
    }))
}

/// What is known of the request and of the system.
///
/// # Errors
/// 404, 410, or 503 if the store is unavailable.
pub(crate) async fn facts(state: &State, id: Uuid) -> Result<Facts, Problem> {
    // The job first: if the request ends in between, it is final, and the job is not told of.
    let job = state.jobs.get(id);
    let request: Summary = match state.store.get(id).await? {
        Found::Record(request) => request.summary,
        Found::Expired => return Err(Problem::expired(id)),
        Found::Unknown => return Err(Problem::unknown_request(id)),
    };
    let job = job.filter(|job| job.execution.run >= request.run);
    let before = match request.status.is_final() || job.is_some() {
        true => None,
        false => state.store.open_before(&request.kind, id).await.ok(),
    };
    // At its limit the store has stopped counting.
    let before = before.filter(|before| *before < COUNT_LIMIT);
    let overview = state.overview.read(&state.store).await;
    let of_type = known_type(state.types(), &request.kind).ok();
    let mut jobs = state.jobs.all(MAX_JOBS);
    jobs.retain(|(_, job)| job.request_type.as_str() == request.kind);
    let in_work_before = jobs.iter().filter(|(in_work, _)| *in_work < id).count();
    let in_work_before = u32::try_from(in_work_before).unwrap_or(u32::MAX);
    // The rate is that of all types together.
    let overview = overview.filter(|_| state.types().only().is_some());
    Ok(Facts {
        now: Timestamp::now(),
        request,
        job,
        broker_away: broker_away(state),
        is_known_type: of_type.is_some(),
        queue: of_type.and_then(|of_type| state.queue_counts_of(&of_type)),
        before: before.map(|before| before.saturating_sub(in_work_before)),
        ended_per_second: overview.map(|overview| overview.ended_per_second),
        // They pause the workers of their processes, of whatever type those are.
        suspects: state.jobs.suspects(),
        work: work_in_hand(&jobs),
    })
}

fn broker_away(state: &State) -> Option<String> {
    let parts = state.readiness().parts;
    let missing = |part: &Part| (!part.ok).then(|| part.detail.clone());
    ["broker.publish", "broker.consume"].iter().find_map(|name| parts.get(name).and_then(missing))
}

fn work_in_hand(jobs: &[(Uuid, Job)]) -> WorkInHand {
    let nameless = jobs.iter().filter(|(_, job)| job.worker.is_none()).count();
    let named: HashSet<_> = jobs.iter().filter_map(|(_, job)| job.worker.as_deref()).collect();
    WorkInHand {
        busy: named.len() + nameless,
        longest_since: jobs.iter().filter_map(|(_, job)| job.started_at).min(),
    }
}

impl From<Reason> for ReasonView {
    fn from(Reason { code, text }: Reason) -> Self {
        Self { code, text }
    }
}

impl From<Begins> for BeginsView {
    fn from(Begins { at, is_estimate }: Begins) -> Self {
        Self { at, is_estimate }
    }
}
