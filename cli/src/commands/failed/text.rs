//! Failed requests and parked messages as text for people: rows of a table, and records.

use serde_json::Value;

use crate::{
    api::{parked_message::ParkedMessage, request::Request},
    commands::request_text,
    text::{SHORT_ERROR_CHARS, escape_controls, escape_lines, field, raw_field, short_error},
};

pub(super) const REQUEST_HEADER: &str =
    "ID                                    ATTEMPTS  FAILED                    TYPE        ERROR";
pub(super) const MESSAGE_HEADER: &str =
    "MESSAGE     BYTES  CAME                      ERROR (it belongs to no request)";

/// A row below [`REQUEST_HEADER`].
pub(super) fn request_row(request: &Request) -> String {
    let details = &request.details;
    let (attempts, at) = (details.attempts, details.finished_at.as_deref().unwrap_or_default());
    let kind = escape_controls(&details.kind, &[]);
    let error = request_text::short_error(request);
    format!("{}  {attempts:>8}  {at:<24}  {kind:<10}  {error}", request.id)
}

/// A row below [`MESSAGE_HEADER`].
pub(super) fn message_row(message: &ParkedMessage) -> String {
    let details = &message.details;
    let (number, size, at) = (details.number, details.size, &details.received_at);
    let error = short_error(&details.error, SHORT_ERROR_CHARS);
    let reason = escape_controls(&details.reason, &[]);
    format!("{number:>7}  {size:>8}  {at:<24}  {error} ({reason})")
}

/// A message with all its fields, one on each line, and its body.
pub(super) fn message_record(message: &ParkedMessage) -> String {
    let details = &message.details;
    let header = |name: &str, header: &str| {
        details.headers.get(header).map(|value| match value {
            Value::String(text) => field(name, text),
            other => field(name, &other.to_string()),
        })
    };
    let body = match (&details.text, &details.base64) {
        (Some(text), _) => text.clone(),
        (None, Some(base64)) => format!("{base64} (base64)"),
        (None, None) => String::new(),
    };
    let fields = [
        Some(field("message", &details.number.to_string())),
        details.request_id.map(|id| field("of", &id.to_string())),
        details.request_id.map(|_| field("run", &details.run.to_string())),
        header("attempt", "slowlane-attempt"),
        header("worker", "slowlane-worker"),
        Some(field("came", &details.received_at)),
        Some(field("error", &format!("{} ({})", details.error, details.reason))),
        Some(field("bytes", &details.size.to_string())),
        Some(raw_field("body", &escape_lines(&body))),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"number":12,"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","run":1,
        "reason":"permanent","error":"no\u001b coffee","receivedAt":"2026-11-21T09:54:22.988Z",
        "headers":{"slowlane-attempt":3,"slowlane-worker":"a:1/1"},"size":7,"text":"[1,\u001b2]"}"#;

    #[test]
    fn a_message_shows_the_attempt_that_failed() {
        let text = message_record(&serde_json::from_str(MESSAGE).unwrap());
        for line in ["attempt     3", "run         1", "body        [1,\\u{1b}2]"] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn columns_are_aligned_with_the_header() {
        let line = message_row(&serde_json::from_str(MESSAGE).unwrap());
        assert_eq!(&line[MESSAGE_HEADER.find("CAME").unwrap()..][..24], "2026-11-21T09:54:22.988Z");
        assert_eq!(&line[MESSAGE_HEADER.find("ERROR").unwrap()..][..2], "no");
    }
}
