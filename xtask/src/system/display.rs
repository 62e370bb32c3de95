//! The console of a running system: one short line for each step of each request.

use std::{
    collections::HashMap,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::{Duration, SystemTime},
};

use owo_colors::AnsiColors;
use pipeline::{
    error_summary::{error_summary, shorten},
    log_messages::{
        ACCEPTED, CANCELLED, COMMAND_STDERR, FAILED, FINISHED, HANDED_BACK, REJECTED, RESULT,
        RETRY_SCHEDULED, STARTED,
    },
};
use serde_json::Value;

use super::{
    log_events::{Event, EventKind},
    programs::WEB,
};
use crate::console;

const WEB_COLOUR: AnsiColors = AnsiColors::Green;
const USER: AnsiColors = AnsiColors::White;
const WARNING: AnsiColors = AnsiColors::Yellow;
const FAILURE: AnsiColors = AnsiColors::Red;

/// How many characters of a text a line shows, so that it fits 140 columns.
const MAX_TEXT_CHARS: usize = 118;
/// From this delay on it is said how the next attempt begins at once.
const LONG_DELAY: Duration = Duration::from_secs(60);

/// Each request has one of these colours on all its lines.
const REQUEST_COLOURS: [AnsiColors; 6] = [
    AnsiColors::BrightBlue,
    AnsiColors::BrightMagenta,
    AnsiColors::BrightCyan,
    AnsiColors::BrightYellow,
    AnsiColors::BrightGreen,
    AnsiColors::BrightRed,
];

/// Prints events, and remembers the colour and the worker of each request that has not ended.
#[derive(Default)]
pub(crate) struct Display {
    requests: HashMap<String, Request>,
    /// How many requests there were.
    seen: usize,
    shows_accepted: bool,
}

struct Request {
    colour: AnsiColors,
    worker: Option<&'static str>,
}

impl Display {
    /// A display of requests that others send: shows also that one was accepted.
    pub(crate) fn of_accepted() -> Self {
        Self { shows_accepted: true, ..Self::default() }
    }

    /// Shows that one of our own requests was accepted.
    pub(crate) fn sent(&mut self, id: &str, data: &str) {
        self.request("you", USER, id, &format!("sends {data:?}"));
    }

    /// Shows why a request could not be sent.
    pub(crate) fn send_failed(&self, why: &str) {
        console::line("you", WARNING, why);
    }

    /// Shows a line about a program as a whole.
    pub(crate) fn program(&self, program: &str, text: &str) {
        console::line(program, WARNING, text);
    }

    /// Shows what a program wrote: a log line if it is about a request, or a warning or error; any other line as it is.
    pub(crate) fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Log(log) => self.log(event.program, log),
            EventKind::OtherLine(line) => self.program(event.program, line),
            EventKind::Outlived | EventKind::Exit => {}
        }
    }

    fn log(&mut self, program: &'static str, log: &Value) {
        let message = log["message"].as_str().unwrap_or_default();
        let colour = colour_of(program);
        match (message, log["requestId"].as_str()) {
            (ACCEPTED, Some(id)) if self.shows_accepted => {
                self.request(program, colour, id, "accepted")
            }
            (STARTED, Some(id)) => self.started(program, id),
            (FINISHED, Some(id)) => self.request(program, colour, id, &finished(log)),
            (FAILED, Some(id)) => self.request(program, WARNING, id, &failed(log)),
            (RETRY_SCHEDULED, Some(id)) => self.request(program, WARNING, id, &retried(id, log)),
            (HANDED_BACK, Some(id)) => self.request(program, colour, id, "is handed back"),
            (CANCELLED, Some(id)) => {
                self.request(program, colour, id, "is stopped: its result is no longer needed")
            }
            (REJECTED, Some(id)) => self.request(program, WARNING, id, &rejected(log)),
            (COMMAND_STDERR, Some(id)) => {
                self.request(program, colour, id, &format!("| {}", text_of(&log["stderr"])))
            }
            (RESULT, Some(id)) => self.result(program, id, log),
            (_, id) if matches!(log["level"].as_str(), Some("WARN" | "ERROR")) => {
                let text = shorten(&with_reason(message, log), MAX_TEXT_CHARS);
                match id {
                    Some(id) if !id.is_empty() => self.request(program, WARNING, id, &text),
                    _ => self.program(program, &text),
                }
            }
            _ => {}
        }
    }

    fn started(&mut self, program: &'static str, id: &str) {
        let before = self.known(id).worker.replace(program);
        let text = match before {
            None => "starts".to_owned(),
            Some(before) if before == program => "starts again".to_owned(),
            Some(before) => format!("takes over from {before}"),
        };
        self.request(program, colour_of(program), id, &text);
    }

    fn result(&mut self, program: &'static str, id: &str, log: &Value) {
        let status = log["status"].as_str().unwrap_or("?");
        let max_chars = MAX_TEXT_CHARS.saturating_sub(status.len() + 2);
        let (colour, result) = match status {
            "completed" => (WEB_COLOUR, shorten(&result_text(log), max_chars)),
            _ => (FAILURE, error_text(&result_text(log), max_chars)),
        };
        let result = console::coloured(result, colour);
        self.request(program, colour, id, &format!("{status}: {result}"));
        self.requests.remove(id);
    }

    /// Prints a line about a request, with the end of its id, which is its random part, in its colour.
    fn request(&mut self, part: &str, colour: AnsiColors, id: &str, text: &str) {
        let short = id.char_indices().rev().nth(5).map_or(id, |(at, _)| &id[at..]);
        let tag = console::coloured(short, self.known(id).colour);
        console::line(part, colour, format!("{tag}  {text}"));
    }

    fn known(&mut self, id: &str) -> &mut Request {
        let seen = &mut self.seen;
        self.requests.entry(id.to_owned()).or_insert_with(|| {
            *seen += 1;
            Request { colour: REQUEST_COLOURS[*seen % REQUEST_COLOURS.len()], worker: None }
        })
    }
}

/// The result in a log line of the web service.
pub(crate) fn result_text(log: &Value) -> String {
    text_of(&log["result"])
}

/// How a process ended, for people.
pub(crate) fn how_ended(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => format!("ended with {status}"),
    }
}

fn finished(log: &Value) -> String {
    format!("is done {}", console::dimmed(format!("after {} ms", text_of(&log["ms"]))))
}

fn failed(log: &Value) -> String {
    let (attempt, ms) = (text_of(&log["attempt"]), text_of(&log["ms"]));
    let begin = format!("attempt {attempt} failed after {ms} ms: ");
    with_error(begin, &text_of(&log["error"]), MAX_TEXT_CHARS)
}

/// `begin` and the error, in this many characters.
fn with_error(begin: String, error: &str, max_chars: usize) -> String {
    let error = error_summary(error, max_chars.saturating_sub(begin.chars().count()));
    begin + &error
}

fn retried(id: &str, log: &Value) -> String {
    let time = text_of(&log["nextAttemptAt"]);
    let Ok(at) = humantime::parse_rfc3339_weak(&time) else {
        return format!("is tried again at {time}");
    };
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    // What the log line took on its way here is no part of the delay.
    let left = Duration::from_secs_f64(left.as_secs_f64().round());
    let asked =
        log["asked"].as_str().map(|asked| format!(" ({asked} was asked for: see RETRY_DELAYS)"));
    let at_once = match left < LONG_DELAY {
        true => format!(", at {time}"),
        false => format!("; at once: cargo run --bin slowlane -- retry-now {id}"),
    };
    let left = humantime::format_duration(left);
    format!("is tried again in {left}{}{at_once}", asked.unwrap_or_default())
}

fn rejected(log: &Value) -> String {
    let (code, reason) = (text_of(&log["code"]), text_of(&log["reason"]));
    with_error(format!("not processed: {code}: "), &reason, MAX_TEXT_CHARS)
}

/// The code and the message of an error in JSON; the text as it is if that was too long to be logged whole.
fn error_text(text: &str, max_chars: usize) -> String {
    let error: Value = serde_json::from_str(text).unwrap_or_default();
    match (error["code"].as_str(), error["message"].as_str()) {
        (Some(code), Some(message)) => with_error(format!("{code}: "), message, max_chars),
        _ => shorten(text, max_chars),
    }
}

/// The text of a field, which is a string or a number.
fn text_of(field: &Value) -> String {
    field.as_str().map_or_else(|| field.to_string(), str::to_owned)
}

fn colour_of(program: &str) -> AnsiColors {
    match program {
        WEB => WEB_COLOUR,
        "worker-2" => AnsiColors::Magenta,
        _ => AnsiColors::Blue,
    }
}

fn with_reason(message: &str, log: &Value) -> String {
    let reason = ["error", "reason", "detail"].iter().find_map(|field| log[*field].as_str());
    reason.map_or_else(|| message.to_owned(), |reason| format!("{message}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_shown_with_the_kind_of_its_exception() {
        let traceback = format!(
            "the command ended with exit code 1: Traceback (most recent call last):\n  File \"w.py\"\nbinascii.Error: {}",
            "ü".repeat(113)
        );
        let log = serde_json::json!({ "attempt": 1, "ms": 3, "error": traceback });
        let shown = failed(&log);
        assert!(shown.starts_with("attempt 1 failed after 3 ms: the command ended"), "{shown}");
        assert!(shown.contains(" ... binascii.Error: "), "{shown}");
        assert!(shown.chars().count() <= MAX_TEXT_CHARS, "{shown}");
        let error = serde_json::json!({ "code": "permanent", "message": "a\nb" }).to_string();
        assert_eq!(error_text(&error, 80), "permanent: a ... b");
        assert_eq!(error_text(r#"{"code":"permanent","mess"#, 80), r#"{"code":"permanent","mess"#);
    }

    #[test]
    fn a_retry_says_how_long_it_waits_and_how_it_begins_at_once() {
        let id = "01a1fd87-448c-755a-a380-a6f598ec5ae1";
        let at = |millis| {
            let at = SystemTime::now() + Duration::from_millis(millis);
            humantime::format_rfc3339_millis(at).to_string()
        };
        let soon = at(9_800);
        let text = retried(id, &serde_json::json!({ "nextAttemptAt": soon }));
        assert_eq!(text, format!("is tried again in 10s, at {soon}"));
        let text = retried(id, &serde_json::json!({ "nextAttemptAt": soon, "asked": "2s" }));
        assert_eq!(
            text,
            format!("is tried again in 10s (2s was asked for: see RETRY_DELAYS), at {soon}")
        );
        let text = retried(id, &serde_json::json!({ "nextAttemptAt": at(599_900) }));
        let expected =
            format!("is tried again in 10m; at once: cargo run --bin slowlane -- retry-now {id}");
        assert_eq!(text, expected);
        assert!(text.chars().count() <= MAX_TEXT_CHARS);
    }
}
