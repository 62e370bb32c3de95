//! Responses of the page: HTML with its security headers, redirects after a form, and errors for people.

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::header};
use maud::{Markup, html};

use crate::{
    api::{
        http::{etag, problem::Problem},
        state::State,
        status::Status,
    },
    dashboard::{
        banners,
        layout::{Page, Section, document},
    },
};

/// Only files of this service, no inline script or style, in no frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// 200 with the page, or 304 if the browser has the same.
pub(super) fn page(request: &HttpRequest, page: &Page) -> HttpResponse {
    let body = document(page).into_string();
    let tag = etag::of(&body);
    if etag::matches(request, &tag) {
        return HttpResponse::NotModified().insert_header((header::ETAG, tag)).finish();
    }
    let mut response = html(HttpResponse::Ok(), body);
    if let Ok(tag) = header::HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The page with another status than 200.
pub(super) fn page_with(status: actix_web::http::StatusCode, page: &Page) -> HttpResponse {
    html(HttpResponse::build(status), document(page).into_string())
}

fn html(mut response: actix_web::HttpResponseBuilder, body: String) -> HttpResponse {
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .body(body)
}

/// Leads to a page after a form was sent. Its address is relative to that of the form.
pub(super) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location)).finish()
}

/// A problem as a page that answers a GET. An open page asks for it again, and so shows when the problem is over.
pub(super) async fn problem(
    state: &State,
    problem: &Problem,
    section: Section,
    root: &'static str,
) -> HttpResponse {
    problem_page(state, problem, section, root, explanation(problem, root)).await
}

/// A problem as a page that answers a form. It stays as it is, because a GET of its address would be another call.
pub(super) async fn form_problem(
    state: &State,
    problem: &Problem,
    section: Section,
    root: &'static str,
) -> HttpResponse {
    let body = html! { div data-still { (explanation(problem, root)) } };
    problem_page(state, problem, section, root, body).await
}

async fn problem_page(
    state: &State,
    problem: &Problem,
    section: Section,
    root: &'static str,
    body: Markup,
) -> HttpResponse {
    let banners = banners::bad(&Status::of(state).await);
    let page = Page { title: problem.title(), section, root, banners, body };
    page_with(problem.status_code(), &page)
}

fn explanation(problem: &Problem, root: &str) -> Markup {
    html! {
        h1 { (problem.title()) }
        p { (problem.detail()) }
        @if let Some(id) = problem.request_id() {
            p { a href={ (root) "requests/" (id) } { "Look at the request" } }
        }
    }
}
