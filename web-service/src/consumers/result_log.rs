//! Result log: one line for each final status, so that the log alone tells what became of a request.

use std::borrow::Cow;

use pipeline::{
    contract::{Headers, headers},
    log_messages::RESULT,
};
use tracing::info;

use store::ResultOutcome;

/// How much of a result is logged.
const MAX_LOGGED_CHARS: usize = 200;

/// Logs the result of a request. `headers` are those of its message.
pub(crate) fn log_result(id: &str, outcome: &ResultOutcome, headers: &Headers) {
    let text = match outcome {
        ResultOutcome::Completed(json) => beginning(json).into_owned(),
        ResultOutcome::Failed(error) => error.to_json(),
    };
    info!(
        requestId = id,
        status = outcome.status().as_str(),
        attempt = headers.number(headers::ATTEMPT),
        worker = headers.text(headers::WORKER),
        ms = headers::milliseconds(headers),
        result = truncated(&text),
        "{RESULT}"
    );
}

/// At least as much as is logged, but not the whole text: a result may have many megabytes.
fn beginning(json: &[u8]) -> Cow<'_, str> {
    let max_bytes = MAX_LOGGED_CHARS * char::MAX.len_utf8();
    String::from_utf8_lossy(&json[..json.len().min(max_bytes)])
}

fn truncated(text: &str) -> &str {
    text.char_indices().nth(MAX_LOGGED_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_is_logged_by_its_beginning() {
        assert_eq!(truncated("short"), "short");
        assert_eq!(truncated(&"ü".repeat(500)), "ü".repeat(200));
        for text in ["a🦀".repeat(500), "ü".repeat(500), "short".into()] {
            assert_eq!(truncated(&beginning(text.as_bytes())), truncated(&text));
        }
    }
}
