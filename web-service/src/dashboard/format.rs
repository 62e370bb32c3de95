//! Times, numbers, durations and statuses as the page shows them.

use std::time::Duration;

use maud::{Markup, html};
use pipeline::contract::Timestamp;

use crate::views::request::{RequestStatus, RequestView};

/// A moment. The script shows it in the time zone that its reader has chosen; without it, it is UTC.
pub(super) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (utc(at)) } }
}

/// How long ago a moment was, which the script keeps up to date; without it, the moment.
pub(super) fn age(at: Timestamp) -> Markup {
    html! { time datetime=(at) data-as="age" { (utc(at)) } }
}

/// A moment below a chart, without its seconds.
pub(super) fn time_on_axis(at: Timestamp) -> Markup {
    let text = at.to_string();
    html! { time datetime=(at) data-as="axis" { (&text[5..10]) " " (&text[11..16]) } }
}

fn utc(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} {} UTC", &text[..10], &text[11..19])
}

/// A number with its thousands apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number that was counted up to a limit.
pub(super) fn capped(count: u32, limit: u32) -> String {
    let plus = if count >= limit { "+" } else { "" };
    format!("{}{plus}", number(count.into()))
}

/// So many a second.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        ..0.05 => "0".to_owned(),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => format!("{rate:.0}"),
    }
}

/// A duration in its two largest units.
pub(super) fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.as_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A size in bytes, or in the unit in which it is short.
pub(super) fn size(bytes: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let of = |unit: usize| bytes as f64 / unit as f64;
    match bytes {
        1 => "1 byte".to_owned(),
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", of(1024)),
        _ => format!("{:.1} MiB", of(1_048_576)),
    }
}

/// One thing, or several.
pub(super) fn of(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// The word for the state of a request: its status, but for one that waits for its next attempt.
pub(super) fn state_word(request: &RequestView) -> &'static str {
    match request.status {
        RequestStatus::Queued if request.waits_until().is_some() => "retrying",
        status => status.name(),
    }
}

/// The state of a request: a word, and a colour beside it.
pub(super) fn state(request: &RequestView) -> Markup {
    let word = state_word(request);
    html! { span class={ "state " (word) } { (word) } }
}

/// How far the work on a request is.
pub(super) fn progress(request: &RequestView) -> Markup {
    let Some(fraction) = request.progress else { return html! {} };
    let label = match request.progress_count {
        Some(count) => format!("{} of {}", number(count.done), number(count.total)),
        None => format!("{:.0} %", fraction * 100.0),
    };
    html! {
        span.progress {
            progress max="1" value=(format!("{fraction:.4}")) aria-label="progress" {}
            span.num { (label) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (value, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            (capped(9999, 10_000), capped(10_000, 10_000)),
            ("9,999".into(), "10,000+".into())
        );
    }

    #[test]
    fn durations_have_two_units() {
        for (millis, text) in [
            (0, "0 ms"),
            (950, "950 ms"),
            (5_012, "5.0 s"),
            (192_000, "3 min 12 s"),
            (7_500_000, "2 h 5 min"),
            (100_000_000, "1 d 3 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn sizes_and_rates_are_short() {
        assert_eq!(
            (size(1), size(1023), size(5_242_880)),
            ("1 byte".into(), "1023 bytes".into(), "5.0 MiB".into())
        );
        assert_eq!((rate(0.04), rate(0.25), rate(123.4)), ("0".into(), "0.2".into(), "123".into()));
    }

    #[test]
    fn a_time_is_utc_until_the_script_changes_it() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        let expected = "<time datetime=\"2023-11-14T22:13:20.123Z\">2023-11-14 22:13:20 UTC</time>";
        assert_eq!(time(at).into_string(), expected);
    }
}
