//! Lines on standard output, each with a coloured word in front that names the part it is about.

use std::{
    fmt::Display,
    future::Future,
    io::{IsTerminal, Write, stdout},
    time::{Duration, Instant},
};

use owo_colors::{AnsiColors, OwoColorize};

/// How often the elapsed time of [`while_waiting`] is shown.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// Whether standard output takes colours: it is a terminal, and `NO_COLOR` is not set.
fn takes_colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` in a colour, if standard output takes colours.
pub(crate) fn coloured(text: impl Display, colour: AnsiColors) -> String {
    if takes_colours() { text.color(colour).to_string() } else { text.to_string() }
}

/// `text` dimmed, if standard output takes colours.
pub(crate) fn dimmed(text: impl Display) -> String {
    if takes_colours() { text.dimmed().to_string() } else { text.to_string() }
}

/// Prints a line with the word `part` in front.
pub(crate) fn line(part: &str, colour: AnsiColors, text: impl Display) {
    print(format_args!("{}  {text}", label(part, colour)));
}

/// Prints a line about preparations.
pub(crate) fn step(part: &str, text: impl Display) {
    line(part, AnsiColors::Cyan, text);
}

/// Prints a text without a word in front, as a table.
pub(crate) fn print(text: impl Display) {
    // A reader that is gone, as after `| head`, is no reason to fail.
    let _ = writeln!(stdout(), "{text}");
}

/// Prints an empty line.
pub(crate) fn blank_line() {
    print("");
}

/// Prints why a command failed.
pub(crate) fn error(error: &anyhow::Error) {
    line("error", AnsiColors::Red, format!("{error:#}"));
}

/// A duration for people: `0.5 s`, `90 s`, `3 min 5 s`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{} s", time.as_secs()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// Does `work`, and on a terminal shows the elapsed time meanwhile.
pub(crate) async fn while_waiting<T>(part: &str, text: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let mut work = std::pin::pin!(work);
    if !takes_colours() {
        step(part, format!("{text} ..."));
        return work.await;
    }
    let mut tick = tokio::time::interval(REFRESH_INTERVAL);
    loop {
        tokio::select! {
            done = &mut work => {
                overwrite("");
                return done;
            }
            _ = tick.tick() => {
                let label = label(part, AnsiColors::Cyan);
                overwrite(&format!("{label}  {text} ... {}", duration(start.elapsed())));
            }
        }
    }
}

/// The word in front of a line.
fn label(part: &str, colour: AnsiColors) -> String {
    coloured(format!("{part:>9}"), colour)
}

/// Replaces the terminal's present line.
fn overwrite(text: &str) {
    let _ = write!(stdout(), "\r\x1b[2K{text}").and_then(|()| stdout().flush());
}
