//! Payloads as people read them: JSON with line breaks, its beginning alone if it is long.

use maud::{Markup, html};

use crate::dashboard::format::size;

/// How much is shown at first, and how much on request. Browsers become slow with more.
const MAX_SHOWN: usize = 16 * 1024;
const MAX_SHOWN_WHOLE: usize = 256 * 1024;

/// A payload of a request.
pub(super) struct Payload<'a> {
    /// The JSON text, as it came.
    pub(super) json: &'a str,
    /// Where the whole text is.
    pub(super) raw: String,
    /// The address of this page with more of it.
    pub(super) more: String,
    /// Whether more of it was asked for.
    pub(super) is_whole: bool,
}

impl Payload<'_> {
    /// The payload as HTML.
    pub(super) fn markup(&self, label: &str) -> Markup {
        let limit = if self.is_whole { MAX_SHOWN_WHOLE } else { MAX_SHOWN };
        let (text, is_cut) = shown(self.json, limit);
        html! {
            p.about {
                span.num { (size(self.json.len())) }
                @if is_cut { ", the beginning is shown" }
                " · " a href=(self.raw) download { "raw" }
                @if is_cut && !self.is_whole { " · " a href=(self.more) { "show more" } }
            }
            pre tabindex="0" aria-label=(label) { code { (text) } }
        }
    }
}

/// The beginning of a JSON text with line breaks, and whether more follows.
fn shown(json: &str, max_bytes: usize) -> (String, bool) {
    let beginning = &json[..json.floor_char_boundary(max_bytes)];
    let mut text = pretty(beginning);
    let is_cut = beginning.len() < json.len() || text.len() > max_bytes;
    text.truncate(text.floor_char_boundary(max_bytes));
    (text, is_cut)
}

/// JSON with line breaks and indentation. Numbers, the order of keys and all texts stay as they are, so it works on
/// tokens; it need not be complete.
fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth: usize = 0;
    let mut rest = json;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '"' => string_length(rest),
            _ => next.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match next {
            '{' | '[' => {
                out.push(next);
                let trimmed = rest.trim_start();
                if let Some(close) =
                    trimmed.chars().next().filter(|close| matches!(close, '}' | ']'))
                {
                    out.push(close);
                    rest = &trimmed[1..];
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(next);
            }
            ',' => {
                out.push(next);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            _ => out.push_str(token),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    // Deep nesting is no use to anybody, and would make the text much longer.
    out.extend(std::iter::repeat_n("  ", depth.min(32)));
}

/// The length of the string at the beginning, with its quotes.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_outside_of_texts_is_changed() {
        let json = r#"{"b":[1.10,{ },[]], "a" : "x: {\"y\", [1]}","n":12345678901234567890}"#;
        let expected = "{\n  \"b\": [\n    1.10,\n    {},\n    []\n  ],\n  \"a\": \"x: {\\\"y\\\", [1]}\",\n  \"n\": 12345678901234567890\n}";
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty("\"hello, you\""), "\"hello, you\"");
        assert_eq!(pretty("[1,\"cut o"), "[\n  1,\n  \"cut o");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let json = format!("\"{}\"", "ä".repeat(20_000));
        let (text, is_cut) = shown(&json, MAX_SHOWN);
        assert!(is_cut && text.len() <= MAX_SHOWN && text.ends_with('ä'));
        assert_eq!(shown("[]", MAX_SHOWN), ("[]".to_owned(), false));
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(shown(&deep, MAX_SHOWN).0.len() <= MAX_SHOWN);
    }
}
