//! The status as text for people: what is wrong, how many requests there are, the workers, the queues.

use std::time::{Duration, SystemTime};

use owo_colors::{AnsiColors, OwoColorize, Stream};

use crate::{
    api::status::{Oldest, Rates, StatusDetails, Workers},
    text::{escape_controls, raw_field, short_duration},
};

const UNKNOWN: &str = "not known";
const QUEUE_HEADER: &str = "QUEUE                     MESSAGES  CONSUMERS";

/// The whole screen.
pub(super) fn text(status: &StatusDetails, address: &str, now: SystemTime) -> String {
    let requests = &status.requests;
    let count = |count| self::count(count, status.count_limit);
    let mut lines = vec![raw_field("service", &format!("{} at {address}", state(&status.status)))];
    for (name, part) in &status.parts {
        let detail = escape_controls(&part.detail, &[]);
        let mark = if part.ok { String::new() } else { coloured("missing: ", AnsiColors::Red) };
        lines.push(raw_field(short_name(name), &format!("{mark}{detail}")));
    }
    lines.extend([
        String::new(),
        raw_field("waiting", &waiting(requests.waiting)),
        raw_field("in work", &in_work(requests.processing, &status.workers)),
        raw_field("retrying", &retrying(&count(requests.retrying))),
        raw_field("failed", &format!("{}{}", count(requests.failed), failed_hint(requests.failed))),
        raw_field("open", &open(&count(requests.open), status.oldest.as_ref(), now)),
        raw_field("rate", &status.rates.as_ref().map_or(UNKNOWN.to_owned(), rates)),
    ]);
    if !status.queues.is_empty() {
        lines.extend([String::new(), QUEUE_HEADER.to_owned()]);
    }
    for queue in &status.queues {
        let name = escape_controls(&queue.name, &[]);
        lines.push(format!("{name:<24}  {:>8}  {:>9}", queue.messages, queue.consumers));
    }
    lines.join("\n")
}

fn state(status: &str) -> String {
    match status {
        "ready" => coloured("ready", AnsiColors::Green),
        "not_ready" => coloured("not ready", AnsiColors::Red),
        other => escape_controls(other, &[]).into_owned(),
    }
}

fn coloured(text: &str, colour: AnsiColors) -> String {
    text.if_supports_color(Stream::Stdout, |text| text.color(colour)).to_string()
}

/// The name of a part that fits before its detail.
fn short_name(part: &str) -> &str {
    match part {
        "broker.publish" => "publishing",
        "broker.consume" => "consuming",
        other => other,
    }
}

/// A count, of which the limit stands for that many or more.
fn count(count: Option<u64>, limit: Option<u64>) -> String {
    match count {
        None => UNKNOWN.to_owned(),
        Some(count) if limit.is_some_and(|limit| count >= limit) => format!("{count} or more"),
        Some(count) => count.to_string(),
    }
}

fn waiting(waiting: Option<u64>) -> String {
    waiting.map_or(UNKNOWN.to_owned(), |waiting| format!("{waiting} for a worker"))
}

fn in_work(processing: Option<u64>, workers: &Workers) -> String {
    let busy = workers.busy.unwrap_or(0);
    let of = match workers.subscribed {
        // The part `workers` tells what to do.
        Some(0) => coloured("no worker", AnsiColors::Red),
        Some(1) => format!("{busy} of 1 worker busy"),
        Some(all) => format!("{busy} of {all} workers busy"),
        None => format!("{busy} workers busy"),
    };
    format!("{}; {of}", processing.unwrap_or(0))
}

fn retrying(count: &str) -> String {
    if count == UNKNOWN { count.to_owned() } else { format!("{count} wait for their next attempt") }
}

fn failed_hint(failed: Option<u64>) -> &'static str {
    match failed {
        Some(1..) => "; slowlane failed list shows them",
        _ => "",
    }
}

fn open(count: &str, oldest: Option<&Oldest>, now: SystemTime) -> String {
    let Some(Oldest { request_id, accepted_at }) = oldest else { return count.to_owned() };
    let at = accepted_at.as_deref().and_then(|at| humantime::parse_rfc3339_weak(at).ok());
    let age = at.map(|at| now.duration_since(at).unwrap_or(Duration::ZERO));
    let since = age.map(|age| format!(", for {}", short_duration(age))).unwrap_or_default();
    format!("{count} in all; the oldest is {}{since}", escape_controls(request_id, &[]))
}

fn rates(rates: &Rates) -> String {
    let (accepted, ended) = (rates.accepted_per_second, rates.ended_per_second);
    format!("{}/s accepted, {}/s ended", rate(accepted), rate(ended))
}

fn rate(per_second: f64) -> String {
    match per_second {
        ..0.005 => "0".to_owned(),
        ..1.0 => format!("{per_second:.2}"),
        ..10.0 => format!("{per_second:.1}"),
        _ => format!("{per_second:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(json: &str) -> String {
        let now = humantime::parse_rfc3339_weak("2026-11-21T10:00:00Z").unwrap();
        text(&serde_json::from_str(json).unwrap(), "http://a", now)
    }

    #[test]
    fn the_screen_shows_all_numbers() {
        let text = screen(
            r#"{"at":"T","status":"ready","parts":{"store":{"ok":true,"detail":"it answers"}},
            "requests":{"open":12,"waiting":5,"processing":4,"retrying":2,"failed":10000},"countLimit":10000,
            "oldest":{"requestId":"01a1fd87","acceptedAt":"2026-11-21T09:56:30.000Z"},
            "rates":{"acceptedPerSecond":0.25,"endedPerSecond":118.4},"workers":{"subscribed":8,"busy":4},
            "queues":[{"name":"processing.requests","messages":5,"consumers":8}]}"#,
        );
        let expected = "\
service     ready at http://a
store       it answers

waiting     5 for a worker
in work     4; 4 of 8 workers busy
retrying    2 wait for their next attempt
failed      10000 or more; slowlane failed list shows them
open        12 in all; the oldest is 01a1fd87, for 3m 30s
rate        0.25/s accepted, 118/s ended

QUEUE                     MESSAGES  CONSUMERS
processing.requests              5          8";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_not_known_is_not_shown_as_zero() {
        let text = screen(
            r#"{"status":"not_ready","parts":{"broker.publish":{"ok":false,"detail":"refused"}},
            "requests":{"processing":0},"workers":{"busy":0},"queues":[]}"#,
        );
        for line in [
            "service     not ready at http://a",
            "publishing  missing: refused",
            "waiting     not known",
            "failed      not known",
            "rate        not known",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        let alone = screen(r#"{"status":"ready","workers":{"subscribed":0}}"#);
        assert!(alone.contains("in work     0; no worker\n"), "{alone}");
    }
}
