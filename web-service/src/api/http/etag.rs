//! `ETag` and `If-None-Match`.

use std::hash::{DefaultHasher, Hash, Hasher};

use actix_web::{HttpRequest, http::header};

/// The entity tag of a body. Equal bodies have equal tags, on every web service of a release.
pub(crate) fn of(body: &str) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether the request's `If-None-Match` contains `etag`: the client has that body already.
pub(crate) fn matches(request: &HttpRequest, etag: &str) -> bool {
    let header = request.headers().get(header::IF_NONE_MATCH);
    header.and_then(|value| value.to_str().ok()).is_some_and(|etags| {
        let mut etags = etags.split(',').map(|known| known.trim().trim_start_matches("W/"));
        etags.any(|known| known == etag || known == "*")
    })
}
