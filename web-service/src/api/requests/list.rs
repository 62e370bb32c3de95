//! `GET /api/v1/requests`: lists requests, newest first, page by page.

use std::cmp::Reverse;

use actix_web::{HttpRequest, HttpResponse, web};
use pipeline::contract::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    api::{
        http::{
            page,
            problem::Problem,
            responses::{MethodNotAllowed, StoreUnavailable, WrongQuery},
        },
        requests::load::with_job,
        state::State,
    },
    views::request::{RequestStatus, RequestView},
};
use store::{
    BadGroupId, BadIdPrefix, Count, Cursor, MAX_COUNT, RequestFilter, RequestQuery, Status,
    StoreError,
};

pub(crate) const PATH: &str = "/api/v1/requests";

/// The most attempts that a filter can ask for: the largest number of the format `int32`, which the description has.
const MAX_ATTEMPTS: u32 = i32::MAX as u32;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Only requests with this status.
    #[param(value_type = RequestStatus, inline, required = false)]
    pub(crate) status: Option<String>,
    /// Only requests of this type.
    #[serde(rename = "type")]
    #[param(value_type = String, required = false)]
    pub(crate) kind: Option<String>,
    /// Only requests that have failed with this error code.
    #[param(value_type = String, required = false)]
    pub(crate) code: Option<String>,
    /// Only requests that are failed now with an error of this group.
    #[param(value_type = String, required = false, pattern = "^[0-9a-f]{16}$")]
    pub(crate) group: Option<String>,
    /// Only requests whose ids begin with these hexadecimal digits, with or without dashes.
    #[param(value_type = String, required = false, pattern = "^[0-9a-fA-F-]{1,36}$")]
    pub(crate) id: Option<String>,
    /// Only requests that were accepted then or later, by the time in their ids.
    #[param(value_type = String, required = false, format = DateTime)]
    pub(crate) accepted_after: Option<String>,
    /// Only requests that were accepted before, by the time in their ids.
    #[param(value_type = String, required = false, format = DateTime)]
    pub(crate) accepted_before: Option<String>,
    /// Only requests of which so many attempts were made, or more.
    #[param(value_type = u32, required = false, minimum = 2, maximum = 2147483647)]
    pub(crate) attempts: Option<String>,
    /// Whether to count the requests of all pages, 1,000 at most.
    #[param(value_type = bool, required = false, default = false)]
    pub(crate) count: Option<String>,
    /// The maximum number of items on a page.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 500, default = 50)]
    pub(crate) limit: Option<String>,
    /// The `nextCursor` of the page before. Its format may change with any release.
    #[param(value_type = String, required = false, pattern = "^a[0-9a-f]{32}$")]
    pub(crate) cursor: Option<String>,
}

/// A page of requests.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page {
    /// Requests without their results, newest first.
    pub(crate) items: Vec<RequestView>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required = true)]
    pub(crate) next_cursor: Option<String>,
    /// With `count=true`: how many requests all pages have, 1,000 at most. Not for `status=processing` with other filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u32)]
    pub(crate) count: Option<u32>,
    /// Whether there may be more than `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool)]
    pub(crate) is_count_capped: Option<bool>,
}

/// Requests without their results, newest first, page by page. A page may be shorter than `limit`, and even empty, though
/// more follow: only a `nextCursor` of null ends the list.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "listRequests",
    tag = "requests",
    summary = "List requests",
    params(Query),
    responses(
        (status = 200, description = "A page", body = Page),
        WrongQuery,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = page_of(&state, page::query(&request)?).await?;
    Ok(HttpResponse::Ok().json(page))
}

/// The page that a query asks for.
///
/// # Errors
/// 400 if a parameter has no valid value, 503 if the store is unavailable.
pub(crate) async fn page_of(state: &State, query: Query) -> Result<Page, Problem> {
    let status = query.status.as_deref().map(status).transpose()?;
    let wanted = RequestQuery {
        filter: filter(&query, status)?,
        limit: page::limit(query.limit.as_deref())?,
        cursor: page::cursor(query.cursor.as_deref())?,
    };
    let is_counted = page::flag("count", query.count.as_deref())?;
    counted(state, wanted, status, is_counted).await.map_err(|error| match error {
        StoreError::Refused(reason) => Problem::wrong_query(reason),
        StoreError::Unavailable(_) => error.into(),
    })
}

/// These requests, without those that are gone.
///
/// # Errors
/// 503 if the store is unavailable.
pub(crate) async fn by_ids(state: &State, ids: Vec<Uuid>) -> Result<Vec<RequestView>, Problem> {
    let summaries = state.store.get_many(ids).await?;
    Ok(summaries.into_iter().map(|summary| with_job(state, summary)).collect())
}

async fn counted(
    state: &State,
    wanted: RequestQuery,
    status: Option<RequestStatus>,
    is_counted: bool,
) -> Result<Page, StoreError> {
    let (filter, is_first) = (wanted.filter.clone(), wanted.cursor.is_none());
    let is_processing = status == Some(RequestStatus::Processing);
    let page = match is_processing {
        true => processing(state, wanted).await?,
        false => stored(state, wanted).await?,
    };
    if !is_counted {
        return Ok(page);
    }
    let is_whole = is_first && page.next_cursor.is_none();
    let count = match is_processing {
        true => count_processing(state, &filter),
        false if is_whole => Some(count_of(page.items.len())),
        false => Some(count_stored(state, filter).await?),
    };
    Ok(page.with_count(count))
}

/// The filters of a query. The status `processing` is not stored.
fn filter(query: &Query, status: Option<RequestStatus>) -> Result<RequestFilter, Problem> {
    let id_prefix = query.id.as_deref().map(str::parse).transpose();
    let group = query.group.as_deref().map(str::parse).transpose();
    Ok(RequestFilter {
        status: status.and_then(RequestStatus::stored),
        kind: query.kind.clone(),
        code: query.code.clone(),
        group: group.map_err(|error: BadGroupId| Problem::wrong_query(error.to_string()))?,
        id_prefix: id_prefix
            .map_err(|error: BadIdPrefix| Problem::wrong_query(error.to_string()))?,
        accepted_after: time("acceptedAfter", query.accepted_after.as_deref())?,
        accepted_before: time("acceptedBefore", query.accepted_before.as_deref())?,
        min_attempts: query.attempts.as_deref().map(attempts).transpose()?,
    })
}

/// The parameter `attempts`.
fn attempts(text: &str) -> Result<u32, Problem> {
    let attempts = text.parse().ok().filter(|attempts| (2..=MAX_ATTEMPTS).contains(attempts));
    attempts.ok_or_else(|| {
        Problem::wrong_query(format!("attempts is a number from 2 to {MAX_ATTEMPTS}"))
    })
}

/// A parameter that is a time.
fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let time = text.map(str::parse).transpose();
    let example = "2026-11-21T09:54:22.988Z";
    time.map_err(|_| Problem::wrong_query(format!("{name} is a time in UTC, as {example}")))
}

/// The parameter `status`.
fn status(text: &str) -> Result<RequestStatus, Problem> {
    RequestStatus::named(text).ok_or_else(|| {
        Problem::wrong_query("status is queued, processing, completed, failed or cancelled")
    })
}

/// A page of stored requests. Those that are queued in the store but shown as `processing` are left out
/// of a list of queued ones: such a page is shorter, and the next one follows all the same.
async fn stored(state: &State, wanted: RequestQuery) -> Result<Page, StoreError> {
    let only_queued = wanted.filter.status == Some(Status::Queued);
    let page = state.store.list(wanted).await?;
    let views = page.items.into_iter().map(|summary| with_job(state, summary));
    let items = views.filter(|view| !(only_queued && view.job().is_some())).collect();
    Ok(Page::new(items, page.next))
}

/// A page of requests that are being processed. The known jobs of requests that have ended meanwhile or
/// do not meet the other conditions make it shorter.
async fn processing(state: &State, wanted: RequestQuery) -> Result<Page, StoreError> {
    let below = wanted.cursor.map_or(Uuid::max(), Cursor::id);
    let mut ids = state.jobs.newest(below, wanted.limit as usize + 1);
    let next = page::cut(&mut ids, wanted.limit).map(|last| Cursor::after(*last));
    let mut summaries = state.store.get_many(ids).await?;
    summaries.sort_by_key(|summary| Reverse(summary.id));
    summaries.retain(|summary| wanted.filter.matches_open(summary));
    let views = summaries.into_iter().map(|summary| with_job(state, summary));
    Ok(Page::new(views.filter(|view| view.job().is_some()).collect(), next))
}

/// How many requests are being processed; none if there are other conditions.
fn count_processing(state: &State, filter: &RequestFilter) -> Option<Count> {
    (*filter == RequestFilter::default()).then(|| count_of(state.jobs.counts().0))
}

fn count_of(requests: usize) -> Count {
    let requests = u32::try_from(requests).unwrap_or(u32::MAX);
    Count { value: requests.min(MAX_COUNT), is_capped: requests > MAX_COUNT }
}

/// How many requests the store has. Those that are queued there and shown as `processing` do not count as queued ones, as far as
/// that is known without a look at each.
async fn count_stored(state: &State, filter: RequestFilter) -> Result<Count, StoreError> {
    let only_queued = RequestFilter { status: Some(Status::Queued), ..RequestFilter::default() };
    let are_shown_otherwise = filter == only_queued;
    let count = state.store.count(filter).await?;
    Ok(match are_shown_otherwise && !count.is_capped {
        true => Count {
            value: count.value.saturating_sub(count_of(state.jobs.counts().0).value),
            ..count
        },
        false => count,
    })
}

impl Page {
    fn new(items: Vec<RequestView>, next: Option<Cursor>) -> Self {
        let next_cursor = next.map(|next| next.to_string());
        Self { items, next_cursor, count: None, is_count_capped: None }
    }

    fn with_count(self, count: Option<Count>) -> Self {
        let (value, is_capped) =
            (count.map(|count| count.value), count.map(|count| count.is_capped));
        Self { count: value, is_count_capped: is_capped, ..self }
    }
}
