//! Text for terminals: control characters escaped, long texts shortened, fields aligned, JSON on one line.

use std::{borrow::Cow, time::Duration};

use pipeline::error_summary::error_summary;

/// How many characters of an error stand in a line with other text, so that it fits 140 columns.
pub(crate) const SHORT_ERROR_CHARS: usize = 64;

/// Escapes control characters except those in `keep`, so that a text can't control the terminal.
pub(crate) fn escape_controls<'a>(text: &'a str, keep: &[char]) -> Cow<'a, str> {
    let is_escaped = |c: char| c.is_control() && !keep.contains(&c);
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| match is_escaped(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Escapes control characters except line breaks and tabs.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_controls(text, &['\n', '\t'])
}

/// An error on one line of about this many characters: control characters are escaped afterwards.
pub(crate) fn short_error(text: &str, max_chars: usize) -> String {
    escape_controls(&error_summary(text, max_chars), &[]).into_owned()
}

/// The time until something begins, which has not begun after "0s".
pub(crate) fn countdown(left: Duration) -> String {
    let begun = u64::from(left.subsec_nanos() > 0);
    short_duration(Duration::from_secs(left.as_secs().saturating_add(begun)))
}

/// A duration for people, in its two largest units: `3m 30s`.
pub(crate) fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

/// A field of a record: its name and its text, whose further lines are indented below the first.
pub(crate) fn field(name: &str, text: &str) -> String {
    let text = escape_lines(text);
    raw_field(name, &text.trim_end().replace('\n', "\n            "))
}

/// A field whose text is shown as it is.
pub(crate) fn raw_field(name: &str, text: &str) -> String {
    format!("{name:<10}  {text}")
}

/// JSON on one line. Line breaks can only stand between its tokens; inside strings they are escaped.
pub(crate) fn one_line(json: &str) -> Cow<'_, str> {
    match json.contains(['\n', '\r']) {
        true => Cow::Owned(json.replace(['\n', '\r'], " ")),
        false => Cow::Borrowed(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape_controls("grün 🦀", &[]), "grün 🦀");
        assert_eq!(escape_controls("a\x1b[2Jb\n", &['\n']), "a\\u{1b}[2Jb\n");
    }

    #[test]
    fn a_duration_is_shown_in_two_units() {
        let shown = [0, 59, 210, 3660, 90_061].map(|s| short_duration(Duration::from_secs(s)));
        assert_eq!(shown, ["0s", "59s", "3m 30s", "1h 1m", "1d 1h"]);
    }

    #[test]
    fn a_second_that_has_begun_is_counted() {
        let shown = [0, 1, 999, 1000, 59_001].map(|ms| countdown(Duration::from_millis(ms)));
        assert_eq!(shown, ["0s", "1s", "1s", "1s", "1m 0s"]);
    }

    #[test]
    fn an_error_is_one_line_that_can_not_control_the_terminal() {
        let traceback = "it ended with 1:\n\x1b[2J\nValueError: \x1b[31mno luck\n";
        assert_eq!(
            short_error(traceback, 60),
            "it ended with 1: ... ValueError: \\u{1b}[31mno luck"
        );
    }

    #[test]
    fn further_lines_of_a_field_are_indented_below_the_first() {
        assert_eq!(field("error", "no\n  luck\n"), "error       no\n              luck");
    }

    #[test]
    fn json_on_one_line_is_the_same_json() {
        let json = "{\"a\":\r\n [1,\n\"x\\ny\"]}";
        let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let line = one_line(json);
        assert!(!line.contains('\n') && same(&line) == same(json), "{line}");
    }
}
