//! `GET /api/v1/requests/{id}`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web,
};
use uuid::Uuid;

use crate::api::state::State;
use crate::{
    api::{
        http::{prefer, problem::Problem},
        openapi::schema::{NoRequest, OtherMethod, StoreAway},
        requests::long_poll,
    },
    views::request::{View, etag},
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}";

/// A request as it is now; with `Prefer: wait=N` when it has ended, within N seconds.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "getRequest",
    tag = "requests",
    summary = "Look at a request",
    params(
        ("id" = String, Path, format = "uuid", description = "The `requestId`"),
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10",
            description = "`wait=N`: answer when the request has ended, or after N seconds (60 at most)"),
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The `ETag` of an answer: an unchanged request is `304`")
    ),
    responses(
        (status = 200, description = "The request", body = View, headers(
            ("ETag" = String, description = "Changes with the request"),
            ("Cache-Control" = String, description = "`no-cache`"),
            ("Retry-After" = u32, description = "While the request is pending: seconds after which looking again makes sense")
        )),
        (status = 304, description = "The request is as it was", headers(
            ("ETag" = String, description = "As it was"),
            ("Cache-Control" = String, description = "`no-cache`"),
            ("Retry-After" = u32, description = "While the request is pending")
        )),
        NoRequest,
        OtherMethod,
        StoreAway
    )
)]
pub(crate) async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = parse_id(&id)?;
    let view = match prefer::wait(&request) {
        Some(patience) => long_poll::wait(&state, id, patience).await?,
        None => long_poll::look(&state, id).await?,
    };
    Ok(answer(&request, &view))
}

/// An id from a path.
pub(crate) fn parse_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| Problem::not_an_id())
}

/// 200 with the request, or 304 if the caller has it already.
fn answer(request: &HttpRequest, view: &View) -> HttpResponse {
    let body = view.json();
    let known = request.headers().get(header::IF_NONE_MATCH);
    let known = known.is_some_and(|known| names(known, &etag(&body)));
    build(view, body, known)
}

/// 200 with the request.
pub(crate) fn whole(view: &View) -> HttpResponse {
    build(view, view.json(), false)
}

fn build(view: &View, body: String, known: bool) -> HttpResponse {
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((header::ETAG, etag(&body)));
    answer.insert_header((header::CACHE_CONTROL, "no-cache"));
    if !view.is_final() {
        answer.insert_header((header::RETRY_AFTER, "1"));
    }
    if known { answer.finish() } else { answer.content_type("application/json").body(body) }
}

/// Whether an `If-None-Match` names this tag.
fn names(known: &HeaderValue, tag: &str) -> bool {
    known.to_str().is_ok_and(|tags| {
        let mut tags = tags.split(',').map(|known| known.trim().trim_start_matches("W/"));
        tags.any(|known| known == tag || known == "*")
    })
}
