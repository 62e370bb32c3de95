//! `GET /api/v1/stats`: what happened in the last hour, day or week, and how many requests there are now.

use actix_web::{HttpRequest, HttpResponse, web};
use pipeline::contract::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::{
    http::{
        page,
        problem::Problem,
        responses::{MethodNotAllowed, StoreUnavailable, WrongQuery},
    },
    state::State,
};
use store::{Bucket, StatsRange};

pub(crate) const PATH: &str = "/api/v1/stats";

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// How far to look back.
    #[param(value_type = Range, inline, required = false, default = "1h")]
    pub(crate) range: Option<String>,
    /// Only requests of this type.
    #[serde(rename = "type")]
    #[param(value_type = String, required = false)]
    pub(crate) kind: Option<String>,
}

/// How far statistics look back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) enum Range {
    #[serde(rename = "1h")]
    Hour,
    #[serde(rename = "24h")]
    Day,
    #[serde(rename = "7d")]
    Week,
}

/// What happened, and how many requests there are now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stats {
    /// By the store's clock.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    #[schema(inline)]
    pub(crate) range: Range,
    /// How many seconds an item of `series` stands for.
    pub(crate) bucket_seconds: u64,
    /// All parts of the range, the earliest first; the last one is not over.
    pub(crate) series: Vec<BucketView>,
    pub(crate) requests: Totals,
    /// The same by type.
    pub(crate) types: Vec<TypeTotals>,
}

/// What happened in a part of the range.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatsBucket)]
pub(crate) struct BucketView {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// Requests that were accepted.
    pub(crate) accepted: u64,
    /// Requests that were completed.
    pub(crate) completed: u64,
    /// Requests that failed.
    pub(crate) failed: u64,
    /// Attempts that failed and were followed by another one.
    pub(crate) retried: u64,
    /// Requests that were cancelled.
    pub(crate) cancelled: u64,
}

/// How many requests there are now with each status. Those that are being processed are queued here.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatsTotals)]
pub(crate) struct Totals {
    pub(crate) queued: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

/// The same of a type.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeTotals {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) queued: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
}

/// How many requests were accepted, were completed, failed and were cancelled, and how many attempts were repeated, in each
/// part of the last hour, day or week; and how many requests there are now. It costs the same however many there are.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "getStats",
    tag = "health",
    summary = "What happened lately, and how many requests there are",
    params(Query),
    responses(
        (status = 200, description = "The statistics", body = Stats),
        WrongQuery,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn stats(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(read(&state, page::query(&request)?).await?))
}

/// The statistics that a query asks for.
///
/// # Errors
/// 400 if a parameter has no valid value, 503 if the store is unavailable.
pub(crate) async fn read(state: &State, query: Query) -> Result<Stats, Problem> {
    let range = query.range.as_deref().map_or(Ok(Range::Hour), Range::named)?;
    let stats = state.store.stats(range.into(), query.kind).await?;
    let types: Vec<TypeTotals> = stats.totals.into_iter().map(TypeTotals::from).collect();
    Ok(Stats {
        at: stats.at,
        range,
        bucket_seconds: StatsRange::from(range).bucket().as_secs(),
        series: stats.buckets.into_iter().map(BucketView::from).collect(),
        requests: types.iter().fold(Totals::default(), Totals::with),
        types,
    })
}

impl Range {
    fn named(name: &str) -> Result<Self, Problem> {
        match name {
            "1h" => Ok(Self::Hour),
            "24h" => Ok(Self::Day),
            "7d" => Ok(Self::Week),
            _ => Err(Problem::wrong_query("range is 1h, 24h or 7d")),
        }
    }
}

impl Totals {
    fn with(self, more: &TypeTotals) -> Self {
        Self {
            queued: self.queued + more.queued,
            completed: self.completed + more.completed,
            failed: self.failed + more.failed,
            cancelled: self.cancelled + more.cancelled,
        }
    }
}

impl From<Range> for StatsRange {
    fn from(range: Range) -> Self {
        match range {
            Range::Hour => Self::Hour,
            Range::Day => Self::Day,
            Range::Week => Self::Week,
        }
    }
}

impl From<Bucket> for BucketView {
    fn from(Bucket { at, counts }: Bucket) -> Self {
        let store::Counts { accepted, completed, failed, retried, cancelled } = counts;
        Self { at, accepted, completed, failed, retried, cancelled }
    }
}

impl From<(String, store::Totals)> for TypeTotals {
    fn from((kind, totals): (String, store::Totals)) -> Self {
        let store::Totals { queued, completed, failed, cancelled } = totals;
        Self { kind, queued, completed, failed, cancelled }
    }
}
