//! What the commands say: few lines, each with a coloured word in front that tells who speaks.

use std::{
    fmt::Display,
    future::Future,
    io::{IsTerminal, Write, stdout},
    time::{Duration, Instant},
};

use owo_colors::{AnsiColors, OwoColorize};

/// Whether standard output takes colours: a terminal, and no `NO_COLOR`.
pub(crate) fn colours() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `text` in a colour, where colours are wanted.
pub(crate) fn painted(text: impl Display, colour: AnsiColors) -> String {
    if colours() { text.color(colour).to_string() } else { text.to_string() }
}

/// `text` so that it stays in the background.
pub(crate) fn faint(text: impl Display) -> String {
    if colours() { text.dimmed().to_string() } else { text.to_string() }
}

/// One line, spoken by `who`.
pub(crate) fn line(who: &str, colour: AnsiColors, text: impl Display) {
    // A reader that has gone away, as in `| head`, is no reason to fail.
    let _ = writeln!(stdout(), "{}  {text}", painted(format!("{who:>9}"), colour));
}

/// A line about preparations.
pub(crate) fn step(who: &str, text: impl Display) {
    line(who, AnsiColors::Cyan, text);
}

/// Something that speaks for itself, as a table.
pub(crate) fn plain(text: impl Display) {
    let _ = writeln!(stdout(), "{text}");
}

/// An empty line.
pub(crate) fn gap() {
    let _ = writeln!(stdout());
}

/// The end of a command that failed.
pub(crate) fn failure(error: &anyhow::Error) {
    line("error", AnsiColors::Red, format!("{error:#}"));
}

/// Seconds, as people say them.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..120 => format!("{} s", time.as_secs()),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// Does `work` and shows meanwhile, on a terminal, that time passes.
pub(crate) async fn waiting<T>(who: &str, text: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let mut work = std::pin::pin!(work);
    if !colours() {
        step(who, format!("{text} ..."));
        return work.await;
    }
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            done = &mut work => {
                let _ = write!(stdout(), "\r\x1b[2K").and_then(|()| stdout().flush());
                return done;
            }
            _ = tick.tick() => {
                let who = painted(format!("{who:>9}"), AnsiColors::Cyan);
                let _ = write!(stdout(), "\r\x1b[2K{who}  {text} ... {}", seconds(began.elapsed()));
                let _ = stdout().flush();
            }
        }
    }
}
