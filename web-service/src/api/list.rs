//! `GET /api/v1/requests`.

use actix_web::{HttpResponse, get, web};
use serde::{Deserialize, Serialize};

use super::{
    Problem,
    view::{self, View},
};
use crate::{
    state::State,
    store::{List, StoreError},
};

/// How many requests a page has, unless the caller says.
const USUAL: u32 = 50;
/// How many requests a page has at most.
const MOST: u32 = 500;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<View>,
    next_cursor: Option<String>,
}

/// Requests without their results, newest first, page by page.
#[get("/api/v1/requests")]
pub(super) async fn list(
    request: actix_web::HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let query = web::Query::<Query>::from_query(request.query_string())
        .map_err(|error| Problem::wrong_query(error.to_string()))?;
    let list = parse(query.into_inner())?;
    let page = state.store.list(list).await.map_err(|error| match error {
        StoreError::Refused(reason) => Problem::wrong_query(reason),
        StoreError::Unavailable(_) => Problem::unavailable(format!("{error}.")),
    })?;
    let items = page.items.into_iter().map(View::of_summary).collect();
    Ok(HttpResponse::Ok().json(Page { items, next_cursor: page.next.map(|next| next.to_string()) }))
}

fn parse(query: Query) -> Result<List, Problem> {
    let status = match query.status.as_deref() {
        None => None,
        Some(word) => Some(view::status(word).ok_or_else(|| {
            Problem::wrong_query("status is one of queued, completed, failed, cancelled")
        })?),
    };
    let limit = match query.limit.as_deref().map(str::parse) {
        None => USUAL,
        Some(Ok(limit @ 1..=MOST)) => limit,
        Some(_) => return Err(Problem::wrong_query(format!("limit is a number from 1 to {MOST}"))),
    };
    let cursor = query.cursor.as_deref().map(str::parse).transpose();
    let cursor = cursor.map_err(|_| Problem::wrong_query("cursor is the nextCursor of a page"))?;
    Ok(List { status, kind: query.kind, limit, cursor })
}
