//! A request as text for people: all its fields, its status in colour, its result, its error.

use std::{
    io::{IsTerminal, stdout},
    time::SystemTime,
};

use owo_colors::{AnsiColors, OwoColorize, Stream};

use crate::{
    api::{
        progress::{Count, Progress},
        request::{Callback, Request, Status},
    },
    text::{self, SHORT_ERROR_CHARS, countdown, escape_controls, escape_lines, field, raw_field},
};

/// How many characters a bar has.
const BAR_WIDTH: usize = 20;
/// How many characters the last column of a table has.
const ERROR_COLUMN: usize = 54;
/// So much of a message is shown in any case.
const MIN_MESSAGE_CHARS: usize = 30;
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
        Progress::of(request).map(|reported| field("progress", &progress(&reported))),
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

/// Why the request failed, short enough for the last column of a table.
pub(super) fn short_error(request: &Request) -> String {
    let Some(error) = &request.error else { return NO_REASON.to_owned() };
    let code = escape_controls(&error.code, &[]);
    let left = ERROR_COLUMN.saturating_sub(code.chars().count() + 3).max(MIN_MESSAGE_CHARS);
    format!("{} ({code})", text::short_error(&error.message, left))
}

/// The attempt that has failed, if the request waits for the next one, and when that begins.
pub(super) fn failed_attempt(request: &Request, now: SystemTime) -> Option<String> {
    let awaited = awaited_attempt(request, now)?;
    let attempt = request.details.attempts;
    let error = request.details.last_error.as_deref().unwrap_or(NO_REASON);
    let error = text::short_error(error, SHORT_ERROR_CHARS);
    Some(format!("attempt {attempt} failed: {error}; {awaited}"))
}

/// The attempt that the request waits for, and when it begins.
pub(super) fn awaited_attempt(request: &Request, now: SystemTime) -> Option<String> {
    let details = &request.details;
    let at = details.next_attempt_at.as_deref().filter(|_| request.status == Status::Queued)?;
    let at = humantime::parse_rfc3339_weak(at).ok()?;
    let next = details.attempts + 1;
    Some(match at.duration_since(now) {
        Ok(left) => format!("attempt {next} begins in {}", countdown(left)),
        Err(_) => format!("attempt {next} begins as soon as a worker is free"),
    })
}

/// What a worker does with the request, in a line.
pub(super) fn work(request: &Request, reported: Option<&Progress>) -> String {
    let details = &request.details;
    let parts = [
        Some("working:".to_owned()),
        reported.map(progress_with_bar).filter(|text| !text.is_empty()),
        (details.attempts > 1).then(|| format!("attempt {}", details.attempts)),
        details.worker.as_ref().map(|worker| format!("by {}", escape_controls(worker, &[]))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// What a worker reports, with a bar in front if that has a number.
pub(super) fn progress_with_bar(reported: &Progress) -> String {
    let bar = reported.progress.map(bar);
    bar.into_iter().chain([progress(reported)]).collect::<Vec<_>>().join("  ")
}

/// What a worker reports: `9 of 20 (45%)  page 9`.
pub(super) fn progress(reported: &Progress) -> String {
    let percent = reported.progress.map(|fraction| format!("{:.0}%", fraction * 100.0));
    let count = reported.progress_count.map(|Count { done, total }| format!("{done} of {total}"));
    let number = match (count, percent) {
        (Some(count), Some(percent)) => Some(format!("{count} ({percent})")),
        (count, percent) => count.or(percent),
    };
    let message = reported.message.as_ref().map(|text| escape_controls(text, &[]).into_owned());
    number.into_iter().chain(message).collect::<Vec<_>>().join("  ")
}

/// A bar for a fraction from 0 to 1.
fn bar(fraction: f64) -> String {
    let width = BAR_WIDTH as f64;
    // It can't be too large: a float converts to the nearest number there is.
    let full = ((fraction * width).round().clamp(0.0, width)) as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR_WIDTH - full))
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

    fn request(rest: &str) -> Request {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        serde_json::from_str(&format!("{{\"requestId\":\"{id}\",{rest}}}")).unwrap()
    }

    #[test]
    fn a_failed_attempt_is_shown_with_its_error_and_the_time_of_the_next_one() {
        let waiting = request(
            r#""status":"queued","attempts":2,"lastError":"boom","nextAttemptAt":"2026-11-21T10:00:10Z""#,
        );
        let at = |text: &str| humantime::parse_rfc3339_weak(text).unwrap();
        let shown = |now| failed_attempt(&waiting, at(now)).unwrap();
        let early = shown("2026-11-21T09:59:00Z");
        assert_eq!(early, "attempt 2 failed: boom; attempt 3 begins in 1m 10s");
        assert!(
            shown("2026-11-21T10:00:11Z").ends_with("attempt 3 begins as soon as a worker is free")
        );
        let begun = request(r#""status":"processing","attempts":3,"lastError":"boom""#);
        assert_eq!(failed_attempt(&begun, at("2026-11-21T10:00:11Z")), None);
    }

    #[test]
    fn the_note_of_a_failed_python_command_fits_a_line_and_names_the_exception() {
        let error = [
            "the command ended with exit code 1: got 'bad'",
            "Traceback (most recent call last):",
            "  File 'work.py', line 5, in <module>",
            "ValueError: a number is wanted, not the text 'bad', which is none at all",
        ]
        .join("\\n");
        let next = "2026-11-21T10:00:10Z";
        let waiting = request(&format!(
            r#""status":"queued","attempts":2,"lastError":"{error}","nextAttemptAt":"{next}""#
        ));
        for now in ["2026-11-21T10:00:00.900Z", "2026-11-21T10:00:11Z"] {
            let now = humantime::parse_rfc3339_weak(now).unwrap();
            let note = format!("slowlane: {}", failed_attempt(&waiting, now).unwrap());
            assert!(note.chars().count() <= 140 && note.contains("ValueError: a number"), "{note}");
            assert!(note.ends_with(" in 10s") || note.ends_with("worker is free"), "{note}");
        }
        let failed = request(&format!(
            r#""status":"failed","error":{{"code":"attempts_exhausted","message":"{error}"}}"#
        ));
        let column = short_error(&failed);
        assert!(
            column.chars().count() <= ERROR_COLUMN && column.contains("ValueError"),
            "{column}"
        );
    }

    #[test]
    fn progress_is_a_bar_and_a_percentage() {
        let (progress_count, message) = (Some(Count { done: 9, total: 20 }), Some("page 9".into()));
        let reported =
            Progress { progress: Some(0.45), progress_count, message, json: String::new() };
        assert_eq!(progress(&reported), "9 of 20 (45%)  page 9");
        let working = request(r#""status":"processing","attempts":1,"worker":"a:1/1""#);
        let line = work(&working, Some(&reported));
        assert_eq!(line, "working:  [#########-----------]  9 of 20 (45%)  page 9  by a:1/1");
        assert_eq!(work(&working, None), "working:  by a:1/1");
        assert_eq!(
            [-1.0, 7.0].map(bar),
            [format!("[{}]", "-".repeat(20)), format!("[{}]", "#".repeat(20))]
        );
    }

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
