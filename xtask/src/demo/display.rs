//! The console of the demo: one short line for each step of each request.

use std::collections::HashMap;

use owo_colors::AnsiColors;
use pipeline::log_messages::{FINISHED, RESULT, STARTED};
use serde_json::Value;

use crate::console;

const WEB: AnsiColors = AnsiColors::Green;
const USER: AnsiColors = AnsiColors::White;
const WARNING: AnsiColors = AnsiColors::Yellow;

/// Each request has one of these colours on all its lines.
const REQUEST_COLOURS: [AnsiColors; 6] = [
    AnsiColors::BrightBlue,
    AnsiColors::BrightMagenta,
    AnsiColors::BrightCyan,
    AnsiColors::BrightYellow,
    AnsiColors::BrightGreen,
    AnsiColors::BrightRed,
];

/// Prints events, and remembers the colour and the worker of each request.
#[derive(Default)]
pub(super) struct Display {
    requests: HashMap<String, Request>,
}

struct Request {
    colour: AnsiColors,
    worker: Option<&'static str>,
}

impl Display {
    /// Shows that a request was accepted.
    pub(super) fn sent(&mut self, id: &str, data: &str) {
        let text = format!("{}  sends {data:?}", self.tag(id));
        console::line("you", USER, text);
    }

    /// Shows why a request could not be sent.
    pub(super) fn send_failed(&self, why: &str) {
        console::line("you", WARNING, why);
    }

    /// Shows a line about a program as a whole.
    pub(super) fn program(&self, program: &str, text: &str) {
        console::line(program, WARNING, text);
    }

    /// Shows a log line if it is about a request, or a warning or error.
    pub(super) fn log(&mut self, program: &'static str, log: &Value) {
        let message = log["message"].as_str().unwrap_or_default();
        match (message, log["requestId"].as_str()) {
            (STARTED, Some(id)) => self.started(program, id),
            (FINISHED, Some(id)) => self.finished(program, id, log),
            (RESULT, Some(id)) => self.result(program, id, log),
            _ if matches!(log["level"].as_str(), Some("WARN" | "ERROR")) => {
                self.program(program, &with_reason(message, log))
            }
            _ => {}
        }
    }

    fn started(&mut self, program: &'static str, id: &str) {
        let tag = self.tag(id);
        let before = self.requests.get_mut(id).and_then(|request| request.worker.replace(program));
        let text = match before {
            None => "starts".to_owned(),
            Some(before) if before == program => "starts again".to_owned(),
            Some(before) => format!("takes it over from {before}"),
        };
        console::line(program, colour_of(program), format!("{tag}  {text}"));
    }

    fn finished(&mut self, program: &'static str, id: &str, log: &Value) {
        let time = console::dimmed(format!("after {} ms", text_of(&log["ms"])));
        let text = format!("{}  is done {time}", self.tag(id));
        console::line(program, colour_of(program), text);
    }

    fn result(&mut self, program: &'static str, id: &str, log: &Value) {
        let status = log["status"].as_str().unwrap_or("?");
        let colour = if status == "completed" { WEB } else { AnsiColors::Red };
        let result = console::coloured(result_text(log), colour);
        let text = format!("{}  {status}: {result}", self.tag(id));
        console::line(program, colour, text);
    }

    /// The end of a request's id, which is its random part, in the request's colour.
    fn tag(&mut self, id: &str) -> String {
        let colour = REQUEST_COLOURS[self.requests.len() % REQUEST_COLOURS.len()];
        let request =
            self.requests.entry(id.to_owned()).or_insert(Request { colour, worker: None });
        let short = id.char_indices().rev().nth(5).map_or(id, |(at, _)| &id[at..]);
        console::coloured(short, request.colour)
    }
}

/// The result in a log line of the web service.
pub(super) fn result_text(log: &Value) -> String {
    text_of(&log["result"])
}

/// The text of a field, which is a string or a number.
fn text_of(field: &Value) -> String {
    field.as_str().map_or_else(|| field.to_string(), str::to_owned)
}

fn colour_of(program: &str) -> AnsiColors {
    match program {
        "worker-1" => AnsiColors::Blue,
        "worker-2" => AnsiColors::Magenta,
        _ => WEB,
    }
}

fn with_reason(message: &str, log: &Value) -> String {
    let reason = ["error", "reason", "detail"].iter().find_map(|field| log[*field].as_str());
    reason.map_or_else(|| message.to_owned(), |reason| format!("{message}: {reason}"))
}
