//! What a response of the endpoint means for the request: its result, or a failure of some kind. Pure decisions.

use std::time::{Duration, SystemTime};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RETRY_AFTER},
};
use serde_json::{Value, value::RawValue};

use crate::{
    processor::error::ProcessError,
    processors::output::{Output, too_large},
};

/// How much of the body of an error is read, in bytes.
pub(super) const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
/// How much of it is part of the error's message, in bytes.
const MAX_MESSAGE_BYTES: usize = 2048;

/// What became of a call.
#[derive(Debug)]
pub(super) enum Answer {
    /// The endpoint has decided: this is the result, or a failure that would come again.
    Decided(Result<Box<RawValue>, ProcessError>),
    /// The call has failed, and may succeed later.
    Failed(CallFailure),
}

/// A failure that may pass.
#[derive(Debug, Clone)]
pub(super) struct CallFailure {
    /// The failure of the attempt, if it is one.
    pub(super) error: ProcessError,
    /// What it tells of the endpoint.
    pub(super) kind: FailureKind,
    /// How long the endpoint asks to leave it alone.
    pub(super) retry_after: Option<Duration>,
}

/// What a failure tells of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// There was no connection, so nothing was sent: it is certainly not this request's fault.
    NoConnection,
    /// There was no answer, or one of a gateway that got none.
    Away,
    /// The endpoint has answered. The failure may be this request's fault.
    Answered,
}

impl CallFailure {
    /// A failure without a response.
    pub(super) fn without_response(kind: FailureKind, reason: String) -> Self {
        Self { error: ProcessError::transient(reason), kind, retry_after: None }
    }
}

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    status: StatusCode,
    headers: HeaderMap,
}

impl Head {
    /// The head of a response with this status and these headers.
    pub(super) fn new(status: StatusCode, headers: HeaderMap) -> Self {
        Self { status, headers }
    }

    /// How much of the body is needed, in bytes.
    pub(super) fn body_limit(&self, result_limit: usize) -> usize {
        if self.status.is_success() { result_limit } else { MAX_ERROR_BODY_BYTES }
    }

    /// Whether the body is the result, of which nothing may be missing.
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// What the response means, with this body.
    pub(super) fn answer(&self, body: Output, result_limit: usize, now: SystemTime) -> Answer {
        match self.status {
            status if status.is_success() => self.result(body, result_limit),
            status if status.is_redirection() => Answer::Decided(Err(self.redirect())),
            status if is_transient(status) => Answer::Failed(self.failure(&body, now)),
            _ => Answer::Decided(Err(ProcessError::permanent(self.text(&body)))),
        }
    }

    fn result(&self, body: Output, result_limit: usize) -> Answer {
        if body.is_too_long() {
            return Answer::Decided(Err(too_large("the endpoint answered with", result_limit)));
        }
        if self.announces_json() && !body.text().trim().is_empty() && body.json().is_none() {
            let error = ProcessError::transient(format!(
                "the endpoint answered {} with a body that is not the JSON that its Content-Type announces",
                self.status
            ));
            return Answer::Failed(CallFailure {
                error,
                kind: FailureKind::Answered,
                retry_after: None,
            });
        }
        Answer::Decided(body.into_result())
    }

    fn announces_json(&self) -> bool {
        let kind = self.header(CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        kind == "application/json" || kind.ends_with("+json")
    }

    fn redirect(&self) -> ProcessError {
        let to = self.header(LOCATION).map(|to| format!(" to {}", cut(to))).unwrap_or_default();
        ProcessError::permanent(format!(
            "the endpoint answered {} and redirects{to}; redirects are not followed: set PROCESSOR_URL to where the work is done",
            self.status
        ))
    }

    fn failure(&self, body: &Output, now: SystemTime) -> CallFailure {
        let retry_after = self.header(RETRY_AFTER).and_then(|value| retry_after(value, now));
        let error = ProcessError::transient(self.text(body));
        let error = match retry_after {
            Some(delay) => error.after(delay),
            None => error,
        };
        let is_gateway =
            [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        let kind = match is_gateway.contains(&self.status) {
            true => FailureKind::Away,
            false => FailureKind::Answered,
        };
        CallFailure { error, kind, retry_after }
    }

    /// The status, and what the body says.
    fn text(&self, body: &Output) -> String {
        let status = self.status;
        match said(&body.text()) {
            said if said.is_empty() => format!("the endpoint answered {status}"),
            said => format!("the endpoint answered {status}: {}", cut(&said)),
        }
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Whether a request with this status is tried again.
fn is_transient(status: StatusCode) -> bool {
    let asks_to_come_again =
        [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    !status.is_client_error() || asks_to_come_again.contains(&status)
}

/// What the body of an error says: `detail` or `title` of problem details (RFC 9457), or the text.
fn said(text: &str) -> String {
    let problem: Option<Value> = serde_json::from_str(text).ok();
    let field = |name| problem.as_ref()?.get(name)?.as_str().map(str::to_owned);
    field("detail").or_else(|| field("title")).unwrap_or_else(|| text.trim().to_owned())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_MESSAGE_BYTES)]
}

/// The delay of `Retry-After`: seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processor::error::Retry;

    const LIMIT: usize = 100;

    fn answer(status: u16, headers: &[(HeaderName, &str)], body: &[u8]) -> Answer {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let head = Head::new(StatusCode::from_u16(status).unwrap(), headers.collect());
        let mut output = Output::new(head.body_limit(LIMIT));
        output.take(body);
        head.answer(output, LIMIT, SystemTime::UNIX_EPOCH)
    }

    fn result(headers: &[(HeaderName, &str)], body: &[u8]) -> String {
        match answer(200, headers, body) {
            Answer::Decided(Ok(result)) => result.get().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn permanent(status: u16, headers: &[(HeaderName, &str)], body: &str) -> (String, String) {
        match answer(status, headers, body.as_bytes()) {
            Answer::Decided(Err(ProcessError { code, message, retry: Retry::Never, .. })) => {
                (code, message)
            }
            other => panic!("{status}: {other:?}"),
        }
    }

    fn failure(status: u16, headers: &[(HeaderName, &str)], body: &str) -> CallFailure {
        match answer(status, headers, body.as_bytes()) {
            Answer::Failed(failure) => failure,
            other => panic!("{status}: {other:?}"),
        }
    }

    #[test]
    fn a_body_is_the_result_as_the_output_of_a_command_is() {
        let json = r#"{ "b":1e400,  "a":12345678901234567890.10, "a":"\u00fc" }"#;
        assert_eq!(result(&[(CONTENT_TYPE, "application/json")], json.as_bytes()), json);
        assert_eq!(result(&[(CONTENT_TYPE, "text/plain")], b"hello\n"), r#""hello""#);
        assert_eq!(result(&[], b"a\xffb"), "\"a\u{fffd}b\"");
        assert_eq!(result(&[(CONTENT_TYPE, "application/json")], b"\"a\xff\""), "\"a\u{fffd}\"");
        assert_eq!(result(&[(CONTENT_TYPE, "application/json")], b""), "null");
    }

    #[test]
    fn json_that_is_none_is_no_result() {
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            let failure = failure(200, &[(CONTENT_TYPE, kind)], "{\"half\":");
            assert_eq!(failure.kind, FailureKind::Answered);
            assert!(failure.error.message.contains("200 OK with a body that is not"), "{kind}");
        }
    }

    #[test]
    fn a_result_over_the_limit_is_a_permanent_failure() {
        let code = permanent(200, &[], &"x".repeat(LIMIT + 2)).0;
        assert_eq!(code, "result_too_large");
    }

    #[test]
    fn client_errors_are_permanent_and_say_what_the_body_says() {
        let problem = r#"{"title":"Bad order","detail":"no such customer","status":422}"#;
        for (status, body, expected) in [
            (422, problem, "the endpoint answered 422 Unprocessable Entity: no such customer"),
            (400, r#"{"title":"Bad order"}"#, "the endpoint answered 400 Bad Request: Bad order"),
            (404, " no such page\n", "the endpoint answered 404 Not Found: no such page"),
            (401, "", "the endpoint answered 401 Unauthorized"),
            (409, "[1]", "the endpoint answered 409 Conflict: [1]"),
        ] {
            assert_eq!(permanent(status, &[], body), ("permanent".to_owned(), expected.to_owned()));
        }
        assert!(permanent(400, &[], &"ü".repeat(9000)).1.len() < MAX_MESSAGE_BYTES + 100);
    }

    #[test]
    fn redirects_are_not_followed() {
        let (_, message) = permanent(308, &[(LOCATION, "https://b/")], "");
        assert!(
            message.contains("308 Permanent Redirect and redirects to https://b/;"),
            "{message}"
        );
        assert!(permanent(304, &[], "").1.contains("and redirects; redirects are not followed"));
    }

    #[test]
    fn what_may_pass_is_retried_and_tells_whether_the_endpoint_is_there() {
        for (status, kind) in [
            (408, FailureKind::Answered),
            (425, FailureKind::Answered),
            (429, FailureKind::Answered),
            (500, FailureKind::Answered),
            (502, FailureKind::Away),
            (503, FailureKind::Away),
            (504, FailureKind::Away),
            (599, FailureKind::Answered),
        ] {
            let failure = failure(status, &[], "not now");
            assert_eq!((failure.kind, failure.error.retry), (kind, Retry::Default), "{status}");
            assert!(failure.error.message.ends_with(": not now"), "{}", failure.error);
        }
    }

    #[test]
    fn the_endpoint_may_say_when_to_come_again() {
        let after = |value| failure(503, &[(RETRY_AFTER, value)], "").error.retry;
        let seconds = |seconds| Retry::After(Duration::from_secs(seconds));
        assert_eq!(after("7"), seconds(7));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:40 GMT"), seconds(100));
        assert_eq!(
            retry_after("Thu, 01 Jan 1970 00:01:40 GMT", SystemTime::now()),
            Some(Duration::ZERO)
        );
        for nonsense in ["soon", "-1", "1.5", ""] {
            assert_eq!(after(nonsense), Retry::Default, "{nonsense}");
        }
    }
}
