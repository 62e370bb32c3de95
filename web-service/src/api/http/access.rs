//! Which calls are served at all: `ALLOWED_HOSTS` against DNS rebinding, and no cross-origin calls from browsers (CORS, CSRF).

use actix_web::{
    Error, HttpRequest, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{ConnectionType, Method, Version, header},
    middleware::Next,
    web,
};

use crate::{
    allowed_hosts::AllowedHosts,
    api::http::{calls_in_flight::CallsInFlight, problem::Problem, problem_type::ProblemType},
};

/// No path of ours is as long. Each route that might match a path looks at all of it.
const MAX_PATH_BYTES: usize = 300;

/// Lets through what [`check`] takes.
pub(crate) async fn middleware(
    hosts: web::Data<AllowedHosts>,
    calls: web::Data<CallsInFlight>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let _call = calls.begin();
    let asks_to_upgrade = request.head().connection_type() == ConnectionType::Upgrade;
    let mut response = match check(request.request(), &hosts) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        Err(problem) => request.into_response(problem.error_response()),
    };
    if asks_to_upgrade {
        // The server closes such a connection, and would not say so: clients that offer HTTP/2 would use it again.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// # Errors
/// 421 if the call names a host that is not served, 404 if its path is too long, 403 if a browser asks whether another origin may
/// call.
fn check(request: &HttpRequest, hosts: &AllowedHosts) -> Result<(), Problem> {
    check_host(request, hosts)?;
    if request.path().len() > MAX_PATH_BYTES {
        return Err(Problem::not_found());
    }
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        let detail = "Browsers may call this service from no other origin (there is no CORS): \
            serve the page and the API under one origin, or let the page's own server call.";
        return Err(Problem::new(ProblemType::CrossOrigin, detail));
    }
    check_origin(request)
}

/// Refuses what a page of another origin makes a browser send (CSRF). No preflight precedes forms and some scripted POSTs;
/// browsers name the page in headers that it can't change. Clients that are no browsers send neither.
fn check_origin(request: &HttpRequest) -> Result<(), Problem> {
    if request.method().is_safe() || comes_from_own_page(request) {
        return Ok(());
    }
    let detail = "A page of another origin has sent this. Browsers may call this service from its own pages only.";
    Err(Problem::new(ProblemType::CrossOrigin, detail))
}

/// Whether a call comes from a page of this origin, or from no page.
fn comes_from_own_page(request: &HttpRequest) -> bool {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap_or_default());
    // Behind a proxy that changes the host, too, the browser knows. It tells over HTTPS and on this machine.
    if let Some(site) = header("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = header("origin") else { return true };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority
        .is_some_and(|origin| header("host").is_some_and(|host| host.eq_ignore_ascii_case(origin)))
}

/// Checks every host that the call names: browsers send one, and what is between may heed another.
fn check_host(request: &HttpRequest, hosts: &AllowedHosts) -> Result<(), Problem> {
    let headers = request.headers().get_all(header::HOST);
    let mut named: Vec<_> = headers.map(|host| host.to_str().unwrap_or_default()).collect();
    named.extend(request.uri().authority().map(|authority| authority.as_str()));
    // Before HTTP/1.1 the header was optional. No browser leaves it out.
    let may_be_missing = request.version() < Version::HTTP_11;
    let detail = match named.iter().find(|host| !hosts.allow(host)) {
        Some(host) => format!(
            "Calls to the host {host:?} are not served. If they should be, add it to ALLOWED_HOSTS."
        ),
        None if named.is_empty() && !may_be_missing => "The call has no Host header.".to_owned(),
        None => return Ok(()),
    };
    Err(Problem::new(ProblemType::HostNotAllowed, detail))
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};

    use super::*;
    use crate::allowed_hosts::HostNames;

    fn status(request: TestRequest) -> u16 {
        let hosts = AllowedHosts::new(([127, 0, 0, 1], 3000).into(), HostNames::default());
        let checked = check(&request.to_http_request(), &hosts);
        checked.map_or_else(|problem| problem.status_code(), |()| StatusCode::OK).as_u16()
    }

    #[test]
    fn every_host_that_a_call_names_must_be_served() {
        let (good, evil) = (("host", "localhost:3000"), ("host", "evil.example"));
        let get = TestRequest::get;
        assert_eq!(status(get().insert_header(good)), 200);
        assert_eq!(status(get().insert_header(evil)), 421);
        assert_eq!(status(get().append_header(good).append_header(evil)), 421);
        assert_eq!(status(get().insert_header(good).uri("http://evil.example/health/live")), 421);
        assert_eq!(status(get().insert_header(("host", &b"\xff"[..]))), 421);
        assert_eq!(status(get()), 421);
        assert_eq!(status(get().version(Version::HTTP_10)), 200);
        assert_eq!(status(get().insert_header(evil).version(Version::HTTP_10)), 421);
    }

    #[test]
    fn a_path_that_is_longer_than_any_of_ours_is_not_looked_up() {
        let get = |bytes: usize| {
            let path = format!("/{}", "a".repeat(bytes - 1));
            TestRequest::with_uri(&path).insert_header(("host", "localhost"))
        };
        assert_eq!(status(get(MAX_PATH_BYTES)), 200);
        assert_eq!(status(get(MAX_PATH_BYTES + 1)), 404);
    }

    #[test]
    fn a_preflight_is_refused() {
        let options =
            || TestRequest::default().method(Method::OPTIONS).insert_header(("host", "localhost"));
        assert_eq!(status(options()), 200);
        assert_eq!(status(options().insert_header(("access-control-request-method", "POST"))), 403);
    }

    #[test]
    fn what_a_page_of_another_origin_sends_is_refused() {
        let post = || TestRequest::post().insert_header(("host", "localhost:3000"));
        assert_eq!(status(post()), 200);
        for (name, value, expected) in [
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "same-site", 403),
            ("sec-fetch-site", "cross-site", 403),
            ("origin", "http://localhost:3000", 200),
            ("origin", "http://localhost:4000", 403),
            ("origin", "https://evil.example", 403),
            ("origin", "null", 403),
        ] {
            assert_eq!(status(post().insert_header((name, value))), expected, "{name}: {value}");
            let get = TestRequest::get().insert_header(("host", "localhost:3000"));
            assert_eq!(status(get.insert_header((name, value))), 200, "GET {name}: {value}");
        }
        let proxied = post().insert_header(("origin", "https://slowlane.example"));
        assert_eq!(status(proxied.insert_header(("sec-fetch-site", "same-origin"))), 200);
    }
}
