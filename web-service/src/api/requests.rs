//! `GET /api/v1/requests/{id}`.

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, HeaderValue},
    web,
};
use uuid::Uuid;

use super::{
    Problem, prefer,
    view::{View, etag},
    watch,
};
use crate::state::State;

/// A request as it is now; with `Prefer: wait=N` when it has ended, within N seconds.
#[get("/api/v1/requests/{id}")]
pub(super) async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let view = match prefer::wait(&request) {
        Some(patience) => watch::wait(&state, id, patience).await?,
        None => watch::look(&state, id).await?,
    };
    Ok(answer(&request, &view))
}

/// An id from a path.
pub(super) fn parse_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::not_an_id())
}

/// 200 with the request, or 304 if the caller has it already.
pub(super) fn answer(request: &HttpRequest, view: &View) -> HttpResponse {
    let body = view.json();
    let tag = etag(&body);
    let known = |value: &HeaderValue| {
        value.to_str().is_ok_and(|tags| {
            let mut tags = tags.split(',').map(|known| known.trim().trim_start_matches("W/"));
            tags.any(|known| known == tag || known == "*")
        })
    };
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(known);
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, "no-cache"));
    if !view.is_final() {
        answer.insert_header((header::RETRY_AFTER, "1"));
    }
    if known { answer.finish() } else { answer.content_type("application/json").body(body) }
}
