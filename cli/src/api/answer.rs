//! What an answer that is no success means.

use std::time::Duration;

use serde::Deserialize;

use super::CallError;

/// An error as `application/problem+json`, see RFC 9457.
#[derive(Debug, Deserialize)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: Option<String>,
    detail: Option<String>,
}

/// An answer, as far as errors are concerned.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'a str>,
    pub(super) location: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    /// Why this answer, of the service at `place`, gives nothing.
    pub(super) fn error(&self, place: &str) -> CallError {
        let status = self.status;
        if let (300..400, Some(location)) = (status, self.location) {
            return CallError::Foreign(format!(
                "{place} answers {status} and points to {location}: set SLOWLANE_URL or --url to where the service is"
            ));
        }
        let problem = serde_json::from_slice::<Problem>(self.body).ok();
        let said = problem.as_ref().and_then(|p| p.detail.clone().or(p.title.clone()));
        let said = said.unwrap_or_else(|| format!("{place} answers {status}"));
        match (status, problem) {
            // Without a time, trying again is of no use.
            (409, Some(problem)) if self.retry_after.is_none() => {
                CallError::Refused { status, kind: problem.kind, said }
            }
            (408 | 409 | 425 | 429 | 500.., _) => CallError::Busy { said, after: self.after() },
            (404 | 410, Some(_)) => CallError::Missing(said),
            (_, Some(problem)) => CallError::Refused { status, kind: problem.kind, said },
            (_, None) => CallError::Foreign(format!(
                "{place} answers {status} as no web service of Slowlane does: check SLOWLANE_URL or --url"
            )),
        }
    }

    fn after(&self) -> Option<Duration> {
        self.retry_after?.trim().parse().ok().map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> CallError {
        let answer =
            Answer { status, retry_after: Some("2"), location: None, body: body.as_bytes() };
        answer.error("http://a")
    }

    #[test]
    fn the_same_status_means_the_same_with_and_without_a_problem() {
        let problem = r#"{"type":"x","title":"T","status":0,"detail":"D"}"#;
        for status in [408, 409, 429, 500, 502, 503, 504] {
            for body in [problem, "<html>"] {
                let error = error(status, body);
                assert_eq!(error.try_again(), Some(Duration::from_secs(2)), "{status}: {error}");
            }
        }
        for status in [404, 410] {
            assert!(matches!(error(status, problem), CallError::Missing(said) if said == "D"));
            assert!(matches!(error(status, "<html>"), CallError::Foreign(_)));
        }
        for status in [400, 413, 422] {
            let error = error(status, problem);
            assert!(
                matches!(&error, CallError::Refused { status: told, kind, .. } if *told == status && kind == "x")
            );
            assert_eq!(error.try_again(), None);
        }
    }

    #[test]
    fn a_conflict_that_does_not_pass_is_a_refusal() {
        let body = br#"{"type":"no-callback","title":"T","status":409,"detail":"D"}"#;
        let answer = Answer { status: 409, retry_after: None, location: None, body };
        assert_eq!(answer.error("http://a").try_again(), None);
    }

    #[test]
    fn where_a_redirect_leads_is_said_and_not_followed() {
        let answer =
            Answer { status: 308, retry_after: None, location: Some("https://b/"), body: b"" };
        assert!(answer.error("http://a").to_string().contains("https://b/"));
    }
}
