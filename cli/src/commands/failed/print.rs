//! Failed requests and messages as people see them.

use serde_json::Value;

use crate::{
    api::{Letter, Request},
    output::{self, plain},
};

pub(super) const REQUESTS: &str =
    "ID                                    ATTEMPTS  FAILED                    TYPE        ERROR";
pub(super) const MESSAGES: &str =
    "MESSAGE     BYTES  CAME                      ERROR (it belongs to no request)";

/// A line under [`REQUESTS`].
pub(super) fn request(request: &Request) -> String {
    let details = &request.details;
    let (attempts, at) = (details.attempts, details.finished_at.as_deref().unwrap_or_default());
    let (kind, why) = (plain(&details.kind, &[]), output::why_in_short(request));
    format!("{}  {attempts:>8}  {at:<24}  {kind:<10}  {why}", request.id)
}

/// A line under [`MESSAGES`].
pub(super) fn message(letter: &Letter) -> String {
    let details = &letter.details;
    let (number, size, at) = (details.number, details.size, &details.received_at);
    let (error, reason) = (output::in_short(&details.error), plain(&details.reason, &[]));
    format!("{number:>7}  {size:>8}  {at:<24}  {error} ({reason})")
}

/// A message with all that is known of it.
pub(super) fn whole(letter: &Letter) -> String {
    let details = &letter.details;
    let header = |name: &str| {
        details.headers.get(name).map(|value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    };
    let body = match (&details.text, &details.base64) {
        (Some(text), _) => text.clone(),
        (None, Some(base64)) => format!("{base64} (base64)"),
        (None, None) => String::new(),
    };
    let lines = [
        Some(("message", details.number.to_string())),
        details.request_id.map(|id| ("of", id.to_string())),
        details.request_id.map(|_| ("run", details.run.to_string())),
        header("slowlane-attempt").map(|attempt| ("attempt", attempt)),
        header("slowlane-worker").map(|worker| ("worker", worker)),
        Some(("came", details.received_at.clone())),
        Some(("error", format!("{} ({})", details.error, details.reason))),
        Some(("bytes", details.size.to_string())),
        Some(("body", body)),
    ];
    let line = |(name, text): (&str, String)| match (name, plain(&text, &['\n', '\t'])) {
        ("body", text) => format!("{name:<10}  {text}"),
        (_, text) => output::field(name, &text),
    };
    lines.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTER: &str = r#"{"number":12,"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","run":1,
        "reason":"permanent","error":"no\u001b coffee","receivedAt":"2026-11-21T09:54:22.988Z",
        "headers":{"slowlane-attempt":3,"slowlane-worker":"a:1/1"},"size":7,"text":"[1,\u001b2]"}"#;

    #[test]
    fn a_message_tells_of_the_attempt_that_it_comes_from() {
        let text = whole(&serde_json::from_str(LETTER).unwrap());
        for line in ["attempt     3", "run         1", "body        [1,\\u{1b}2]"] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn lines_stand_under_their_headers() {
        let line = message(&serde_json::from_str(LETTER).unwrap());
        assert_eq!(&line[MESSAGES.find("CAME").unwrap()..][..24], "2026-11-21T09:54:22.988Z");
        assert_eq!(&line[MESSAGES.find("ERROR").unwrap()..][..2], "no");
    }
}
