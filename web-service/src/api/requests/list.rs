//! `GET /api/v1/requests`: lists requests, newest first, page by page.

use std::cmp::Reverse;

use actix_web::{HttpRequest, HttpResponse, web};
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
use store::{Cursor, RequestQuery, Status, StoreError};

pub(crate) const PATH: &str = "/api/v1/requests";

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Only requests with this status.
    #[param(value_type = RequestStatus, inline, required = false)]
    pub(crate) status: Option<String>,
    /// Only requests of this type.
    #[serde(rename = "type")]
    #[param(value_type = String, required = false)]
    pub(crate) kind: Option<String>,
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
    let filter = RequestQuery {
        status: status.and_then(RequestStatus::stored),
        kind: query.kind,
        limit: page::limit(query.limit.as_deref())?,
        cursor: page::cursor(query.cursor.as_deref())?,
    };
    let page = match status {
        Some(RequestStatus::Processing) => processing(state, filter).await,
        _ => stored(state, filter).await,
    };
    page.map_err(|error| match error {
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

/// The parameter `status`.
fn status(text: &str) -> Result<RequestStatus, Problem> {
    RequestStatus::named(text).ok_or_else(|| {
        Problem::wrong_query("status is queued, processing, completed, failed or cancelled")
    })
}

/// A page of stored requests. Those that are queued in the store but shown as `processing` are left out
/// of a list of queued ones: such a page is shorter, and the next one follows all the same.
async fn stored(state: &State, filter: RequestQuery) -> Result<Page, StoreError> {
    let only_queued = filter.status == Some(Status::Queued);
    let page = state.store.list(filter).await?;
    let views = page.items.into_iter().map(|summary| with_job(state, summary));
    let items = views.filter(|view| !(only_queued && view.job().is_some())).collect();
    Ok(Page::new(items, page.next))
}

/// A page of requests that are being processed. The known jobs of requests that have ended meanwhile or
/// are of another type make it shorter.
async fn processing(state: &State, filter: RequestQuery) -> Result<Page, StoreError> {
    let below = filter.cursor.map_or(Uuid::max(), Cursor::id);
    let mut ids = state.jobs.newest(below, filter.limit as usize + 1);
    let next = page::cut(&mut ids, filter.limit).map(|last| Cursor::after(*last));
    let mut summaries = state.store.get_many(ids).await?;
    summaries.sort_by_key(|summary| Reverse(summary.id));
    summaries.retain(|summary| filter.kind.as_ref().is_none_or(|kind| *kind == summary.kind));
    let views = summaries.into_iter().map(|summary| with_job(state, summary));
    Ok(Page::new(views.filter(|view| view.job().is_some()).collect(), next))
}

impl Page {
    fn new(items: Vec<RequestView>, next: Option<Cursor>) -> Self {
        Self { items, next_cursor: next.map(|next| next.to_string()) }
    }
}
