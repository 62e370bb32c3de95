//! `GET /api/v1/requests`.

use std::cmp::Reverse;

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::api::state::State;
use crate::{
    api::{
        http::problem::Problem,
        openapi::schema::{OtherMethod, RequestStatus, StoreAway},
    },
    views::request::{self, PROCESSING, View},
};
use store::{Cursor, List, Status, StoreError, Summary};

pub(crate) const PATH: &str = "/api/v1/requests";

/// How many requests a page has, unless the caller says.
const USUAL: u32 = 50;
/// How many requests a page has at most.
const MOST: u32 = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Only requests in this state.
    #[param(value_type = RequestStatus, inline, required = false)]
    status: Option<String>,
    /// Only requests of this type.
    #[serde(rename = "type")]
    #[param(value_type = String, required = false)]
    kind: Option<String>,
    /// How many a page has at most.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 50)]
    limit: Option<String>,
    /// The `nextCursor` of the page before. What it is made of may change with any release.
    #[param(value_type = String, required = false, pattern = "^a[0-9a-f]{32}$")]
    cursor: Option<String>,
}

/// A page of requests.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Page {
    /// Requests without their results, newest first.
    items: Vec<View>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Requests without their results, newest first, page by page.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listRequests",
    tag = "requests",
    summary = "List requests",
    params(Query),
    responses(
        (status = 200, description = "A page", body = Page),
        (status = 400, description = "`wrong-query`: a parameter is unknown or out of its limits",
            body = Problem, content_type = "application/problem+json"),
        OtherMethod,
        StoreAway
    )
)]
pub(crate) async fn list(
    request: actix_web::HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|error| Problem::wrong_query(error.to_string()))?;
    let query = query.into_inner();
    let page = match query.status.as_deref() {
        Some(PROCESSING) => worked_on(&state, parse(query, None)?).await,
        word => {
            let status = word.map(parse_status).transpose()?;
            stored(&state, parse(query, status)?).await
        }
    };
    let page = page.map_err(|error| match error {
        StoreError::Refused(reason) => Problem::wrong_query(reason),
        StoreError::Unavailable(_) => Problem::unavailable(format!("{error}.")),
    })?;
    Ok(HttpResponse::Ok().json(page))
}

/// A page of what the store has. What is queued there and worked on is not shown as queued: such a
/// page is shorter, and the next one follows all the same.
async fn stored(state: &State, wanted: List) -> Result<Page, StoreError> {
    let queued = wanted.status == Some(Status::Queued);
    let page = state.store.list(wanted).await?;
    let views = page.items.into_iter().map(|summary| view(state, summary));
    let items = views.filter(|view| !(queued && view.job().is_some())).collect();
    Ok(Page::new(items, page.next))
}

/// A page of what is worked on. Those that have ended without the board knowing it, or are of
/// another type, make it shorter.
async fn worked_on(state: &State, wanted: List) -> Result<Page, StoreError> {
    let below = wanted.cursor.map_or(Uuid::max(), Cursor::id);
    let limit = wanted.limit as usize;
    let mut ids = state.jobs.newest(below, limit + 1);
    let more = ids.len() > limit;
    ids.truncate(limit);
    let next = ids.last().filter(|_| more).map(|last| Cursor::after(*last));
    let mut summaries = state.store.get_many(ids).await?;
    summaries.sort_by_key(|summary| Reverse(summary.id));
    let of_type = |kind: &str| wanted.kind.as_deref().is_none_or(|wanted| wanted == kind);
    let summaries = summaries.into_iter().filter(|summary| of_type(&summary.kind));
    let views = summaries.map(|summary| view(state, summary));
    Ok(Page::new(views.filter(|view| view.job().is_some()).collect(), next))
}

fn view(state: &State, summary: Summary) -> View {
    let job = state.jobs.get(summary.id);
    View::of_summary(summary).with(job)
}

impl Page {
    fn new(items: Vec<View>, next: Option<Cursor>) -> Self {
        Self { items, next_cursor: next.map(|next| next.to_string()) }
    }
}

fn parse_status(word: &str) -> Result<Status, Problem> {
    request::status(word).ok_or_else(|| {
        Problem::wrong_query("status is one of queued, processing, completed, failed, cancelled")
    })
}

fn parse(query: Query, status: Option<Status>) -> Result<List, Problem> {
    let limit = match query.limit.as_deref().map(str::parse) {
        None => USUAL,
        Some(Ok(limit @ 1..=MOST)) => limit,
        Some(_) => return Err(Problem::wrong_query(format!("limit is a number from 1 to {MOST}"))),
    };
    let cursor = query.cursor.as_deref().map(str::parse).transpose();
    let cursor = cursor.map_err(|_| Problem::wrong_query("cursor is the nextCursor of a page"))?;
    Ok(List { status, kind: query.kind, limit, cursor })
}
