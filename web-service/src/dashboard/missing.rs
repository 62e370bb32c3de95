//! What is at no address: a page for people, a problem for programs.

use actix_web::{HttpRequest, HttpResponse, http::header, web};

use crate::{
    api::{http::problem::Problem, state::State},
    dashboard::{layout::Section, respond},
};

/// How deep an address can be to get a page that finds its way back.
const MAX_DEPTH: usize = 8;
const UP: &str = "../../../../../../../../";

/// 404. A browser that follows a link accepts HTML, and below `/api` there are no pages.
pub(super) async fn page(
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let problem = Problem::not_found();
    let path = request.path();
    if !accepts_html(&request) || path == "/api" || path.starts_with("/api/") {
        return Err(problem);
    }
    Ok(respond::problem(&state, &problem, Section::Overview, root(path)).await)
}

fn accepts_html(request: &HttpRequest) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT);
    accepted.any(|types| types.to_str().is_ok_and(|types| types.contains("text/html")))
}

/// The way from an address to `/`.
fn root(path: &str) -> &'static str {
    match path.matches('/').count() {
        0 | 1 => "./",
        slashes => &UP[..3 * (slashes - 1).min(MAX_DEPTH)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_finds_its_way_back_from_any_depth() {
        assert_eq!(["/a", "/a/b", "/a/b/c"].map(root), ["./", "../", "../../"]);
        assert_eq!(root(&"/a".repeat(100)), UP);
    }
}
