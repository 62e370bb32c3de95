//! A request as text for people: all its fields, its status in colour, its result, its error.

use std::io::{IsTerminal, stdout};

use owo_colors::{AnsiColors, OwoColorize, Stream};

use crate::{
    api::request::{Callback, Request, Status},
    text::{escape_controls, escape_lines, field, raw_field, shorten},
};

const NO_REASON: &str = "no reason is known";

/// A request with all its fields, one on each line.
pub(super) fn record(request: &Request) -> String {
    let details = &request.details;
    let optional =
        |name, text: &Option<String>| text.as_ref().map(|text: &String| field(name, text));
    let above = |name, count: u64, usual| (count > usual).then(|| field(name, &count.to_string()));
    let fields = [
        Some(field("request", &request.id.to_string())),
        Some(raw_field("status", &status(request.status, 0))),
        Some(field("type", &details.kind)),
        optional("accepted", &details.accepted_at),
        optional("started", &details.started_at),
        optional("finished", &details.finished_at),
        optional("worker", &details.worker),
        details.progress.as_ref().map(|progress| field("progress", progress.get())),
        above("attempts", details.attempts, 1),
        above("deliveries", details.deliveries, 1),
        above("run", details.run, 0),
        optional("last error", &details.last_error),
        optional("next try", &details.next_attempt_at),
        details.callback.as_ref().map(|details| field("callback", &callback(details))),
        request.error.as_ref().map(|_| field("error", &error(request))),
        request.result().map(|json| raw_field("result", &escape_lines(json))),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// A status, padded to `width`, and in its colour if standard output takes colours.
pub(super) fn status(status: Status, width: usize) -> String {
    let colour = match status {
        Status::Completed => AnsiColors::Green,
        Status::Failed => AnsiColors::Red,
        Status::Cancelled => AnsiColors::Yellow,
        Status::Processing => AnsiColors::Cyan,
        Status::Queued | Status::Unknown => AnsiColors::Default,
    };
    let padded = format!("{:<width$}", status.as_str());
    padded.if_supports_color(Stream::Stdout, |text| text.color(colour)).to_string()
}

/// The result: a string without its quotes, other JSON as it came.
pub(super) fn result(request: &Request) -> String {
    let Some(json) = request.result() else { return String::new() };
    match serde_json::from_str::<String>(json) {
        Ok(text) if stdout().is_terminal() => escape_lines(&text).into_owned(),
        Ok(text) => text,
        Err(_) => json.to_owned(),
    }
}

/// Why the request failed, in as many lines as its worker wrote.
pub(super) fn error(request: &Request) -> String {
    let Some(error) = &request.error else { return NO_REASON.to_owned() };
    escape_lines(&format!("{} ({})", error.message, error.code)).into_owned()
}

/// Why the request failed, short enough for a table.
pub(super) fn short_error(request: &Request) -> String {
    let Some(error) = &request.error else { return NO_REASON.to_owned() };
    format!("{} ({})", shorten(&error.message), escape_controls(&error.code, &[]))
}

/// The status of a callback, and what is known of its attempts.
fn callback(callback: &Callback) -> String {
    let mut text = callback.status.clone();
    if callback.attempts > 1 {
        text += &format!(" after {} attempts", callback.attempts);
    }
    let error = callback.last_error.iter().filter(|_| callback.status != "delivered");
    error.for_each(|error| text += &format!("; {error}"));
    callback.next_attempt_at.iter().for_each(|at| text += &format!("; again at {at}"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_without_information_are_left_out() {
        let json = r#"{"requestId":"01a1fd87-448c-755a-a380-a6f598ec5ae1","status":"failed","type":"default",
            "attempts":1,"deliveries":2,"run":0,"worker":"\u001b[2Jhost:1/1",
            "callback":{"status":"pending","attempts":2,"lastError":"closed","nextAttemptAt":"2026-11-21T09:54:23.001Z"},"error":{"code":"timeout","message":"too slow"}}"#;
        let text = record(&serde_json::from_str(json).unwrap());
        for line in [
            "status      failed",
            "deliveries  2",
            "callback    pending after 2 attempts; closed; again at 2026-11-21T09:54:23.001Z",
            "error       too slow (timeout)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        let counted = text.lines().any(|line| line.starts_with("attempts"));
        assert!(!counted && !text.contains('\u{1b}'), "{text}");
    }
}
