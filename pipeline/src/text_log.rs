//! Log lines for people: time, level, message, the request's id, and the other fields, once each.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    time::SystemTime,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::{error_summary::beginning, log_messages, stderr::StderrWriter};

/// The field that follows the message without its name: its values are easily recognised, and long.
const REQUEST_ID: &str = "requestId";
/// What is left out, since it is so most of the time.
const USUAL: [(&str, &str); 2] = [("attempt", "1"), ("redelivered", "false")];
/// The field with the beginning of a result or an error, which is shown as far as the line has room for it.
const RESULT_FIELD: &str = "result";
/// What fits into a line of a terminal of usual width.
const MAX_COLUMNS: usize = 140;
/// What a message does not show, since another line about the request has it.
const SHOWN_ELSEWHERE: [(&str, &str); 1] = [(log_messages::RESULT, "worker")];
/// The crates whose lines need no target to be understood.
const OWN_CRATES: [&str; 5] = ["pipeline", "store", "setup", "web_service", "processor_service"];

/// Writes a line for each event to standard error.
pub(crate) struct TextLayer {
    /// Whether the level has a colour.
    pub(crate) has_colours: bool,
}

/// The fields of an event or a span, as text.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    /// Where an event of the crate `log` comes from.
    log_target: Option<String>,
    others: Vec<(&'static str, String)>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TextLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.add_missing(of_span);
            }
        }
        let metadata = event.metadata();
        let line = line(
            SystemTime::now(),
            *metadata.level(),
            metadata.target(),
            &fields,
            self.has_colours,
        );
        // It never fails: the line is queued or dropped.
        let _queued = StderrWriter.write_all(line.as_bytes());
    }
}

impl Fields {
    /// Adds the fields of a span that the event itself does not have.
    fn add_missing(&mut self, of_span: &Self) {
        for (name, value) in &of_span.others {
            if self.value(name).is_none() {
                self.others.push((name, value.clone()));
            }
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "log.target" => self.log_target = Some(value),
            name if name.starts_with("log.") => {}
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

fn line(
    time: SystemTime,
    level: Level,
    target: &str,
    fields: &Fields,
    has_colours: bool,
) -> String {
    let mut line = format!("{} {level:<5} ", humantime::format_rfc3339_millis(time));
    let target = fields.log_target.as_deref().unwrap_or(target);
    let is_own = OWN_CRATES.contains(&target.split("::").next().unwrap_or_default());
    if !is_own || level > Level::INFO {
        line.push_str(&format!("{target}: "));
    }
    fields.message.chars().for_each(|c| push_printable(&mut line, c));
    if let Some(id) = fields.value(REQUEST_ID) {
        line.push(' ');
        push_value(&mut line, id);
    }
    for (name, value) in &fields.others {
        let is_usual = USUAL.contains(&(name, value));
        let is_elsewhere = SHOWN_ELSEWHERE.contains(&(&fields.message, name));
        if *name == REQUEST_ID || is_usual || is_elsewhere {
            continue;
        }
        line.push_str(&format!(" {name}="));
        let mut shown = String::new();
        push_value(&mut shown, value);
        if *name == RESULT_FIELD {
            shown = beginning(&shown, MAX_COLUMNS.saturating_sub(line.chars().count()));
        }
        line.push_str(&shown);
    }
    line.push('\n');
    match has_colours {
        true => line.replacen(level.as_str(), &format!("\x1b[{}m{level}\x1b[0m", colour(level)), 1),
        false => line,
    }
}

/// As a terminal takes it after `ESC [`.
fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "31",
        Level::WARN => "33",
        Level::INFO => "32",
        _ => "34",
    }
}

/// Adds a character of a message. Messages may have several lines.
fn push_printable(line: &mut String, c: char) {
    match c {
        '\n' | '\t' => line.push(c),
        c if c.is_control() => line.extend(c.escape_default()),
        c => line.push(c),
    }
}

/// Adds a value, in quotes if it isn't a single word. JSON and lists stay as they are.
fn push_value(line: &mut String, value: &str) {
    let is_word = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"');
    let is_delimited = [('"', '"'), ('{', '}'), ('[', ']')]
        .into_iter()
        .any(|(begin, end)| value.len() > 1 && value.starts_with(begin) && value.ends_with(end));
    match (is_word || is_delimited) && !value.contains(char::is_control) {
        true => line.push_str(value),
        // Writing to a string never fails.
        false => drop(write!(line, "{value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019acb0e-4f5e-7c3b-8f4e-2f6d00000001";

    fn text(level: Level, message: &str, others: &[(&'static str, &str)]) -> String {
        let others = others.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let fields = Fields { message: message.to_owned(), log_target: None, others };
        line(SystemTime::UNIX_EPOCH, level, "store::queue", &fields, false)
    }

    #[test]
    fn the_lines_of_a_request_fit_140_columns_and_have_its_id_once() {
        let worker = ("worker", "node-7:12345/1");
        for (message, others) in [
            (
                "started",
                vec![("requestId", ID), worker, ("attempt", "1"), ("redelivered", "false")],
            ),
            (
                "failed",
                vec![
                    ("requestId", ID),
                    worker,
                    ("attempt", "2"),
                    ("ms", "12"),
                    ("code", "transient"),
                    ("error", "busy"),
                ],
            ),
            (
                "retry scheduled",
                vec![("requestId", ID), ("nextAttemptAt", "2026-11-28T01:33:15.123Z")],
            ),
            (
                "result",
                vec![
                    ("requestId", ID),
                    ("status", "completed"),
                    ("attempt", "1"),
                    worker,
                    ("ms", "5003"),
                    ("result", "\"hello-processed\""),
                ],
            ),
            (
                "result",
                vec![
                    ("requestId", ID),
                    ("status", "failed"),
                    ("attempt", "5"),
                    worker,
                    ("ms", "1500003"),
                    (
                        "result",
                        r#"{"code":"attempts_exhausted","message":"no \nluck at all, not even after hours"}"#,
                    ),
                ],
            ),
        ] {
            let text = text(Level::INFO, message, &others);
            assert!(text.trim_end().chars().count() <= 140, "{text}");
            let line = format!("1970-01-01T00:00:00.000Z INFO  {message} {ID} ");
            assert!(text.starts_with(&line) && text.matches(ID).count() == 1, "{text}");
        }
    }

    #[test]
    fn a_result_is_shown_as_far_as_the_line_has_room() {
        let long = "ü".repeat(300);
        let fields = [("requestId", ID), ("worker", "a:1/1"), ("result", long.as_str())];
        let shown = text(Level::INFO, log_messages::RESULT, &fields);
        assert_eq!(shown.trim_end().chars().count(), MAX_COLUMNS);
        assert!(shown.ends_with("üü...\n") && !shown.contains("worker"), "{shown}");
        let short = text(Level::INFO, log_messages::RESULT, &[("result", "\"a b\"")]);
        assert!(short.ends_with(" result=\"a b\"\n"), "{short}");
        let other = text(Level::WARN, "failed", &[("error", long.as_str()), ("worker", "a:1/1")]);
        assert!(other.contains(&long) && other.contains("worker=a:1/1"), "{other}");
    }

    #[test]
    fn a_colour_is_that_of_the_level_alone() {
        let fields = Fields { message: "INFO".to_owned(), ..Fields::default() };
        let shown = line(SystemTime::UNIX_EPOCH, Level::INFO, "store", &fields, true);
        assert_eq!(shown, "1970-01-01T00:00:00.000Z \x1b[32mINFO\x1b[0m  INFO\n");
    }

    #[test]
    fn values_are_quoted_where_they_are_no_single_word() {
        let shown = |value| {
            let mut line = String::new();
            push_value(&mut line, value);
            line
        };
        for same in [ID, "a", "{\"a b\": 1}", "\"a b\"", "[\"a b\"]"] {
            assert_eq!(shown(same), same);
        }
        assert_eq!(shown("two words"), "\"two words\"");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a\nb\x1b"), "\"a\\nb\\u{1b}\"");
        assert_eq!(shown("\"a\nb\""), "\"\\\"a\\nb\\\"\"");
    }

    #[test]
    fn what_is_usual_is_left_out() {
        assert!(text(Level::WARN, "failed", &[("attempt", "1")]).ends_with("failed\n"));
        assert!(text(Level::WARN, "failed", &[("attempt", "2")]).ends_with("failed attempt=2\n"));
        assert!(text(Level::DEBUG, "a", &[]).contains("store::queue: a"));
    }

    #[test]
    fn fields_of_spans_are_added_once() {
        let mut fields = Fields { others: vec![("a", "1".into())], ..Fields::default() };
        fields.add_missing(&Fields {
            others: vec![("a", "2".into()), ("b", "3".into())],
            ..Fields::default()
        });
        assert_eq!(fields.others, [("a", "1".into()), ("b", "3".into())]);
    }
}
