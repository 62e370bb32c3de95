//! Which calls are served at all: `ALLOWED_HOSTS` against DNS rebinding, and no cross-origin calls from browsers (CORS).

use actix_web::{
    Error, HttpRequest, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, Version, header},
    middleware::Next,
    web,
};

use crate::{
    allowed_hosts::AllowedHosts,
    api::http::{calls_in_flight::CallsInFlight, problem::Problem, problem_type::ProblemType},
};

/// Lets through what [`check`] takes.
pub(crate) async fn middleware(
    hosts: web::Data<AllowedHosts>,
    calls: web::Data<CallsInFlight>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let _call = calls.begin();
    match check(request.request(), &hosts) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

/// # Errors
/// 421 if the call names a host that is not served, 403 if a browser asks whether another origin may call.
fn check(request: &HttpRequest, hosts: &AllowedHosts) -> Result<(), Problem> {
    check_host(request, hosts)?;
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight {
        let detail = "Browsers may call this service from no other origin (there is no CORS): \
            serve the page and the API under one origin, or let the page's own server call.";
        return Err(Problem::new(ProblemType::CrossOrigin, detail));
    }
    Ok(())
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
    fn a_preflight_is_refused() {
        let options =
            || TestRequest::default().method(Method::OPTIONS).insert_header(("host", "localhost"));
        assert_eq!(status(options()), 200);
        assert_eq!(status(options().insert_header(("access-control-request-method", "POST"))), 403);
    }
}
