//! `Prefer: wait=N` (RFC 7240): how long a client waits for the end of a request.

use std::time::Duration;

use actix_web::HttpRequest;

/// The longest wait of one call.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long the client wants to wait. A preference that is not understood is ignored, as the RFC asks.
pub(crate) fn wait(request: &HttpRequest) -> Option<Duration> {
    let values = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(parse)
}

fn parse(preference: &str) -> Option<Duration> {
    let (name, value) = preference.split(';').next()?.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("wait") {
        return None;
    }
    let seconds = value.trim().trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_wait_is_found_among_other_preferences() {
        let cases = [
            ("wait=10", Some(10)),
            ("respond-async, WAIT = \"5\"; x=1", Some(5)),
            ("wait=3600", Some(60)),
            ("wait", None),
            ("wait=soon", None),
            ("", None),
        ];
        for (header, seconds) in cases {
            let request = TestRequest::get().insert_header(("Prefer", header)).to_http_request();
            assert_eq!(wait(&request), seconds.map(Duration::from_secs), "{header}");
        }
    }
}
