//! What the watcher sees: one short line for each step of each request.

use std::collections::HashMap;

use owo_colors::AnsiColors;
use serde_json::Value;

use crate::say;

const WEB: AnsiColors = AnsiColors::Green;
const YOU: AnsiColors = AnsiColors::White;
const TROUBLE: AnsiColors = AnsiColors::Yellow;

/// Each request has one of these colours on all its lines, so that the eye can follow it.
const REQUESTS: [AnsiColors; 6] = [
    AnsiColors::BrightBlue,
    AnsiColors::BrightMagenta,
    AnsiColors::BrightCyan,
    AnsiColors::BrightYellow,
    AnsiColors::BrightGreen,
    AnsiColors::BrightRed,
];

/// Remembers which requests were seen, and by whom.
#[derive(Default)]
pub(super) struct View {
    requests: HashMap<String, Request>,
}

struct Request {
    colour: AnsiColors,
    worker: Option<&'static str>,
}

impl View {
    /// A request was sent and accepted.
    pub(super) fn sent(&mut self, id: &str, data: &str) {
        let text = format!("{}  sends {data:?}", self.tag(id));
        say::line("you", YOU, text);
    }

    /// A request was not accepted, or something else went wrong on the watcher's side.
    pub(super) fn refused(&self, why: &str) {
        say::line("you", TROUBLE, why);
    }

    /// Something about a program as a whole.
    pub(super) fn about(&self, who: &str, text: &str) {
        say::line(who, TROUBLE, text);
    }

    /// A log line of a program: shown if it is about a request, or about trouble.
    pub(super) fn logged(&mut self, who: &'static str, log: &Value) {
        let message = log["message"].as_str().unwrap_or_default();
        match (message, log["requestId"].as_str()) {
            ("started", Some(id)) => self.started(who, id),
            ("finished", Some(id)) => self.finished(who, id, log),
            ("result", Some(id)) => self.result(who, id, log),
            _ if matches!(log["level"].as_str(), Some("WARN" | "ERROR")) => {
                self.about(who, &with_reason(message, log))
            }
            _ => {}
        }
    }

    fn started(&mut self, who: &'static str, id: &str) {
        let tag = self.tag(id);
        let before = self.requests.get_mut(id).and_then(|request| request.worker.replace(who));
        let text = match before {
            None => "starts".to_owned(),
            Some(before) if before == who => "starts again".to_owned(),
            Some(before) => format!("takes it over from {before}"),
        };
        say::line(who, colour_of(who), format!("{tag}  {text}"));
    }

    fn finished(&mut self, who: &'static str, id: &str, log: &Value) {
        let time = say::faint(format!("after {} ms", text_of(&log["ms"])));
        let text = format!("{}  is done {time}", self.tag(id));
        say::line(who, colour_of(who), text);
    }

    fn result(&mut self, who: &'static str, id: &str, log: &Value) {
        let status = log["status"].as_str().unwrap_or("?");
        let colour = if status == "completed" { WEB } else { AnsiColors::Red };
        let result = say::painted(result_text(log), colour);
        let text = format!("{}  {status}: {result}", self.tag(id));
        say::line(who, colour, text);
    }

    /// The short form of a request's id, in its colour. The end of an id is its random part.
    fn tag(&mut self, id: &str) -> String {
        let colour = REQUESTS[self.requests.len() % REQUESTS.len()];
        let request =
            self.requests.entry(id.to_owned()).or_insert(Request { colour, worker: None });
        let short = id.char_indices().rev().nth(5).map_or(id, |(at, _)| &id[at..]);
        say::painted(short, request.colour)
    }
}

/// The result as the web service logged it.
pub(super) fn result_text(log: &Value) -> String {
    text_of(&log["result"])
}

/// A field's text, whether it was logged as text or as a number.
fn text_of(field: &Value) -> String {
    field.as_str().map_or_else(|| field.to_string(), str::to_owned)
}

fn colour_of(who: &str) -> AnsiColors {
    match who {
        "worker-1" => AnsiColors::Blue,
        "worker-2" => AnsiColors::Magenta,
        _ => WEB,
    }
}

fn with_reason(message: &str, log: &Value) -> String {
    let reason = ["error", "reason", "detail"].iter().find_map(|field| log[*field].as_str());
    reason.map_or_else(|| message.to_owned(), |reason| format!("{message}: {reason}"))
}
