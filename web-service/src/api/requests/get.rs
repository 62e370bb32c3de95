//! `GET /api/v1/requests/{id}`: a request, at once or when it has ended.

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header, web};

use crate::{
    api::{
        http::{
            etag, prefer,
            problem::Problem,
            request_id,
            responses::{MethodNotAllowed, RequestNotFound, StoreUnavailable},
        },
        requests::{load::load, long_poll},
        state::State,
    },
    views::request::RequestView,
};

pub(crate) const PATH: &str = "/api/v1/requests/{id}";

/// A request as it is now; with `Prefer: wait=N` when it has ended, within N seconds.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "getRequest",
    tag = "requests",
    summary = "Get a request",
    params(
        ("id" = String, Path, format = "uuid", description = "The `requestId`"),
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10",
            description = "`wait=N`: answer when the request has ended, or after N seconds (60 at most)"),
        ("If-None-Match" = Option<String>, Header, nullable = false,
            description = "The `ETag` of an earlier answer: an unchanged request is `304`")
    ),
    responses(
        (status = 200, description = "The request", body = RequestView, headers(
            ("ETag" = String, description = "Changes with the request"),
            ("Cache-Control" = String, description = "`no-cache`"),
            ("Retry-After" = u32, description = "While the request is pending: seconds to wait before the next GET")
        )),
        (status = 304, description = "The request is unchanged", headers(
            ("ETag" = String, description = "The same as before"),
            ("Cache-Control" = String, description = "`no-cache`"),
            ("Retry-After" = u32, description = "While the request is pending")
        )),
        RequestNotFound,
        MethodNotAllowed,
        StoreUnavailable
    )
)]
pub(crate) async fn get(
    request: HttpRequest,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let id = request_id::parse(&id)?;
    let view = match prefer::wait(&request) {
        Some(max_wait) => long_poll::wait(&state, id, max_wait).await?,
        None => load(&state, id).await?,
    };
    let body = view.json();
    Ok(match etag::matches(&request, &etag::of(&body)) {
        true => head(HttpResponse::NotModified(), &view, &body).finish(),
        false => ok(&view, body),
    })
}

/// 200 with the request.
pub(crate) fn response(view: &RequestView) -> HttpResponse {
    ok(view, view.json())
}

fn ok(view: &RequestView, body: String) -> HttpResponse {
    head(HttpResponse::Ok(), view, &body).content_type("application/json").body(body)
}

/// Adds the headers that describe this body.
fn head(mut response: HttpResponseBuilder, view: &RequestView, body: &str) -> HttpResponseBuilder {
    response.insert_header((header::ETAG, etag::of(body)));
    response.insert_header((header::CACHE_CONTROL, "no-cache"));
    if !view.is_final() {
        response.insert_header((header::RETRY_AFTER, "1"));
    }
    response
}
