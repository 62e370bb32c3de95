//! Standard output for results, standard error for notes about them.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints a line on standard output.
///
/// # Errors
/// If it can't be written; `BrokenPipe` if the reader is gone, as after `| head`.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    // One write, so that lines of other writers to the same file can't come in between.
    let text = format!("{text}\n");
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}

/// Prints a note on standard error. Nothing depends on it, so a failure is ignored.
pub(crate) fn note(text: impl Display) {
    let _ = io::stderr().write_all(format!("slowlane: {text}\n").as_bytes());
}
