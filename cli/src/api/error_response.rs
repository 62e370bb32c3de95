//! Maps an HTTP response that is not a success to a [`CallError`].

use std::time::Duration;

use serde::Deserialize;

use super::error::CallError;

/// The parts of a response that tell what went wrong.
pub(super) struct ErrorResponse<'a> {
    pub(super) status: u16,
    /// The header `Retry-After`.
    pub(super) retry_after: Option<&'a str>,
    /// The header `Location`.
    pub(super) location: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// An error as `application/problem+json`, see RFC 9457.
#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    problem_type: String,
    title: Option<String>,
    detail: Option<String>,
}

impl ErrorResponse<'_> {
    /// The error that this response of the service at `url` stands for.
    pub(super) fn error(&self, url: &str) -> CallError {
        let status = self.status;
        if let (300..400, Some(location)) = (status, self.location) {
            return CallError::UnexpectedResponse(format!(
                "{url} answers {status} and points to {location}: set SLOWLANE_URL or --url to where the service is"
            ));
        }
        let problem = serde_json::from_slice::<Problem>(self.body).ok();
        let detail = problem.as_ref().and_then(|p| p.detail.clone().or(p.title.clone()));
        let detail = detail.unwrap_or_else(|| format!("{url} answers {status}"));
        match (status, problem) {
            // The service sends Retry-After with a conflict that will pass.
            (409, Some(Problem { problem_type, .. })) if self.retry_after.is_none() => {
                CallError::Rejected { status, problem_type, detail }
            }
            (408 | 409 | 425 | 429 | 500.., _) => {
                CallError::Unavailable { detail, retry_after: self.retry_after() }
            }
            (404 | 410, Some(_)) => CallError::NotFound(detail),
            (_, Some(Problem { problem_type, .. })) => {
                CallError::Rejected { status, problem_type, detail }
            }
            (_, None) => CallError::UnexpectedResponse(format!(
                "{url} is not a web service of Slowlane: it answers {status} without a problem document: \
                 check SLOWLANE_URL or --url"
            )),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after?.trim().parse().ok().map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> CallError {
        let response =
            ErrorResponse { status, retry_after: Some("2"), location: None, body: body.as_bytes() };
        response.error("http://a")
    }

    #[test]
    fn the_same_status_means_the_same_with_and_without_a_problem() {
        let problem = r#"{"type":"x","title":"T","status":0,"detail":"D"}"#;
        for status in [408, 409, 429, 500, 502, 503, 504] {
            for body in [problem, "<html>"] {
                let error = error(status, body);
                assert_eq!(error.retry_after(), Some(Duration::from_secs(2)), "{status}: {error}");
            }
        }
        for status in [404, 410] {
            assert!(matches!(error(status, problem), CallError::NotFound(detail) if detail == "D"));
            assert!(matches!(error(status, "<html>"), CallError::UnexpectedResponse(_)));
        }
        for status in [400, 413, 422] {
            let error = error(status, problem);
            assert!(
                matches!(&error, CallError::Rejected { status: found, problem_type, .. } if *found == status && problem_type == "x")
            );
            assert_eq!(error.retry_after(), None);
        }
    }

    #[test]
    fn a_conflict_without_retry_after_is_a_rejection() {
        let body = br#"{"type":"no-callback","title":"T","status":409,"detail":"D"}"#;
        let response = ErrorResponse { status: 409, retry_after: None, location: None, body };
        assert_eq!(response.error("http://a").retry_after(), None);
    }

    #[test]
    fn a_redirect_is_reported_and_not_followed() {
        let response = ErrorResponse {
            status: 308,
            retry_after: None,
            location: Some("https://b/"),
            body: b"",
        };
        assert!(response.error("http://a").to_string().contains("https://b/"));
    }
}
