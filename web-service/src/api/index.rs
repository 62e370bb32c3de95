//! `GET /`: leads to the documentation of the API.

use actix_web::{HttpResponse, http::header};

pub(crate) const PATH: &str = "/";

/// For those who don't follow redirects.
const INDEX: &str = "Slowlane\n\n\
    docs                the API as a page\n\
    openapi.json        the API for programs\n\
    api/v1/processData  submit a request: POST {\"data\": ...}\n\
    api/v1/requests     the requests\n\
    health/ready        whether requests can be accepted\n";

/// Redirects to the page. Its address is relative, so that it works behind a proxy that adds a prefix.
pub(crate) async fn index() -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, "docs"))
        .content_type("text/plain; charset=utf-8")
        .body(INDEX)
}
