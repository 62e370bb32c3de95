//! What is printed: results on standard output, everything about them on standard error.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use owo_colors::{AnsiColors, OwoColorize, Stream};

use crate::{
    api::{Request, Status},
    exit::Failure,
};

const NO_REASON: &str = "nobody said why";

/// How many characters of a long text are shown in a table, at its beginning,
const BEGINNING: usize = 60;
/// and at its end,
const END: usize = 80;
/// and what stands for the others.
const BETWEEN: &str = " ... ";

/// Prints a line on standard output.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    // Written in one go, so that other writers to the same file can't come in between.
    let text = format!("{text}\n");
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::of_output)
}

/// Says something about what is going on, on standard error. Nothing depends on its being heard.
pub(crate) fn note(text: impl Display) {
    let _ = io::stderr().write_all(format!("slowlane: {text}\n").as_bytes());
}

/// A request's result as people want it: texts without quotes, everything else as JSON.
pub(crate) fn result(request: &Request) -> String {
    let Some(json) = request.result() else { return String::new() };
    match serde_json::from_str::<String>(json) {
        Ok(text) if io::stdout().is_terminal() => plain(&text, &['\n', '\t']).into_owned(),
        Ok(text) => text,
        Err(_) => json.to_owned(),
    }
}

/// How a request ended, for people: the result, or on standard error why there is none.
pub(crate) fn ended(request: &Request) -> Result<(), Failure> {
    let id = request.id;
    match request.status {
        Status::Completed => return line(result(request)),
        Status::Failed => note(format!("{id} failed: {}", why(request))),
        Status::Cancelled => note(format!("{id} was cancelled")),
        Status::Queued | Status::Processing | Status::Unknown => {
            let status = request.status.word();
            note(format!(
                "{id} has not ended yet, it is {status}; slowlane wait {id} waits for it"
            ));
        }
    }
    Ok(())
}

/// Why a request failed, in as many lines as its worker needed to say so.
pub(crate) fn why(request: &Request) -> String {
    let Some(error) = &request.error else { return NO_REASON.to_owned() };
    let text = format!("{} ({})", error.message, error.code);
    plain(&text, &['\n', '\t']).into_owned()
}

/// The same for a table.
pub(crate) fn why_in_short(request: &Request) -> String {
    let Some(error) = &request.error else { return NO_REASON.to_owned() };
    format!("{} ({})", in_short(&error.message), plain(&error.code, &[]))
}

/// A text on one line: if it is long, its beginning and its end, where programs say what went wrong.
pub(crate) fn in_short(text: &str) -> String {
    let cut = |at: usize| text.char_indices().nth(at).map(|(at, _)| at);
    let from_end = text.char_indices().rev().nth(END - 1).map(|(at, _)| at);
    match (cut(BEGINNING), from_end, cut(BEGINNING + END + BETWEEN.len())) {
        (Some(beginning), Some(end), Some(_)) => {
            format!("{}{BETWEEN}{}", plain(&text[..beginning], &[]), plain(&text[end..], &[]))
        }
        _ => plain(text, &[]).into_owned(),
    }
}

/// One of the lines that show a thing: a name and a text, whose further lines stand under its first.
pub(crate) fn field(name: &str, text: &str) -> String {
    format!("{name:<10}  {}", text.trim_end().replace('\n', "\n            "))
}

/// A status in its colour, where the output takes colours, and padded to a width.
pub(crate) fn status(status: Status, width: usize) -> String {
    let colour = match status {
        Status::Completed => AnsiColors::Green,
        Status::Failed => AnsiColors::Red,
        Status::Cancelled => AnsiColors::Yellow,
        Status::Processing => AnsiColors::Cyan,
        Status::Queued | Status::Unknown => AnsiColors::Default,
    };
    let padded = format!("{:<width$}", status.word());
    padded.if_supports_color(Stream::Stdout, |text| text.color(colour)).to_string()
}

/// A text that can do nothing to a terminal: control characters but those in `but` are shown, not sent.
pub(crate) fn plain<'a>(text: &'a str, but: &[char]) -> Cow<'a, str> {
    let harmful = |c: char| c.is_control() && !but.contains(&c);
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match harmful(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// JSON on one line. Line breaks in JSON stand between its parts alone; in strings they are escaped.
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
    fn a_text_can_do_nothing_to_a_terminal() {
        assert_eq!(plain("grün 🦀", &[]), "grün 🦀");
        assert_eq!(plain("a\x1b[2Jb\n", &['\n']), "a\\u{1b}[2Jb\n");
    }

    #[test]
    fn a_long_text_is_shown_by_its_beginning_and_its_end() {
        assert_eq!(in_short("two\nlines"), "two\\nlines");
        let short = in_short(&format!("it ended with 1:\n{}\nno luck", "ü".repeat(500)));
        assert!(
            short.starts_with("it ended with 1:\\nüüü") && short.ends_with("ü\\nno luck"),
            "{short}"
        );
        assert_eq!(short.matches('ü').count(), BEGINNING + END - 17 - 8);
        let longest = "ü".repeat(BEGINNING + END + BETWEEN.len());
        assert_eq!(in_short(&longest), longest);
    }

    #[test]
    fn the_lines_of_a_text_stand_under_its_first() {
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
