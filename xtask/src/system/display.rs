//! The console of a running system: one short line for each step of each request.

use std::{
    collections::HashMap,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::{Duration, SystemTime},
};

use owo_colors::AnsiColors;
use pipeline::log_messages::{
    ACCEPTED, CANCELLED, COMMAND_STDERR, FAILED, FINISHED, HANDED_BACK, REJECTED, RESULT,
    RETRY_SCHEDULED, STARTED,
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
/// How many of them are the end of a longer text.
const TAIL_CHARS: usize = 60;
/// Stands for what is left out.
const ELLIPSIS: &str = " ... ";

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
            EventKind::Exit => {}
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
            (RETRY_SCHEDULED, Some(id)) => self.request(program, WARNING, id, &retried(log)),
            (HANDED_BACK, Some(id)) => self.request(program, colour, id, "is handed back"),
            (CANCELLED, Some(id)) => self.request(program, colour, id, "is cancelled"),
            (REJECTED, Some(id)) => self.request(program, WARNING, id, &rejected(log)),
            (COMMAND_STDERR, Some(id)) => {
                self.request(program, colour, id, &format!("| {}", text_of(&log["stderr"])))
            }
            (RESULT, Some(id)) => self.result(program, id, log),
            _ if matches!(log["level"].as_str(), Some("WARN" | "ERROR")) => {
                self.program(program, &with_reason(message, log))
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
        let (colour, result) = match status {
            "completed" => (WEB_COLOUR, result_text(log)),
            _ => (FAILURE, error_text(&result_text(log))),
        };
        let text = shorten(&format!("{status}: {result}"));
        let result = console::coloured(text.split_at(status.len() + 2).1, colour);
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
    shorten(&format!(
        "attempt {attempt} failed after {ms} ms: {}",
        one_line(&text_of(&log["error"]))
    ))
}

fn retried(log: &Value) -> String {
    let time = text_of(&log["nextAttemptAt"]);
    let Ok(at) = humantime::parse_rfc3339_weak(&time) else {
        return format!("is tried again at {time}");
    };
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    // What the log line took on its way here is no part of the delay.
    let left = Duration::from_secs_f64(left.as_secs_f64().round());
    format!("is tried again in {}, at {time}", humantime::format_duration(left))
}

fn rejected(log: &Value) -> String {
    let (code, reason) = (text_of(&log["code"]), text_of(&log["reason"]));
    shorten(&format!("not processed: {code}: {}", one_line(&reason)))
}

/// The code and the message of an error in JSON; the text as it is if that was too long to be logged whole.
fn error_text(text: &str) -> String {
    let error: Value = serde_json::from_str(text).unwrap_or_default();
    match (error["code"].as_str(), error["message"].as_str()) {
        (Some(code), Some(message)) => format!("{code}: {}", one_line(message)),
        _ => text.to_owned(),
    }
}

/// A text on one line. Of several lines the first and the last are shown: a traceback ends with its reason.
fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{first} ... {last}"),
        None => first.to_owned(),
    }
}

/// The beginning and the end of a text that is too long for a line.
fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= MAX_TEXT_CHARS {
        return text.to_owned();
    }
    let head = text.chars().take(MAX_TEXT_CHARS - ELLIPSIS.len() - TAIL_CHARS);
    let tail = text.chars().skip(count - TAIL_CHARS);
    head.chain(ELLIPSIS.chars()).chain(tail).collect()
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
    fn an_error_of_several_lines_becomes_one_with_its_reason() {
        let traceback =
            "exit code 1: Traceback (most recent call last):\n  File \"w.py\"\nKeyError: 'x'\n";
        let expected = "exit code 1: Traceback (most recent call last): ... KeyError: 'x'";
        assert_eq!(one_line(traceback), expected);
        assert_eq!(one_line("no invoice"), "no invoice");
        assert_eq!(error_text(r#"{"code":"permanent","message":"a\nb"}"#), "permanent: a ... b");
        assert_eq!(error_text(r#"{"code":"permanent","mess"#), r#"{"code":"permanent","mess"#);
    }

    #[test]
    fn a_long_text_is_shortened_to_its_beginning_and_its_end() {
        let error = serde_json::json!({
            "attempt": 1, "ms": 3, "error": format!("first {}\nthe reason", "ü".repeat(300)),
        });
        let shown = failed(&error);
        assert!(
            shown.starts_with("attempt 1 failed after 3 ms: first")
                && shown.ends_with("the reason")
        );
        assert_eq!(shown.chars().count(), MAX_TEXT_CHARS);
        let long = shorten(&"ü".repeat(300));
        assert_eq!(long.chars().count(), MAX_TEXT_CHARS);
        assert!(long.contains(ELLIPSIS));
        assert_eq!(shorten("short"), "short");
    }

    #[test]
    fn a_retry_says_how_long_it_waits() {
        let at = SystemTime::now() + Duration::from_millis(9_800);
        let at = humantime::format_rfc3339_millis(at).to_string();
        let text = retried(&serde_json::json!({ "nextAttemptAt": at }));
        assert_eq!(text, format!("is tried again in 10s, at {at}"));
    }
}
